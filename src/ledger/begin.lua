-- Begins a partition whose cursor is missing: new group, or lost Redis. ARGV: partition, first offset to ingest, the log's
-- end now (what lies before it may have ended or be running: scan-status knows), a name for this beginning.
-- Returns 1, or 0 where another server was first.
local partition, from, log_end, epoch = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if intact(partition) then return 0 end
-- Tasks that survived in the set are below `from` only if Kafka's committed offset is wrong; they stay and hold it back.
redis.call('HSET', cursor_key, partition, from, partition .. ':until', log_end, partition .. ':epoch', epoch)
redis.call('ZADD', open_key(partition), from, CURSOR_MEMBER)
return 1

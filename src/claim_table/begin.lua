-- Begins a partition whose cursor is missing (new group, or lost Redis), or anew one whose topic was made anew. ARGV:
-- partition, first offset to ingest, the log's end now (what lies before it may have ended or be running: scan-status knows),
-- a name for this beginning, the name of the beginning that it replaces ('' = none: only where the cursor is missing),
-- records that Kafka no longer has, as far as known.
-- Returns 1, or 0 where another server was first.
local partition, from, log_end, epoch, replaces, lost = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if intact(partition) and redis.call('HGET', cursor_key, partition .. ':epoch') ~= replaces then return 0 end
-- Tasks that are in the set already stay, and hold the committed offset back, until they end.
redis.call('HSET', cursor_key, partition, from, partition .. ':until', log_end, partition .. ':epoch', epoch)
redis.call('HDEL', cursor_key, partition .. ':last')
redis.call('ZADD', open_key(partition), from, CURSOR_MEMBER)
if lost > 0 then redis.call('HINCRBY', cursor_key, 'lost_records', lost) end
if lost > 0 or replaces ~= '' then redis.call('HINCRBY', cursor_key, 'lost_ranges', 1) end
return 1

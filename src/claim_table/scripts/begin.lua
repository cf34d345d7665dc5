-- Starts a partition whose cursor is missing (a new group, or a Redis that lost its data), or restarts one whose topic was recreated or whose
-- committed offset was set back.
-- Takes: partition; from: first offset to ingest; log_end: the current end of the log (tasks before it may have ended or be running;
--   scan-status has their state); epoch: a name for this start; replaces (optional): the epoch that it replaces, absent if the cursor has to be
--   missing; lost_records: records that Kafka no longer has, as far as known; is_loss: whether records may be lost.
-- Returns: 1, or 0 if another server was first.
-- Changes: the partition's cursor. Tasks in its open offsets stay there and hold the committed offset back until they end.
local partition = args.partition
if intact(partition) and redis.call('HGET', cursor_key, partition .. ':epoch') ~= args.replaces then return 0 end
redis.call('HSET', cursor_key, partition, args.from, partition .. ':until', args.log_end, partition .. ':epoch', args.epoch)
redis.call('HDEL', cursor_key, partition .. ':last', partition .. ':committed')
redis.call('ZADD', open_key(partition), args.from, CURSOR_MEMBER)
if args.lost_records > 0 then add_to(cursor_key, 'lost_records', args.lost_records) end
if args.is_loss then add_to(cursor_key, 'lost_ranges', 1) end
return 1

-- Reads, for each partition, the offset that the group may commit and the offset that it committed last.
-- Takes: partitions: a list.
-- Returns: for each a pair: the lowest offset of a task that has not ended (the cursor if all have), or '' if the partition is not intact: a
--   missing key never means that a task has ended; and the offset that was last committed, or '' if none was since the partition's start.
-- Changes: nothing.
local positions = {}
for i, partition in ipairs(args.partitions) do
  local committed = redis.call('HGET', cursor_key, partition .. ':committed') or ''
  if intact(partition) then
    positions[i] = {whole(tonumber(redis.call('ZRANGE', open_key(partition), 0, 0, 'WITHSCORES')[2])), committed}
  else
    positions[i] = {'', committed}
  end
end
return positions

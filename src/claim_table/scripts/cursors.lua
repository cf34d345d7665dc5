-- Reads the position of the group in each partition.
-- Takes: partitions: a list.
-- Returns: for each {cursor, end of the rebuild, epoch, fingerprint of the last record}, or an empty list if the partition has to be
--   started (see begin.lua).
-- Changes: nothing.
local found = {}
for i, partition in ipairs(args.partitions) do
  if intact(partition) then
    found[i] = redis.call('HMGET', cursor_key, partition, partition .. ':until', partition .. ':epoch', partition .. ':last')
  else
    found[i] = {}
  end
end
return found

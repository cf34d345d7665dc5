-- Reads what the group may commit.
-- Takes: partitions: a list.
-- Returns: for each the lowest offset of a task that has not ended (the cursor if all have), or '' if the partition is not intact: a
--   missing key never means that a task has ended.
-- Changes: nothing.
local offsets = {}
for i, partition in ipairs(args.partitions) do
  if intact(partition) then
    offsets[i] = whole(tonumber(redis.call('ZRANGE', open_key(partition), 0, 0, 'WITHSCORES')[2]))
  else
    offsets[i] = ''
  end
end
return offsets

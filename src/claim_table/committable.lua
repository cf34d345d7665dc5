-- Reads what the group may commit. ARGV: partitions. Returns for each the lowest offset of a task that has not ended (the
-- cursor where all have), or '' where the partition is not intact: a missing key never means "done".
local offsets = {}
for i, partition in ipairs(ARGV) do
  if intact(partition) then
    offsets[i] = whole(tonumber(redis.call('ZRANGE', open_key(partition), 0, 0, 'WITHSCORES')[2]))
  else
    offsets[i] = ''
  end
end
return offsets

-- Reads where each partition stands. ARGV: partitions.
-- Returns for each: {cursor, rebuilt until, epoch, fingerprint of the last record}, or an empty list where the partition has to be begun (see begin.lua).
local found = {}
for i, partition in ipairs(ARGV) do
  if intact(partition) then
    found[i] = redis.call('HMGET', cursor_key, partition, partition .. ':until', partition .. ':epoch', partition .. ':last')
  else
    found[i] = {}
  end
end
return found

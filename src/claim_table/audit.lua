-- Looks for tasks that have not ended, by the `open` set of a partition, but whose hash or place in the queues is lost: keys
-- that were evicted or deleted one by one. ARGV: partition, rank to begin at, tasks to look at.
-- Returns {next rank (0 = the end was reached), id, …} with the ids of such tasks. Where there are any, the partition is no
-- longer intact: it is begun anew from the group's committed offset, and ingest.lua puts back what is missing.
local partition, from, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not intact(partition) then return {'0'} end
local ids = redis.call('ZRANGE', open_key(partition), from, from + most - 1)
local answer = {#ids < most and '0' or whole(from + most)}
for _, id in ipairs(ids) do
  if id ~= CURSOR_MEMBER and not is_in_a_queue(id) then answer[#answer + 1] = id end
end
if #answer > 1 then redis.call('ZREM', open_key(partition), CURSOR_MEMBER) end
return answer

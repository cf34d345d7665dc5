-- Finds tasks of a partition that have not ended but whose hash or entry in the queues is lost, because single keys were evicted or
-- deleted.
-- Takes: partition; from: the rank to begin at; max: maximum number of tasks.
-- Returns: {next rank (0: the end was reached), id, …} with the ids of such tasks.
-- Changes: if there are any, the partition is no longer intact. It is then started again from the group's committed offset, and ingest.lua
--   restores what is missing.
local partition, from, max = args.partition, args.from, args.max
if not intact(partition) then return {'0'} end
local ids = redis.call('ZRANGE', open_key(partition), from, from + max - 1)
local answer = {#ids < max and '0' or whole(from + max)}
for _, id in ipairs(ids) do
  if id ~= CURSOR_MEMBER and not is_in_a_queue(id) then answer[#answer + 1] = id end
end
if #answer > 1 then redis.call('ZREM', open_key(partition), CURSOR_MEMBER) end
return answer

-- Reads entries of the outbox: state changes that are not on Kafka yet.
-- Takes: taken_ms: no other server gets these entries for this time; max: maximum number of entries.
-- Returns: a list of {field, value, …}, one for each task.
-- Changes: the time at which the entries may be taken again. A task that runs or ends by now has newer records, so its entry is removed.
local entries = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', outbox_key, '-inf', now_ms, 'LIMIT', 0, args.max)) do
  local task = redis.call('HMGET', task_key(id), 'status', 'ending')
  if (task[1] == 'paused' or task[1] == 'queued') and not task[2] then
    redis.call('ZADD', outbox_key, now_ms + args.taken_ms, id)
    entries[#entries + 1] = redis.call('HGETALL', task_key(id))
  else
    redis.call('ZREM', outbox_key, id)
  end
end
return entries

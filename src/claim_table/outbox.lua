-- Takes changes of state that Kafka has not been told yet, for a moment in which no other server does. ARGV: that moment (ms),
-- most tasks. Returns a list of {field, value, …}. A task that runs or ends by now has records of its own.
local taken_ms, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local untold = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', outbox_key, '-inf', now_ms, 'LIMIT', 0, most)) do
  local task = redis.call('HMGET', task_key(id), 'status', 'ending')
  if (task[1] == 'paused' or task[1] == 'queued') and not task[2] then
    redis.call('ZADD', outbox_key, now_ms + taken_ms, id)
    untold[#untold + 1] = redis.call('HGETALL', task_key(id))
  else
    redis.call('ZREM', outbox_key, id)
  end
end
return untold

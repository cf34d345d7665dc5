-- Renews claims. ARGV: lease (ms), then pairs of task id and fence. Returns for each: ok, lost or gone; in the place of ok the
-- order about it, where there is one: cancel or pause.
-- A gone one is not lost yet: after a lost Redis the rebuild brings it back under the same fence.
local lease_ms = tonumber(ARGV[1])
local answers = {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local state = claim_state(id, ARGV[i + 1])
  if state == 'ok' then
    redis.call('ZADD', running_key, now_ms + lease_ms, id)
    state = redis.call('HGET', task_key(id), 'order') or 'ok'
  end
  answers[#answers + 1] = state
end
return answers

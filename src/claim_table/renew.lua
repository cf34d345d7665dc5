-- Renews claims, and looks whether there is more to do. ARGV: lease (ms), which expired claims are to be looked for (see
-- reap.lua), then pairs of task id and fence. Returns 1 or 0: are there such claims; the same: are there changes of state for
-- untold.lua; then for each pair ok, lost or gone; in the place of ok the order about it, where there is one: cancel or pause.
-- A gone one is not lost yet: after a lost Redis the rebuild brings it back under the same fence.
local lease_ms, which = tonumber(ARGV[1]), ARGV[2]
local states = {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local state = claim_state(id, ARGV[i + 1])
  if state == 'ok' then
    redis.call('ZADD', running_key, now_ms + lease_ms, id)
    state = redis.call('HGET', task_key(id), 'order') or 'ok'
  end
  states[#states + 1] = state
end
local function any(key, highest)
  return #redis.call('ZRANGEBYSCORE', key, '-inf', highest, 'LIMIT', 0, 1)
end
return {any(running_key, reapable(which)), any(outbox_key, now_ms), states}

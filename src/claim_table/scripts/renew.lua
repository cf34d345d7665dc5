-- Renews claims and says what else there is to do.
-- Takes: lease_ms; all_expired: whether to look for every expired claim or only for unowned ones (see reap.lua);
--   claims: a list of {id, fence}.
-- Returns: 1 or 0: whether there are such claims; 1 or 0: whether the outbox has entries; a list with an answer for each claim: ok, lost
--   or gone, or instead of ok an order about it: cancel or pause. A claim that is gone is not lost yet: after Redis lost its data, the
--   rebuild brings it back with the same fence.
-- Changes: the leases of the claims that are ok.
local states = {}
for _, claim in ipairs(args.claims) do
  local id = claim.id
  local state = claim_state(id, claim.fence)
  if state == 'ok' then
    redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    state = redis.call('HGET', task_key(id), 'order') or 'ok'
  end
  states[#states + 1] = state
end
local function any(key, highest)
  return #redis.call('ZRANGEBYSCORE', key, '-inf', highest, 'LIMIT', 0, 1)
end
return {any(running_key, reapable(args.all_expired)), any(outbox_key, now_ms), states}

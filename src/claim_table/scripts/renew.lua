-- Renews claims, and reports whether there are expired claims or outbox entries.
-- Takes: lease_ms; all_expired: whether every expired claim counts, or only unowned ones (see reap.lua);
--   claims: a list of {id, fence}.
-- Returns: 1 or 0: whether there are such claims; 1 or 0: whether the outbox has entries; a list with an answer for each claim: ok, lost
--   or gone; or cancel or pause, if it is ok and this was ordered. A claim that is gone is not lost yet: after Redis lost its data, the
--   rebuild restores it with the same fence.
-- Changes: the leases of the claims that are ok.
local states = {}
for _, claim in ipairs(args.claims) do
  local id = claim.id
  local state = claim_state(id, claim.fence)
  if state == 'ok' then
    redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    local order = redis.call('HGET', task_key(id), 'order')
    if order == 'cancel' or order == 'pause' then state = order end
  end
  states[#states + 1] = state
end
local function any(key, highest)
  return #redis.call('ZRANGEBYSCORE', key, '-inf', highest, 'LIMIT', 0, 1)
end
return {any(running_key, reapable(args.all_expired)), any(outbox_key, now_ms), states}

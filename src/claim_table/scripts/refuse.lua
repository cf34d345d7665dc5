-- Gives back a claimed task that the server may not run, and marks it so that the server does not claim it again, except to reject it. The attempt does not
-- count.
-- Takes: id, fence; server; capabilities: the server's; refused_kept_ms: how long a task that all servers refuse is kept; reason.
-- Returns: left (to other servers, or an order was carried out), kept (all servers of the group have refused it), ending (the caller ends it),
--   lost or gone.
-- Changes: the task is queued. If all servers of the group have refused it for refused_kept_ms without interruption, and no server has
--   left in that time, its end is decided: rejected. If a cancel or pause was ordered, it is carried out instead.
local id, server = args.id, args.server
local key = task_key(id)
local state = claim_state(id, args.fence)
if state ~= 'ok' then return state end
local task = redis.call('HMGET', key, 'ending', 'refused_by', 'refused_ms', 'order')
if task[1] then return 'lost' end

-- Marks of servers that have left are dropped, so that there are never more marks than servers.
local marks, refused_by_all = {server .. '=' .. args.capabilities}, true
for _, name in ipairs(redis.call('ZRANGE', servers_key, 0, -1)) do
  if name ~= server then
    local its_capabilities = redis.call('HGET', server_key(name), 'capabilities') or ''
    if has_refused(task[2], name, its_capabilities) then
      marks[#marks + 1] = name .. '=' .. its_capabilities
    else
      refused_by_all = false
    end
  end
end
redis.call('HSET', key, 'refused_by', table.concat(marks, ' '), 'updated_ms', whole(now_ms))
-- A time after now was noted before the clock went back.
local refused_ms = refused_by_all and math.min(number_of(task[3], now_ms), now_ms)
if refused_ms then
  redis.call('HSET', key, 'refused_ms', whole(refused_ms))
else
  redis.call('HDEL', key, 'refused_ms')
end
if refused_ms and refusal_is_final(refused_ms, args.refused_kept_ms) then
  redis.call('HSET', key, 'ending', 'rejected', 'error', args.reason)
  return 'ending'
end
redis.call('HSET', key, 'status', 'queued', 'ready_ms', whole(now_ms))
give_back_attempt(key)
redis.call('HDEL', key, 'server', 'rate_pps', 'remaining_s')
if carry_out(task[4], id) then return 'left' end
redis.call('ZREM', running_key, id)
redis.call('ZADD', ready_key, score_of(id), id)
return refused_by_all and 'kept' or 'left'

-- Gives a claimed task back that the claimer may not run, marked so that it is not claimed by it again; the attempt
-- doesn't count. Where all servers of the group have refused it for a while without a break, and none has left that may come
-- back, its end is decided: rejected. ARGV: task id, fence, server, its capabilities, that while (ms), why.
-- Where a cancel or a pause was ordered, that is what becomes of it. Returns left (to others), ending (the caller ends it), lost or gone.
local id, fence, server, capabilities = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local patience_ms, why = tonumber(ARGV[5]), ARGV[6]
local key = task_key(id)
local state = claim_state(id, fence)
if state ~= 'ok' then return state end
local task = redis.call('HMGET', key, 'score', 'ending', 'attempt', 'refused_by', 'refused_ms', 'order')
if task[2] then return 'lost' end

-- Marks of servers that are gone are dropped, so that there are never more than servers.
local marks, refused_by_all = {server .. '=' .. capabilities}, true
for _, name in ipairs(redis.call('ZRANGE', servers_key, 0, -1)) do
  if name ~= server then
    local its_capabilities = redis.call('HGET', server_key(name), 'capabilities') or ''
    if has_refused(task[4], name, its_capabilities) then
      marks[#marks + 1] = name .. '=' .. its_capabilities
    else
      refused_by_all = false
    end
  end
end
redis.call('HSET', key, 'refused_by', table.concat(marks, ' '), 'updated_ms', whole(now_ms))
local refused_ms = refused_by_all and tonumber(task[5] or now_ms)
if refused_ms then
  redis.call('HSET', key, 'refused_ms', whole(refused_ms))
else
  redis.call('HDEL', key, 'refused_ms')
end
if refused_ms and is_given_up(refused_ms, patience_ms) then
  redis.call('HSET', key, 'ending', 'rejected', 'error', why)
  return 'ending'
end
redis.call('HSET', key, 'status', 'queued', 'ready_ms', whole(now_ms), 'attempt', math.max(tonumber(task[3]) - 1, 0))
redis.call('HDEL', key, 'server', 'rate_pps', 'remaining_s')
if task[6] == 'cancel' then
  decide_cancelled(id)
  return 'left'
elseif task[6] == 'pause' then
  set_waiting(id, 'paused', paused_key)
  return 'left'
end
redis.call('ZREM', running_key, id)
redis.call('ZADD', ready_key, task[1], id)
return 'left'

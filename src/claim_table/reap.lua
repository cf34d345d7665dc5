-- Takes expired claims away from servers that no longer renew them. ARGV: server (the reaper), lease (ms), most tasks to
-- look at, lost servers after which a task is failed, which ones: all, or only those that were nobody's. A task whose end was
-- decided already or is ordered, or that lost too many servers, is claimed by the reaper, to be ended; any other is ready again,
-- or paused where that was ordered.
-- Returns a list of {'requeued' | 'ending', server that lost it, field, value, …}.
local server, lease_ms, most, lost_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local expired = reapable(ARGV[5])
local reaped = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', running_key, '-inf', expired, 'LIMIT', 0, most)) do
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'status', 'ending', 'lost', 'score', 'server', 'fence', 'order')
  if not task[1] then
    redis.call('ZREM', running_key, id)
  else
    local lost_server, what = task[5] or '', 'requeued'
    local lost = tonumber(task[3] or 0)
    if task[7] == 'cancel' and not task[2] then
      task[2] = 'cancelled'
      redis.call('HSET', key, 'ending', 'cancelled')
      redis.call('HDEL', key, 'error')
    end
    if not task[2] then
      lost = lost + 1
      redis.call('HSET', key, 'lost', lost, 'error', 'server ' .. lost_server .. ' stopped renewing its lease')
    end
    if task[2] or lost >= lost_max then
      what = 'ending'
      if not task[2] then
        redis.call('HSET', key, 'ending', 'failed', 'error', lost .. ' servers were lost while they ran it, the last ' .. lost_server)
      end
      redis.call('HSET', key, 'server', server, 'fence', next_fence(task[6]), 'updated_ms', whole(now_ms))
      redis.call('ZADD', running_key, now_ms + lease_ms, id)
    elseif task[7] == 'pause' then
      set_waiting(id, 'paused', paused_key)
    else
      redis.call('HSET', key, 'status', 'queued', 'ready_ms', whole(now_ms), 'updated_ms', whole(now_ms))
      redis.call('HDEL', key, 'server', 'rate_pps', 'remaining_s')
      redis.call('ZREM', running_key, id)
      redis.call('ZADD', ready_key, task[4], id)
    end
    local entry = redis.call('HGETALL', key)
    table.insert(entry, 1, lost_server)
    table.insert(entry, 1, what)
    reaped[#reaped + 1] = entry
  end
end
return reaped

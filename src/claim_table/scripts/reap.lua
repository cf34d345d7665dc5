-- Takes expired claims away from servers that no longer renew them.
-- Takes: server: the caller; lease_ms; max: maximum number of tasks; lost_max: lost servers after which a task fails; all_expired: every expired claim,
--   or only unowned ones.
-- Returns: a list of {'requeued' | 'ending', the server that lost it, field, value, …}.
-- Changes: a task whose end is decided or ordered, or that lost too many servers, is claimed by the caller, which has to end it. Any other
--   task becomes ready, or paused if that was ordered, and its `ran_ms` grows.
local server = args.server
local expired = reapable(args.all_expired)
local reaped = {}
local TERMINAL = {completed = true, failed = true, cancelled = true, rejected = true}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', running_key, '-inf', expired, 'LIMIT', 0, args.max)) do
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'status', 'ending', 'lost', 'server', 'fence', 'order')
  if not task[1] then
    redis.call('ZREM', running_key, id)
  else
    if task[2] and not TERMINAL[task[2]] then
      redis.call('HDEL', key, 'ending')
      task[2] = false
    end
    local lost_server, what = task[4] or '', 'requeued'
    local lost = number_of(task[3], 0)
    if task[6] == 'cancel' and not task[2] then
      task[2] = 'cancelled'
      redis.call('HSET', key, 'ending', 'cancelled')
      redis.call('HDEL', key, 'error')
    end
    if not task[2] then
      lost = lost + 1
      add_run_time(id)
      redis.call('HSET', key, 'lost', lost, 'error', 'server ' .. lost_server .. ' stopped renewing its lease')
    end
    if task[2] or lost >= args.lost_max then
      what = 'ending'
      if not task[2] then
        redis.call('HSET', key, 'ending', 'failed', 'error', lost .. ' servers were lost while they ran it, the last ' .. lost_server)
      end
      redis.call('HSET', key, 'task_id', id, 'server', server, 'fence', next_fence(task[5]), 'updated_ms', whole(now_ms))
      redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    elseif task[6] == 'pause' then
      set_waiting(id, 'paused', paused_key)
    else
      redis.call('HSET', key, 'status', 'queued', 'ready_ms', whole(now_ms), 'updated_ms', whole(now_ms))
      redis.call('HDEL', key, 'server', 'rate_pps', 'remaining_s')
      redis.call('ZREM', running_key, id)
      redis.call('ZADD', ready_key, score_of(id), id)
    end
    local entry = redis.call('HGETALL', key)
    table.insert(entry, 1, lost_server)
    table.insert(entry, 1, what)
    reaped[#reaped + 1] = entry
  end
end
return reaped

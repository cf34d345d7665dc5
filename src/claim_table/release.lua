-- Gives a claimed task back to the queue. ARGV: task id, fence, delay (ms, 0 = claimable at once), whether the attempt is
-- given back (1, 0), whether this server failed it (1, 0), error ('' = none), resume_index, resume_found,
-- resume_for.
-- Where a cancel or a pause was ordered, that is what becomes of it. Returns ok, lost or gone.
local id, fence, delay_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local given_back, failed, error_text = ARGV[4] == '1', ARGV[5] == '1', ARGV[6]
local key = task_key(id)
local state = claim_state(id, fence)
if state ~= 'ok' then return state end
local task = redis.call('HMGET', key, 'score', 'ending', 'server', 'attempt', 'order')
if task[2] then return 'lost' end
redis.call('HSET', key, 'status', 'queued', 'ready_ms', whole(now_ms), 'updated_ms', whole(now_ms),
  'resume_index', ARGV[7], 'resume_found', ARGV[8], 'resume_for', ARGV[9])
redis.call('HDEL', key, 'server', 'rate_pps', 'remaining_s', 'failed_server', 'retry_ms')
-- Why a server let go of a task that was to be let go of is no error of the task's.
if error_text ~= '' and not (task[5] and given_back) then redis.call('HSET', key, 'error', error_text) end
if failed then redis.call('HSET', key, 'failed_server', task[3]) end
if given_back then redis.call('HSET', key, 'attempt', math.max(tonumber(task[4]) - 1, 0)) end
if task[5] == 'cancel' then
  decide_cancelled(id)
  return 'ok'
elseif task[5] == 'pause' then
  set_waiting(id, 'paused', paused_key)
  return 'ok'
end
redis.call('ZREM', running_key, id)
if delay_ms > 0 then
  redis.call('HSET', key, 'retry_ms', whole(now_ms + delay_ms))
  redis.call('ZADD', delayed_key, now_ms + delay_ms, id)
else
  redis.call('ZADD', ready_key, task[1], id)
end
return 'ok'

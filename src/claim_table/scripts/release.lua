-- Gives a claimed task back to the queue.
-- Takes: id, fence; delay_ms: 0 if it may be claimed at once; gives_back_attempt: the attempt does not count; failed_here: this server
--   failed it; error (optional); resume_pass, resume_index, resume_found_by_pass, resume_for.
-- Returns: ok, lost or gone.
-- Changes: the task is queued or delayed, and its `ran_ms` grows. If a cancel or pause was ordered, it is carried out instead.
local id = args.id
local key = task_key(id)
local state = claim_state(id, args.fence)
if state ~= 'ok' then return state end
local task = redis.call('HMGET', key, 'ending', 'server', 'order')
if task[1] then return 'lost' end
add_run_time(id)
redis.call('HSET', key, 'status', 'queued', 'ready_ms', whole(now_ms), 'updated_ms', whole(now_ms),
  'resume_pass', args.resume_pass, 'resume_index', args.resume_index, 'resume_found_by_pass', args.resume_found_by_pass,
  'resume_for', args.resume_for)
redis.call('HDEL', key, 'server', 'rate_pps', 'remaining_s', 'failed_server', 'retry_ms')
-- The reason for a release that was ordered is not an error of the task.
if args.error and not (task[3] and args.gives_back_attempt) then redis.call('HSET', key, 'error', args.error) end
if args.failed_here and task[2] then redis.call('HSET', key, 'failed_server', task[2]) end
if args.gives_back_attempt then give_back_attempt(key) end
if carry_out(task[3], id) then return 'ok' end
redis.call('ZREM', running_key, id)
if args.delay_ms > 0 then
  redis.call('HSET', key, 'retry_ms', whole(now_ms + args.delay_ms))
  redis.call('ZADD', delayed_key, now_ms + args.delay_ms, id)
else
  redis.call('ZADD', ready_key, score_of(id), id)
end
return 'ok'

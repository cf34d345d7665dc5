-- Counts the tasks that have not ended.
-- Takes: jobs_max: maximum number of jobs whose throttled tasks are counted.
-- Returns: {ready, throttled, delayed, running, paused, the arrival of the oldest ready task in unix milliseconds or '', whether more jobs have
--   throttled tasks}, all as text.
-- Changes: nothing.
local throttled = 0
local jobs = redis.call('ZRANGE', throttled_jobs_key, 0, args.jobs_max)
for i, job in ipairs(jobs) do
  if i <= args.jobs_max then throttled = throttled + redis.call('ZCARD', throttled_key(job)) end
end
-- In each tier of a priority the first task is the one that arrived first.
local oldest = ''
for priority = 0, 9 do
  local from = ready_score(priority, 0)
  local first = redis.call('ZRANGEBYSCORE', ready_key, from, '(' .. whole(from + 1e13), 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then
    local arrival = tonumber(first[2]) - from
    if oldest == '' or arrival < oldest then oldest = arrival end
  end
end
return {
  whole(redis.call('ZCARD', ready_key)), whole(throttled), whole(redis.call('ZCARD', delayed_key)), whole(redis.call('ZCARD', running_key)),
  whole(redis.call('ZCARD', paused_key)), oldest == '' and '' or whole(oldest), #jobs > args.jobs_max and '1' or '',
}

-- Ends a task whose terminal record Kafka has acknowledged.
-- Takes: id, fence; kept_ms: how long an ended task is kept; status: the terminal state; error (optional); found, found_by_pass.
-- Returns: ok, lost or gone.
-- Changes: removes the task from the queues and from its partition's open offsets; its hash and its job expire after kept_ms.
-- The state is the one of the record, not the one that decide_end.lua left in the hash: if Redis lost its data in between, the rebuild
-- brings the claim back without it, and a task whose end is on Kafka must not run again.
local id, fence, ending = args.id, args.fence, args.status
local key = task_key(id)
local task = redis.call('HMGET', key, 'fence', 'ending', 'finished_ms', 'partition', 'job_id')
if task[3] and task[1] == fence then return 'ok' end
local state = claim_state(id, fence)
if state ~= 'ok' then return state end
if task[2] and task[2] ~= ending then return 'lost' end
redis.call('HSET', key, 'status', ending, 'found', args.found, 'found_by_pass', args.found_by_pass,
  'finished_ms', whole(now_ms), 'updated_ms', whole(now_ms))
if args.error then redis.call('HSET', key, 'error', args.error) end
if ending == 'completed' then redis.call('HSET', key, 'progress', '100') end
redis.call('HDEL', key, 'ending', 'order', 'rate_pps', 'remaining_s', 'retry_ms', 'server_exclude')
redis.call('ZREM', running_key, id)
if redis.call('ZREM', open_key(task[4] or ''), id) == 0 then
  -- Its partition is missing or malformed, or the open set was lost.
  for _, partition in ipairs(redis.call('HKEYS', cursor_key)) do
    if string.match(partition, '^%d+$') then redis.call('ZREM', open_key(partition), id) end
  end
end
redis.call('PEXPIRE', key, args.kept_ms)
local job = task[5]
if job then
  redis.call('SREM', unfinished_key(job), id)
  if redis.call('SCARD', unfinished_key(job)) == 0 then redis.call('PEXPIRE', job_key(job), args.kept_ms) end
end
return 'ok'

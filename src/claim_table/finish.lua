-- Ends a task whose terminal record Kafka has acknowledged. ARGV: task id, fence, how long an ended task is kept (ms), terminal
-- state, error ('' = none), found. Returns ok, lost or gone.
-- The state is that of the record, not only what the verdict left in the hash: where Redis lost its data in between, the
-- rebuild brings the claim back without a verdict, and a task of which Kafka knows the end must not run again.
local id, fence, kept_ms = ARGV[1], ARGV[2], ARGV[3]
local ending, error_text, found = ARGV[4], ARGV[5], ARGV[6]
local key = task_key(id)
local task = redis.call('HMGET', key, 'fence', 'ending', 'finished_ms', 'partition', 'job_id')
if task[3] and task[1] == fence then return 'ok' end
local state = claim_state(id, fence)
if state ~= 'ok' then return state end
if task[2] and task[2] ~= ending then return 'lost' end
redis.call('HSET', key, 'status', ending, 'found', found, 'finished_ms', whole(now_ms), 'updated_ms', whole(now_ms))
if error_text ~= '' then redis.call('HSET', key, 'error', error_text) end
if ending == 'completed' then redis.call('HSET', key, 'progress', '100') end
redis.call('HDEL', key, 'ending', 'order', 'rate_pps', 'remaining_s', 'retry_ms')
redis.call('ZREM', running_key, id)
redis.call('ZREM', open_key(task[4]), id)
redis.call('PEXPIRE', key, kept_ms)
local job = task[5]
if job then
  redis.call('SREM', unfinished_key(job), id)
  if redis.call('SCARD', unfinished_key(job)) == 0 then redis.call('PEXPIRE', job_key(job), kept_ms) end
end
return 'ok'

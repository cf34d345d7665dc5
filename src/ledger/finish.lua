-- Ends a task whose terminal record Kafka has acknowledged. ARGV: task id, fence, how long an ended task is kept (ms).
-- Returns ok, lost or gone.
local id, fence, kept_ms = ARGV[1], ARGV[2], ARGV[3]
local key = task_key(id)
local task = redis.call('HMGET', key, 'fence', 'ending', 'finished_ms', 'partition')
if task[3] and task[1] == fence then return 'ok' end
local state = claim_state(id, fence)
if state ~= 'ok' then return state end
if not task[2] then return 'lost' end
redis.call('HSET', key, 'status', task[2], 'finished_ms', whole(now_ms), 'updated_ms', whole(now_ms))
if task[2] == 'completed' then redis.call('HSET', key, 'progress', '100') end
redis.call('HDEL', key, 'ending', 'rate_pps', 'remaining_s', 'retry_ms')
redis.call('ZREM', running_key, id)
redis.call('ZREM', open_key(task[4]), id)
redis.call('PEXPIRE', key, kept_ms)
return 'ok'

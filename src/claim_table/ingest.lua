-- Takes a run of records of one partition and moves its cursor, by compare-and-set. ARGV: partition, cursor as the caller
-- knows it, epoch as the caller knows it, cursor behind the records, records lost before them (the log began later), server,
-- lease (ms), fingerprint of the last record ('' = none), then one JSON object a record: {offset, task_id, disposition, fields}. disposition is
--   ready      to be claimed
--   held       was running when Redis was lost: kept for its server for one lease
--   paused     was paused when Redis was lost
--   ended      ended before Redis was lost
--   rejected   no valid task: the caller ends it, under the fence that is returned
-- A record with a higher `retry` than the task of its id, which has failed, was cancelled, or was rejected because no server
-- might run it, begins that task anew: its offset is another one, so that no crash loses it. What it had reached stays shown.
-- Returns {'moved'} where the cursor is another by now, else {'ok', outcome, …} with an outcome a record:
-- added, known (the same record, read again), duplicate (another record has this id), ended, or a rejected one's fence.
local partition, cursor, epoch, next_cursor, lost = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local server, lease_ms = ARGV[6], tonumber(ARGV[7])
if not intact(partition) then return {'moved'} end
local now_at = redis.call('HMGET', cursor_key, partition, partition .. ':epoch')
if now_at[1] ~= cursor or now_at[2] ~= epoch then return {'moved'} end

-- A task whose place in the queues was lost with a key is put back: by its hash it has not ended.
local function requeue_if_nowhere(id)
  if is_in_a_queue(id) then return end
  local task = redis.call('HMGET', task_key(id), 'status', 'score', 'ending')
  if task[3] then
    redis.call('ZADD', running_key, NOBODYS, id)
  elseif task[1] == 'queued' then
    redis.call('ZADD', ready_key, task[2], id)
  elseif task[1] == 'paused' then
    redis.call('ZADD', paused_key, task[2], id)
  else
    redis.call('ZADD', running_key, now_ms + lease_ms, id)
  end
end

-- A job is known as long as one of its tasks has not ended, and then as long as the last one that did.
local function join_job(job, id)
  if not job then return end
  redis.call('SADD', job_key(job), id)
  redis.call('SADD', unfinished_key(job), id)
  redis.call('PERSIST', job_key(job))
end

local records = {}
for i = 9, #ARGV do records[#records + 1] = cjson.decode(ARGV[i]) end

local outcomes = {'ok'}
local arrival = tonumber(redis.call('HGET', cursor_key, 'arrival') or 0)
for _, record in ipairs(records) do
  local id, offset = record.task_id, whole(record.offset)
  local key = task_key(id)
  local known = redis.call('HMGET', key, 'partition', 'offset', 'finished_ms', 'status', 'retry', 'progress', 'fence', 'job_id', 'record')
  -- What was never a valid task has no record.
  local may_retry = known[4] == 'failed' or known[4] == 'cancelled' or (known[4] == 'rejected' and known[9])
  local again = known[3] and may_retry
    and tonumber(record.fields.retry or 0) > tonumber(known[5] or 0)
  local outcome = 'added'
  if known[1] == partition and known[2] == offset then
    outcome = 'known'
    if not known[3] then
      redis.call('ZADD', open_key(partition), offset, id)
      join_job(known[8], id)
      requeue_if_nowhere(id)
    end
  elseif known[1] and not again then
    outcome = 'duplicate'
  elseif record.disposition == 'ended' then
    outcome = 'ended'
  else
    -- Its place in a queue may have outlived its hash.
    for _, queue in ipairs({ready_key, delayed_key, running_key, paused_key}) do redis.call('ZREM', queue, id) end
    arrival = math.max(arrival + 1, now_ms)
    local score = ready_score(tonumber(record.fields.priority) or 5, arrival)
    local hash = {
      'task_id', id, 'partition', partition, 'offset', offset, 'score', whole(score),
      'queued_ms', whole(now_ms), 'ready_ms', whole(now_ms), 'updated_ms', whole(now_ms),
    }
    for name, value in pairs(record.fields) do
      hash[#hash + 1] = name
      hash[#hash + 1] = value
    end
    if again then
      redis.call('DEL', key)
      for name, value in pairs({progress = known[6] or '0', fence = known[7] or '0'}) do
        hash[#hash + 1] = name
        hash[#hash + 1] = value
      end
    end
    redis.call('HSET', key, unpack(hash))
    redis.call('ZADD', open_key(partition), offset, id)
    join_job(record.fields.job_id, id)
    if record.disposition == 'ready' then
      redis.call('HSET', key, 'status', 'queued')
      redis.call('ZADD', ready_key, score, id)
    elseif record.disposition == 'paused' then
      redis.call('HSET', key, 'status', 'paused')
      redis.call('ZADD', paused_key, score, id)
    elseif record.disposition == 'held' then
      redis.call('HSET', key, 'status', 'running', 'started_ms', whole(now_ms))
      redis.call('ZADD', running_key, now_ms + lease_ms, id)
    else
      outcome = next_fence(0)
      redis.call('HSET', key, 'status', 'rejected', 'ending', 'rejected', 'fence', outcome, 'server', server)
      redis.call('ZADD', running_key, now_ms + lease_ms, id)
    end
  end
  outcomes[#outcomes + 1] = outcome
end
redis.call('HSET', cursor_key, partition, next_cursor, partition .. ':last', ARGV[8], 'arrival', whole(arrival))
if lost > 0 then redis.call('HINCRBY', cursor_key, 'lost_records', lost) end
redis.call('ZADD', open_key(partition), next_cursor, CURSOR_MEMBER)
return outcomes

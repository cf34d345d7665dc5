-- Adds consecutive records of one partition to the table and moves the partition's cursor, by compare-and-set.
-- Takes: partition; cursor, epoch: as the caller read them; next: the offset after the records; last (optional): the fingerprint of the
--   last record; lost_records: records that Kafka no longer has before them; server; lease_ms; records: a list of
--   {offset, task_id, disposition, fields}. disposition is
--     ready      may be claimed
--     held       was running when Redis was lost: kept for its server for one lease
--     paused     was paused when Redis was lost
--     ended      ended before Redis was lost
--     rejected   not a valid task: the caller ends it, under the fence that is returned
--     left out   nor is it, and there were too many: as rejected if its offset is open, because its key was lost, else not kept
-- Returns: {'moved'} if the cursor has changed, else {'ok', outcome, …} with an outcome for each record: added; known (the same record,
--   read again); duplicate (another record has this id); ended; left out; or the fence of a rejected one.
-- Changes: the cursor, and the tasks of the records that are added. A record with a higher `retry` than the task of its id, which has
--   failed, was cancelled, or was rejected because no server may run it, starts that task again with the new record's offset, so that no
--   crash loses it. Its progress stays visible, and it is known when the scan began that its checkpoint continues.
local partition, next_cursor = args.partition, args.next
if not intact(partition) then return {'moved'} end
local now_at = redis.call('HMGET', cursor_key, partition, partition .. ':epoch')
if now_at[1] ~= args.cursor or now_at[2] ~= args.epoch then return {'moved'} end

-- Adds a task that has not ended to the queue of its state if it is in no queue, because a key was lost.
local function requeue_if_lost(id)
  if is_in_a_queue(id) then return end
  local task = redis.call('HMGET', task_key(id), 'status', 'score', 'ending')
  if task[3] then
    redis.call('ZADD', running_key, UNOWNED, id)
  elseif task[1] == 'queued' then
    redis.call('ZADD', ready_key, task[2], id)
  elseif task[1] == 'paused' then
    redis.call('ZADD', paused_key, task[2], id)
  else
    redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
  end
end

-- A job is kept while one of its tasks has not ended, and then as long as the last one that ended.
local function join_job(job, id)
  if not job then return end
  redis.call('SADD', job_key(job), id)
  redis.call('SADD', unfinished_key(job), id)
  redis.call('PERSIST', job_key(job))
end

local outcomes = {'ok'}
local arrival = tonumber(redis.call('HGET', cursor_key, 'arrival') or 0)
for _, record in ipairs(args.records) do
  local id, offset = record.task_id, record.offset
  local key = task_key(id)
  local known = redis.call('HMGET', key, 'partition', 'offset', 'finished_ms', 'status', 'retry', 'progress', 'fence', 'job_id', 'record',
    'begun_ms')
  -- A task that was never valid has no record.
  local may_retry = known[4] == 'failed' or known[4] == 'cancelled' or (known[4] == 'rejected' and known[9])
  local again = known[3] and may_retry
    and tonumber(record.fields.retry or 0) > tonumber(known[5] or 0)
  local outcome = 'added'
  if known[1] == partition and known[2] == offset then
    outcome = 'known'
    if not known[3] then
      redis.call('ZADD', open_key(partition), offset, id)
      join_job(known[8], id)
      requeue_if_lost(id)
    end
  elseif known[1] and not again then
    outcome = 'duplicate'
  elseif record.disposition == 'ended' then
    outcome = 'ended'
  elseif record.disposition == 'left out' and not redis.call('ZSCORE', open_key(partition), id) then
    outcome = 'left out'
  else
    -- Its hash may be lost, but not its entry in a queue.
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
      for name, value in pairs({progress = known[6] or '0', fence = known[7] or '0', begun_ms = known[10] or nil}) do
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
      redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    else
      outcome = next_fence(0)
      redis.call('HSET', key, 'status', 'rejected', 'ending', 'rejected', 'fence', outcome, 'server', args.server)
      redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    end
  end
  outcomes[#outcomes + 1] = outcome
end
redis.call('HSET', cursor_key, partition, next_cursor, partition .. ':last', args.last or '', 'arrival', whole(arrival))
if args.lost_records > 0 then redis.call('HINCRBY', cursor_key, 'lost_records', args.lost_records) end
redis.call('ZADD', open_key(partition), next_cursor, CURSOR_MEMBER)
return outcomes

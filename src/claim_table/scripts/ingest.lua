-- Adds consecutive records of one partition to the table and moves the partition's cursor, by compare-and-set.
-- Takes: partition; cursor, epoch: as the caller read them; next: the offset after the records; last (optional): the fingerprint of the
--   last record; lost_records: records that Kafka no longer has before them; server; lease_ms; kept_ms: how long ended tasks are kept;
--   refusals_max: how many refused records are kept, those after them are left out;
--   records: a list of {offset, task_id, record_id, disposition, fields, unless_known}. record_id names the record if it is rejected in place
--   of its task. unless_known (optional): why it is rejected if the table does not know the task, which it may only start again.
--   disposition is
--     new        a new task, or a task that is started again
--     ready      was queued when Redis was lost
--     held       was running when Redis was lost: kept for its server for one lease
--     paused     was paused when Redis was lost
--     ended      ended before Redis was lost, with its state in fields.status if it may be started again
--     rejected   not a valid task: the caller ends it, under the fence that is returned
--     left out   nor is it, and there were too many: as rejected if its offset is open, because its key was lost, else not kept
-- Returns: {{'moved'}} if the cursor has changed, else {{'ok'}, outcome, …} with an outcome for each record:
--     added; known (the same record, read again); duplicate (the task has this `retry` or a later one); ended
--     left out, reason: it is not kept
--     again, pass, index, found by pass, probe order: the task is started again from this checkpoint
--     rejected, fence: not a valid task
--     refused, fence, reason: it may not start the task of its id again; the caller ends the task record_id
-- Changes: the cursor, and the tasks of the records that are added. A new record whose `retry` is one higher than that of the task of its id,
--   and which scans the same, starts that task again if it has failed, was cancelled, or was rejected because no server may run it. The task
--   gets the new record's offset, so that no crash loses it. The checkpoint, the progress and the beginning of the scan stay what servers
--   wrote; a record cannot set them. Any other record with a higher `retry` is rejected under its record_id, and the task is not changed.
local partition, next_cursor = args.partition, args.next
if not intact(partition) then return {{'moved'}} end
local now_at = redis.call('HMGET', cursor_key, partition, partition .. ':epoch')
if now_at[1] ~= args.cursor or now_at[2] ~= args.epoch then return {{'moved'}} end

-- Adds a task that has not ended to the queue of its state if it is in no queue, because a key was lost.
local function requeue_if_lost(id)
  if is_in_a_queue(id) then return end
  local task = redis.call('HMGET', task_key(id), 'status', 'ending')
  if task[2] then
    redis.call('ZADD', running_key, UNOWNED, id)
  elseif task[1] == 'queued' then
    redis.call('ZADD', ready_key, score_of(id), id)
  elseif task[1] == 'paused' then
    redis.call('ZADD', paused_key, score_of(id), id)
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

-- What the table knows about a task; nil if nothing.
local function known_task(id)
  local task = redis.call('HMGET', task_key(id), 'partition', 'offset', 'finished_ms', 'status', 'retry', 'progress', 'fence', 'job_id', 'record',
    'begun_ms', 'resume_pass', 'resume_index', 'resume_found_by_pass', 'resume_for', 'found', 'found_by_pass')
  if not task[1] or not task[4] then return nil end
  return {
    partition = task[1], offset = task[2], has_ended = task[3], status = task[4], retry = number_of(task[5], 0), job = task[8], record = task[9],
    -- A task that was never valid has no record.
    may_retry = task[3] and task[9] and (task[4] == 'failed' or task[4] == 'cancelled' or task[4] == 'rejected'),
    -- What is kept when it is started again.
    kept = {
      progress = task[6] or '0', fence = task[7] or '0', begun_ms = task[10] or nil, resume_pass = task[11] or '1',
      resume_index = task[12] or '0', resume_found_by_pass = task[13] or '', resume_for = task[14] or '', found = task[15] or '0',
      found_by_pass = task[16] or '',
    },
  }
end

-- What decides which probes are sent and in which order; and whose task it is. For a shard the rate decides it too.
local REPEATED_FIELDS = {'ip_range', 'exclude', 'ports', 'seed', 'shard', 'retries', 'job_id'}

-- Why a record with a higher `retry` than the task's may not start the task again; nil if it may.
local function refusal_of(fields, task)
  if not task.has_ended then return 'it has not ended: ' .. task.status end
  if not task.may_retry then return 'it has ended as ' .. task.status end
  if tonumber(fields.retry) ~= task.retry + 1 then
    return 'its last retry is ' .. task.retry .. ', so the next one is ' .. task.retry + 1 .. ', not ' .. fields.retry
  end
  local new = cjson.decode(fields.record)
  local is_readable, old = pcall(cjson.decode, task.record)
  if not is_readable or type(old) ~= 'table' then return 'its record in Redis cannot be read' end
  for _, name in ipairs(REPEATED_FIELDS) do
    if new[name] ~= old[name] then return '`' .. name .. "` differs from the task's" end
  end
  if old.shard and new.band_width ~= old.band_width then return "`band_width` differs from the task's, which is a shard" end
  return nil
end

-- Appends the names and values of `fields` to the arguments of HSET.
local function append(hash, fields)
  for name, value in pairs(fields) do
    hash[#hash + 1] = name
    hash[#hash + 1] = value
  end
end

-- Restores a task that had ended when Redis was lost and that may be started again: what it scans, and its checkpoint, must be known then.
local function restore_ended(id, offset, fields)
  local key = task_key(id)
  local hash = {'task_id', id, 'partition', partition, 'offset', offset, 'score', '0', 'updated_ms', whole(now_ms)}
  append(hash, fields)
  redis.call('HSET', key, unpack(hash))
  redis.call('PEXPIRE', key, args.kept_ms)
  local job = fields.job_id
  if job then
    redis.call('SADD', job_key(job), id)
    if redis.call('SCARD', unfinished_key(job)) == 0 then redis.call('PEXPIRE', job_key(job), args.kept_ms) end
  end
end

local outcomes, refusals_left = {{'ok'}}, args.refusals_max
local arrival = number_of(redis.call('HGET', cursor_key, 'arrival'), 0)
for _, record in ipairs(args.records) do
  local id, offset, disposition, fields = record.task_id, record.offset, record.disposition, record.fields
  local known = known_task(id)
  local retry = tonumber(fields.retry or 0)
  local refusal
  if disposition == 'new' and known and retry > known.retry and (known.partition ~= partition or known.offset ~= offset) then
    refusal = refusal_of(fields, known)
  elseif not known then
    refusal = record.unless_known
  end
  if refusal then
    refusal = 'it would start task ' .. id .. ' again: ' .. refusal
    id, disposition, fields, retry = record.record_id, refusals_left > 0 and 'rejected' or 'left out', {error = refusal}, 0
    refusals_left = refusals_left - 1
    known = known_task(id)
  end
  local key = task_key(id)
  local again = known and known.may_retry and retry > known.retry
  local outcome = {'added'}
  if known and known.partition == partition and known.offset == offset then
    outcome = {'known'}
    if not known.has_ended then
      redis.call('ZADD', open_key(partition), offset, id)
      join_job(known.job, id)
      requeue_if_lost(id)
    end
  elseif known and not again then
    outcome = {'duplicate'}
  elseif disposition == 'ended' then
    outcome = {'ended'}
    if fields.status then restore_ended(id, offset, fields) end
  elseif disposition == 'left out' and not redis.call('ZSCORE', open_key(partition), id) then
    outcome = {'left out', fields.error}
  else
    -- Its hash may be lost, but not its entry in a queue.
    for _, queue in ipairs({ready_key, delayed_key, running_key, paused_key}) do redis.call('ZREM', queue, id) end
    arrival = math.max(arrival + 1, now_ms)
    local score = ready_score(tonumber(fields.priority) or 5, arrival)
    local hash = {
      'task_id', id, 'partition', partition, 'offset', offset, 'score', whole(score),
      'queued_ms', whole(now_ms), 'ready_ms', whole(now_ms), 'updated_ms', whole(now_ms),
    }
    append(hash, fields)
    if again then
      redis.call('DEL', key)
      -- If scan-status tells what this retry has reached, that is later than what the table knows.
      local kept = known.kept
      if disposition == 'new' then
        outcome = {'again', kept.resume_pass, kept.resume_index, kept.resume_found_by_pass, kept.resume_for}
      else
        kept = {begun_ms = kept.begun_ms}
      end
      append(hash, kept)
    end
    redis.call('HSET', key, unpack(hash))
    redis.call('ZADD', open_key(partition), offset, id)
    join_job(fields.job_id, id)
    if disposition == 'new' or disposition == 'ready' then
      redis.call('HSET', key, 'status', 'queued')
      redis.call('ZADD', ready_key, score, id)
    elseif disposition == 'paused' then
      redis.call('HSET', key, 'status', 'paused')
      redis.call('ZADD', paused_key, score, id)
    elseif disposition == 'held' then
      redis.call('HSET', key, 'status', 'running', 'started_ms', whole(now_ms))
      redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    else
      local fence = next_fence(0)
      outcome = refusal and {'refused', fence, refusal} or {'rejected', fence}
      redis.call('HSET', key, 'status', 'rejected', 'ending', 'rejected', 'fence', fence, 'server', args.server)
      redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    end
  end
  outcomes[#outcomes + 1] = outcome
end
redis.call('HSET', cursor_key, partition, next_cursor, partition .. ':last', args.last or '', 'arrival', whole(arrival))
if args.lost_records > 0 then add_to(cursor_key, 'lost_records', args.lost_records) end
redis.call('ZADD', open_key(partition), next_cursor, CURSOR_MEMBER)
return outcomes

-- Reports a server's load and, if it has room, claims the best task for it.
-- Takes:
--   server, version; capabilities: what the server is able to run
--   call: a name for this call; repeated with the same name after a lost answer, it gives the same task
--   lease_ms
--   slots, free, held, rate_used, max_rate: the server's load
--   fault (optional): why the server is not able to scan; it gets no task then
--   deferral_ms: how long a task is deferred to a less loaded server; fresh_ms: the age of a heartbeat up to which a server counts as alive
--   window: ready tasks to consider; throttled_max and skipped_max: about how many tasks to throttle and to skip in one call
--   skipped_kept_ms: how long tasks that were skipped are not examined again
--   reserved_ms: after this wait a large task is no longer overtaken by smaller ones
--   avoid_ms: how long a task that failed on a server is left to other servers
--   forgotten_ms: how long a server without heartbeats is kept; refused_kept_ms: how long a task that all servers refuse is kept
--   watermark_kept_ms: how long the watermark of a server that does not call is kept
-- Returns: one of
--   none: no task for this server now
--   idle, and for how many milliseconds no task will be ready unless one is queued
--   deferred: a task is left to a less loaded server for a moment
--   skipped: this server may run none of the tasks that were considered; the next call considers the tasks after them
--   vanished, and an id: the hash of a queued task is lost; an audit restores it
--   task, field, value, …
-- Changes: the server's entry; removes forgotten servers; makes ready the delayed tasks that are due and the throttled tasks
--   whose job has room; throttles ready tasks whose job has none; notes since when all servers refuse a task; claims a task.
local server, capabilities, slots, held = args.server, args.capabilities, args.slots, args.held
local free, rate_used, max_rate, window = args.free, args.rate_used, args.max_rate, args.window
local me = server_key(server)

local function report(held_now, free_now)
  redis.call('ZADD', servers_key, now_ms, server)
  redis.call('HSET', me, 'slots', slots, 'free', free_now, 'held', held_now, 'rate_used', whole(rate_used),
    'max_rate', whole(max_rate), 'version', args.version, 'capabilities', capabilities, 'seen_ms', whole(now_ms))
  if args.fault then redis.call('HSET', me, 'fault', args.fault) else redis.call('HDEL', me, 'fault') end
  redis.call('PEXPIRE', me, args.forgotten_ms)
  local forgotten = redis.call('ZREMRANGEBYSCORE', servers_key, '-inf', now_ms - args.forgotten_ms)
  if forgotten > 0 then
    redis.call('SET', departed_key, '', 'PX', args.refused_kept_ms)
    forget_watermarks(now_us - args.watermark_kept_ms * 1000)
  end
end

-- A repeated call, because its answer was lost. Its claim is still valid unless the lease has expired.
local last = redis.call('HMGET', me, 'call', 'call_task', 'call_fence', 'capabilities')
if last[1] == args.call and last[2] and claim_state(last[2], last[3]) == 'ok' then
  redis.call('ZADD', running_key, now_ms + args.lease_ms, last[2])
  local task = redis.call('HGETALL', task_key(last[2]))
  table.insert(task, 1, 'task')
  return task
end

-- The next read of the ready tasks begins at the front.
local function forget_skipped() redis.call('HDEL', me, 'skipped_to', 'skipped_ms') end

-- After a change of its capabilities, this server may be able to run tasks that it has refused.
if last[4] ~= capabilities then forget_skipped() end

-- Delayed tasks that are due become ready.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed_key, '-inf', now_ms, 'LIMIT', 0, window)) do
  if redis.call('EXISTS', task_key(id)) > 0 then
    redis.call('HSET', task_key(id), 'ready_ms', whole(now_ms))
    redis.call('ZADD', ready_key, score_of(id), id)
  end
  redis.call('ZREM', delayed_key, id)
end

report(held, free)
if free <= 0 or args.fault then
  -- If this server was still skipping refused tasks, its next claim begins at the front.
  if not redis.call('HGET', me, 'skipped_ms') then forget_skipped() end
  return {'none'}
end

-- The other servers that are alive, able to scan, and have a free slot.
local others = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', servers_key, now_ms - args.fresh_ms, '+inf')) do
  if name ~= server then
    local load = redis.call('HMGET', server_key(name), 'free', 'held', 'slots', 'rate_used', 'max_rate', 'capabilities', 'fault')
    local its_held, its_slots = number_of(load[2]), number_of(load[3])
    local its_rate_used, its_max_rate = number_of(load[4]), number_of(load[5])
    if number_of(load[1], 0) > 0 and its_held and its_slots and its_rate_used and its_max_rate and not load[7] then
      others[#others + 1] = {
        load = its_held / its_slots, rate_used = its_rate_used, max_rate = its_max_rate, name = name, capabilities = load[6] or '',
      }
    end
  end
end

-- Whether a task's rate fits. A task above the server's limit runs at the limit.
local function fits(band_width, used, limit)
  return used + math.min(band_width, limit) <= limit
end

-- Whether another server whose load is below `load` could claim the task now: it has not refused the task (`marks`), and the rate fits.
local function has_server_below(load, band_width, marks)
  for _, other in ipairs(others) do
    if other.load < load and fits(band_width, other.rate_used, other.max_rate)
      and not has_refused(marks, other.name, other.capabilities) then
      return true
    end
  end
  return false
end

-- Whether a partition's cursor is before the end of its rebuild. Running tasks may then be missing, so the limits of jobs cannot be checked.
local function is_rebuilding()
  local cursors = redis.call('HGETALL', cursor_key)
  local fields = {}
  for i = 1, #cursors, 2 do fields[cursors[i]] = cursors[i + 1] end
  for name, value in pairs(fields) do
    local partition = string.match(name, '^(%d+):until$')
    if partition and number_of(fields[partition], 0) < number_of(value, 0) then return true end
  end
  return #cursors == 0
end

-- The number of a job's tasks that are sending. A task whose masscan waits for late answers or has ended, or whose end is decided, does
-- not send.
local function sending_of(job)
  local sending = 0
  for _, id in ipairs(redis.call('ZINTER', 2, running_key, job_key(job))) do
    local task = redis.call('HMGET', task_key(id), 'sends_no_more', 'ending')
    if not task[1] and not task[2] then sending = sending + 1 end
  end
  return sending
end

local rebuilding, sending_by_job = nil, {}
local function job_has_room(job, parallel)
  if rebuilding == nil then rebuilding = is_rebuilding() end
  if rebuilding then return false end
  sending_by_job[job] = sending_by_job[job] or sending_of(job)
  return sending_by_job[job] < parallel
end

-- Makes the best throttled task of a job ready, if the job has room.
local function unthrottle(job)
  local best = redis.call('ZRANGE', throttled_key(job), 0, 0, 'WITHSCORES')
  local id = best[1]
  if not id then
    redis.call('ZREM', throttled_jobs_key, job)
    return
  end
  redis.call('ZADD', throttled_jobs_key, now_ms, job)
  local task = redis.call('HMGET', task_key(id), 'status', 'parallel')
  local queued = task[1] == 'queued' and not redis.call('ZSCORE', delayed_key, id)
  if queued and not job_has_room(job, number_of(task[2], 1)) then return end
  redis.call('ZREM', throttled_key(job), id)
  if queued then
    redis.call('HSET', task_key(id), 'ready_ms', whole(now_ms))
    redis.call('ZADD', ready_key, best[2], id)
  end
end
for _, job in ipairs(redis.call('ZRANGE', throttled_jobs_key, 0, window - 1)) do unthrottle(job) end

-- Whether all servers of the table have refused a task.
local all_capabilities
local function is_refused_by_all(marks)
  if not all_capabilities then
    all_capabilities = {}
    for _, name in ipairs(redis.call('ZRANGE', servers_key, 0, -1)) do
      all_capabilities[name] = redis.call('HGET', server_key(name), 'capabilities') or ''
    end
  end
  for name, its_capabilities in pairs(all_capabilities) do
    if not has_refused(marks, name, its_capabilities) then return false end
  end
  return true
end

-- Notes since when all servers have refused a task (`refused_ms`), and returns whether to skip it because this server may not run it. If the
-- refusal by all is final, the task is not skipped but claimed once more, so that refuse.lua decides its end.
local function note_refusal(id, marks, refused_ms)
  local by_me = has_refused(marks, server, capabilities)
  if not by_me or not is_refused_by_all(marks) then
    if refused_ms then redis.call('HDEL', task_key(id), 'refused_ms') end
    return by_me
  end
  local since = number_of(refused_ms)
  -- A time after now was noted before the clock went back.
  if not since or since > now_ms then
    since = now_ms
    redis.call('HSET', task_key(id), 'refused_ms', whole(now_ms))
  end
  return not refusal_is_final(since, args.refused_kept_ms)
end

-- Returns the best ready tasks, and whether it stopped at skipped_max without finding one. Of a job with a limit there is at most one, and none if
-- the job has no room. Its other tasks are throttled, because they would fill the window.
--
-- Tasks that this server may not run are skipped. So that thousands of them do not delay every claim, a call that skipped `window` tasks or more notes
-- where the next one begins: at `skipped_to`, the score of the first task that it found, or the one after the last task that it skipped. After
-- skipped_kept_ms (since `skipped_ms`) a call begins at the front again, because other tasks may have become ready there.
local function candidates()
  local found, throttled, skipped, seen = {}, 0, 0, {}
  local place = redis.call('HMGET', me, 'skipped_to', 'skipped_ms')
  local from, since = whole(number_of(place[1], -math.huge)), number_of(place[2])
  -- A time after now was noted before the clock went back.
  if since and (since > now_ms or now_ms - since >= args.skipped_kept_ms) then
    from, since = '-inf', nil
    forget_skipped()
  end
  local first, behind = nil, from
  while #found < window and throttled < args.throttled_max and skipped < args.skipped_max do
    local page = redis.call('ZRANGEBYSCORE', ready_key, from, '+inf', 'WITHSCORES', 'LIMIT', #found + skipped, window)
    for i = 1, #page, 2 do
      local id, score = page[i], page[i + 1]
      local task = redis.call('HMGET', task_key(id), 'job_id', 'parallel', 'status', 'refused_by', 'refused_ms')
      local job, parallel = task[1], number_of(task[2], 0)
      local limited = job and parallel > 0 and task[3] == 'queued'
      if note_refusal(id, task[4], task[5]) then
        skipped = skipped + 1
      elseif limited and (seen[job] or not job_has_room(job, parallel)) then
        redis.call('ZREM', ready_key, id)
        redis.call('ZADD', throttled_key(job), score, id)
        redis.call('ZADD', throttled_jobs_key, 'NX', now_ms, job)
        throttled = throttled + 1
      else
        if limited then seen[job] = true end
        found[#found + 1] = id
        first = first or score
      end
      behind = whole(tonumber(score) + 1)
    end
    if #page < 2 * window then break end
  end
  local has_only_skipped = #found == 0 and skipped >= args.skipped_max
  if has_only_skipped then
    -- Without `skipped_ms`: the next calls go on from here until one finds a task or reaches the end, however long that takes.
    redis.call('HSET', me, 'skipped_to', behind)
    redis.call('HDEL', me, 'skipped_ms')
  elseif from ~= '-inf' or skipped >= window then
    redis.call('HSET', me, 'skipped_to', first or behind, 'skipped_ms', whole(since or now_ms))
  end
  return found, has_only_skipped
end

local found, has_only_skipped = candidates()
if has_only_skipped then return {'skipped'} end
local deferred = false
for _, id in ipairs(found) do
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'band_width', 'ready_ms', 'failed_server', 'fence', 'attempt', 'status', 'job_id',
    'refused_by', 'resume_pass', 'resume_index')
  if task[6] ~= 'queued' then
    redis.call('ZREM', ready_key, id)
    return {'vanished', id}
  end
  local band_width, waited = number_of(task[1], 0), now_ms - number_of(task[2], now_ms)
  if waited < 0 then
    -- It was noted before the clock went back.
    redis.call('HSET', key, 'ready_ms', whole(now_ms))
    waited = 0
  end
  -- A task that this server has refused is claimed so that refuse.lua can reject it (see `note_refusal`): it needs no free rate.
  if not has_refused(task[8], server, capabilities) and not fits(band_width, rate_used, max_rate) then
    -- Smaller tasks may go before a large one, but not for ever.
    if waited > args.reserved_ms then break end
  elseif task[3] == server and waited < args.avoid_ms and has_server_below(math.huge, band_width, task[8]) then
    deferred = true
  elseif waited < args.deferral_ms and has_server_below(held / slots, band_width, task[8]) then
    deferred = true
  else
    local fence = next_fence(task[4])
    local attempt = number_of(task[5], 0) + 1
    redis.call('ZREM', ready_key, id)
    redis.call('ZADD', running_key, now_ms + args.lease_ms, id)
    redis.call('HSET', key, 'task_id', id, 'status', 'running', 'server', server, 'fence', fence, 'attempt', attempt,
      'started_ms', whole(now_ms), 'updated_ms', whole(now_ms))
    -- Without a checkpoint no probe of an earlier attempt counts. With one, the beginning stays what it was, or unknown.
    if number_of(task[9], 1) == 1 and number_of(task[10], 0) == 0 then
      redis.call('HSET', key, 'begun_ms', whole(now_ms))
    end
    redis.call('HDEL', key, 'error', 'order', 'retry_ms', 'rate_pps', 'remaining_s', 'sends_no_more')
    -- Already a member; but the job's limit must hold even if Redis lost the key.
    if task[7] then redis.call('SADD', job_key(task[7]), id) end
    report(held + 1, free - 1)
    redis.call('HSET', me, 'call', args.call, 'call_task', id, 'call_fence', fence)
    local claimed = redis.call('HGETALL', key)
    table.insert(claimed, 1, 'task')
    return claimed
  end
end
if deferred then return {'deferred'} end
-- A throttled task may become ready at any moment, a delayed one when it is due.
if redis.call('EXISTS', ready_key, throttled_jobs_key) > 0 then return {'none'} end
local first_due = redis.call('ZRANGE', delayed_key, 0, 0, 'WITHSCORES')[2]
return {'idle', whole(first_due and math.max(first_due - now_ms, 0) or args.forgotten_ms)}

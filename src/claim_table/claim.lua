-- Reports a server's load and, where it has room, claims the best task for it. ARGV: server, a name for this call, lease
-- (ms), slots, slots free, tasks held, rate in use, rate limit (0 = none), deferral (ms), heartbeat age that counts as alive
-- (ms), ready tasks to look at, most tasks to throttle, wait after which a large task is no longer overtaken (ms), how long
-- a server that failed a task leaves it to others (ms), version, how long a silent server is remembered (ms), the watermark of
-- the caller's last call, its capabilities (what it may do), most tasks to pass over, how long a task that all servers refused is
-- kept (ms).
-- Returns a watermark, then 'none', 'idle' and for how long nothing will be ready unless somebody queues it (ms), 'deferred' (a
-- less loaded server is given a moment), 'vanished' and an id (its hash is lost: the caller reports it; audit.lua brings it
-- back), 'restored' (see below), 'skipped' (nothing among so many tasks that it may not scan; the next call goes on behind
-- them), or 'task' and field, value, ….
local server, call, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local slots, free, held = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local rate_used, max_rate = tonumber(ARGV[7]), tonumber(ARGV[8])
local deferral_ms, fresh_ms, window = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local throttled_max, reserved_ms, avoid_ms = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local version, forgotten_ms = ARGV[15], tonumber(ARGV[16])
local watermark_seen = tonumber(ARGV[17])
local capabilities, skipped_max, patience_ms = ARGV[18], tonumber(ARGV[19]), tonumber(ARGV[20])
local me = server_key(server)

-- A Redis that was started from an old snapshot, or whose replica took over, has gone back in time: tasks that have ended
-- look unfinished, and claims stand that were given up. It can't be seen from within; but every call leaves the time here,
-- and a server that has seen a later one knows. What such a Redis holds is forgotten and rebuilt from Kafka.
local watermark_found = tonumber(redis.call('GET', watermark_key))
local watermark = whole(math.max((watermark_found or 0) + 1, now_us))
redis.call('SET', watermark_key, watermark)
if watermark_found and watermark_found < watermark_seen then
  forget_all()
  return {watermark, 'restored'}
end

local function report(held_now, free_now)
  redis.call('ZADD', servers_key, now_ms, server)
  redis.call('HSET', me, 'slots', slots, 'free', free_now, 'held', held_now, 'rate_used', whole(rate_used),
    'max_rate', whole(max_rate), 'version', version, 'capabilities', capabilities, 'seen_ms', whole(now_ms))
  redis.call('PEXPIRE', me, forgotten_ms)
  local forgotten = redis.call('ZREMRANGEBYSCORE', servers_key, '-inf', now_ms - forgotten_ms)
  if forgotten > 0 then redis.call('SET', departed_key, '', 'PX', patience_ms) end
end

-- The same call again: its answer was lost on the way. The claim it made still stands unless the lease ran out.
local last = redis.call('HMGET', me, 'call', 'call_task', 'call_fence')
if last[1] == call and last[2] and claim_state(last[2], last[3]) == 'ok' then
  redis.call('ZADD', running_key, now_ms + lease_ms, last[2])
  local task = redis.call('HGETALL', task_key(last[2]))
  table.insert(task, 1, 'task')
  table.insert(task, 1, watermark)
  return task
end

-- Retries whose time has come are ready again.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed_key, '-inf', now_ms, 'LIMIT', 0, window)) do
  local score = redis.call('HGET', task_key(id), 'score')
  if score then
    redis.call('HSET', task_key(id), 'ready_ms', whole(now_ms))
    redis.call('ZADD', ready_key, score, id)
  end
  redis.call('ZREM', delayed_key, id)
end

report(held, free)
if free <= 0 then return {watermark, 'none'} end

-- The other servers that are alive and have a slot free.
local others = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', servers_key, now_ms - fresh_ms, '+inf')) do
  if name ~= server then
    local load = redis.call('HMGET', server_key(name), 'free', 'held', 'slots', 'rate_used', 'max_rate', 'capabilities')
    if tonumber(load[1] or 0) > 0 then
      others[#others + 1] = {
        load = tonumber(load[2]) / tonumber(load[3]), rate_used = tonumber(load[4]), max_rate = tonumber(load[5]),
        name = name, capabilities = load[6] or '',
      }
    end
  end
end

-- A task above a server's limit runs at the limit, so it needs no more than that.
local function fits(band_width, used, limit)
  return limit == 0 or used + math.min(band_width, limit) <= limit
end

-- Whether another server whose load is below `load` could take the task now: it has not refused it (`marks`), and its rate is free.
local function anyone_below(load, band_width, marks)
  for _, other in ipairs(others) do
    if other.load < load and fits(band_width, other.rate_used, other.max_rate)
      and not has_refused(marks, other.name, other.capabilities) then
      return true
    end
  end
  return false
end

-- While the group is being rebuilt, tasks of a job may be running that the table doesn't have yet.
local function is_rebuilding()
  local cursors = redis.call('HGETALL', cursor_key)
  local fields = {}
  for i = 1, #cursors, 2 do fields[cursors[i]] = cursors[i + 1] end
  for name, value in pairs(fields) do
    local partition = string.match(name, '^(%d+):until$')
    if partition and tonumber(fields[partition] or 0) < tonumber(value) then return true end
  end
  return #cursors == 0
end

-- Tasks of a job that send now. One whose masscan only waits for late answers or is gone, or whose end is decided, sends nothing.
local function sending_of(job)
  local sending = 0
  for _, id in ipairs(redis.call('ZINTER', 2, running_key, job_key(job))) do
    local task = redis.call('HMGET', task_key(id), 'sends_no_more', 'ending')
    if not task[1] and not task[2] then sending = sending + 1 end
  end
  return sending
end

local rebuilding, sending = nil, {}
local function job_has_room(job, parallel)
  if rebuilding == nil then rebuilding = is_rebuilding() end
  if rebuilding then return false end
  sending[job] = sending[job] or sending_of(job)
  return sending[job] < parallel
end

-- When a job has room again, its best throttled task becomes ready.
local function bring_back(job)
  local best = redis.call('ZRANGE', throttled_key(job), 0, 0, 'WITHSCORES')
  local id = best[1]
  if not id then
    redis.call('ZREM', throttled_jobs_key, job)
    return
  end
  redis.call('ZADD', throttled_jobs_key, now_ms, job)
  local task = redis.call('HMGET', task_key(id), 'status', 'parallel')
  local queued = task[1] == 'queued' and not redis.call('ZSCORE', delayed_key, id)
  if queued and not job_has_room(job, tonumber(task[2] or 1)) then return end
  redis.call('ZREM', throttled_key(job), id)
  if queued then
    redis.call('HSET', task_key(id), 'ready_ms', whole(now_ms))
    redis.call('ZADD', ready_key, best[2], id)
  end
end
for _, job in ipairs(redis.call('ZRANGE', throttled_jobs_key, 0, window - 1)) do bring_back(job) end

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

-- Whether to pass over a task because this server may not run it. `refused_ms` is since when all servers refuse it without a
-- break. Where they have for a while, and none has left that may come back, it is claimed once more, and refuse.lua ends it.
local function is_refused(id, marks, refused_ms)
  local by_me = has_refused(marks, server, capabilities)
  if not by_me or not is_refused_by_all(marks) then
    if refused_ms then redis.call('HDEL', task_key(id), 'refused_ms') end
    return by_me
  end
  if not refused_ms then redis.call('HSET', task_key(id), 'refused_ms', whole(now_ms)) end
  return not is_given_up(refused_ms or now_ms, patience_ms)
end

-- The best ready tasks. A job with a limit has one of them at most, and none if it has no room. Its other tasks are
-- throttled, because many of them would hide the tasks behind them. Tasks that this server may not scan are skipped.
local function candidates()
  local found, throttled, skipped, seen = {}, 0, 0, {}
  local from = tonumber(redis.call('HGET', me, 'skipped_to') or 0)
  local skipped_to = 0
  while #found < window and throttled < throttled_max do
    if skipped >= skipped_max then
      if #found == 0 then skipped_to = from end
      break
    end
    local page = redis.call('ZRANGE', ready_key, from, from + window - 1, 'WITHSCORES')
    for i = 1, #page, 2 do
      local id = page[i]
      local task = redis.call('HMGET', task_key(id), 'job_id', 'parallel', 'status', 'refused_by', 'refused_ms')
      local job, parallel = task[1], tonumber(task[2] or 0)
      local limited = job and parallel > 0 and task[3] == 'queued'
      if is_refused(id, task[4], task[5]) then
        skipped = skipped + 1
        from = from + 1
      elseif limited and (seen[job] or not job_has_room(job, parallel)) then
        redis.call('ZREM', ready_key, id)
        redis.call('ZADD', throttled_key(job), page[i + 1], id)
        redis.call('ZADD', throttled_jobs_key, 'NX', now_ms, job)
        throttled = throttled + 1
      else
        if limited then seen[job] = true end
        found[#found + 1] = id
        from = from + 1
      end
    end
    if #page < 2 * window then break end
  end
  redis.call('HSET', me, 'skipped_to', skipped_to)
  return found, skipped_to > 0
end

local found, skipped = candidates()
if skipped then return {watermark, 'skipped'} end
local deferred = false
for _, id in ipairs(found) do
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'band_width', 'ready_ms', 'failed_server', 'fence', 'attempt', 'status', 'job_id',
    'refused_by')
  if task[6] ~= 'queued' then
    redis.call('ZREM', ready_key, id)
    return {watermark, 'vanished', id}
  end
  local band_width, waited = tonumber(task[1]), now_ms - tonumber(task[2])
  if not fits(band_width, rate_used, max_rate) then
    -- Smaller tasks may go before a large one, but not for ever.
    if waited > reserved_ms then break end
  elseif task[3] == server and waited < avoid_ms and anyone_below(math.huge, band_width, task[8]) then
    deferred = true
  elseif waited < deferral_ms and anyone_below(held / slots, band_width, task[8]) then
    deferred = true
  else
    local fence = next_fence(task[4])
    local attempt = tonumber(task[5] or 0) + 1
    redis.call('ZREM', ready_key, id)
    redis.call('ZADD', running_key, now_ms + lease_ms, id)
    redis.call('HSET', key, 'status', 'running', 'server', server, 'fence', fence, 'attempt', attempt,
      'started_ms', whole(now_ms), 'updated_ms', whole(now_ms))
    redis.call('HDEL', key, 'error', 'order', 'retry_ms', 'rate_pps', 'remaining_s', 'sends_no_more')
    -- It is there already; a limit must hold even where Redis lost the key.
    if task[7] then redis.call('SADD', job_key(task[7]), id) end
    report(held + 1, free - 1)
    redis.call('HSET', me, 'call', call, 'call_task', id, 'call_fence', fence)
    local claimed = redis.call('HGETALL', key)
    table.insert(claimed, 1, 'task')
    table.insert(claimed, 1, watermark)
    return claimed
  end
end
if deferred then return {watermark, 'deferred'} end
-- What waits for its job's limit may be ready at any moment; what is delayed, at its time.
if redis.call('EXISTS', ready_key, throttled_jobs_key) > 0 then return {watermark, 'none'} end
local first_due = redis.call('ZRANGE', delayed_key, 0, 0, 'WITHSCORES')[2]
return {watermark, 'idle', whole(first_due and math.max(first_due - now_ms, 0) or forgotten_ms)}

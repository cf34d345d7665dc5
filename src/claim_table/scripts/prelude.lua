-- The beginning of every script: arguments, key names, the clock, and functions that several scripts use.
--
-- KEYS[1] is the group's prefix `scan:{<group>}:`. Its hash tag keeps all keys of a group on one node of a cluster. ARGV[1] is a JSON
-- object with the script's arguments; the first lines of each script say what it takes, returns and changes. ARGV[2] is the server that
-- calls, or '' for scanpush; ARGV[3] is the last watermark that the server has seen, or 0.
--
-- What follows is the function main() with the text of the script, and answer.lua, which calls it.
--
-- Rules for all scripts: check everything before the first write, because Redis does not roll back; give the same end state if the same
-- call arrives twice; judge leases by Redis' clock alone, which may jump (follow_clock). Lua's numbers are doubles, so fences, offsets and times in microseconds are
-- passed as strings and formatted by whole().
local args = cjson.decode(ARGV[1])
local prefix = KEYS[1]
local cursor_key = prefix .. 'cursor'
local ready_key = prefix .. 'ready'
local delayed_key = prefix .. 'delayed'
local running_key = prefix .. 'running'
local paused_key = prefix .. 'paused'
-- A task that has not ended is in one of these, or throttled.
local task_queues = {ready_key, delayed_key, running_key, paused_key}
local servers_key = prefix .. 'servers'
-- Jobs that have throttled tasks: queued tasks that wait for their job's limit. They are not in `ready`, where they would hold up other
-- tasks. Ordered by the time at which claim.lua last checked the job.
local throttled_jobs_key = prefix .. 'throttled'
-- The last watermark of each server, see below.
local watermarks_key = prefix .. 'watermarks'
-- The server that left the group last; expires after a while. It may be restarting, and may be the only one that may run a task.
local departed_key = prefix .. 'departed'
-- Ids of tasks with a state change that is not on Kafka yet, by the time at which a server may take it.
local outbox_key = prefix .. 'outbox'

-- The member of an `open` set that represents the cursor. Its score is the cursor, so the lowest score of the set is the offset that the
-- group may commit. A set without it was lost; it is never just empty. No task id contains a space.
local CURSOR_MEMBER = 'next offset'

-- Above this, the numbers of Lua are not exact integers.
local NUMBER_MAX = 2 ^ 53
-- A higher fence is ignored: a watermark is never below any other fence, and has to be able to increase.
local FENCE_MAX = 2 ^ 52
-- A higher watermark is ignored too. Above FENCE_MAX, because a watermark follows the highest accepted fence.
local WATERMARK_MAX = FENCE_MAX + 2 ^ 51

-- The number in a field; `default` if the field is missing, or is not a number up to NUMBER_MAX. Not only scand writes the fields: one malformed
-- task must not hold up the others. scand ends a task whose fields it cannot read.
local function number_of(field, default)
  local number = tonumber(field)
  if not number or number ~= number or math.abs(number) > NUMBER_MAX then return default end
  return number
end

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)

-- A watermark is a time in microseconds that only increases, even if a replica with a slow clock becomes the primary. Each call of a server
-- gets a new one, which is noted as the server's own and returned to it. The server sends the last one that it has seen: if an older one
-- is noted, Redis has lost an answered call of this server (a failover, an old snapshot), and perhaps calls of others. Each server has its
-- own, because a call of another server after the loss would hide it.
local TABLE_FIELD, OTHERS_FIELD = 'the table', 'other servers' -- the last watermark of all; that of servers whose own is not noted
local CLOCK_FIELD = 'the clock' -- the time of the last call of a server, in milliseconds by Redis' clock
local caller, seen = ARGV[2], tonumber(ARGV[3])
local noted_of_table, noted_of_others, noted_of_caller, clock_ms =
  unpack(redis.call('HMGET', watermarks_key, TABLE_FIELD, OTHERS_FIELD, caller, CLOCK_FIELD))
local went_back = caller ~= '' and number_of(noted_of_caller or noted_of_others, 0) < seen
local last_watermark = number_of(noted_of_table, 0)
if last_watermark > WATERMARK_MAX then last_watermark = 0 end
local watermark = math.max(now_us, last_watermark + 1, seen + 1)

local function task_key(id) return prefix .. 'task:' .. id end
local function open_key(partition) return prefix .. 'open:' .. partition end
local function server_key(name) return prefix .. 'server:' .. name end
-- All tasks of a job, those that have not ended, and those that are throttled.
local function job_key(job) return prefix .. 'job:' .. job end
local function unfinished_key(job) return prefix .. 'unfinished:' .. job end
local function throttled_key(job) return prefix .. 'throttled:' .. job end
local function whole(number) return string.format('%.0f', number) end

-- Adds to the number in a field. HINCRBY would fail if the field is malformed.
local function add_to(key, field, number)
  redis.call('HSET', key, field, whole(number_of(redis.call('HGET', key, field), 0) + number))
end

-- The attempt of a task that is given back does not count.
local function give_back_attempt(key)
  redis.call('HSET', key, 'attempt', whole(math.max(number_of(redis.call('HGET', key, 'attempt'), 1) - 1, 0)))
end

-- A partition is intact if its cursor, with its end of the rebuild and its epoch, exists and is well-formed, and its open set agrees with it.
local function intact(partition)
  local cursor = redis.call('HMGET', cursor_key, partition, partition .. ':until', partition .. ':epoch')
  for i = 1, 2 do
    if not string.match(cursor[i] or '', '^%d+$') then return false end
  end
  local mark = redis.call('ZSCORE', open_key(partition), CURSOR_MEMBER)
  local offset = number_of(cursor[1])
  return cursor[3] and offset and offset == number_of(mark)
end

-- A fence grows with every claim. If Redis lost the previous one, it is still greater than every accepted fence that the caller or the table knows,
-- because no watermark is below a fence.
local function next_fence(previous)
  local last = number_of(previous, 0)
  if last <= FENCE_MAX then watermark = math.max(last + 1, watermark) end
  return whole(watermark)
end

-- Notes watermarks that are older than `before_us` only as the one of servers without their own: those servers have probably left.
local function forget_watermarks(before_us)
  local all = redis.call('HGETALL', watermarks_key)
  local others = number_of(noted_of_others, 0)
  for i = 1, #all, 2 do
    local its = number_of(all[i + 1], 0)
    if all[i] ~= TABLE_FIELD and all[i] ~= OTHERS_FIELD and all[i] ~= CLOCK_FIELD and its < before_us then
      others = math.max(others, its)
      redis.call('HSET', watermarks_key, OTHERS_FIELD, whole(others))
      redis.call('HDEL', watermarks_key, all[i])
    end
  end
end

-- Higher priority first, then first come: 10 tiers of 10^13, in each the arrival.
local function ready_score(priority, arrival)
  return (9 - priority) * 1e13 + arrival
end

-- The score of a task in the queues of tasks that wait; as if it arrived now with priority 5 if its own is malformed.
local function score_of(id)
  return whole(number_of(redis.call('HGET', task_key(id), 'score'), ready_score(5, now_ms)))
end

-- Whether a task that has not ended is complete: its hash exists, and its id is in one of the queues.
local function is_in_a_queue(id)
  local task = redis.call('HMGET', task_key(id), 'status', 'job_id')
  if not task[1] then return false end
  if task[2] and redis.call('ZSCORE', throttled_key(task[2]), id) then return true end
  for _, queue in ipairs(task_queues) do
    if redis.call('ZSCORE', queue, id) then return true end
  end
  return false
end

-- Removes all tasks that have not ended and all cursors, so that the table is rebuilt from Kafka.
local function clear_unfinished()
  for _, partition in ipairs(redis.call('HKEYS', cursor_key)) do
    if string.match(partition, '^%d+$') then
      for _, id in ipairs(redis.call('ZRANGE', open_key(partition), 0, -1)) do
        local job = redis.call('HGET', task_key(id), 'job_id')
        if job then
          redis.call('ZREM', throttled_key(job), id)
          redis.call('SREM', unfinished_key(job), id)
        end
        redis.call('DEL', task_key(id))
      end
      redis.call('DEL', open_key(partition))
    end
  end
  redis.call('DEL', outbox_key, cursor_key, unpack(task_queues))
end

-- Whether the server `name` refused a task with these capabilities. `marks` is the task's refused_by: `name=capabilities …`.
local function has_refused(marks, name, capabilities)
  return marks and capabilities ~= '' and string.find(' ' .. marks .. ' ', ' ' .. name .. '=' .. capabilities .. ' ', 1, true) ~= nil
end

-- Whether a task that all servers have refused since `refused_ms` is to be rejected: it was kept for `refused_kept_ms`, and no server left in
-- that time.
local function refusal_is_final(refused_ms, refused_kept_ms)
  return now_ms - refused_ms >= refused_kept_ms and redis.call('EXISTS', departed_key) == 0
end

-- Whether the task runs under the claim `fence`: 'ok', 'lost' (another server runs it, or no server does), or 'gone' (no such task).
local function claim_state(id, fence)
  local held = redis.call('HMGET', task_key(id), 'fence', 'status')
  if not held[2] then return 'gone' end
  if held[1] == fence and redis.call('ZSCORE', running_key, id) then return 'ok' end
  return 'lost'
end

-- Adds the time since the claim to the time for which servers have run the task, when its server gives it back or is lost. Jumps of the clock
-- do not count (follow_clock).
local function add_run_time(id)
  local started_ms = number_of(redis.call('HGET', task_key(id), 'started_ms'), now_ms)
  add_to(task_key(id), 'ran_ms', math.max(now_ms - started_ms, 0))
end

-- The score in `running` of a task that no server runs and any server may end at once, as if its lease had expired long ago.
local UNOWNED = 0

-- The highest score in `running` of a claim that a reaper may take: of every expired one, or only of unowned ones.
local function reapable(all_expired)
  return all_expired and '(' .. whole(now_ms) or UNOWNED
end

-- Running servers call more often than this, also if one of them is slow.
local CALLS_MAX_APART_MS = 2000
-- The time that counts as passed between two calls that are further apart. Shorter than what is left of the shortest lease when it is renewed.
local CALLS_APART_MS = 1000
-- A jump of at least this length is logged.
local LONG_JUMP_MS = 60000
-- For this long after a jump no refusal is final, as if a server had left.
local JUMP_REMEMBERED_MS = 60000

-- By how much Redis' clock has jumped since the last call, in milliseconds; nil if it has not. If it went back, no time counts as passed: small
-- corrections must not shorten leases.
local function clock_jump()
  local called_ms = number_of(clock_ms)
  if not called_ms then return nil end
  local passed = now_ms - called_ms
  if passed >= 0 and passed <= CALLS_MAX_APART_MS then return nil end
  return passed - (passed < 0 and 0 or CALLS_APART_MS)
end

-- The current time as the queues measure it. After a jump only the next call of a server moves their times; an order may come before that call.
local function queues_now()
  return now_ms - (clock_jump() or 0)
end

-- Moves the times in the queues if Redis' clock has jumped since the last call, so that what is left of each lease, delay and heartbeat stays the
-- same. A time in which no server called, or Redis was frozen, counts as a jump too: no server could renew a lease. The begin of running attempts
-- is moved as well, so that the jump is not added to `ran_ms`.
--
-- Returns a jump that is long enough to be logged, in milliseconds; else nil.
local function follow_clock()
  local jump = clock_jump()
  if not jump then return end
  -- First, because a jump must not be followed twice.
  clock_ms = whole(now_ms)
  redis.call('HSET', watermarks_key, CLOCK_FIELD, clock_ms)
  for _, queue in ipairs({running_key, delayed_key, servers_key, outbox_key, throttled_jobs_key}) do
    local members = redis.call('ZRANGEBYSCORE', queue, '(' .. UNOWNED, '+inf', 'WITHSCORES')
    for i = 1, #members, 2 do
      redis.call('ZADD', queue, math.max(tonumber(members[i + 1]) + jump, UNOWNED + 1), members[i])
      local started_ms = queue == running_key and number_of(redis.call('HGET', task_key(members[i]), 'started_ms'))
      if started_ms then redis.call('HSET', task_key(members[i]), 'started_ms', whole(math.max(started_ms + jump, 0))) end
    end
  end
  redis.call('SET', departed_key, '', 'PX', JUMP_REMEMBERED_MS)
  return math.abs(jump) >= LONG_JUMP_MS and jump or nil
end

-- Removes a task that has not ended from all queues. Increases its fence, so that the later of two records on Kafka can be recognised, and a
-- server that ran the task before no longer has a valid claim.
local function remove_from_queues(id)
  for _, queue in ipairs(task_queues) do redis.call('ZREM', queue, id) end
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'fence', 'job_id')
  if task[2] then redis.call('ZREM', throttled_key(task[2]), id) end
  redis.call('HSET', key, 'fence', next_fence(task[1]), 'updated_ms', whole(now_ms))
  redis.call('HDEL', key, 'order', 'server', 'rate_pps', 'remaining_s', 'retry_ms')
end

-- Sets the state of a task that no server runs (queued or paused), and adds the change to the outbox.
local function set_waiting(id, state, queue)
  remove_from_queues(id)
  redis.call('HSET', task_key(id), 'status', state, 'ready_ms', whole(now_ms))
  redis.call('ZADD', queue, score_of(id), id)
  redis.call('ZADD', outbox_key, whole(queues_now()), id)
end

-- Decides that a task that no server runs ends as cancelled. The next server that reaps publishes and ends it.
local function decide_cancelled(id)
  remove_from_queues(id)
  redis.call('HSET', task_key(id), 'ending', 'cancelled', 'order', 'cancel')
  redis.call('HDEL', task_key(id), 'error')
  redis.call('ZADD', running_key, UNOWNED, id)
  redis.call('ZREM', outbox_key, id)
end

-- Carries out the order about a task that its server gives back. Returns whether there was an order.
local function carry_out(order, id)
  if order == 'cancel' then
    decide_cancelled(id)
  elseif order == 'pause' then
    set_waiting(id, 'paused', paused_key)
  else
    return false
  end
  return true
end

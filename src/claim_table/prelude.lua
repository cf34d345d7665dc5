-- What every script of the ledger begins with: the key names and the clock. KEYS[1] is the group's prefix
-- `scan:{<group>}:`; its hash tag keeps all keys of a group on one node of a cluster.
--
-- Rules for all scripts: check everything before the first write (Redis does not roll back), and give the same end state
-- when the same call arrives twice. Judge leases by Redis' clock alone.
local prefix = KEYS[1]
local cursor_key = prefix .. 'cursor'
local ready_key = prefix .. 'ready'
local delayed_key = prefix .. 'delayed'
local running_key = prefix .. 'running'
local paused_key = prefix .. 'paused'
local servers_key = prefix .. 'servers'
-- Jobs that have tasks set aside: queued ones that wait for their job's limit, not in `ready`, so that they stand in no
-- other task's way. By the time when claim.lua last looked at the job.
local throttled_jobs_key = prefix .. 'throttled'
local watermark_key = prefix .. 'watermark'
-- The server that left the table last, for a while: it may be restarting, and be the only one that may run a task.
local departed_key = prefix .. 'departed'
-- Ids of tasks whose change of state no server has told Kafka yet, by the time at which one may take it.
local outbox_key = prefix .. 'outbox'

-- The member of an `open` set that stands for the cursor. Its score is the cursor, so the lowest score of the set is what
-- the group may commit, and a set without it is a lost set, never an empty one. No task id contains a space.
local CURSOR_MEMBER = 'next offset'

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)

local function task_key(id) return prefix .. 'task:' .. id end
local function open_key(partition) return prefix .. 'open:' .. partition end
local function server_key(name) return prefix .. 'server:' .. name end
-- All tasks of a job, those that have not ended, and those that are set aside.
local function job_key(job) return prefix .. 'job:' .. job end
local function unfinished_key(job) return prefix .. 'unfinished:' .. job end
local function throttled_key(job) return prefix .. 'throttled:' .. job end
local function whole(number) return string.format('%.0f', number) end

-- A partition is intact when its cursor and its open set are both there and agree.
local function intact(partition)
  local cursor = redis.call('HGET', cursor_key, partition)
  local mark = redis.call('ZSCORE', open_key(partition), CURSOR_MEMBER)
  return cursor and mark and tonumber(cursor) == tonumber(mark)
end

-- A fence grows with every claim, and across a Redis that lost the previous one (microseconds only grow).
local function next_fence(previous)
  return whole(math.max((tonumber(previous) or 0) + 1, now_us))
end

-- Higher priority first, then first come: 10 tiers of 10^13, in each the arrival.
local function ready_score(priority, arrival)
  return (9 - priority) * 1e13 + arrival
end

-- Whether a task that has not ended is whole: its hash is there, and its id in one of the queues.
local function is_in_a_queue(id)
  local task = redis.call('HMGET', task_key(id), 'status', 'job_id')
  if not task[1] then return false end
  if task[2] and redis.call('ZSCORE', throttled_key(task[2]), id) then return true end
  for _, queue in ipairs({ready_key, delayed_key, running_key, paused_key}) do
    if redis.call('ZSCORE', queue, id) then return true end
  end
  return false
end

-- Forgets every task that has not ended, so that the group is rebuilt from Kafka alone.
local function forget_all()
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
  redis.call('DEL', ready_key, delayed_key, running_key, paused_key, outbox_key, cursor_key)
end

-- Whether the server `name` refused a task while its capabilities were `capabilities`. `marks` is the task's refused_by: `name=capabilities …`.
local function has_refused(marks, name, capabilities)
  return marks and capabilities ~= '' and string.find(' ' .. marks .. ' ', ' ' .. name .. '=' .. capabilities .. ' ', 1, true) ~= nil
end

-- Whether a task that all servers refuse since `refused_ms` waits for none any more.
local function is_given_up(refused_ms, patience_ms)
  return now_ms - tonumber(refused_ms) >= patience_ms and redis.call('EXISTS', departed_key) == 0
end

-- Whether `fence` is the claim under which the task runs now: 'ok', 'lost' (somebody else's, or nobody's), 'gone' (no such task).
local function claim_state(id, fence)
  local held = redis.call('HMGET', task_key(id), 'fence', 'status')
  if not held[2] then return 'gone' end
  if held[1] == fence and redis.call('ZSCORE', running_key, id) then return 'ok' end
  return 'lost'
end

-- The score in `running` of a task that nobody runs and any server may end at once: its lease expired long ago.
local NOBODYS = 0

-- The highest score in `running` of a claim that a reaper may take: of all that have expired, or only of those that are nobody's.
local function reapable(which)
  return which == 'all' and '(' .. whole(now_ms) or NOBODYS
end

-- Takes a task that has not ended out of all queues. Its fence grows with every order, so that of two records on Kafka the
-- later one is known, and a server that had the task once does not take it for its own.
local function leave_queues(id)
  for _, queue in ipairs({ready_key, delayed_key, running_key, paused_key}) do redis.call('ZREM', queue, id) end
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'fence', 'job_id')
  if task[2] then redis.call('ZREM', throttled_key(task[2]), id) end
  redis.call('HSET', key, 'fence', next_fence(task[1]), 'updated_ms', whole(now_ms))
  redis.call('HDEL', key, 'order', 'server', 'rate_pps', 'remaining_s', 'retry_ms')
end

-- Sets a task's state to one in which it waits; a server tells Kafka.
local function set_waiting(id, state, queue)
  leave_queues(id)
  redis.call('HSET', task_key(id), 'status', state, 'ready_ms', whole(now_ms))
  redis.call('ZADD', queue, redis.call('HGET', task_key(id), 'score'), id)
  redis.call('ZADD', outbox_key, now_ms, id)
end

-- Decides that a task which nobody runs ends as cancelled; the next server that looks tells Kafka and ends it.
local function decide_cancelled(id)
  leave_queues(id)
  redis.call('HSET', task_key(id), 'ending', 'cancelled', 'order', 'cancel')
  redis.call('HDEL', task_key(id), 'error')
  redis.call('ZADD', running_key, NOBODYS, id)
  redis.call('ZREM', outbox_key, id)
end

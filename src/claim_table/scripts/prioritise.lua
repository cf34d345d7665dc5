-- Changes the priority of tasks that no server runs.
-- Takes: priority: 0 to 9; ids: a list of task ids.
-- Returns: for each {answer, state}:
--   done      the task has this priority now, or had it already
--   running   a server runs the task: its priority no longer matters
--   ending    it will end as `state`
--   ended     it has ended as `state`
--   unknown   no such task
-- Changes: the tasks' priority and their places in their queues. Among the tasks of the new priority a task keeps its arrival. The task's record
--   is not changed: a table that is rebuilt from Kafka has the priority of the record again, and so has a retry.
local priority = args.priority

local function prioritise(id)
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'status', 'ending', 'finished_ms', 'job_id')
  local status, ending, job = task[1], task[2], task[4]
  if not status then return {'unknown', ''} end
  if task[3] then return {'ended', status} end
  if ending then return {'ending', ending} end
  if redis.call('ZSCORE', running_key, id) then return {'running', status} end
  local new_score = whole(ready_score(priority, tonumber(score_of(id)) % 1e13))
  redis.call('HSET', key, 'priority', priority, 'score', new_score)
  -- A delayed task is queued by the time at which it is due; claim.lua takes its score from the hash then.
  local queues = {ready_key, paused_key}
  if job then queues[3] = throttled_key(job) end
  for _, queue in ipairs(queues) do
    if redis.call('ZSCORE', queue, id) then redis.call('ZADD', queue, new_score, id) end
  end
  return {'done', status}
end

local answers = {}
for i, id in ipairs(args.ids) do answers[i] = prioritise(id) end
return answers

-- Carries out an operator's order, or leaves it to the server that runs the task.
-- Takes: order: cancel, pause or resume; ids: a list of task ids.
-- Returns: for each {answer, state}:
--   done      the state is now as ordered, or was already
--   ordered   a server runs the task: renew.lua gives it the order within a second; if that server is lost, reap.lua carries it out
--   ending    it will end as `state`: the next server that reaps ends it
--   ended     it has ended as `state`
--   unknown   no such task
-- Changes: the tasks' state or `order`; the outbox.
local order = args.order

local function control(id)
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'status', 'ending', 'finished_ms', 'order')
  local status, ending, ordered = task[1], task[2], task[4]
  if not status then return {'unknown', ''} end
  if task[3] then return {'ended', status} end
  if ending then return {'ending', ending} end
  local runs = redis.call('ZSCORE', running_key, id)
  if order == 'cancel' then
    if runs then
      redis.call('HSET', key, 'order', 'cancel')
      return {'ordered', status}
    end
    decide_cancelled(id)
    return {'ending', 'cancelled'}
  end
  if ordered == 'cancel' then return {'ending', 'cancelled'} end
  if order == 'pause' then
    if status == 'paused' then return {'done', status} end
    if runs then
      redis.call('HSET', key, 'order', 'pause')
      return {'ordered', status}
    end
    set_waiting(id, 'paused', paused_key)
    return {'done', 'paused'}
  end
  -- A pause that is not in force yet is withdrawn; if its server has stopped the task already, release.lua queues it.
  redis.call('HDEL', key, 'order')
  if status ~= 'paused' then return {'done', status} end
  set_waiting(id, 'queued', ready_key)
  return {'done', 'queued'}
end

local answers = {}
for i, id in ipairs(args.ids) do answers[i] = control(id) end
return answers

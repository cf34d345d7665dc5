-- Carries out what a person asks for, or leaves it to the server that runs the task. ARGV: cancel, pause or resume; task ids.
-- Returns for each {answer, state}:
--   done      the state is as asked for now, or was already
--   ordered   a server runs the task: renew.lua tells it within a second, and where it is lost reap.lua carries the order out
--   ending    the end that `state` names is decided; the next server to look brings it about
--   ended     it has ended as `state`
--   unknown   no such task
local order = ARGV[1]

local function steer(id)
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
  -- A pause that has not come into force is withdrawn: release.lua queues the task where its server stopped it already.
  redis.call('HDEL', key, 'order')
  if status ~= 'paused' then return {'done', status} end
  set_waiting(id, 'queued', ready_key)
  return {'done', 'queued'}
end

local answers = {}
for i = 2, #ARGV do answers[#answers + 1] = steer(ARGV[i]) end
return answers

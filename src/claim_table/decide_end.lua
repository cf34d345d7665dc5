-- Decides how a claimed task ends, before its terminal record is sent: from here on it can't end otherwise. Should the
-- server die before finish.lua, the one that reaps it sends the record again instead of running the task again.
-- ARGV: task id, fence, terminal state, error ('' = none), found. Returns ok, lost or gone.
local id, fence, ending, error_text, found = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local state = claim_state(id, fence)
if state ~= 'ok' then return state end
local key = task_key(id)
local decided = redis.call('HGET', key, 'ending')
if decided and decided ~= ending then return 'lost' end
redis.call('HSET', key, 'ending', ending, 'found', found, 'updated_ms', whole(now_ms))
if error_text ~= '' then redis.call('HSET', key, 'error', error_text) end
return 'ok'

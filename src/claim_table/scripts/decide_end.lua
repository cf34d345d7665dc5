-- Decides how a claimed task ends, before its terminal record is sent: from then on it cannot end in another way. If the server dies
-- before finish.lua, the one that reaps the task sends the record again instead of running the task again.
-- Takes: id, fence; status: the terminal state; error (optional); found; server_exclude (optional): what the server left out, for `completed`.
-- Returns: ok, lost or gone.
-- Changes: the task's `ending`, error, found and server_exclude.
local id, ending = args.id, args.status
local state = claim_state(id, args.fence)
if state ~= 'ok' then return state end
local key = task_key(id)
local decided = redis.call('HGET', key, 'ending')
if decided and decided ~= ending then return 'lost' end
redis.call('HSET', key, 'ending', ending, 'found', args.found, 'updated_ms', whole(now_ms))
if args.error then redis.call('HSET', key, 'error', args.error) end
if args.server_exclude then redis.call('HSET', key, 'server_exclude', args.server_exclude) end
return 'ok'

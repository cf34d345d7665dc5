-- Agrees on what the shards of a job have in common: the first that is run decides, the others must be run alike, for else the
-- union of their probes has holes. ARGV: job, name of the whole that the shards are parts of, addresses, rate (pps), how long an
-- agreement is kept (ms).
-- Returns the addresses and the rate that were agreed on.
local key = prefix .. 'shards:' .. ARGV[1]
redis.call('HSETNX', key, ARGV[2], ARGV[3] .. ' ' .. ARGV[4])
redis.call('PEXPIRE', key, ARGV[5])
return redis.call('HGET', key, ARGV[2])

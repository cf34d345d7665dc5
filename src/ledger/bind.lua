-- Binds a job to the version of masscan that sends its shards: the first that was named. ARGV: job, a version, how long that is
-- kept after the last call (ms). Returns the version to which the job is bound.
local key = walker_key(ARGV[1])
redis.call('SET', key, ARGV[2], 'NX')
redis.call('PEXPIRE', key, ARGV[3])
return redis.call('GET', key)

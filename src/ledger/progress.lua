-- Writes live progress. ARGV: for each task: id, fence, progress, rate_pps, remaining_s ('' = none), found, resume_index,
-- resume_found. A claim that is lost or gone is passed over: a server that was frozen changes nothing.
for i = 1, #ARGV, 8 do
  local id = ARGV[i]
  if claim_state(id, ARGV[i + 1]) == 'ok' then
    redis.call('HSET', task_key(id), 'progress', ARGV[i + 2], 'rate_pps', ARGV[i + 3], 'found', ARGV[i + 5],
      'resume_index', ARGV[i + 6], 'resume_found', ARGV[i + 7], 'updated_ms', whole(now_ms))
    if ARGV[i + 4] == '' then
      redis.call('HDEL', task_key(id), 'remaining_s')
    else
      redis.call('HSET', task_key(id), 'remaining_s', ARGV[i + 4])
    end
  end
end
return 'ok'

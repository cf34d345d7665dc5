-- Writes live progress. ARGV: for each task: id, fence, progress, rate_pps, remaining_s ('' = none), found, resume_index,
-- resume_found, resume_for, sends_no_more (1, 0). A claim that is lost or gone is passed over: a server that was
-- frozen changes nothing.
for i = 1, #ARGV, 10 do
  local id = ARGV[i]
  if claim_state(id, ARGV[i + 1]) == 'ok' then
    redis.call('HSET', task_key(id), 'progress', ARGV[i + 2], 'rate_pps', ARGV[i + 3], 'found', ARGV[i + 5],
      'resume_index', ARGV[i + 6], 'resume_found', ARGV[i + 7], 'resume_for', ARGV[i + 8],
      'updated_ms', whole(now_ms))
    -- Its rate is free for the next task of its job.
    if ARGV[i + 9] == '1' then redis.call('HSET', task_key(id), 'sends_no_more', '1') end
    if ARGV[i + 4] == '' then
      redis.call('HDEL', task_key(id), 'remaining_s')
    else
      redis.call('HSET', task_key(id), 'remaining_s', ARGV[i + 4])
    end
  end
end
return 'ok'

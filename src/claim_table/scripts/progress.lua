-- Writes live progress.
-- Takes: updates: a list of {id, fence, progress, rate_pps, remaining_s (optional), found, found_by_pass, resume_pass, resume_index,
--   resume_found_by_pass, resume_for, sends_no_more}.
-- Returns: ok.
-- Changes: the hashes of those tasks. Claims that are lost or gone are skipped, so a server that was frozen changes nothing.
for _, update in ipairs(args.updates) do
  local key = task_key(update.id)
  if claim_state(update.id, update.fence) == 'ok' then
    redis.call('HSET', key, 'progress', update.progress, 'rate_pps', update.rate_pps, 'found', update.found,
      'found_by_pass', update.found_by_pass, 'resume_pass', update.resume_pass, 'resume_index', update.resume_index,
      'resume_found_by_pass', update.resume_found_by_pass, 'resume_for', update.resume_for,
      'updated_ms', whole(now_ms))
    -- Its rate is available to the next task of its job.
    if update.sends_no_more then redis.call('HSET', key, 'sends_no_more', '1') end
    if update.remaining_s then
      redis.call('HSET', key, 'remaining_s', update.remaining_s)
    else
      redis.call('HDEL', key, 'remaining_s')
    end
  end
end
return 'ok'

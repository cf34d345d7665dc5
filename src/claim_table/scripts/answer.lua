-- The end of every script: notes the server's new watermark and the time of its call (see prelude.lua).
-- Returns: {watermark, the answer of main(), milliseconds of a jump of Redis' clock if there was a long one}; or only {watermark} if Redis
--   went back in time: main() was not called, everything that has not ended was cleared, and the table has to be rebuilt from Kafka.
local jump
if caller ~= '' then jump = follow_clock() end
if went_back then
  clear_unfinished()
  -- It was cleared for all servers: none of them has to notice again what was lost before.
  redis.call('DEL', watermarks_key)
  redis.call('HSET', watermarks_key, TABLE_FIELD, whole(watermark), OTHERS_FIELD, whole(watermark), CLOCK_FIELD, whole(now_ms))
  return {whole(watermark)}
end
local answer = main()
if type(answer) == 'table' and answer.err then return answer end
if caller ~= '' then 
  redis.call('HSET', watermarks_key, TABLE_FIELD, whole(watermark), CLOCK_FIELD, whole(now_ms), caller, whole(watermark))
end
return {whole(watermark), answer, jump and whole(jump)}

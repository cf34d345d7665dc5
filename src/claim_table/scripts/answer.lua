-- The end of every script: notes the server's new watermark (see prelude.lua).
-- Returns: {watermark, the answer of main()}; or only {watermark} if Redis went back in time: main() was not called, everything that has
--   not ended was cleared, and the table has to be rebuilt from Kafka.
if went_back then
  clear_unfinished()
  -- It was cleared for all servers: none of them has to notice again what was lost before.
  redis.call('DEL', watermarks_key)
  redis.call('HSET', watermarks_key, TABLE_FIELD, whole(watermark), OTHERS_FIELD, whole(watermark))
  return {whole(watermark)}
end
local answer = main()
if type(answer) == 'table' and answer.err then return answer end
if caller ~= '' then redis.call('HSET', watermarks_key, TABLE_FIELD, whole(watermark), caller, whole(watermark)) end
return {whole(watermark), answer}

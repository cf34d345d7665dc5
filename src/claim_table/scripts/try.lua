-- Tries every command that the scripts use, on keys of its own that expire, so that a missing right is noticed at the start.
-- Takes: nothing.
-- Returns: ok; an error that names all commands that the user may not run, with Redis' words for the last one; or the first other error.
-- Changes: nothing that lasts.
local hash, set, zset, text = prefix .. 'try:hash', prefix .. 'try:set', prefix .. 'try:zset', prefix .. 'try:text'
local refused, words, failed = {}, '', nil
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return end
  if string.find(answer.err, 'NOPERM', 1, true) or string.find(answer.err, 'user executing the script', 1, true) then
    refused[#refused + 1] = (...)
    words = answer.err
  else
    failed = failed or answer
  end
end
try('DEL', hash, set, zset, text)
try('HSET', hash, 'a', '1')
try('HGET', hash, 'a')
try('HMGET', hash, 'a')
try('HGETALL', hash)
try('HKEYS', hash)
try('HDEL', hash, 'b')
try('SADD', set, 'a')
try('SCARD', set)
try('SMEMBERS', set)
try('SREM', set, 'b')
try('ZADD', zset, 1, 'a')
try('ZCARD', zset)
try('ZSCORE', zset, 'a')
try('ZRANGE', zset, 0, -1)
try('ZRANGEBYSCORE', zset, 0, 1)
try('ZINTER', 2, zset, set)
try('ZREM', zset, 'b')
try('ZREMRANGEBYSCORE', zset, 5, 6)
try('SET', text, 'a', 'PX', 1000)
try('GET', text)
try('TYPE', text)
try('EXISTS', text)
try('PERSIST', set)
for _, key in ipairs({hash, set, zset}) do try('PEXPIRE', key, 1000) end
if failed then return failed end
if #refused > 0 then return redis.error_reply('NOPERM no right to ' .. table.concat(refused, ', ') .. ': ' .. words) end
return 'ok'

-- Notes the offsets that Kafka has acknowledged as the group's.
-- Takes: offsets: a list of {partition, offset}, both strings.
-- Returns: ok.
-- Changes: the last committed offset of each partition that has been started.
for _, one in ipairs(args.offsets) do
  if redis.call('HGET', cursor_key, one[1]) then
    redis.call('HSET', cursor_key, one[1] .. ':committed', one[2])
  end
end
return 'ok'

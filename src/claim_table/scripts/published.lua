-- Removes an entry of the outbox: Kafka has acknowledged its record.
-- Takes: id; fence: the fence in the record.
-- Returns: ok.
-- Changes: the outbox. If the task has changed again since, the later change stays.
if redis.call('HGET', task_key(args.id), 'fence') == args.fence then redis.call('ZREM', outbox_key, args.id) end
return 'ok'

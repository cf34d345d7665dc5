-- Kafka has acknowledged the record of a change of state. ARGV: task id, the fence that the record has. Where the task has
-- changed again since, the later change is still to be told.
if redis.call('HGET', task_key(ARGV[1]), 'fence') == ARGV[2] then redis.call('ZREM', outbox_key, ARGV[1]) end
return 'ok'

-- Takes a server out of the table of servers: others no longer wait for it. ARGV: server, how long a task that all servers
-- refused is kept (ms): nothing is ended for that reason while this server may come back.
redis.call('ZREM', servers_key, ARGV[1])
redis.call('DEL', server_key(ARGV[1]))
redis.call('SET', departed_key, ARGV[1], 'PX', ARGV[2])
return 'ok'

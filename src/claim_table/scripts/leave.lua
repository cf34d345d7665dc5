-- Removes a server from the group: others no longer wait for it.
-- Takes: server; refused_kept_ms: how long a task that all servers refuse is kept; watermark_kept_ms: as in claim.lua.
-- Returns: ok.
-- Changes: the table of servers; remembers the departure for refused_kept_ms, because the server may come back.
redis.call('ZREM', servers_key, args.server)
redis.call('DEL', server_key(args.server))
redis.call('SET', departed_key, args.server, 'PX', args.refused_kept_ms)
forget_watermarks(now_us - args.watermark_kept_ms * 1000)
return 'ok'

-- Addresses are 16 bytes in the order of the addresses (IPv4 as ::ffff:a.b.c.d), so a network is a range of the primary key.
-- Protocols are IANA's numbers: 6 tcp, 17 udp, 132 sctp. Times are unix seconds, those whose name ends in _ms milliseconds.

-- One row: marks the database as ours, and says which `scanpush store` may write.
CREATE TABLE store_lease (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    holder TEXT,
    renewed_ms BIGINT NOT NULL
);
INSERT INTO store_lease (id, holder, renewed_ms) VALUES (1, NULL, 0);

-- How far each partition was read. `records` counts the records that were read, `lost` those that Kafka had removed or that could not be
-- decoded. Findings before `gap_until` may be missing.
CREATE TABLE positions (
    topic TEXT NOT NULL,
    topic_partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,
    records BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    gap_until BIGINT NOT NULL,
    PRIMARY KEY (topic, topic_partition)
);

-- Records that changed nothing, by reason.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE services (
    address BYTEA NOT NULL CHECK (length(address) = 16),
    port INTEGER NOT NULL,
    protocol SMALLINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    last_task TEXT NOT NULL,
    reason TEXT NOT NULL,
    ttl SMALLINT NOT NULL,
    state TEXT NOT NULL,
    state_since BIGINT NOT NULL,
    misses INTEGER NOT NULL,
    missed_since BIGINT NOT NULL,
    PRIMARY KEY (address, port, protocol)
)
-- Room for the next version of a row in its page: most updates change no indexed column.
WITH (fillfactor = 80);
CREATE INDEX services_by_port ON services (port, protocol, address);
-- With the state, so that closed services are counted from the index alone.
CREATE INDEX closed_services ON services (state_since, state) WHERE state = 'closed';

CREATE TABLE changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address BYTEA NOT NULL,
    port INTEGER NOT NULL,
    protocol SMALLINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    task_id TEXT NOT NULL
);
CREATE INDEX changes_by_time ON changes (at, id);
CREATE INDEX changes_by_service ON changes (address, port, protocol);

CREATE TABLE tasks (
    task_id TEXT NOT NULL PRIMARY KEY,
    job_id TEXT,
    ip_range TEXT,
    ports TEXT,
    band_width BIGINT,
    priority SMALLINT,
    retries INTEGER,
    exclude TEXT,
    shard TEXT,
    seed BIGINT,
    topic_partition INTEGER,
    topic_offset BIGINT,
    retry INTEGER NOT NULL,
    state TEXT NOT NULL,
    server TEXT,
    attempt INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    fence BIGINT NOT NULL,
    found BIGINT NOT NULL,
    found_by_pass TEXT,
    error TEXT,
    changed_ms BIGINT NOT NULL,
    begun_ms BIGINT,
    ended_ms BIGINT,
    server_exclude TEXT,
    proof TEXT
);
CREATE INDEX tasks_by_job ON tasks (job_id);
CREATE INDEX tasks_by_change ON tasks (changed_ms);

-- Records of tasks as they were read, because the end of a task names the record that was scanned: a later one may have the same id.
CREATE TABLE task_records (
    topic_partition INTEGER NOT NULL,
    topic_offset BIGINT NOT NULL,
    task_id TEXT NOT NULL,
    record TEXT NOT NULL,
    read_ms BIGINT NOT NULL,
    PRIMARY KEY (topic_partition, topic_offset)
);
CREATE INDEX task_records_by_time ON task_records (read_ms);

CREATE TABLE findings (
    task_id TEXT NOT NULL,
    address BYTEA NOT NULL,
    port INTEGER NOT NULL,
    protocol SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    ttl SMALLINT NOT NULL,
    server TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    pass INTEGER NOT NULL,
    PRIMARY KEY (task_id, address, port, protocol)
);
CREATE INDEX findings_by_time ON findings (at);

CREATE VIEW jobs AS
SELECT
    job_id,
    COUNT(*) AS tasks,
    SUM(CASE WHEN state = 'completed' THEN 1 ELSE 0 END) AS completed,
    SUM(CASE WHEN state IN ('failed', 'cancelled', 'rejected') THEN 1 ELSE 0 END) AS ended_otherwise,
    CAST(SUM(found) AS BIGINT) AS found,
    MIN(begun_ms) AS begun_ms,
    CASE WHEN COUNT(*) = COUNT(ended_ms) THEN MAX(ended_ms) END AS ended_ms
FROM tasks
WHERE job_id IS NOT NULL
GROUP BY job_id;

-- Addresses, protocols and times in readable types, for people. Programs use the tables: these columns have no index.
CREATE FUNCTION readable_address(address BYTEA) RETURNS INET LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN substring(address FROM 1 FOR 12) = '\x00000000000000000000ffff'::BYTEA THEN
            concat_ws('.', get_byte(address, 12), get_byte(address, 13), get_byte(address, 14), get_byte(address, 15))::INET
        ELSE rtrim(regexp_replace(encode(address, 'hex'), '(.{4})', '\1:', 'g'), ':')::INET
    END
$$;
CREATE FUNCTION readable_protocol(protocol SMALLINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE protocol WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 132 THEN 'sctp' END
$$;

CREATE VIEW readable_services AS
SELECT
    readable_address(address) AS ip,
    port,
    readable_protocol(protocol) AS proto,
    state,
    to_timestamp(state_since) AS state_since,
    to_timestamp(first_seen) AS first_seen,
    to_timestamp(last_seen) AS last_seen,
    last_task,
    reason,
    ttl,
    address
FROM services;

CREATE VIEW readable_changes AS
SELECT
    to_timestamp(at) AS at,
    kind,
    readable_address(address) AS ip,
    port,
    readable_protocol(protocol) AS proto,
    task_id,
    address
FROM changes;

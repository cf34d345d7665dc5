-- Lists of tasks, newest first: all of them, those in a state, those of a server, and those of a job.
DROP INDEX tasks_by_change;
CREATE INDEX tasks_by_change ON tasks (changed_ms, task_id);
CREATE INDEX tasks_by_state ON tasks (state, changed_ms, task_id);
CREATE INDEX tasks_by_server ON tasks (server, changed_ms, task_id);
DROP INDEX tasks_by_job;
CREATE INDEX tasks_by_job ON tasks (job_id, changed_ms, task_id);
-- With what a list of jobs shows, so that it is read from the index alone.
CREATE INDEX jobs_by_state ON tasks (job_id, state, changed_ms, begun_ms, ended_ms, found) WHERE job_id IS NOT NULL;
-- Tasks that prove nothing, or nothing yet.
CREATE INDEX unproven_tasks ON tasks (changed_ms, task_id) WHERE coalesce(proof, '') <> 'covered';

-- Changes of the states of tasks, as status records describe them. A repeated record has the same key.
CREATE TABLE task_events (
    task_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    retry INTEGER NOT NULL,
    fence BIGINT NOT NULL,
    state TEXT NOT NULL,
    server TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    found BIGINT NOT NULL,
    error TEXT,
    PRIMARY KEY (task_id, at_ms, retry, fence, state)
) WITHOUT ROWID;
CREATE INDEX task_events_by_time ON task_events (at_ms);

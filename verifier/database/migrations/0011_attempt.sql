-- Failed attempts by invoice and Shanghai day, of all callers: the workers share them here.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE failed_attempt (
    day date NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- Hardly more than the limit: beyond it there is nothing to count.
    attempts bigint NOT NULL,
    -- The transaction that reached the limit. What commits later than a snapshot is not below its
    -- xmin, so a worker reads each such row about once.
    spent xid8,

    CONSTRAINT failed_attempt_pkey PRIMARY KEY (day, key),
    CONSTRAINT failed_attempt_positive CHECK (attempts > 0)
);

-- Few invoices reach the limit; all others cost nothing here.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX failed_attempt_spent_idx ON failed_attempt (day, spent) WHERE spent IS NOT NULL;

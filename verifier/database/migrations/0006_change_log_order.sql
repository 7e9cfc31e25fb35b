-- Following the change log by its sequence, and noticing what was pruned unseen.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- A follower asks for what comes after a place, and for the few places before it that it has not
-- seen: however long a transaction stays open, nothing is read twice. The log holds what changed
-- within about an hour, so that writers wait for moments.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX ledger_change_seq_idx ON ledger_change (seq);

-- Horizons with the moments at which they were noted: all transactions below have ended by then.
-- What lies below the highest ``pruned`` one may be gone.
CREATE TABLE ledger_change_horizon (
    horizon xid8 NOT NULL,
    noted_at timestamptz NOT NULL,
    pruned boolean NOT NULL DEFAULT FALSE,

    CONSTRAINT ledger_change_horizon_pkey PRIMARY KEY (horizon)
);

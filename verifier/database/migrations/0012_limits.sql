-- What workers tell each other of limits that they hold together (access/limits.py).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- Not logged: after a crash all of it is of the past.
CREATE UNLOGGED TABLE limit_demand (
    worker uuid NOT NULL,
    -- A key or a tenant, by its id: k17, t4.
    subject text COLLATE "C" NOT NULL,
    -- Units a second that were asked for, also in vain.
    demand double precision NOT NULL,
    at timestamptz NOT NULL,

    CONSTRAINT limit_demand_pkey PRIMARY KEY (worker, subject)
);

-- Until when, and to how many units a second, a key is held back that asked as guessers do.
ALTER TABLE access_key
ADD COLUMN tight_rate double precision,
ADD COLUMN tight_until timestamptz,
-- squawk-ignore constraint-missing-not-valid
ADD CONSTRAINT access_key_tight CHECK ( -- of a table that nobody has used yet
    (tight_rate IS NULL) = (tight_until IS NULL)
    AND tight_rate BETWEEN 0.001 AND 1e9
    AND tight_until BETWEEN '2000-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
);

-- What was noticed of tenants, for operators: kept for 90 days.
CREATE TABLE access_event (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    key bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,

    CONSTRAINT access_event_pkey PRIMARY KEY (id),
    CONSTRAINT access_event_key_fkey FOREIGN KEY (key) REFERENCES access_key (id)
);

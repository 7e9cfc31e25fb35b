-- How much each tenant asks, and which exchanges of workers were committed (access/exchange.py).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- The last exchange of each worker: a COMMIT of which nothing was heard is found here, or not.
CREATE TABLE access_worker (
    worker uuid NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,

    CONSTRAINT access_worker_pkey PRIMARY KEY (worker)
);

-- Questions that were answered, by the day in Shanghai. The names are the service's to choose.
CREATE TABLE usage (
    tenant bigint NOT NULL,
    day date NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    verdict text COLLATE "C" NOT NULL,
    questions bigint NOT NULL,

    CONSTRAINT usage_pkey PRIMARY KEY (tenant, day, endpoint, verdict),
    CONSTRAINT usage_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant (id),
    CONSTRAINT usage_questions CHECK (questions > 0)
);

-- A statement that forgets whose rows it is about finds none (database/tenancy.py). Forced, since
-- the service may be the owner. Once a session has had the setting, it is empty rather than NULL.
ALTER TABLE usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage FORCE ROW LEVEL SECURITY;
CREATE POLICY usage_of_tenant ON usage
USING (tenant = nullif(current_setting('verifier.tenant', TRUE), '')::bigint);
CREATE POLICY usage_of_every_tenant ON usage
USING (current_setting('verifier.every_tenant', TRUE) = 'on');

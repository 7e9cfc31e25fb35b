-- What all workers of a ledger share and nobody else knows: the key that signs consistency tokens.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE service_secret (
    name text COLLATE "C" NOT NULL,
    value bytea NOT NULL,

    CONSTRAINT service_secret_pkey PRIMARY KEY (name)
);

-- Two random UUIDs carry 244 random bits.
INSERT INTO service_secret (name, value)
VALUES (
    'consistency_token',
    sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))
);

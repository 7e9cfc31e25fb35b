-- Who may ask: tenants and their keys. Workers hold them in memory and follow what changes.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- ``changed`` is the transaction that wrote a row last. Who follows asks for the rows whose
-- transactions had not ended when it looked before, so that none is passed over however late it
-- commits (access/following.py). Rows are never removed: nobody would hear of it.
CREATE TABLE tenant (
    id bigint GENERATED ALWAYS AS IDENTITY,
    name text COLLATE "C" NOT NULL,
    -- Units a second, and how many may come at once; without them there is no limit.
    rate double precision,
    burst bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),

    CONSTRAINT tenant_pkey PRIMARY KEY (id),
    CONSTRAINT tenant_name_key UNIQUE (name),
    CONSTRAINT tenant_name_form CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    -- As the commands have it, and as header fields can say it. NaN is more than any number.
    CONSTRAINT tenant_limit CHECK (
        (rate IS NULL) = (burst IS NULL)
        AND rate BETWEEN 0.001 AND 1e9
        AND burst BETWEEN 1 AND 1000000000
    )
);

-- A key itself is nowhere: only its HMAC under a pepper that no database has.
CREATE TABLE access_key (
    id bigint GENERATED ALWAYS AS IDENTITY,
    tenant bigint NOT NULL,
    -- What people call it; a key and the one that takes its place have the same.
    name text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    scopes text [] COLLATE "C" NOT NULL,
    rate double precision,
    burst bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),

    CONSTRAINT access_key_pkey PRIMARY KEY (id),
    CONSTRAINT access_key_digest_key UNIQUE (digest),
    CONSTRAINT access_key_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant (id),
    CONSTRAINT access_key_name_form CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    CONSTRAINT access_key_mode CHECK (mode IN ('live', 'test')),
    CONSTRAINT access_key_digest_size CHECK (length(digest) = 32),
    CONSTRAINT access_key_scopes CHECK (
        scopes <> '{}' AND array_ndims(scopes) = 1
        AND scopes <@ '{verify,explain,ingest,watermark,metrics,admin}'
    ),
    CONSTRAINT access_key_expires_at CHECK (
        expires_at BETWEEN '2000-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
    ),
    CONSTRAINT access_key_revoked_at CHECK (isfinite(revoked_at)),
    CONSTRAINT access_key_limit CHECK (
        (rate IS NULL) = (burst IS NULL)
        AND rate BETWEEN 0.001 AND 1e9
        AND burst BETWEEN 1 AND 1000000000
    )
);

CREATE INDEX tenant_changed_idx ON tenant (changed);
CREATE INDEX access_key_changed_idx ON access_key (changed);
CREATE INDEX access_key_tenant_idx ON access_key (tenant, name);

-- When a key was last used, to the hour: apart, so that nobody follows it.
CREATE TABLE access_key_use (
    key bigint NOT NULL,
    used_at timestamptz NOT NULL,

    CONSTRAINT access_key_use_pkey PRIMARY KEY (key),
    CONSTRAINT access_key_use_key_fkey FOREIGN KEY (key) REFERENCES access_key (id)
);

CREATE FUNCTION access_changed() RETURNS trigger
LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    NEW.changed := pg_current_xact_id();
    RETURN NEW;
END
$$;

CREATE FUNCTION access_kept() RETURNS trigger
LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% keeps its rows: workers would not hear that one is gone', TG_TABLE_NAME
        USING HINT = 'Revoke the key instead.';
END
$$;

CREATE TRIGGER tenant_changed BEFORE INSERT OR UPDATE ON tenant
FOR EACH ROW EXECUTE FUNCTION access_changed();
CREATE TRIGGER tenant_kept BEFORE DELETE OR TRUNCATE ON tenant
FOR EACH STATEMENT EXECUTE FUNCTION access_kept();
CREATE TRIGGER access_key_changed BEFORE INSERT OR UPDATE ON access_key
FOR EACH ROW EXECUTE FUNCTION access_changed();
CREATE TRIGGER access_key_kept BEFORE DELETE OR TRUNCATE ON access_key
FOR EACH STATEMENT EXECUTE FUNCTION access_kept();

-- Also when session_replication_role says that triggers are for others.
ALTER TABLE tenant ENABLE ALWAYS TRIGGER tenant_changed;
ALTER TABLE tenant ENABLE ALWAYS TRIGGER tenant_kept;
ALTER TABLE access_key ENABLE ALWAYS TRIGGER access_key_changed;
ALTER TABLE access_key ENABLE ALWAYS TRIGGER access_key_kept;

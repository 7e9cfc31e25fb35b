-- What administrators did, for good: each entry is linked to the one before (access/audit.py).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE audit_entry (
    -- Without gaps, so that one shows: given by whoever appends, not by a sequence.
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    -- JSON, to the letter: jsonb would give back other bytes than those that were linked.
    detail text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    mac bytea NOT NULL,

    CONSTRAINT audit_entry_pkey PRIMARY KEY (seq),
    CONSTRAINT audit_entry_seq_positive CHECK (seq > 0),
    CONSTRAINT audit_entry_mac_size CHECK (octet_length(mac) = 32),
    -- Bounds what a page of entries takes in memory.
    CONSTRAINT audit_entry_size CHECK (
        octet_length(actor) + octet_length(action) + octet_length(subject)
        + octet_length(detail) + octet_length(address) <= 8192
    )
);

-- Stops mistakes; what a superuser does, who can switch it off, shows in the chain.
CREATE FUNCTION audit_entry_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_entry is append-only: % is refused', TG_OP
    USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_entry_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_append_only();

-- Also when session_replication_role says that triggers are for others.
ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_kept;

-- The change feed: which keys changed, written by triggers in the transaction that changes them.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- Sequence numbers commit out of order, so a reader advances by ``xid``: it has seen all of those
-- below the xmin of its snapshot. Hence the order of the primary key.
CREATE TABLE ledger_change (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- True when all invoices may have changed (TRUNCATE); then there are no keys.
    everything boolean NOT NULL DEFAULT FALSE,
    -- At most 1,000, so that a large import makes few rows and none of them is large.
    keys text [] COLLATE "C" NOT NULL DEFAULT '{}',

    CONSTRAINT ledger_change_pkey PRIMARY KEY (xid, seq),
    CONSTRAINT ledger_change_keys_size CHECK (cardinality(keys) BETWEEN 0 AND 1000),
    CONSTRAINT ledger_change_everything CHECK (everything = (keys = '{}'))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02);

-- They run as the owner: whoever may change invoices need not be able to write the feed.
CREATE FUNCTION ledger_change_of_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_change (keys)
    SELECT array_agg(key)
    FROM (SELECT key, (row_number() OVER () - 1) / 1000 AS chunk FROM new_rows) AS numbered
    GROUP BY chunk;
    RETURN NULL;
END
$$;

-- Both keys when the key itself changes; none when an UPDATE leaves a row as it was.
CREATE FUNCTION ledger_change_of_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_change (keys)
    SELECT array_agg(key)
    FROM (
        SELECT key, (row_number() OVER () - 1) / 1000 AS chunk
        FROM old_rows AS o FULL JOIN new_rows AS n USING (key)
        WHERE o.status IS NULL OR n.status IS NULL OR o *<> n
    ) AS numbered
    GROUP BY chunk;
    RETURN NULL;
END
$$;

CREATE FUNCTION ledger_change_of_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_change (keys)
    SELECT array_agg(key)
    FROM (SELECT key, (row_number() OVER () - 1) / 1000 AS chunk FROM old_rows) AS numbered
    GROUP BY chunk;
    RETURN NULL;
END
$$;

CREATE FUNCTION ledger_change_of_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_change (everything) VALUES (TRUE);
    RETURN NULL;
END
$$;

CREATE TRIGGER invoice_inserted AFTER INSERT ON invoice
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION ledger_change_of_insert();

CREATE TRIGGER invoice_updated AFTER UPDATE ON invoice
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION ledger_change_of_update();

CREATE TRIGGER invoice_deleted AFTER DELETE ON invoice
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION ledger_change_of_delete();

CREATE TRIGGER invoice_truncated AFTER TRUNCATE ON invoice
FOR EACH STATEMENT EXECUTE FUNCTION ledger_change_of_truncate();

-- Also when session_replication_role says that triggers are for others.
ALTER TABLE invoice ENABLE ALWAYS TRIGGER invoice_inserted;
ALTER TABLE invoice ENABLE ALWAYS TRIGGER invoice_updated;
ALTER TABLE invoice ENABLE ALWAYS TRIGGER invoice_deleted;
ALTER TABLE invoice ENABLE ALWAYS TRIGGER invoice_truncated;

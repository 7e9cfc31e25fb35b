"""Everything PostgreSQL: what the ledger holds, read from replicas and written to the primary."""

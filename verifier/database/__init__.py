"""Connections to PostgreSQL, migrations; the only place that opens a connection to write."""

"""Verifies Chinese VAT invoices (发票) against a ledger.

Where to look::

    cli        argv, progress bars, signals; one module per command group
    app        the only wiring: core (no HTTP) and the service around it
    api        HTTP: the server, the routes that answer, ingest, health, OpenAPI
    engine     memory and concurrency: cache, loader, verifier
    ledger     the invoices in PostgreSQL: looking up, ingesting, the change log
    synthetic  made-up ledgers and questions about them
    wire       bytes to questions, answers to bytes, problems, messages, schemas
    database   connections, hosts, transactions, migrations
    invoice    the domain: kinds, identities, fields, QR strings, verdicts; pure functions
    embedded   a PostgreSQL primary and replicas on this machine
    state      what a database has shown;  config: every setting;  metrics: every number

Imports point down this list (``make check`` says so). docs/architecture.md tells the rest.
"""

__version__ = "0.1.0"

"""Verifies Chinese VAT invoices (发票) against a ledger.

Where to look::

    cli        argv, progress bars, signals; one module per command group
    app        the only wiring: Config -> a running application
    api        HTTP: routes, bytes <-> structures, problems, health, OpenAPI
    engine     memory and concurrency: cache, loader, verifier
    ledger     PostgreSQL: look-ups, feed, replicas, migrations
    synthetic  made-up ledgers and questions about them
    invoice    the domain: kinds, codes, fields, QR strings, judgement; pure functions
    embedded   a PostgreSQL primary and replicas on this machine
    config     every setting;  errors: the few exceptions;  metrics: every number

Imports point down this list (``make check`` says so); ``engine``, ``ledger`` and ``synthetic``
never import each other.
"""

__version__ = "0.1.0"

"""The command line: argv, progress bars, signals. One module per command or group.

root           all commands in one tree, and how errors are shown
up             the whole service on one machine; demo, demo_keys: what it begins with
serve          workers against given databases
migrate        the primary's schema
ledger         made-up ledgers and questions; ledger_import: loading one
keys           who may ask; tenants: whose keys there are; stores: what the two share
audit          what was done to them, and by whom
check          asking a running service about a file; asking: the client that it uses
supervisor     keeps worker processes alive; worker: what such a process runs
signals        what Ctrl-C and SIGTERM do; ports: one port for many workers; logs: what is logged
"""


def main() -> None:
    """Run the command that argv names, and exit."""
    # A worker imports this package too, and must not load what only a terminal needs.
    from verifier.cli.root import run

    run()

"""Memory of cached invoices: ``python -m bench.memory ENTRIES``.

Fills the cache with so many findings, made as a read of the ledger makes them, and prints by how
many bytes the process grew for each.
"""

from __future__ import annotations

import gc
import json
import sys
from datetime import date
from pathlib import Path

from bench.samples import record_of
from verifier.engine.cache import Cache
from verifier.invoice.identity import key_of
from verifier.synthetic.ledger import Ledger
from verifier.wire.records import Record


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def main() -> None:
    """Print the figure as JSON."""
    entries = int(sys.argv[1])
    ledger = Ledger(entries, 1, date(2026, 11, 24))
    # What is made once for the whole ledger does not count.
    record_of(ledger.invoice(0))
    # The cache has two generations of half its capacity each: so that none is forgotten.
    cache: Cache[Record] = Cache(2 * entries + 2)
    gc.collect()
    before = resident()
    for index in range(entries):
        invoice = ledger.invoice(index)
        cache.put(key_of(invoice.code, invoice.number), record_of(invoice))
    gc.collect()
    assert len(cache) == entries
    print(json.dumps({"bytes": (resident() - before) / entries}))


if __name__ == "__main__":
    main()

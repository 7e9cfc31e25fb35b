"""The demo ledger that ``verifier up`` begins with: made up, imported once, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from itertools import islice
from pathlib import Path

import msgspec

from verifier.cli.loading import Loading
from verifier.cli.progress import LineProgress
from verifier.config import Config
from verifier.errors import ClusterError
from verifier.invoice.verdict import SHANGHAI
from verifier.ledger.ingest.chunks import Rejection
from verifier.ledger.ingest.writer import Writer
from verifier.synthetic import example
from verifier.synthetic.ledger import Ledger

MARK = "demo-ledger.json"
SEED = 1
_BLOCK_LINES = 1000


class Demo(msgspec.Struct, frozen=True):
    """What the demo ledger is made of, and whether all of it has been imported."""

    rows: int
    seed: int
    until: date
    complete: bool = False


async def fill(config: Config, data: Path, rows: int, say: Callable[[str], None]) -> None:
    """Import the demo ledger into the primary, unless the data directory has it already.

    An import that was interrupted is begun again with the same arguments, ``rows`` included.
    """
    mark = data / MARK
    demo = known(data)
    if demo is None:
        demo = Demo(rows, SEED, datetime.now(SHANGHAI).date())
        _write(mark, demo)
    if demo.rows != rows:
        say(
            f"the ledger in {data} was made with --rows {demo.rows}; "
            f"remove {data} to start with another one"
        )
    if demo.complete:
        say(f"the demo ledger holds {demo.rows:,} invoices")
        return
    say(f"importing a demo ledger of {demo.rows:,} invoices")
    writer = Writer(config.databases, config.ingest, config.requests.max_line)
    try:
        with LineProgress("importing", demo.rows + 1) as progress:
            loading = Loading(
                writer,
                config.requests.max_line,
                taken=lambda lines, _: progress.advance(lines, lines),
                rejected=_refuse,
            )
            await loading.load(_blocks(demo))
    finally:
        await writer.close()
    _write(mark, msgspec.structs.replace(demo, complete=True))


def _blocks(demo: Demo) -> Iterator[bytes]:
    lines = Ledger(demo.rows, demo.seed, demo.until).lines()
    while block := b"".join(islice(lines, _BLOCK_LINES)):
        yield block.rstrip(b"\n")
    yield example.LINE.rstrip(b"\n")


def _refuse(rejection: Rejection) -> None:
    raise AssertionError(f"the generator made a line that the ledger rejects: {rejection}")


def known(data: Path) -> Demo | None:
    """What the ledger in a data directory is made of; None before the first start.

    ClusterError when its mark cannot be read.
    """
    mark = data / MARK
    try:
        return msgspec.json.decode(mark.read_bytes(), type=Demo)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ClusterError(f"{mark} cannot be read: {error}") from error


def _write(mark: Path, demo: Demo) -> None:
    """Replace the mark whole: a crash leaves the old one or the new one."""
    part = mark.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(demo) + b"\n")
    part.replace(mark)

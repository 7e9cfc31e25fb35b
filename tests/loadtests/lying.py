"""A proxy that lies: of so many matches it calls one voided that is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from loadtests.generator.connections import Address

# Equally long, so that nothing else of the answer changes.
_TRUE, _FALSE = b'"status":"normal"', b'"status":"voided"'


class Liar:
    """Passes on bytes both ways, and lies about each ``one_in``-th normal invoice."""

    def __init__(self, service: Address, one_in: int) -> None:
        self._service = service
        self._one_in = one_in
        self._seen = 0
        self.lies = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        theirs, ours = await asyncio.open_connection(*self._service)
        await asyncio.gather(self._pass(reader, ours), self._pass(theirs, writer, lying=True))

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, lying: bool = False
    ) -> None:
        try:
            while data := await source.read(1 << 18):
                sink.write(self._lie(data) if lying else data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    def _lie(self, data: bytes) -> bytes:
        told: list[bytes] = []
        parts = data.split(_TRUE)
        for part in parts[:-1]:
            self._seen += 1
            lie = self._seen % self._one_in == 0
            self.lies += lie
            told += [part, _FALSE if lie else _TRUE]
        return b"".join([*told, parts[-1]])


@contextmanager
def lying(service: Address, one_in: int) -> Iterator[tuple[Address, Liar]]:
    """Run the proxy in a thread while the block runs."""
    liar = Liar(service, one_in)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncio.start_server(liar.serve, "127.0.0.1", 0, limit=1 << 20)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname(), liar
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

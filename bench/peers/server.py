"""What the peers that serve share: a free port, one line when ready, an end at SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket

import uvloop
from aiohttp import web


def listening() -> socket.socket:
    """A socket that listens on a free port of this machine."""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    return sock


def say_ready(sock: socket.socket) -> None:
    """The line that the rig waits for, as the service's."""
    print(f"ready http://127.0.0.1:{sock.getsockname()[1]}", flush=True)


def serve(app: web.Application) -> None:
    """Serve an aiohttp application as the service is served, until SIGTERM."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, keepalive_timeout=75.0)
        await runner.setup()
        gc.collect()
        gc.freeze()
        sock = listening()
        await web.SockSite(runner, sock).start()
        say_ready(sock)
        await stop.wait()
        await runner.cleanup()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_stopped())

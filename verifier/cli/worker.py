"""What one worker process runs: ``python -m verifier.cli.worker``, started by a supervisor."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import uvloop

from verifier.app.service import Service
from verifier.cli import logs, signals
from verifier.cli.child import READY, REPLACED, SUCCESSOR
from verifier.cli.reporting import Reporter
from verifier.cli.settings import for_host
from verifier.config import Config
from verifier.errors import VerifierError
from verifier.lifeline import die_with
from verifier.metrics.exposition import Exposition

# New containers, less those that went, after which the collector looks for circles. With fewer than
# bulk has under way it looks again and again, for milliseconds, while people wait, and finds
# nothing: requests leave no circles (tests/e2e/test_garbage.py).
_YOUNG = 50_000

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def serve(
    config: Config,
    host: str,
    listening: socket.socket,
    exposition: AbstractAsyncContextManager[Exposition],
    ready: Callable[[], None],
    *,
    succeeding: bool = False,
) -> None:
    """Serve in this process until SIGTERM or Ctrl-C, then drain; a second one ends it at once.

    ``exposition`` is open meanwhile. ``ready`` is called once it serves on ``listening``, a bound
    socket of ``host``. For ``succeeding`` see Service.start. After REPLACED it accepts nothing
    more, and drains. Raises VerifierError and OSError.
    """
    logs.configure(config.logs.log_level)
    config = for_host(config, host)
    _keep_freed_memory()

    async def until(stop: signals.Stop) -> None:
        async with exposition as shown:
            service = Service(config, exposition=shown)
            async with service.serving(host, 0, listening, succeeding=succeeding):
                # What start-up made lives as long as the process: no collection need look at it.
                gc.collect()
                gc.freeze()
                gc.set_threshold(_YOUNG)
                ready()
                await stop.asked.wait()
                if stop.signum == REPLACED:
                    await service.hand_over()

    async def until_stopped() -> None:
        with signals.catching() as stop:
            asyncio.get_running_loop().add_signal_handler(REPLACED, stop.ask, REPLACED)
            serving = asyncio.ensure_future(until(stop))
            hurry = asyncio.ensure_future(stop.hurry.wait())
            await asyncio.wait({serving, hurry}, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if serving.done():
                serving.result()
            else:
                # Cancelling would only start another, slower way of draining.
                os.kill(os.getpid(), signal.SIGKILL)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_stopped())


def _keep_freed_memory() -> None:
    """Have glibc keep the memory that a batch frees for the next one.

    By default it returns to the kernel what exceeds 128 KiB, and clearing its pages anew takes a
    fifth of the time of a batch.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 4 << 20)
        mallopt(_M_TRIM_THRESHOLD, 16 << 20)


def main() -> None:
    """Serve with settings from the environment; exit code 2 when that cannot be."""
    parser = argparse.ArgumentParser(prog="verifier-worker")
    parser.add_argument("--host", required=True)
    parser.add_argument(SUCCESSOR, action="store_true", dest="succeeding")
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--numbers-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    # An orphan would share the port with the workers of the next start, and answer from databases
    # that nobody looks after any more.
    die_with(arguments.parent)

    def tell() -> None:
        os.write(arguments.ready_fd, READY)
        os.close(arguments.ready_fd)

    try:
        config = Config.from_env(os.environ)
        reporter = Reporter(socket.socket(fileno=arguments.numbers_fd), config.numbers)
        listening = socket.socket(fileno=arguments.listen_fd)
        succeeding = arguments.succeeding
        serve(config, arguments.host, listening, reporter, tell, succeeding=succeeding)
    except VerifierError as error:
        sys.exit(_say(error))


def _say(error: VerifierError) -> int:
    sys.stderr.write(f"verifier: {error}\n")
    return 2


if __name__ == "__main__":
    main()

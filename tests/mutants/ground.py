"""Where mutmut works: a folder for each package, with its copy of the code, its cache, its log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mutmut.mutation.file_mutation import mutate_file_contents

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".mutants"

# No plugin that these tests have no use for: each costs every mutant its start.
ARGUMENTS = [
    *("-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:benchmark"),
    *("-p", "tests.mutants.plugin"),
]

# What they leave out searches long for what a Memory without its guard gets wrong, and so tests the
# search; makes a change log that takes longer than all the rest; goes by the clock on the wall.
DESELECTED = (
    "not test_without_the_refill_guard and not test_200_000_commits "
    "and not test_late_query_is_ended"
)

# The limit of a run is reckoned from what its tests take, in which their servers and databases do
# not count: with those a run of all tests takes longer. mutmut doubles these seconds.
TIMEOUT = "timeout_constant = 5.0\n"
TIMEOUT_WITH_SERVERS = "timeout_constant = 60.0\n"

# It alone reaches without a server what all other tests need one for, and would have each mutant
# there called a survivor.
WITH_SERVERS = "not test_a_silent_server_is_given_up"


def names_in(modules: Iterable[str]) -> list[str]:
    """The names of all mutants of some modules, in a fixed order."""
    return [
        f"{module.removesuffix('.py').replace('/', '.')}.{name}"
        for module in modules
        for name in mutate_file_contents(module, (ROOT / module).read_text("utf-8")).mutant_names
    ]


class Ground:
    """A place to try mutants of one package, with or without the tests that need PostgreSQL."""

    def __init__(self, package: str, *, postgres: bool) -> None:
        self._folder = FOLDER / (f"{package}-postgres" if postgres else package)
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in ("verifier", "tests", "docs"):
            link = self._folder / name
            if not link.is_symlink():
                link.symlink_to(ROOT / name)
        # Ends a run in which somebody waits for ever: no test takes half as many seconds.
        limit = f"faulthandler_timeout={60 if postgres else 20}"
        deselected = DESELECTED if postgres else f"{DESELECTED} and {WITH_SERVERS}"
        settings = {
            "only_mutate": [f"verifier/{package}/*"],
            # Tests of the domain read the tables of its pages.
            "also_copy": ["docs"],
            "pytest_add_cli_args_test_selection": [f"tests/{package}"],
            "pytest_add_cli_args": [*ARGUMENTS, "-o", limit, "-k", deselected],
        }
        # TOML writes a list of plain words as Python does.
        lines = "".join(f"{name} = {words!r}\n" for name, words in settings.items())
        header = "[tool.mutmut]\n"
        project = (ROOT / "pyproject.toml").read_text("utf-8").replace(header, header + lines)
        if postgres:
            project = project.replace(TIMEOUT, TIMEOUT_WITH_SERVERS)
        (self._folder / "pyproject.toml").write_text(project, "utf-8")
        self.log = self._folder / "run.log"

    def run(self, names: Sequence[str]) -> dict[str, str]:
        """Try mutants one after another; the status of each by its name.

        Ends the program when the tests fail without a mutant; the log says why.
        """
        with self.log.open("w", encoding="utf-8") as log:
            done = subprocess.run(
                [self._program, "run", "--max-children", "1", *names],
                cwd=self._folder,
                check=False,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            raise SystemExit(f"mutmut failed, see {self.log}")
        told = (line.strip().rpartition(": ") for line in self._output("results", "--all", "true"))
        status = {name: word for name, _, word in told}
        return {name: status[name] for name in names}

    def diff(self, name: str) -> list[str]:
        """The lines of a mutant's unified diff, without those that name the file."""
        return self._output("show", name)[3:]

    @property
    def _program(self) -> str:
        return str(Path(sys.executable).with_name("mutmut"))

    def _output(self, *arguments: str) -> list[str]:
        command = [self._program, *arguments]
        done = subprocess.run(command, cwd=self._folder, check=True, text=True, capture_output=True)
        return done.stdout.splitlines()

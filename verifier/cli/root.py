"""All commands in one tree, and how errors are shown: one line, never a traceback of ours."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from verifier import __version__
from verifier.cli import audit, keys, ledger, tenants
from verifier.cli.check import check
from verifier.cli.ledger_import import import_ledger
from verifier.cli.migrate import migrate
from verifier.cli.serve import serve
from verifier.cli.signals import Stopped
from verifier.cli.up import up
from verifier.errors import VerifierError

app = typer.Typer(
    name="verifier",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Paragraphs of the docstrings are wrapped to the terminal, not at their own line ends.
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"verifier {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Verify Chinese VAT invoices against a ledger: by HTTP, one at a time or by the million."""


app.command()(up)
app.command()(serve)
app.command()(migrate)
ledger.app.command("import")(import_ledger)
app.add_typer(ledger.app, name="ledger")
app.command()(check)
app.add_typer(keys.app, name="keys")
app.add_typer(tenants.app, name="tenants")
app.add_typer(audit.app, name="audit")


def run() -> None:
    """Run the command that argv names, and exit: 2 for what the caller has to mend."""
    try:
        app()
    except VerifierError as error:
        sys.exit(_say(str(error)))
    except Stopped as stopped:
        sys.exit(128 + stopped.signum)
    except KeyboardInterrupt:
        sys.exit(130)


def _say(text: str) -> int:
    sys.stderr.write(f"verifier: {text}\n")
    return 2

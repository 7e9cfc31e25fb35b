"""Settings that cannot work together are refused at the start, by name."""

from __future__ import annotations

import pytest

from verifier.config import Config
from verifier.errors import ConfigError

GOOD = "postgresql://user@127.0.0.1:5432/db"

WRONG = {
    "no URL": ({"PRIMARY_DSN": "foo"}, "VERIFIER_PRIMARY_DSN: expected postgresql://"),
    "another scheme": ({"PRIMARY_DSN": "mysql://a@b/c"}, "VERIFIER_PRIMARY_DSN: expected"),
    "one of many": (
        {"REPLICA_DSNS": f"{GOOD},foo,{GOOD}"},
        r"VERIFIER_REPLICA_DSNS \(number 2, a comma begins the next\): expected",
    ),
    "probes too seldom": (
        {"PROBE_INTERVAL": "1.5", "MAX_STALENESS": "2"},
        "VERIFIER_PROBE_INTERVAL=1.5: expected at most half of VERIFIER_MAX_STALENESS=2",
    ),
    "no room for a batch": (
        {"MAX_RECEIVING": "17000000"},
        "VERIFIER_MAX_RECEIVING=17000000: expected at least 8/7 of VERIFIER_MAX_BATCH",
    ),
    "bulk before singles": (
        {"WAITING_BULK": "20", "WAITING_SINGLES": "10"},
        "VERIFIER_WAITING_BULK=20: expected at most VERIFIER_WAITING_SINGLES=10",
    ),
}


@pytest.mark.parametrize(("settings", "said"), WRONG.values(), ids=WRONG)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, str], said: str) -> None:
    """The message names the variable and what was expected."""
    with pytest.raises(ConfigError, match=said):
        Config.from_env({f"VERIFIER_{name}": text for name, text in settings.items()})


def test_a_dsn_that_is_refused_is_not_quoted() -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError) as refused:
        Config.from_env({"VERIFIER_PRIMARY_DSN": "mysql://a:secret@b/c"})
    assert "secret" not in str(refused.value)


def test_settings_that_fit_are_taken() -> None:
    """Both names of PostgreSQL's scheme are, in either case."""
    given = {"VERIFIER_PRIMARY_DSN": GOOD.upper(), "VERIFIER_REPLICA_DSNS": "postgres://a@b/c"}
    assert Config.from_env(given).databases.replica_dsns == ("postgres://a@b/c",)

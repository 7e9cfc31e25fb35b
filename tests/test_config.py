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
    "no port": (
        {"PRIMARY_DSN": "postgresql://u:p@h:abc/x"},
        "VERIFIER_PRIMARY_DSN: expected .*, with a port from 1 to 65535",
    ),
    "a port too high": (
        {"PRIMARY_DSN": "postgresql://h:99999/x"},
        "VERIFIER_PRIMARY_DSN: expected",
    ),
    "no port of several": ({"PRIMARY_DSN": "postgresql://h:1,i:x/x"}, "VERIFIER_PRIMARY_DSN: exp"),
    "no host": ({"REPLICA_DSNS": "postgresql://db..example/x"}, "VERIFIER_REPLICA_DSNS: expected"),
    "half an address": ({"REPLICA_DSNS": "postgresql://u@[::1/x"}, "VERIFIER_REPLICA_DSNS: expect"),
    "ports that do not fit": (
        {"PRIMARY_DSN": "postgresql:///x?host=a,b&port=1,2,3"},
        "VERIFIER_PRIMARY_DSN: 2 hosts and 3 ports",
    ),
    "no port in the query": (
        {"PRIMARY_DSN": "postgresql:///x?host=a&port=abc"},
        "VERIFIER_PRIMARY_DSN: port: expected a number from 1 to 65535",
    ),
    "a port too high in the query": (
        {"REPLICA_DSNS": "postgresql:///x?host=a,b&port=5432,99999"},
        "VERIFIER_REPLICA_DSNS",
    ),
    "no host in the query": (
        {"PRIMARY_DSN": f"postgresql:///x?host={'a' * 64}.de"},
        "VERIFIER_PRIMARY_DSN: host: expected names whose parts have 1 to 63 characters",
    ),
    "NUL": ({"PRIMARY_DSN": "postgresql://a%00b/x"}, "VERIFIER_PRIMARY_DSN: .*without NUL"),
    "no attributes": (
        {"PRIMARY_DSN": "postgresql://h/x?target_session_attrs=bogus"},
        "VERIFIER_PRIMARY_DSN: target_session_attrs: expected one of any primary standby",
    ),
    "heads without end": ({"MAX_HEADER": "9" * 18}, "VERIFIER_MAX_HEADER=.*<= 1048576"),
    "fields without end": ({"MAX_HEADERS": "10001"}, "VERIFIER_MAX_HEADERS=.*<= 10000"),
    "no mode": ({"PRIMARY_DSN": "postgresql://h/x?sslmode=bogus"}, "VERIFIER_PRIMARY_DSN: sslmode"),
    "more than memory": (
        {"CACHE_ENTRIES": "1000000000000"},
        "VERIFIER_CACHE_ENTRIES=.*<= 100000000",
    ),
    "probes too seldom": (
        {"PROBE_INTERVAL": "1.5", "MAX_STALENESS": "2"},
        "VERIFIER_PROBE_INTERVAL=1.5: expected at most half of VERIFIER_MAX_STALENESS=2",
    ),
    "no room for a batch": (
        {"MAX_RECEIVING": "17000000"},
        "VERIFIER_MAX_RECEIVING=17000000: expected at least 8/7 of VERIFIER_MAX_BATCH",
    ),
    "a balancer's name": (
        {"TRUSTED_PROXIES": "10.0.0.1, lb.example"},
        "VERIFIER_TRUSTED_PROXIES: 'lb.example': expected an address",
    ),
    "an address in a network": (
        {"TRUSTED_PROXIES": "10.1.2.3/8"},
        "VERIFIER_TRUSTED_PROXIES: '10.1.2.3/8': expected",
    ),
    "IPv4 as IPv6": (
        {"TRUSTED_PROXIES": "::ffff:10.1.2.3"},
        "VERIFIER_TRUSTED_PROXIES: '::ffff:10.1.2.3': expected",
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


@pytest.mark.parametrize(
    ("name", "dsn"),
    [
        ("PRIMARY_DSN", "mysql://a:secret@b/c"),
        ("PRIMARY_DSN", "postgresql://a:secret#1@b/c"),
        ("PRIMARY_DSN", "postgresql://a:secret/1@b/c"),
        ("PRIMARY_DSN", "postgresql://a:secret?1@b/c"),
        ("REPLICA_DSNS", "postgresql://a:secret,more@b/c"),
    ],
)
def test_a_dsn_that_is_refused_is_not_quoted(name: str, dsn: str) -> None:
    """It may hold a password, also one that takes it apart in the wrong place."""
    with pytest.raises(ConfigError) as refused:
        Config.from_env({f"VERIFIER_{name}": dsn})
    assert "secret" not in str(refused.value)


def test_settings_that_fit_are_taken() -> None:
    """Both names of PostgreSQL's scheme are, in either case."""
    given = {"VERIFIER_PRIMARY_DSN": GOOD.upper(), "VERIFIER_REPLICA_DSNS": "postgres://a@b/c"}
    assert Config.from_env(given).databases.replica_dsns == ("postgres://a@b/c",)


def test_balancers_are_named_by_addresses_and_networks() -> None:
    """Of both kinds, separated by commas."""
    given = {"VERIFIER_TRUSTED_PROXIES": "10.1.2.3, 10.2.0.0/16,fd00::/8"}
    networks = Config.from_env(given).connections.trusted_proxies
    assert networks == ("10.1.2.3", "10.2.0.0/16", "fd00::/8")

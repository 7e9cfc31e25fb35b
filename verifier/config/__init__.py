"""Config: every setting, from the environment, frozen, in sections (sections.py)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Network, ip_network
from typing import Any, Self

import msgspec

from verifier.config.dsns import wrong_with
from verifier.config.sections import (
    Access,
    Answers,
    ChangeLog,
    Connections,
    Databases,
    Ingest,
    Loading,
    Logs,
    Memory,
    Numbers,
    Overload,
    Requests,
    Staleness,
)
from verifier.errors import ConfigError

__all__ = [
    "PREFIX",
    "Access",
    "Answers",
    "ChangeLog",
    "Config",
    "Connections",
    "Databases",
    "Ingest",
    "Loading",
    "Logs",
    "Memory",
    "Numbers",
    "Overload",
    "Requests",
    "Staleness",
]

PREFIX = "VERIFIER_"

# What callers have of ours (`check`, load tests), not the service.
_CALLERS = (f"{PREFIX}KEY", f"{PREFIX}KEY_FILE")

# Kubernetes gives every pod such variables for a Service that is called "verifier".
_KUBERNETES = (f"{PREFIX}SERVICE_", f"{PREFIX}PORT")

# IPv4 addresses as IPv6 ones; clients have them as IPv4.
_MAPPED = IPv6Network("::ffff:0:0/96")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one process. ConfigError when some cannot work together."""

    databases: Databases = Databases()
    ingest: Ingest = Ingest()
    change_log: ChangeLog = ChangeLog()
    memory: Memory = Memory()
    staleness: Staleness = Staleness()
    loading: Loading = Loading()
    overload: Overload = Overload()
    connections: Connections = Connections()
    requests: Requests = Requests()
    answers: Answers = Answers()
    numbers: Numbers = Numbers()
    access: Access = Access()
    logs: Logs = Logs()

    def __post_init__(self) -> None:
        _check_dsns(self.databases)
        _check_networks(self.connections)
        _check_together(self)

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """The settings of these names, whatever section they are in, and defaults for all others.

        ConfigError for a name that no section has, and for what cannot work.
        """
        return cls().replaced(**settings)

    def replaced(self, **settings: Any) -> Self:
        """The same with other values for settings of these names. Raises as ``of`` does."""
        by_section: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            by_section.setdefault(_section_of(name), {})[name] = value
        return msgspec.structs.replace(
            self,
            **{
                section: msgspec.structs.replace(getattr(self, section), **values)
                for section, values in by_section.items()
            },
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings given by ``VERIFIER_*`` variables; ConfigError names the one that is wrong.

        An unknown ``VERIFIER_*`` variable is an error too: a misspelt bound must not silently be
        the default.
        """
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX) or variable.startswith(_KUBERNETES):
                continue
            if variable in _CALLERS:
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in _FIELDS:
                raise ConfigError(f"{variable}: no such setting (see docs/configuration.md)")
            given: Any = text.strip()
            if isinstance(_FIELDS[name][1].default, tuple):
                given = [each.strip() for each in text.split(",") if each.strip()]
            try:
                values[name] = msgspec.convert(given, _FIELDS[name][1].type, strict=False)
            except msgspec.ValidationError as error:
                raise ConfigError(f"{variable}={text!r}: {error}") from error
        return cls.of(**values)


# By the name of a setting, its section and itself.
_FIELDS = {
    field.name: (section.name, field)
    for section in msgspec.structs.fields(Config)
    for field in msgspec.structs.fields(section.type)
}


def _section_of(name: str) -> str:
    if name not in _FIELDS:
        raise ConfigError(f"{name}: no such setting")
    return _FIELDS[name][0]


def _check_together(config: Config) -> None:
    requests, databases, loading = config.requests, config.databases, config.loading
    staleness = config.staleness.max_staleness
    if requests.max_receiving - requests.kept_from_bulk < requests.max_batch_body:
        raise ConfigError(
            f"{PREFIX}MAX_RECEIVING={requests.max_receiving}: expected at least 8/7 of "
            f"{PREFIX}MAX_BATCH_BODY={requests.max_batch_body}, else the largest batch is refused"
        )
    if databases.probe_interval > staleness / 2:
        raise ConfigError(
            f"{PREFIX}PROBE_INTERVAL={databases.probe_interval:g}: expected at most half of "
            f"{PREFIX}MAX_STALENESS={staleness:g}, else answers would be stale between two probes"
        )
    if loading.waiting_bulk > loading.waiting_singles:
        raise ConfigError(
            f"{PREFIX}WAITING_BULK={loading.waiting_bulk}: expected at most "
            f"{PREFIX}WAITING_SINGLES={loading.waiting_singles}, so that singles go first"
        )


def _check_networks(connections: Connections) -> None:
    for text in connections.trusted_proxies:
        try:
            network = ip_network(text)
        except ValueError:
            network = None
        if network is None or (isinstance(network, IPv6Network) and network.subnet_of(_MAPPED)):
            raise ConfigError(
                f"{PREFIX}TRUSTED_PROXIES: {text!r}: expected an address or the first address of a "
                "network with its length, such as 10.1.2.3, 10.1.0.0/16 or fd00::/8"
            )


def _check_dsns(databases: Databases) -> None:
    """Refuse what can never lead to a database; a host that is not there may come."""
    dsns = {"PRIMARY_DSN": (databases.primary_dsn,), "REPLICA_DSNS": databases.replica_dsns}
    for name, given in dsns.items():
        for place, dsn in enumerate(given, 1):
            if dsn and (wrong := wrong_with(dsn)):
                # Not the DSN itself, which may hold a password.
                which = f" (number {place}, a comma begins the next)" if len(given) > 1 else ""
                raise ConfigError(f"{PREFIX}{name}{which}: {wrong}")

"""What the servers are told, and how much memory they may take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MIB = 1024 * 1024
# Each server's shared_buffers: this part of the machine's memory, within these bounds. A primary
# and two replicas then hold at most 3/8 of it; the page cache and the service have the rest.
BUFFERS_PART = 8
BUFFERS_MIN = 128 * MIB
BUFFERS_MAX = 2048 * MIB

# What a server admits at least. A place that is not taken costs it a few kilobytes.
CONNECTIONS_MIN = 200

# Where cgroups v2 and v1 say what a container may use; v1 says "a lot" for no limit.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes(limits: tuple[str, ...] = _LIMITS) -> int:
    """Return the memory of this machine, or of the container if that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in limits:
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            memory = min(memory, int(text))
    return memory


def buffers_bytes(memory: int) -> int:
    """Return shared_buffers of one server on a machine with that much memory."""
    return max(BUFFERS_MIN, min(BUFFERS_MAX, memory // BUFFERS_PART))


def server_settings(memory: int, connections: int, overrides: Mapping[str, str]) -> dict[str, str]:
    """List the settings that the primary and all replicas share; ``overrides`` win.

    A replica must not have smaller limits (connections, senders) than its primary, hence one list.
    """
    settings = {
        # Unix sockets only: no port to clash, nothing to reach from other machines.
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{buffers_bytes(memory) // MIB}MB",
        "effective_cache_size": f"{memory // 2 // MIB}MB",
        "maintenance_work_mem": "128MB",
        "max_connections": str(max(connections, CONNECTIONS_MIN)),
        # Durable: what is acknowledged is on this machine's disk.
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_level": "replica",
        "wal_compression": "on",
        # Bounds the WAL that recovery after a crash has to read again.
        "max_wal_size": "2GB",
        "checkpoint_timeout": "10min",
        # Before it reads that WAL again, recovery makes all files durable: by one call instead of a
        # thousand fsyncs, which took most of its time (1.3 s of 1.7 s for a small ledger).
        "recovery_init_sync_method": "syncfs",
        # Two per replica while it is cloned, one afterwards.
        "max_wal_senders": "20",
        "max_replication_slots": "20",
        # How far a dead replica may hold back the primary's WAL; beyond, it is cloned anew.
        "max_slot_wal_keep_size": "4GB",
        "hot_standby": "on",
        "hot_standby_feedback": "on",
        # Look-ups take milliseconds, so replay need not wait long for anybody.
        "max_standby_streaming_delay": "1s",
        "wal_receiver_status_interval": "1s",
        # A replica is back soon after its primary is; the default is 5 s.
        "wal_retrieve_retry_interval": "200ms",
        "wal_sender_timeout": "10s",
        "wal_receiver_timeout": "10s",
        # Point look-ups on solid-state disks, mostly from memory.
        "random_page_cost": "1.1",
        "jit": "off",
        # Parallel plans need /dev/shm, which containers often keep at 64 MB.
        "max_parallel_workers_per_gather": "0",
        # Upserts leave dead rows all over a large table: clean up early and in small portions.
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%a@%d ",
        # Its two lines per checkpoint would be most of the log.
        "log_checkpoints": "off",
    }
    return settings | dict(overrides)

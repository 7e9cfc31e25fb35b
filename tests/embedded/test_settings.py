"""How much memory the servers take, and whose settings win."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from verifier.embedded.settings import MIB, buffers_bytes, memory_bytes, server_settings


@pytest.mark.parametrize(
    ("memory", "buffers"),
    [(512 * MIB, 128), (1024 * MIB, 128), (4096 * MIB, 512), (65536 * MIB, 2048)],
)
def test_buffers_are_an_eighth_within_bounds(memory: int, buffers: int) -> None:
    """Each server takes an eighth of the memory, from 128 MB to 2 GB."""
    assert buffers_bytes(memory) == buffers * MIB


def test_memory_is_that_of_the_container(tmp_path: Path) -> None:
    """A container's limit counts if it is below the machine's memory; "max" is no limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    assert memory_bytes((str(limit),)) == machine
    for text, expected in (("max\n", machine), ("1048576\n", MIB), (f"{2**62}\n", machine)):
        limit.write_text(text)
        assert memory_bytes((str(limit),)) == expected


def test_overrides_win() -> None:
    """Tests and benches may set what they need; the rest stays."""
    settings = server_settings(1024 * MIB, 0, {"shared_buffers": "32MB", "work_mem": "8MB"})
    assert settings["shared_buffers"] == "32MB"
    assert settings["work_mem"] == "8MB"
    assert settings["fsync"] == "on"


@pytest.mark.parametrize(("asked", "admitted"), [(0, "200"), (200, "200"), (334, "334")])
def test_servers_admit_what_the_workers_take(asked: int, admitted: str) -> None:
    """As many connections as asked for, and never fewer than 200 (B13)."""
    assert server_settings(1024 * MIB, asked, {})["max_connections"] == admitted

"""Stopping: by signals, once and twice, while work is being done."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from verifier.cli.signals import Stop, Stopped, catching


async def test_first_stops_second_hurries() -> None:
    """The first signal asks to stop, the second to hurry; the first one's number is kept."""
    with catching() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.asked.wait()
        assert not stop.hurry.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await stop.hurry.wait()
    assert stop.signum == signal.SIGTERM


async def test_ignored_hangup_stays_ignored() -> None:
    """A process started by nohup outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catching() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
            assert not stop.asked.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_work_that_finishes() -> None:
    """Work that finishes first gives its result."""

    async def work() -> int:
        return 7

    assert await Stop().unless(work()) == 7


async def test_work_that_is_stopped() -> None:
    """Work that is not finished at the stop is cancelled and has cleaned up before Stopped."""
    stop = Stop()
    cleaned = False

    async def work() -> None:
        nonlocal cleaned
        try:
            stop.ask(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned = True

    with pytest.raises(Stopped, match="SIGINT"):
        await stop.unless(work())
    assert cleaned


async def test_error_of_the_work() -> None:
    """An error of the work is raised as it is, also when it comes while being stopped."""

    async def fails() -> None:
        raise ValueError("now")

    async def fails_late(stop: Stop) -> None:
        try:
            stop.ask(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            raise ValueError("late")

    with pytest.raises(ValueError, match="now"):
        await Stop().unless(fails())
    stop = Stop()
    with pytest.raises(ValueError, match="late"):
        await stop.unless(fails_late(stop))

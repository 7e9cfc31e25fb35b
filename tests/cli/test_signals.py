"""Stopping: by signals, once and twice, while work is being done."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

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


async def test_hangup_may_ask_for_a_reload() -> None:
    """Where it reloads, SIGHUP does not stop, not even the second time."""
    with catching(reloads=True) as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            await stop.reload.wait()
            stop.reload.clear()
        assert not stop.asked.is_set()


async def test_hangup_that_nohup_ignored_reloads() -> None:
    """Who asks for a reload gets it, and the signal is ignored again afterwards."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catching(reloads=True) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            await stop.reload.wait()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_stops() -> None:
    """Its SIGHUP is not taken for one that asks for a reload."""
    script = (
        "import asyncio, os\n"
        "from verifier.cli.signals import catching\n"
        "async def main():\n"
        "    with catching(reloads=True) as stop:\n"
        "        os.write(news, b'1')\n"
        "        await stop.asked.wait()\n"
        "        os.write(news, b'2')\n"
        "news = int(os.environ['NEWS'])\n"
        "asyncio.run(main())\n"
    )
    news, theirs = os.pipe()
    ours, terminal = os.openpty()
    try:
        with subprocess.Popen(
            # The terminal becomes that of a session which it leads.
            [
                sys.executable,
                "-c",
                f"import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n{script}",
            ],
            env=os.environ | {"NEWS": str(theirs), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=terminal,
            pass_fds=(theirs,),
            start_new_session=True,
        ) as process:
            os.close(theirs)
            os.close(terminal)
            assert os.read(news, 1) == b"1"
            os.close(ours)
            assert os.read(news, 1) == b"2"
            assert process.wait(10) == 0
    finally:
        os.close(news)


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

"""Whole runs against servers of known behaviour."""

from __future__ import annotations

from datetime import date
from time import monotonic

import msgspec
import pytest

from loadtests.crowd import Crowd, GeneratorFailed
from loadtests.generator.arrivals import Slope
from loadtests.generator.connections import Address
from loadtests.histogram import Histogram
from loadtests.merging import merged
from loadtests.questions import Book
from loadtests.result import Cell, Result, StageRun, Window, summaries
from loadtests.runs import Options, run
from loadtests.scenario import Scenario, Stage, Steps, Traffic
from loadtests.sender import Order, Sender, Setup
from loadtests.target import Target, today
from loadtests.voiding import void
from tests.loadtests.servers import Behaviour, serving

BOOK = Book(1_000, 1, date(2026, 11, 29))
# What the servers answer: not_found.
ABSENT = Scenario(
    "test",
    "questions about what is not there",
    [Traffic("single", "single", 1, within=0.2)],
    stages=[Stage("all", 2, 100)],
    arrivals="constant",
    mix={"not_found": 1},
    distinct=500,
)


def target(address: Address) -> Target:
    """A server that is somebody else's."""
    return Target(address, f"{address[0]}:{address[1]}", BOOK, dict)


def offered(windows: list[Window]) -> int:
    """Requests, all in all."""
    return sum(cell.offered for window in windows for cell in window.cells.values())


def ordered(address: Address, count: int) -> list[Window]:
    """What so many generators together see of two seconds at 150 a second."""
    setup = Setup(ABSENT, BOOK, today(), address, "test")
    with Crowd(setup, count) as crowd:
        origin = monotonic() + 0.1
        return crowd.run(Order([Slope(2.0, 150.0, 150.0)], [[1.0]], origin, origin))


def test_two_generators_are_one() -> None:
    """Two send together exactly what one sends, and their windows merge into as many."""
    with serving(Behaviour()) as address:
        one, two = ordered(address, 1), ordered(address, 2)
    assert offered(one) == offered(two) == 300
    assert [window.second for window in one] == [window.second for window in two]
    assert sum(len(cell.latency) for each in two for cell in each.cells.values()) == 300


def test_the_knee_is_found() -> None:
    """The steps find the capacity of a server that answers 400 a second, within 10 %."""
    steps = Steps(first=300, factor=2.0, precision=0.1, seconds=2)
    load = msgspec.structs.replace(ABSENT, stages=(), steps=steps)
    with serving(Behaviour(capacity=400.0, queue=40)) as address:
        found = run(load, target(address), Options())
    held = max(stage.rate for stage in found.stages if stage.held)
    broken = min(stage.rate for stage in found.stages if stage.held is False)
    assert held == pytest.approx(400, rel=0.1)
    assert held < broken <= 440
    assert found.total.wrong == 0


def test_each_step_begins_with_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many the one before has opened; those beyond the knee go on with what is there."""
    orders: list[bool] = []
    run_order = Crowd.run

    def noted(self: Crowd, order: Order) -> list[Window]:
        orders.append(order.fresh)
        return run_order(self, order)

    monkeypatch.setattr(Crowd, "run", noted)
    steps = Steps(first=50, factor=2.0, precision=0.5, seconds=1, most=1, beyond=(0.5,))
    load = msgspec.structs.replace(ABSENT, stages=(), steps=steps)
    with serving(Behaviour()) as address:
        run(load, target(address), Options())
    warm_up, *rest = orders
    assert (warm_up, rest) == (False, [True, False])


def test_a_fresh_order_leaves_no_more_connections_than_at_first() -> None:
    """The others are closed before its first request."""
    with serving(Behaviour()) as address:
        setup = Setup(ABSENT, BOOK, today(), address, "test", connections=3)
        with Sender(setup) as sender:
            sender._loop.connect(50)
            for fresh, most in ((False, 53), (True, 3)):
                begin = monotonic() + 0.1
                slopes = [Slope(0.5, 20.0, 20.0)]
                sender.run(Order(slopes, [[1.0]], begin, begin, fresh=fresh))
                assert sender._loop.connections == most


def test_refusals_are_counted_apart() -> None:
    """Past its capacity a server refuses; that is neither wrong nor lost, and shows as offered."""
    load = msgspec.structs.replace(ABSENT, stages=[Stage("too much", 3, 600)])
    with serving(Behaviour(capacity=200.0, queue=20)) as address:
        found = run(load, target(address), Options())
    summary = found.stages[0].summary["single"]
    assert summary.offered == pytest.approx(600, rel=0.01)
    assert summary.admitted == pytest.approx(200, rel=0.15)
    assert (found.total.wrong, found.total.lost) == (0, 0)


def test_one_wrong_answer_is_seen() -> None:
    """Of 200 answers the one that is wrong is counted, and quoted with its question."""
    with serving(Behaviour(wrong=150)) as address:
        found = run(ABSENT, target(address), Options())
    assert found.total.wrong == 1
    assert found.total.right == 199
    assert "got ('pending',)" in found.wrong[0]


def test_timestamps_are_sent_as_they_are() -> None:
    """A replay sends at its moments: so many in each second."""
    moments = [0.1, 0.2, 0.3, 1.5, 3.2]
    with serving(Behaviour()) as address:
        found = run(ABSENT, target(address), Options(timestamps=moments))
    counts = {
        window.second: window.cells["single"].offered for window in found.windows if window.cells
    }
    assert counts == {0: 3, 1: 1, 3: 1}


def test_a_generator_that_cannot_begin_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    """A service that takes no invoices ends a run that needs some, with the reason."""
    with serving(Behaviour()) as address:
        pass
    feeding = msgspec.structs.replace(ABSENT, traffic=[Traffic("feed", "feed", 1, items=2)])
    crowd = Crowd(Setup(feeding, BOOK, today(), address, "test"))
    with pytest.raises(GeneratorFailed, match="ended early"), crowd:
        pass
    assert "error: the service does not take invoices: " in capfd.readouterr().err


def _stage(warm_up: bool = False) -> list[StageRun]:
    return [StageRun("one", 0, 1, 100, 100, warm_up)]


def _window(late: int, cpu: float) -> Window:
    lateness = Histogram()
    for number in range(100):
        lateness.record(0.002 if number < late else 0.0001)
    return Window(0, generator_cpu=cpu, lateness=lateness)


@pytest.mark.parametrize(
    ("late", "cpu", "generators", "words"),
    [
        (2, 0.1, 1, "2.0% of its requests"),
        (0, 0.9, 1, "90% of a core each"),
        (0, 1.7, 2, "85% of a core each"),
    ],
)
def test_void(late: int, cpu: float, generators: int, words: str) -> None:
    """A generator that was late, or short of CPU, makes its run void and says how."""
    assert words in (void(_stage(), [_window(late, cpu)], generators) or "")


def test_not_void() -> None:
    """One late request of a hundred is no reason, nor is lateness in warm-up."""
    assert void(_stage(), [_window(1, 0.5)], 1) is None
    assert void(_stage(warm_up=True), [_window(50, 0.9)], 1) is None


def test_lateness_is_held_against_the_latency() -> None:
    """Two milliseconds do not spoil a stage whose p99 is a second."""
    (stage,) = _stage()
    slow = Cell(offered=1)
    slow.latency.record(1.0)
    stage.summary = summaries({"single": slow}, 1)
    assert void([stage], [_window(50, 0.1)], 1) is None


def _result(part: str, *windows: Window) -> Result:
    configuration = {"part": part}
    return Result("test", "", "2026-11-29", "", {}, configuration, {}, _stage(), list(windows))


def test_results_of_two_machines_merge() -> None:
    """What two machines have seen of one run adds up, second by second, and so does its summary."""
    cells = [Cell(offered=3, questions=3, right=3, good=3), Cell(offered=2, questions=2, lost=2)]
    whole = merged(
        [_result(f"{part} of 2", Window(0, {"single": cell})) for part, cell in enumerate(cells, 1)]
    )
    assert whole.windows[0].cells["single"].offered == 5
    assert whole.stages[0].summary["single"].goodput == 3.0
    assert whole.stages[0].summary["single"].lost == 2

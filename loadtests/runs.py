"""One run: a scenario against a target, from its first stage to its result."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from time import monotonic, sleep

import msgspec

from loadtests.crowd import Crowd
from loadtests.environment import environment, revision
from loadtests.generator.arrivals import Slope
from loadtests.hooks import Hooks
from loadtests.requests import bearing
from loadtests.result import (
    Cell,
    ClassInfo,
    Event,
    Result,
    Service,
    StageRun,
    Window,
    summaries,
)
from loadtests.scenario import WRITES, Scenario, Stage
from loadtests.search import Search, held
from loadtests.sender import Order, Setup
from loadtests.target import Target, today
from loadtests.voiding import void
from loadtests.watching import Watch, summed_up

# Between an order and its first moment: what it takes to reach all generators.
_LEAD = 0.3
_LIBRARIES = ("aiohttp", "asyncpg", "msgspec", "uvloop")


class Options(msgspec.Struct, frozen=True):
    """How a scenario is run: ``rate`` times its rates, by so many ``generators``.

    ``headers`` end with a line end each; they may hold a key, and no result has them. ``part`` of
    ``parts`` is this machine's share of a load that several machines send, which all begin at
    ``start_at`` (seconds since the epoch). ``commands`` replace hooks by name, ``timestamps`` the
    arrivals.
    """

    rate: float = 1.0
    generators: int = 1
    seed: int = 0
    headers: str = ""
    patience: float = 15.0
    connections: int = 2_000
    part: int = 0
    parts: int = 1
    start_at: float | None = None
    commands: Mapping[str, str] = {}
    timestamps: Sequence[float] | None = None


class Run:
    """A run under way; ``go`` returns its result."""

    def __init__(self, scenario: Scenario, target: Target, options: Options) -> None:
        self._scenario = scenario
        self._target = target
        self._options = options
        self._windows: list[Window] = []
        self._stages: list[StageRun] = []
        self._setup = Setup(
            scenario=scenario,
            book=target.book,
            today=today(),
            address=target.address,
            host=target.host,
            headers=options.headers or bearing(target.key),
            seed=options.seed,
            part=options.part,
            parts=options.parts,
            patience=options.patience,
            limit=options.connections,
        )

    def go(self) -> Result:
        """Run all stages. GeneratorFailed and HookFailed say what did not work."""
        options = self._options
        with ExitStack() as undo:
            crowd = undo.enter_context(
                Crowd(self._setup, options.generators, self._target.generator_core)
            )
            origin = monotonic() + _LEAD
            if options.start_at is not None:
                origin = monotonic() + options.start_at - datetime.now(UTC).timestamp()
            began = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
            target, headers = self._target, self._setup.headers
            watch = undo.enter_context(Watch(target.address, origin, target.parts, headers))
            hooks = Hooks(self._scenario.hooks, options.commands, self._target, origin)
            with hooks.going_on():
                if self._scenario.steps is None:
                    self._all_at_once(crowd, origin)
                else:
                    self._step_by_step(crowd, origin)
            # The last second has gone by, and with it its numbers.
            sleep(max(0.0, origin + self._stages[-1].end + 0.5 - monotonic()))
            wrong = list(crowd.wrong)
        return self._result(began, watch.seconds, hooks, wrong)

    def _all_at_once(self, crowd: Crowd, origin: float) -> None:
        stages = [_scaled(stage, self._options.rate) for stage in self._scenario.stages]
        timestamps = self._options.timestamps
        if timestamps is not None:
            seconds = int(timestamps[-1]) + 1
            rate = len(timestamps) / seconds
            stages = [Stage("replayed", seconds, rate)]
        windows = self._send(crowd, stages, origin, 0)
        self._note(stages, 0, windows)

    def _step_by_step(self, crowd: Crowd, origin: float) -> None:
        steps = self._scenario.steps
        assert steps is not None
        search = Search(steps)
        # What has just been started is not as fast as it will be.
        self._step(crowd, origin, Stage("warm-up", 5, steps.first, warm_up=True))
        while (rate := search.rate) is not None:
            name = f"{rate * self._options.rate:,.0f}/s"
            stage = _scaled(Stage(name, steps.seconds, rate), self._options.rate)
            windows = self._step(crowd, origin, stage, fresh=True)
            ran = self._stages[-1]
            middle = (ran.begin + ran.end) // 2
            halves = (
                _cells(windows, ran.begin, middle),
                _cells(windows, middle, ran.end),
            )
            ran.held = held(steps, halves)
            search.book(rate, held=ran.held)
            print(f"  {name}: {'held' if ran.held else 'not held'}", file=sys.stderr, flush=True)
        for factor in steps.beyond:
            rate = search.held * factor * self._options.rate
            self._step(crowd, origin, Stage(f"{factor:g} × the knee", steps.seconds, rate))

    def _step(
        self, crowd: Crowd, origin: float, stage: Stage, *, fresh: bool = False
    ) -> list[Window]:
        # What the step before has left in queues is not this one's.
        second = int(monotonic() - origin + _LEAD) + 2 if self._stages else 0
        windows = self._send(crowd, [stage], origin, second, fresh=fresh)
        self._note([stage], second, windows)
        return windows

    def _send(
        self,
        crowd: Crowd,
        stages: Sequence[Stage],
        origin: float,
        second: int,
        *,
        fresh: bool = False,
    ) -> list[Window]:
        traffic = self._scenario.traffic
        timestamps = self._options.timestamps
        order = Order(
            [Slope(stage.seconds, stage.begin_rate, stage.rate) for stage in stages],
            [
                [
                    each.parts if stage.parts is None else stage.parts.get(each.name, 0.0)
                    for each in traffic
                ]
                for stage in stages
            ],
            origin,
            origin + second,
            None if timestamps is None else list(timestamps),
            fresh,
        )
        return crowd.run(order)

    def _note(self, stages: Sequence[Stage], second: int, windows: Sequence[Window]) -> None:
        self._windows += windows
        for stage in stages:
            end = second + stage.seconds
            cells: dict[str, Cell] = {}
            for window in windows:
                if second <= window.second < end:
                    for name, cell in window.cells.items():
                        cells.setdefault(name, Cell()).merge(cell)
            self._stages.append(
                StageRun(
                    stage.name,
                    second,
                    end,
                    stage.rate,
                    stage.begin_rate,
                    stage.warm_up,
                    summary=summaries(cells, stage.seconds),
                )
            )
            second = end

    def _result(
        self, began: str, services: Mapping[int, Service], hooks: Hooks, wrong: list[str]
    ) -> Result:
        scenario, options, target = self._scenario, self._options, self._target
        for window in self._windows:
            window.service = services.get(window.second)
        for stage in self._stages:
            stage.service = summed_up(
                [
                    window.service
                    for window in self._windows
                    if stage.begin <= window.second < stage.end and window.service is not None
                ]
            )
        return Result(
            scenario=scenario.name,
            summary=scenario.summary,
            began=began,
            commit=revision() or "unknown",
            environment=dict(environment(_LIBRARIES)),
            configuration={
                "target": f"http://{target.host}",
                "workers": target.workers,
                "cores_each": target.cores_each,
                "rows": target.book.rows,
                "seed": target.book.seed,
                "until": target.book.until.isoformat(),
                "rate": options.rate,
                "arrivals": "replayed" if options.timestamps else scenario.arrivals,
                "mix": dict(scenario.mix),
                "zipf": str(scenario.zipf),
                "pick": scenario.pick,
                "distinct": scenario.distinct,
                "patience": options.patience,
                "part": f"{options.part + 1} of {options.parts}",
                "settings": {**scenario.settings, **target.settings},
                "p99": dict(scenario.p99),
            },
            classes={
                each.name: ClassInfo(each.endpoint, each.items, each.within)
                for each in scenario.traffic
            },
            stages=self._stages,
            windows=self._windows,
            events=[*_feeds(scenario, self._stages), *hooks.events],
            void=void(self._stages, self._windows, options.generators)
            or "; ".join(hooks.failed)
            or None,
            wrong=wrong,
            generators=options.generators,
        )


def run(scenario: Scenario, target: Target, options: Options) -> Result:
    """Run a scenario against a target."""
    return Run(scenario, target, options).go()


def _scaled(stage: Stage, factor: float) -> Stage:
    begin = None if stage.rate_at_begin is None else stage.rate_at_begin * factor
    return msgspec.structs.replace(stage, rate=stage.rate * factor, rate_at_begin=begin)


def _cells(windows: Sequence[Window], begin: int, end: int) -> list[Cell]:
    return [
        cell for window in windows if begin <= window.second < end for cell in window.cells.values()
    ]


def _feeds(scenario: Scenario, stages: Sequence[StageRun]) -> list[Event]:
    """The stages in which the ledger is written to."""
    writes = {each.name for each in scenario.traffic if each.endpoint in WRITES}
    return [
        Event("feed", stage.begin, stage.end, "ledger is fed")
        for stage in stages
        if writes & stage.summary.keys()
    ]

"""What the store's reads return: the shapes that the command line, the pages and the API show.

Moments are aware datetimes in UTC; durations are seconds. `status` and `failure_class` are the plain words of
`pytest_testlab.model`, so that a newer store can be read by an older program.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_testlab.moments import shown


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as a line of a list."""

    run: str
    mode: str
    lane: str
    trigger: str
    actor: str
    branch: str
    sha: str
    dirty: bool
    platform: str
    provider: str
    image: str
    runner_version: str
    pool: int
    budget_s: float
    started_at: dt.datetime
    finished_at: dt.datetime | None
    state: str
    """`running`, `finished`, `interrupted` or `aborted`."""
    say: str
    """Why, when it was interrupted or aborted; else empty."""
    exit_code: int | None
    planned: int
    """How many tests were selected."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Status → tests."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Phase of the run → seconds."""
    projected_s: float | None = None
    """The makespan projected at the plan; None when nothing was known."""
    cost_eur: float | None = None
    """What its servers cost; None when that isn't known."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Each source's ref, by name."""
    session: str | None = None
    """What the runs of one session on several images have in common: the name of the first; None for a run alone."""


@dataclass(frozen=True, kw_only=True)
class TargetView:
    """A target of a run, as last heard of."""

    slot: int
    name: str
    state: str
    """`provisioning`, `ready`, `busy`, `blanking`, `freezing`, `lost`, `gone`."""
    say: str
    at: dt.datetime
    test: str | None = None
    """What runs on it now."""
    proof: Mapping[str, str] = field(default_factory=dict)
    """How it was last proven blank."""


@dataclass(frozen=True, kw_only=True)
class ResultView:
    """The last attempt at one test in one run."""

    run: str
    test: str
    suite: str
    entry: str
    stage: str
    priority: str
    owner: str | None
    status: str
    """A status, `running` or `waiting` while the run goes on."""
    failure_class: str | None
    rule: str | None
    headline: tuple[str, ...]
    attempt: int
    slot: int | None
    target: str | None
    started_at: dt.datetime | None
    duration_s: float | None
    reason: str | None = None
    """Why it was skipped, blocked or shed."""


@dataclass(frozen=True, kw_only=True)
class SectionView:
    """A section of a bundle, without its text."""

    name: str
    source: str
    size: int
    """Bytes at the source."""
    kept: int
    """Bytes in the store."""
    absent: str | None


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """One attempt with its bundle's manifest."""

    result: ResultView
    attempts: int
    """How many there were."""
    phases: Mapping[str, float]
    sections: tuple[SectionView, ...]
    redacted: int
    reason: str | None
    """Why it was skipped, blocked or shed."""
    retry_of: int | None = None
    """The attempt that this one retried."""
    image: str = ""
    """What its target was made from."""


@dataclass(frozen=True, kw_only=True)
class HistoryCell:
    """One night of a test."""

    run: str
    started_at: dt.datetime
    status: str
    failure_class: str | None
    duration_s: float | None
    fingerprint: str | None
    headline: str
    """Its first line."""


@dataclass(frozen=True, kw_only=True)
class DiffItem:
    """A test in a diff."""

    test: str
    status: str
    failure_class: str | None
    headline: tuple[str, ...]
    since: dt.datetime | None = None
    """When it first failed in this streak; None when it doesn't fail."""
    streak: int = 0
    """How many runs in a row it has failed."""
    changed_class: bool = False
    """Still failing, for another cause than before."""
    priority: str = "P1"
    owner: str | None = None
    entry: str = ""
    reason: str | None = None
    """Why it was skipped, blocked or shed."""


@dataclass(frozen=True, kw_only=True)
class DiffView:
    """What changed since each test's own last outcome in the lane."""

    run: RunView
    previous: str | None
    newly_failing: tuple[DiffItem, ...] = ()
    newly_fixed: tuple[DiffItem, ...] = ()
    still_failing: tuple[DiffItem, ...] = ()
    flaky: tuple[DiffItem, ...] = ()
    errors: tuple[DiffItem, ...] = ()
    blocked: tuple[DiffItem, ...] = ()
    skipped: tuple[DiffItem, ...] = ()
    new: tuple[DiffItem, ...] = ()
    missing: tuple[DiffItem, ...] = ()
    shed: tuple[DiffItem, ...] = ()
    not_run: tuple[DiffItem, ...] = ()
    still_passing: int = 0


@dataclass(frozen=True, kw_only=True)
class TestView:
    """A test over all its nights in one lane."""

    __test__ = False

    test: str
    suite: str
    entry: str
    stage: str
    priority: str
    owner: str | None
    lane: str
    last_status: str
    last_run: str
    last_pass: dt.datetime | None
    strip: tuple[HistoryCell, ...]
    """Oldest first, at most 60."""
    p50_s: float | None
    """Median duration of its passes."""
    p90_s: float | None = None
    """What nine of ten of its passes stay below."""
    failing_since: dt.datetime | None = None
    """When it first failed in this streak; None when it doesn't fail."""


@dataclass(frozen=True, kw_only=True)
class NightView:
    """A night of a schedule that was due."""

    id: int
    schedule: str
    due_at: dt.datetime
    state: str
    """`due`, `waiting`, `starting`, `started`, `finished`; `refused` or `missed`: it never began; `failed`: its session
    ended before its run began; `lost`: nobody knows how it ended."""
    reason: str
    """Why it is in this state, where that isn't plain; else empty."""
    caught_up: bool
    """It was begun late, because nobody was there when it was due."""
    run: str | None
    """The name that its run has, or would have had."""
    place: str | None
    """The machine and the lab's home from which it was started."""
    pid: int | None
    """Of the process that keeps its session."""
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    exit_code: int | None
    run_state: str | None
    """What the store knows of its run; None when it never began."""


@dataclass(frozen=True, kw_only=True)
class NextView:
    """When a schedule is due next, as the scheduler that is or was at work took it down."""

    schedule: str
    at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class LeaseView:
    """Who has, or had, a server; all moments are by the database's clock."""

    key: str
    """`provider/` and the server's name, or what else is the machine's own."""
    provider: str
    server: str
    """Its name, for people."""
    run: str
    slot: int
    holder: str
    """Run, host and process that hold it."""
    trigger: str
    epoch: int
    """Grows whenever the server is taken, made blank or taken from its holder."""
    state: str
    """`held`, `kept` (it outlives its run, and nobody uses it now) or `released`."""
    taken_at: dt.datetime
    heartbeat_at: dt.datetime
    expires_at: dt.datetime
    lapsed: bool
    """Whether it expired by now: anybody may take the server."""
    made_at: dt.datetime
    """When its server was first held."""
    eur_per_hour: float | None = None
    """None where nobody charges anything."""
    address: str = ""
    """Where it is, as ssh wants it, without a key; empty where no SSH leads."""
    kept: str = ""
    """Why it outlives its run: `failed` or `always`; empty where it doesn't."""
    test: str = ""
    """The test that failed on it, and is why it is kept."""

    def __str__(self) -> str:
        return f"run {self.run}, {self.trigger or 'started by somebody'}, until {shown(self.expires_at, seconds=True)}"

"""What the pages say about runs, nights and attempts, before it is HTML."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from testlab_server.present import attempts, history, morning, runs, statuses, words

from pytest_testlab.store.views import (
    AttemptView,
    DiffItem,
    DiffView,
    HistoryCell,
    ResultView,
    RunView,
    SectionView,
)

NOW = dt.datetime(2026, 11, 21, 6, 0, tzinfo=dt.UTC)


def run(**more: Any) -> RunView:
    values: dict[str, Any] = {
        "run": "20261121-0231-aaaa",
        "mode": "nightly",
        "lane": "nightly/main/procfile/local/-",
        "trigger": "scheduled-nightly",
        "actor": "ada",
        "branch": "main",
        "sha": "",
        "dirty": False,
        "platform": "procfile",
        "provider": "local",
        "image": "",
        "runner_version": "0.1.0",
        "pool": 2,
        "budget_s": 21600.0,
        "started_at": NOW - dt.timedelta(seconds=100),
        "finished_at": NOW,
        "state": "finished",
        "say": "",
        "exit_code": 0,
        "planned": 4,
    }
    return RunView(**{**values, **more})


def item(name: str, status: str = "failed", **more: Any) -> DiffItem:
    return DiffItem(test=f"apps/{name}/testlab.toml::install", status=status, failure_class=None, headline=(), **more)


def result(name: str, status: str, priority: str = "P1") -> ResultView:
    return ResultView(
        run="r",
        test=f"apps/{name}/testlab.toml::install",
        suite="apps",
        entry=name,
        stage="install",
        priority=priority,
        owner=None,
        status=status,
        failure_class=None,
        rule=None,
        headline=(),
        attempt=1,
        slot=0,
        target="local-1",
        started_at=NOW,
        duration_s=1.0,
    )


def cell(status: str, fingerprint: str | None = None, seconds: float | None = 1.0) -> HistoryCell:
    return HistoryCell(
        run="r",
        started_at=NOW,
        status=status,
        failure_class=None,
        duration_s=seconds,
        fingerprint=fingerprint,
        headline="",
    )


def section(name: str, absent: str | None = None, kept: int = 10) -> SectionView:
    return SectionView(name=name, source="here", size=kept, kept=kept, absent=absent)


def attempt(failure_class: str | None, *sections: SectionView) -> AttemptView:
    view = result("a", "failed")
    return AttemptView(
        result=ResultView(**{**vars_of(view), "failure_class": failure_class}),
        attempts=1,
        phases={},
        sections=sections,
        redacted=0,
        reason=None,
    )


def vars_of(view: ResultView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in view.__dataclass_fields__}


# --- the morning ---


def test_newly_failing_comes_first() -> None:
    """What broke tonight stands above everything else."""
    diff = DiffView(run=run(), previous="p", newly_failing=(item("a"),), newly_fixed=(item("b", "passed"),))
    shown = morning.morning(diff, running=None, lanes=())
    assert [group.key for group in shown.groups] == ["newly-failing", "newly-fixed"]
    assert (shown.tone, shown.sentence) == ("bad", "1 test broke, 1 mended")


def test_a_new_test_that_fails_is_shown_and_counted() -> None:
    """A failure on a test's first night isn't hidden among what is new."""
    diff = DiffView(run=run(), previous="p", new=(item("a"), item("b", "passed")))
    shown = morning.morning(diff, running=None, lanes=())
    assert [(group.key, len(group.items), group.folded) for group in shown.groups] == [
        ("new-failing", 1, False),
        ("new", 1, True),
    ]
    assert shown.sentence == "1 test broke"


def test_the_first_night_breaks_nothing() -> None:
    """With nothing to compare with, failures are failures, and nothing broke."""
    shown = morning.morning(DiffView(run=run(), previous=None, new=(item("a"),)), running=None, lanes=())
    assert shown.sentence == "1 failing on the first night"
    assert shown.groups[0].title == "Failing"


@pytest.mark.parametrize(
    ("lists", "tone"),
    [
        ({}, "good"),
        ({"newly_fixed": (item("a", "passed"),)}, "good"),
        ({"still_failing": (item("a"),)}, "warn"),
        ({"errors": (item("a", "error"),)}, "warn"),
        ({"newly_failing": (item("a"),), "newly_fixed": (item("b", "passed"),)}, "bad"),
    ],
)
def test_the_tone(lists: dict[str, Any], tone: str) -> None:
    """Red is for what broke tonight only."""
    assert morning.morning(DiffView(run=run(), previous="p", **lists), running=None, lanes=()).tone == tone


def test_a_run_that_was_cut_short_is_never_well() -> None:
    """An aborted run without a single failure doesn't claim that all is well."""
    aborted = run(state="aborted", say="no target could be proven blank", exit_code=6)
    shown = morning.morning(DiffView(run=aborted, previous="p"), running=None, lanes=())
    assert (shown.tone, shown.sentence) == ("bad", "The run was aborted")


def test_tests_that_never_ran_are_never_well() -> None:
    """Nothing failed, but not all was run."""
    diff = DiffView(run=run(), previous="p", not_run=(item("a", "not_run"),), blocked=(item("b", "blocked"),))
    shown = morning.morning(diff, running=None, lanes=())
    assert (shown.tone, shown.sentence) == ("warn", "1 blocked, 1 never ran")


def test_the_page_is_about_the_last_run_that_ended() -> None:
    """A run that goes on is announced, and doesn't push the finished night away."""
    going, ended = run(run="b", state="running", finished_at=None), run(run="a")
    assert morning.chosen_run([going, ended]) == ended
    assert morning.chosen_run([going]) == going
    assert morning.running_run([going, ended]) == going
    assert morning.chosen_run([]) is None


def test_a_run_without_tests_hides_no_night() -> None:
    """It is noted, in its own lane and for as long as it is the last; the page is about it where there is no other."""
    empty, going, ended = run(run="c", planned=0, state="aborted"), run(run="b", state="running"), run(run="a")
    assert morning.chosen_run([empty, ended]) == ended
    assert morning.chosen_run([empty, going]) == going
    assert morning.chosen_run([empty]) == empty
    assert morning.empty_run([empty, ended]) == empty
    assert morning.empty_run([ended, empty]) is None
    assert morning.default_lane([run(planned=0, lane="nightly/typo"), run(lane="nightly/x")]) == "nightly/x"
    assert morning.default_lane([run(planned=0, lane="nightly/x"), run(mode="cli")]) == "nightly/x"


def test_the_nightly_lane_is_the_default() -> None:
    """Somebody's run from a terminal doesn't take the morning page over."""
    assert morning.default_lane([run(mode="cli", lane="cli/x"), run(lane="nightly/x")]) == "nightly/x"
    assert morning.default_lane([run(mode="cli", lane="cli/x")]) == "cli/x"
    assert morning.default_lane([]) is None


# --- a run ---


def test_failures_come_first_and_waiting_last() -> None:
    """The table begins with what somebody must look at."""
    results = [result("w", "waiting"), result("p", "passed"), result("b", "failed"), result("a", "failed", "P0")]
    assert [view.entry for view in runs.sorted_results(results)] == ["a", "b", "p", "w"]


def test_progress_by_projection_then_by_pace() -> None:
    """What is left: by the plan while it holds, by the pace once it is overrun, unknown at first."""
    results = [result(str(number), "passed") for number in range(3)] + [result("x", "running"), result("y", "waiting")]
    going = run(state="running", finished_at=None, planned=6, projected_s=160.0)
    assert runs.progress(going, results, NOW).left_s == pytest.approx(60)
    late = run(state="running", finished_at=None, planned=6, projected_s=50.0)
    assert runs.progress(late, results, NOW).left_s == pytest.approx(100)
    assert runs.progress(late, results[:2], NOW).left_s is None
    shown = runs.progress(going, results, NOW)
    assert (shown.done, shown.planned, shown.percent) == (3, 6, 50)


def test_a_row_has_an_id_whatever_its_test_is_called() -> None:
    """An id that a page can be asked for, the same each time, and another for another test."""
    ids = [runs.row_id(result(name, "passed")) for name in ("a", 'a b"<é>', "a")]
    assert ids[0] == ids[2] != ids[1]
    assert all(re.fullmatch(r"r-[0-9a-f]+", shown) for shown in ids)


# --- nights ---


def test_a_failure_with_another_cause_is_a_turn() -> None:
    """A new failure inside "still failing" is seen; the first failure after a pass is no turn."""
    cells = [
        cell("failed", "a"),
        cell("failed", "a"),
        cell("error"),
        cell("failed", "b"),
        cell("passed"),
        cell("failed", "c"),
    ]
    assert [night.turn for night in history.nights(cells)] == [False, False, False, True, False, False]


def test_rates_leave_infrastructure_out() -> None:
    """Errors, skips, and what never ran count neither way."""
    cells = [cell(status) for status in ("passed", "flaky", "failed", "error", "skipped", "not_run", "shed", "blocked")]
    assert history.pass_rate(cells) == (2, 3)


def test_a_sparkline_needs_two_durations() -> None:
    """A single dot says nothing."""
    assert history.sparkline([cell("passed"), cell("not_run", seconds=None)]) is None
    spark = history.sparkline([cell("passed", seconds=1), cell("failed", seconds=4), cell("passed", seconds=2)], 1.5)
    assert spark is not None
    assert spark.highest_s == 4
    assert len(spark.dots) == 3
    assert spark.line.count(",") == 2


# --- an attempt ---


def test_the_section_where_the_cause_shows_comes_first() -> None:
    """A build failure opens the build; where that is absent, the first section with text; else the first."""
    whole = attempt("build-failure", section("app"), section("deploy"), section("build"))
    assert attempts.telling_sections(whole) == [section("build"), section("deploy")]
    without = attempt("build-failure", section("app", kept=0), section("build", absent="no"), section("dns"))
    assert attempts.telling_sections(without) == [section("dns")]
    absent = section("build", absent="no")
    assert attempts.telling_sections(attempt("build-failure", absent)) == [absent]
    assert attempts.telling_sections(attempt(None)) == []


def test_lines_that_the_headline_quotes_are_hits() -> None:
    """The decisive line is marked in its log, colours and indentation aside."""
    text = attempts.section_text(
        section("app"), b"one\n  \x1b[31mRuntimeError: no table\x1b[0m\nok\n", ["RuntimeError: no table"]
    )
    assert [(line.number, line.hit) for line in text.lines] == [(1, False), (2, True), (3, False)]
    assert text.first_hit == 2


def test_a_quote_may_name_its_section_and_be_cut_off() -> None:
    """`nginx-error: 2026/11/21 … connect() fa…` is found in nginx-error, and nowhere else by chance."""
    raw = b"2026/11/21 02:31:07 [error] connect() failed (111: Connection refused)\n"
    headline = ["nginx-error: 2026/11/21 02:31:07 [error] connect() fa…"]
    assert attempts.section_text(section("nginx-error"), raw, headline).first_hit == 1
    assert attempts.section_text(section("app"), b"nothing\n", headline).first_hit is None


def test_the_first_screen_is_bounded() -> None:
    """The last lines are shown under their own numbers, and what was left out is counted."""
    raw = b"".join(b"%d\n" % number for number in range(1, 3001))
    text = attempts.section_text(section("app"), raw, [])
    assert (text.skipped, len(text.lines), text.lines[0].number, str(text.lines[-1].markup)) == (
        1000,
        2000,
        1001,
        "3000",
    )


def test_phases_fill_their_bar() -> None:
    """Each phase has its share, in the order they come, and a bar of nothing divides by nothing."""
    bar = attempts.phase_bar({"ready": 1.0, "build": 3.0})
    assert [(phase.name, phase.start, phase.width) for phase in bar] == [("build", 0, 75), ("ready", 75, 25)]
    assert attempts.phase_bar({"build": 0.0})[0].width == 0
    bar = attempts.phase_bar({"build": 3.0}, 4.0)
    assert [(phase.name, phase.width) for phase in bar] == [("build", 75), ("between them", 25)]
    assert list(words.in_order({"odd": 1, "check: b": 1, "total": 1, "check: a": 1, "upload": 1})) == [
        "upload",
        "check: a",
        "check: b",
        "total",
        "odd",
    ]


# --- words ---


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "—"), (0.04, "0.0 s"), (9.96, "10 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    """Two units at most."""
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (3400, "3.4 KB"), (26_000, "26 KB"), (1_200_000, "1.2 MB")]
)
def test_sizes(count: int, text: str) -> None:
    """In the unit that keeps it short."""
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("test", "parts"),
    [
        ("examples/apps/radicale/testlab.toml::install", ("radicale", "install", "examples/apps/radicale")),
        ("platform/test_x.py::T::test_y[a/b]", ("T::test_y[a/b]", "", "platform/test_x.py")),
        ("testlab.toml::check", ("testlab.toml", "check", ".")),
    ],
)
def test_names(test: str, parts: tuple[str, str, str]) -> None:
    """An entry is called by its folder, any other test by its own name."""
    name = words.name_of(test)
    assert (name.title, name.stage, name.path) == parts


def test_a_headline_beside_its_class_and_rule() -> None:
    """What the page shows anyway isn't said twice, and nothing else is left out."""
    headline = ("timeout: no answer", "rule: timeout/app", "timeout: of the probe")
    assert words.telling(headline, "timeout") == ["no answer", "timeout: of the probe"]
    assert words.telling((), None) == []
    assert words.telling(("None: a word",), None) == ["None: a word"]


def test_targets_are_named_within_their_run() -> None:
    """The run's own name isn't repeated in each row."""
    assert words.target_name("20261121-0231-k3f9-0", "20261121-0231-k3f9") == "target 0"
    assert words.target_name("web-1", "20261121-0231-k3f9") == "web-1"
    assert words.target_name(None, "r") == "—"


def test_the_folder_of_all() -> None:
    """What each line would repeat is found, and nothing is where there is one path or none."""
    tests = ["e/c/apps/a/testlab.toml::x", "e/c/broken/b/testlab.toml::x"]
    assert words.common_folder(tests) == "e/c/"
    assert words.common_folder(tests[:1]) == words.common_folder([]) == ""
    assert words.common_folder(["a/t.py::x", "b/t.py::x"]) == ""


def test_a_bar_never_runs_over() -> None:
    """Shares add up to what is done, the worst first, and an unknown status has its place."""
    bar = statuses.shares({"passed": 1, "failed": 1, "odd": 1, "error": 0}, total=6)
    assert [(share.status, round(share.width)) for share in bar] == [("failed", 17), ("passed", 17), ("odd", 17)]
    assert sum(share.width for share in statuses.shares({"passed": 9}, total=3)) == pytest.approx(100)

"""The block at the bottom of a terminal: from what is known to lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_testlab.planning.forecast import LATE
from pytest_testlab.session.show.panel import ORDER, RunNow, TargetNow, panel
from pytest_testlab.session.show.style import Style, columns, fit, human, pad, roughly, uncoloured

PLAIN = Style(colour=False)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def running(name: str, seconds: float = 83.0, **more: object) -> TargetNow:
    fields: dict[str, object] = {"test": "radicale · install", "phase": "build", "left_s": 40.0, **more}
    return TargetNow(name=name, state="running", for_s=seconds, **fields)  # type: ignore[arg-type]


def run(*targets: TargetNow, **more: object) -> RunNow:
    fields: dict[str, object] = {"done": 3, "planned": 12, "elapsed_s": 200.0, "counts": {"passed": 2, "failed": 1}}
    return RunNow(targets=targets, **{**fields, **more})  # type: ignore[arg-type]


def test_a_line_a_target_and_one_for_the_run() -> None:
    """What, which phase, for how long, what is left; then how far the run is, by colour, and when it ends."""
    booting = TargetNow(name="local-1", state="booting", for_s=4.2)
    lines = panel(run(running("local-0"), booting, left_s=360.0), width=120, height=30, style=PLAIN)
    assert [line.split() for line in lines[:3]] == [
        [],
        ["local-0", "radicale", "·", "install", "build", "1", "min", "23", "s", "~40", "s", "left"],
        ["local-1", "booting", "4.2", "s"],
    ]
    assert re.fullmatch(r"  ━{9}─{27}  3/12  ✓2 ✗1  3 min 20 s  ends (\w+ )?\d\d:\d\d, 6 min left", lines[3])


def test_a_test_that_takes_longer_says_so() -> None:
    """Beyond its estimate a test has no time left, and the block says by how much."""
    [_, line, _] = panel(run(running("local-0", left_s=-75.0)), width=100, height=30, style=PLAIN)
    assert line.endswith("75 s over")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_run_that_takes_longer_says_so(width: int) -> None:
    """Where nobody can say what is left, no time is told."""
    last = panel(run(left_s=LATE), width=width, height=30, style=PLAIN)[-1]
    assert last.endswith("longer than usual")
    assert "left" not in last


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("style", [PLAIN, Style(colour=True), Style(colour=False, fancy=False)])
def test_no_line_is_wider_than_the_terminal(width: int, style: Style) -> None:
    """Nor as wide: a full line would leave the cursor nobody knows where. What matters most is kept."""
    note = "store away, 12345 events wait on disk"
    targets = [running("日本語のサーバー-0", test="予定表 · install", phase="check: どうですか"), running("b" * 80)]
    lines = panel(run(*targets, left_s=4000.0, note=note), width=width, height=30, style=style)
    assert max(columns(COLOURS.sub("", line)) for line in lines) < width
    assert "3/12" in lines[-1]
    assert all("left" in panel(run(left_s=4000.0), width=w, height=30, style=style)[-1] for w in (40, width))
    assert "store away" in lines[-1]
    assert style.fancy or "".join(lines).isascii()
    assert style.colour or "\x1b" not in "".join(lines)


def test_the_busiest_are_shown_where_there_is_no_room_for_all() -> None:
    """The others are counted; a terminal of any height keeps lines for what is printed above."""
    slow = [running(f"t-{number:02}", 100.0 + number) for number in range(20)]
    idle = [TargetNow(name=f"i-{number:02}", state="waiting", for_s=900.0) for number in range(4)]
    lines = panel(run(*idle, *slow), width=100, height=14, style=PLAIN)
    assert len(lines) == 10
    assert [line.split()[0] for line in lines[1:8]] == [f"t-{number}" for number in range(13, 20)]
    assert lines[8] == "  +17 more: 13 running, 4 waiting"
    assert len(panel(run(*slow), width=100, height=4, style=PLAIN)) <= 3


@given(
    name=st.text(max_size=40),
    test=st.text(min_size=1, max_size=60),
    width=st.integers(40, 200),
    state=st.sampled_from(ORDER),
)
def test_hostile_names(name: str, test: str, width: int, state: str) -> None:
    """Whatever targets and tests are called, nothing that a terminal would obey reaches it, and no line is too wide."""
    target = TargetNow(name=name, state=state, for_s=1.0, test=test if state == "running" else "", phase=name)
    for line in panel(run(target, note=name), width=width, height=30, style=PLAIN):
        assert line.isprintable()
        assert columns(line) < width


def test_before_the_plan_is_known() -> None:
    """It says that it collects, and for how long."""
    assert panel(RunNow(done=0, planned=0, elapsed_s=2.0), width=80, height=24, style=PLAIN) == [
        "",
        "  collecting  2.0 s",
    ]


def test_text_in_columns() -> None:
    """Wide characters count twice, combining ones not at all, and a cut never splits one."""
    assert columns("日本") == 4
    assert columns("e\u0301") == 1
    assert fit("日本語", 5) == "日本…"
    assert fit("日本語", 4) == "日…"
    assert pad("日本", 6) == "日本  "
    assert uncoloured("\x1b[1;31mred\x1b[0m\x1b[2K") == "red"
    assert PLAIN.plain("a\x1b]0;title\x07b") == "a\\x1b]0;title\\x07b"


def test_durations() -> None:
    """As people say them; what is only expected is not told to the tenth."""
    assert [human(seconds) for seconds in (0.42, 12.3, 200, 7500)] == ["0.4 s", "12 s", "3 min 20 s", "2 h 05 min"]
    assert [roughly(seconds) for seconds in (0.2, 12.3, 200, 7500)] == ["1 s", "12 s", "3 min", "2 h 05 min"]

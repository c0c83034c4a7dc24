"""From the journal into the store: nothing is lost, nothing counts twice, whatever is killed in between."""

from __future__ import annotations

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from recorded import Recorded, bundle, outcome, planned, provenance

from pytest_testlab.model import LEASE_LOST
from pytest_testlab.options import Settings
from pytest_testlab.recording import events
from pytest_testlab.recording.drain import Drain
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Event, Journal
from pytest_testlab.recording.recorder import Recorder
from pytest_testlab.recording.recover import recover
from pytest_testlab.store.embedded import EmbeddedPostgres, StoreHandle, home, open_store
from pytest_testlab.store.reads import attempts, estimates, names, runs, tests
from pytest_testlab.store.schema import metadata
from pytest_testlab.store.writes.leases import Claimant, release, take

NOW = dt.datetime(2026, 11, 1, 2, 1, tzinfo=dt.UTC)
T = [f"apps/{name}/testlab.toml::install" for name in ("a", "b", "c", "d")]


def begin(home: Path, plan: list[str], run: str = "r1") -> tuple[RunFolder, Journal]:
    """A run that has begun, and its controller's journal."""
    folder = RunFolder.create(home, run)
    journal = Journal(folder.path, "controller")
    journal.append(events.run_started(provenance(run), arguments={"-k": "x"}))
    journal.append(events.collected([planned(test) for test in plan], selection="all", projected_s=12.5))
    return folder, journal


def ending(state: str = "finished") -> Event:
    return events.run_finished(state=state, exit_code=0, finished_at=NOW, phases={"run": 60.0})


def drain_all(store: StoreHandle, folder: RunFolder, *, final: bool = False) -> Drain:
    drain = Drain(store.engine, folder, final=final)
    while drain.events() or drain.bundles():
        pass
    return drain


def statuses(store: StoreHandle, run: str = "r1") -> dict[str, str]:
    with store.engine.connect() as connection:
        return {result.test: result.status for result in runs.results(connection, run)}


def dump(store: StoreHandle) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, but for how far segments were read."""
    with store.engine.connect() as connection:
        tables = [table for table in metadata.sorted_tables if table.name != "journal_segment"]
        return {table.name: sorted(map(tuple, connection.execute(table.select())), key=repr) for table in tables}


def test_a_run_fills_while_it_goes_on(store: StoreHandle, tmp_path: Path) -> None:
    """Waiting, running and finished tests, targets and the run itself show what the journal says, as it says it."""
    folder, journal = begin(tmp_path, T)
    worker = Journal(folder.path, "gw0")
    journal.append(events.target_event(slot=0, name="t0", state="ready", at=NOW, proof={"folder": "new"}))
    worker.append(events.started(test=T[0], attempt=1, slot=0, target="t0", at=NOW))
    manifest, blob = bundle(b"the log")
    worker.append(outcome(T[0], "failed app-crash it crashed\nagain", manifest=manifest), blob)
    worker.append(events.started(test=T[1], attempt=1, slot=0, target="t0", at=NOW + dt.timedelta(seconds=1)))
    drain_all(store, folder)
    assert statuses(store) == {T[0]: "failed", T[1]: "running", T[2]: "waiting", T[3]: "waiting"}
    with store.engine.connect() as connection:
        (target,) = runs.targets(connection, "r1")
        view = runs.get_run(connection, "latest")
        assert attempts.section(connection, "r1", T[0], None, "app") == b"the log"
    assert (target.name, target.state, target.test, target.proof) == ("t0", "ready", T[1], {"folder": "new"})
    assert view is not None
    assert (view.state, view.planned, view.projected_s, view.counts) == ("running", 4, 12.5, {"failed": 1})
    worker.append(outcome(T[1], "passed"))
    journal.append(ending())
    drain_all(store, folder)
    assert statuses(store) == {T[0]: "failed", T[1]: "passed", T[2]: "not_run", T[3]: "not_run"}
    with store.engine.connect() as connection:
        view = runs.get_run(connection, "r1")
    assert view is not None
    assert (view.state, view.exit_code, view.phases) == ("finished", 0, {"run": 60.0})
    assert view.counts == {"failed": 1, "passed": 1, "not_run": 2}
    worker.close()
    journal.close()
    folder.close()


def test_replay_changes_nothing(recorded: Recorded) -> None:
    """Draining a journal again, from its beginning, leaves every row as it was."""
    run = recorded.run({T[0]: "passed", T[1]: "failed timeout too slow", T[2]: None, T[3]: "skipped needs node"})
    before = dump(recorded.store)
    with recorded.store.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM journal_segment"))
    drain_all(recorded.store, RunFolder.open(recorded.home, run))
    assert dump(recorded.store) == before


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_segments_does_not_matter(store: StoreHandle, tmp_path: Path, seed: int) -> None:
    """Attempts, starts and targets give the same rows in whatever order they are read."""
    manifest, blob = bundle()
    later = NOW + dt.timedelta(seconds=9)
    said: list[tuple[Event, bytes]] = [
        (outcome(T[0], "failed app-crash it crashed", attempt=1, manifest=manifest), blob),
        (outcome(T[0], "flaky", attempt=2, retry_of=1), b""),
        (outcome(T[1], "failed app-error 500"), b""),
        (outcome(T[1], "error infra the worker died"), b""),
        (events.started(test=T[0], attempt=1, slot=0, target="t0", at=NOW), b""),
        (events.started(test=T[0], attempt=2, slot=0, target="t0", at=later), b""),
        (events.target_event(slot=0, name="t0", state="ready", at=NOW), b""),
        (events.target_event(slot=0, name="t0", state="lost", at=later, say="no answer"), b""),
    ]
    random.Random(seed).shuffle(said)
    folder, journal = begin(tmp_path, T[:2])
    for number, (event, blob) in enumerate(said):
        worker = Journal(folder.path, f"gw{number}")
        worker.append(event, blob)
        worker.close()
        drain_all(store, folder)
    with store.engine.connect() as connection:
        first, second = runs.results(connection, "r1")
        (target,) = runs.targets(connection, "r1")
        kept = attempts.attempt(connection, "r1", T[0], 1)
    assert (first.status, first.attempt) == ("flaky", 2)
    assert (second.status, second.failure_class) == ("failed", "app-error")
    assert (target.state, target.say, target.test) == ("lost", "no answer", None)
    assert kept is not None
    assert (kept.result.status, kept.attempts, len(kept.sections)) == ("failed", 2, 1)
    journal.close()
    folder.close()


@pytest.mark.parametrize("seed", range(4))
def test_what_was_said_of_a_target_that_was_lost_does_not_count(store: StoreHandle, tmp_path: Path, seed: int) -> None:
    """Whichever word is read first; what came of the next try stands, or the error where there was none."""
    lost = {"failure_class": "infra", "rule": LEASE_LOST}
    said: list[Event] = [
        outcome(T[0], "passed", attempt=1),
        outcome(T[0], "error", attempt=1) | lost,
        outcome(T[0], "flaky", attempt=2, retry_of=1),
        outcome(T[1], "failed app-crash it crashed", attempt=1),
        outcome(T[1], "error", attempt=1) | lost,
        outcome(T[1], "error infra the worker died", attempt=1),
    ]
    random.Random(seed).shuffle(said)
    folder, journal = begin(tmp_path, T[:2])
    for number, event in enumerate(said):
        with closing(Journal(folder.path, f"gw{number}")) as worker:
            worker.append(event)
        if number % 2 or seed % 2:
            drain_all(store, folder)
    with store.engine.connect() as connection:
        first, second = runs.results(connection, "r1")
        before = attempts.attempt(connection, "r1", T[0], 1)
    assert (first.status, first.attempt) == ("flaky", 2)
    assert (second.status, second.failure_class, second.attempt) == ("error", "infra", 1)
    assert before is not None
    assert (before.result.status, before.result.failure_class) == ("error", "infra")
    journal.close()
    folder.close()


def test_an_event_that_the_store_refuses_holds_up_no_other(store: StoreHandle, tmp_path: Path) -> None:
    """Logs are hostile: NUL and broken characters are stored masked, what can't be stored is said aloud."""
    folder, journal = begin(tmp_path, T)
    journal.append(outcome(T[0], "failed app-crash nul\x00 and half \ud800 a character"))
    journal.append({**outcome(T[1], "passed"), "status": "splendid"})
    journal.append(outcome(T[2], "passed", attempt=99_999))
    journal.append(outcome(T[3], "passed"))
    drain = drain_all(store, folder)
    assert statuses(store) == {T[0]: "failed", T[1]: "waiting", T[2]: "waiting", T[3]: "passed"}
    for problem, test in zip(drain.problems, T[1:3], strict=True):
        assert problem.startswith(f"the store refused an event (finished {test}): ")
    with store.engine.connect() as connection:
        (line,) = runs.results(connection, "r1")[0].headline
    assert line == "nul\N{REPLACEMENT CHARACTER} and half \N{REPLACEMENT CHARACTER} a character"
    journal.close()
    folder.close()


WRITER = """
import sys
from contextlib import closing
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from recorded import bundle, outcome
from pytest_testlab.recording.journal import Journal
journal = Journal(Path(sys.argv[1]), "gw0")
number = 0
while True:
    manifest, blob = bundle(b"log of %d" % number)
    journal.append(outcome(f"apps/n{number}/testlab.toml::install", "passed", manifest=manifest), blob)
    print(number, flush=True)
    number += 1
"""


def test_what_a_killed_writer_was_told_is_kept_is_in_the_store(store: StoreHandle, tmp_path: Path) -> None:
    """After kill -9 of controller and worker, recovery brings home every event whose append had returned."""
    plan = [f"apps/n{number}/testlab.toml::install" for number in range(2000)]
    folder, journal = begin(tmp_path, plan)
    paths = [path for path in sys.path if path]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder.path), "r1", *paths], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    promised = int([writer.stdout.readline() for _ in range(60)][-1])
    folder.close()  # the controller is gone without a word, as after kill -9
    journal.close()
    assert recover(store.engine, tmp_path) == []  # its worker still writes
    writer.send_signal(signal.SIGKILL)
    promised = max([promised, *map(int, writer.stdout.read().split())])
    writer.stdout.close()
    writer.wait(60)
    (found,) = recover(store.engine, tmp_path, wait_s=5)
    assert (found.run, found.state, found.problems) == ("r1", "aborted", ())
    came = statuses(store)
    assert all(came[test] == "passed" for test in plan[: promised + 1])
    assert came[plan[-1]] == "not_run"
    with store.engine.connect() as connection:
        log = attempts.section(connection, "r1", plan[promised], None, "app")
        view = runs.get_run(connection, "r1")
    assert log == b"log of %d" % promised
    assert view is not None
    assert (view.state, view.say) == ("aborted", "the run was killed; what it had recorded was recovered")
    before = dump(store)
    assert recover(store.engine, tmp_path) == []
    assert dump(store) == before


def test_recovery_that_was_killed_itself_is_begun_again(store: StoreHandle, tmp_path: Path) -> None:
    """Before or after any of its steps, the next recovery ends at the same rows."""
    folder, journal = begin(tmp_path, T)
    journal.append(outcome(T[0], "passed"))
    journal.close()
    folder.close()
    half = Journal(folder.path, "recover")
    half.append(events.run_finished(state="aborted", exit_code=None, finished_at=NOW, say="killed"))
    half.close()
    drain = Drain(store.engine, folder, final=True)
    assert drain.events()  # all of it is in the store, and the run not closed yet
    (found,) = recover(store.engine, tmp_path)
    assert (found.state, folder.closed) == ("aborted", True)
    assert statuses(store) == {T[0]: "passed", T[1]: "not_run", T[2]: "not_run", T[3]: "not_run"}


AGE_LEASES = sa.text("""
    UPDATE lease SET made_at = now() - interval '290 min', heartbeat_at = now() - interval '140 min',
                     expires_at = now() - interval '137 min'
""")


def test_what_a_killed_run_cost_is_told_by_its_leases(store: StoreHandle, tmp_path: Path) -> None:
    """Each hour begun until a server was given back, else until it had expired at the latest; of its own image only."""
    folder, journal = begin(tmp_path, T)
    for slot, name in enumerate(("given-back", "left", "free")):
        journal.append(events.intent(run="r1", slot=slot, provider="cloud", name=name, at=NOW, expires_at=NOW))
        journal.append(events.target_event(slot=slot, name=name, state="busy", at=NOW))
    journal.close()
    folder.close()
    with store.engine.begin() as connection:
        for name, price in (("given-back", 0.5), ("left", 0.25), ("free", None), ("of-another-image", 8.0)):
            who = Claimant(
                key=f"cloud/{name}", provider="cloud", server=name, run="r1", slot=0, holder="r1 h:1", trigger="t",
                eur_per_hour=price,
            )  # fmt: skip
            granted = take(connection, who, 60)
            assert granted is not None
            assert name != "given-back" or release(connection, who, granted.epoch)
        connection.execute(AGE_LEASES)
    recover(store.engine, tmp_path)
    with store.engine.connect() as connection:
        view = runs.get_run(connection, "r1")
    assert view is not None
    assert view.cost_eur == pytest.approx(3 * 0.5 + 4 * 0.25)


def test_recovery_says_what_it_could_not_read(store: StoreHandle, tmp_path: Path) -> None:
    """A damaged segment is named; whatever stood before the damage, and in other segments, is kept."""
    folder, journal = begin(tmp_path, T)
    journal.close()
    worker = Journal(folder.path, "gw0")
    worker.append(outcome(T[0], "passed"))
    size = worker.path.stat().st_size
    worker.append(outcome(T[1], "passed"))
    worker.close()
    folder.close()
    data = bytearray(worker.path.read_bytes())
    data[size + 30] ^= 1
    worker.path.write_bytes(data)
    (found,) = recover(store.engine, tmp_path)
    assert len(found.problems) == 1
    assert f"gw0.tlj, byte {size}: a record whose checksum is wrong" in found.problems[0]
    assert statuses(store) == {T[0]: "passed", T[1]: "not_run", T[2]: "not_run", T[3]: "not_run"}


def _damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _of_another_version(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[6] = 9
    path.write_bytes(data)


def _linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "state", "say"),
    [
        (_damaged, "aborted", "whose checksum is wrong"),
        (lambda path: os.truncate(path, path.stat().st_size - 3), "aborted", "it ends in the middle of a record"),
        (lambda path: os.truncate(path, 0), "aborted", "it was begun, and holds no record"),
        (_of_another_version, "kept", "its format has version 9, and this program reads version 1"),
        (_linked, "aborted", "it is a symbolic link"),
        (_a_pipe, "aborted", "it is no regular file"),
    ],
)
@pytest.mark.parametrize("writer", ["controller", "gw0"])
def test_a_spoiled_segment_costs_no_other(
    store: StoreHandle, tmp_path: Path, writer: str, spoil: Callable[[Path], None], state: str, say: str
) -> None:
    """Whichever it is, the rest of the run is taken in, what is wrong is said aloud, and the file is kept."""
    folder, journal = begin(tmp_path, T)
    beginning = Journal(folder.path, "begin")
    beginning.append(events.run_started(provenance("r1")))
    workers = [Journal(folder.path, name) for name in ("gw0", "gw1")]
    for worker, test in zip(workers, T, strict=False):
        worker.append(outcome(test, "passed"))
    for each in (journal, beginning, *workers):
        each.close()
    folder.close()
    spoiled = folder.path / "journal" / f"{writer}.tlj"
    spoil(spoiled)
    (found,) = recover(store.engine, tmp_path)
    assert (found.state, folder.closed) == (state, state != "kept")
    assert [f"{writer}.tlj, byte" in problem and say in problem for problem in found.problems] == [True]
    came = statuses(store)
    assert came[T[1]] == "passed"
    assert came.get(T[0]) == ("passed" if writer == "controller" else "not_run")
    assert os.path.lexists(spoiled)


def test_a_run_whose_beginning_can_not_be_read_is_kept_on_disk(store: StoreHandle, tmp_path: Path) -> None:
    """It can't be taken in without it; that is said, and no other run is held up."""
    folder, journal = begin(tmp_path, T)
    journal.close()
    folder.close()
    _damaged(journal.path)
    data = bytearray(journal.path.read_bytes())
    data[30] ^= 1
    journal.path.write_bytes(data)
    second, other = begin(tmp_path, T[:1], run="r2")
    other.append(outcome(T[0], "passed"))
    other.close()
    second.close()
    first, last = recover(store.engine, tmp_path)
    assert (first.run, first.state, last.run, last.state) == ("r1", "unreadable", "r2", "aborted")
    assert "its files are kept" in first.lines()[0]
    assert "controller.tlj, byte 8: a record whose checksum is wrong" in first.lines()[1]
    assert journal.path.exists()
    assert statuses(store, "r2") == {T[0]: "passed"}


def test_a_run_killed_before_it_recorded_anything_leaves_no_trace(store: StoreHandle, tmp_path: Path) -> None:
    """There is nothing to show of it, and it is looked at once only."""
    RunFolder.create(tmp_path, "r1").close()
    (found,) = recover(store.engine, tmp_path)
    assert found.state == "empty"
    assert recover(store.engine, tmp_path) == []
    with store.engine.connect() as connection:
        assert runs.list_runs(connection) == []


def test_the_recorder_follows_a_live_run(store: StoreHandle, tmp_path: Path) -> None:
    """A result is in the store within a second of its append; listeners are told; closing says that all is there."""
    folder, journal = begin(tmp_path, T)
    with psycopg.connect(store.url, autocommit=True) as listener:
        listener.execute("LISTEN testlab_run")
        recorder = Recorder(store.url, folder)
        recorder.start()
        journal.append(outcome(T[0], "passed"))
        recorder.poke()
        assert _within(5, lambda: statuses(store).get(T[0]) == "passed")
        heard = next(listener.notifies(timeout=10))
        journal.append(ending())
        journal.close()
        assert recorder.close(20)
    assert heard.payload == "r1"
    assert folder.closed
    assert recorder.problems == ()
    folder.close()
    assert recover(store.engine, tmp_path) == []


def test_a_store_that_goes_away_in_the_middle_costs_nothing(lab_home: Path, tmp_path: Path) -> None:
    """The server is stopped under the recorder, the run goes on, and all is there once it is back."""
    settings = Settings(home=str(lab_home / "second"))
    embedded = EmbeddedPostgres(home(settings))
    with open_store(settings) as handle:
        embedded.start()
        folder, journal = begin(tmp_path, [f"t{number}::install" for number in range(300)])
        recorder = Recorder(handle.url, folder)
        recorder.start()
        for number in range(150):
            journal.append(outcome(f"t{number}::install", "passed"), sync=False)
        assert _within(10, lambda: len(statuses(handle)) == 300)
        handle.engine.dispose()
        embedded._cluster.stop()
        for number in range(150, 300):
            journal.append(outcome(f"t{number}::install", "passed"), sync=False)
        assert _within(10, lambda: recorder.away is not None)
        journal.append(ending())
        journal.close()
        embedded._cluster.start()
        assert recorder.close(30)
        assert recorder.away is None
        folder.close()
        assert set(statuses(handle).values()) == {"passed"}
        assert len(statuses(handle)) == 300
        embedded.release()


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def test_tests_keep_their_history(recorded: Recorded) -> None:
    """The strip is oldest first, estimates are medians of passes, and a streak has its beginning."""
    for came in ("passed", "failed app-crash it crashed 1", "failed app-crash it crashed 2"):
        recorded.run({T[0]: came, T[1]: "passed"})
    with recorded.store.engine.connect() as connection:
        listed = {view.test: view for view in tests.list_tests(connection)}
        own = tests.test(connection, T[0])
        assert estimates.estimates(connection, provider="local", image="") == {T[0]: 1.5, T[1]: 1.5}
        assert estimates.estimates(connection, provider="hetzner", image="") == {}
        assert estimates.priors(connection) == {"apps/install": 1.5}
        assert tests.test(connection, "nothing") is None
        assert names.nearest_runs(connection, "nigth2")[0] == "night2"
        assert names.nearest_tests(connection, "apps/a")[0] == T[0]
    assert [cell.status for cell in listed[T[0]].strip] == ["passed", "failed", "failed"]
    assert own is not None
    assert [cell.run for cell in own.strip] == ["night0", "night1", "night2"]
    assert own.strip[1].fingerprint == own.strip[2].fingerprint
    assert own.failing_since == own.strip[1].started_at
    assert own.last_pass == own.strip[0].started_at
    assert (own.last_status, own.p50_s) == ("failed", 1.5)


def test_an_unknown_name_is_none_or_empty(store: StoreHandle) -> None:
    """Reads never invent, and never raise, for what isn't there."""
    with store.engine.connect() as connection:
        assert runs.get_run(connection, "latest") is None
        assert runs.results(connection, "r") == []
        assert runs.targets(connection, "r") == []
        assert attempts.attempt(connection, "r", "t") is None
        assert attempts.section(connection, "r", "t", None, "app") is None
        assert tests.list_tests(connection) == []

"""Promises: results and their bundles reach the store at 0.45 of what a bare COPY does; a status shows within a second.

`record-rate`: 2,000 results with 26 KB bundles, from the journal segments of eight worker processes through the drain
of the controller into PostgreSQL, against a COPY of the same rows, from memory, in one transaction, into the same
tables with their indices on the same server. 0.45 ÷ (drained a second ÷ copied a second), the median of rounds.
`record-status`: eight workers end 520 tests a second between them, with their bundles, while the recorder of a run
carries them over and ten pages of that run, of 5,200 tests, are open on `testlab serve`. The 99th percentile over all
tests and pages, in seconds, from the moment before an outcome is appended to the journal until the whole answer that
shows it has reached the page.
`record-pace`: 500 ÷ how many of them a second reached a page, from the first to the last; the median of the pages.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import _night
import psycopg
import sqlalchemy as sa
from _common import Row, finish, median, progress, seconds
from _pages import Page, log_in, row_of, serving

from pytest_testlab.options import resolve
from pytest_testlab.recording.drain import Drain
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.recorder import Recorder
from pytest_testlab.store.embedded import StoreHandle, open_store

OF_COPY = 0.45
WITHIN_S = 1.0
RATE = 500.0
PACE = 520.0
POOL = 8
PAGES = 10
TABLES = ("result_attempt", "result", "bundle")
PIECE = 256 * 1024


def workers(
    folder: RunFolder, tests: int, logs: Path | None = None, per_s: float = 0.0
) -> list[subprocess.Popen[bytes]]:
    """A process for each of the pool, which begins once it is told to."""
    program = [sys.executable, _night.__file__, str(folder.path)]
    shared = ["--pool", str(POOL), "--tests", str(tests), "--per-s", str(per_s / POOL)]
    found = []
    for slot in range(POOL):
        log = [] if logs is None else ["--log", str(logs / f"{slot}.log")]
        found.append(subprocess.Popen([*program, str(slot), *shared, *log], stdin=subprocess.PIPE))
    return found


def let_go(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Begin, all of them."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()


def ended(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for all; a worker that failed spoils the measurement."""
    if any(process.wait(120) for process in processes):
        sys.exit("a worker failed")


# --- against COPY ---


def against_copy(store: StoreHandle, results: int, rounds: int) -> Row:
    """The drain and the COPY in turns, each into empty tables."""
    drained: list[float] = []
    copied: list[float] = []
    for number in range(rounds):
        progress("record-rate", number, rounds)
        folder, journal = _night.begin(store.home, f"rate-{number}", results, POOL)
        writers = workers(folder, results)
        let_go(writers)
        ended(writers)
        _empty(store)
        drained.append(results / seconds(lambda folder=folder: _drain(store, folder)))
        rows = _rows(store, results)
        _empty(store)
        copied.append(results / seconds(lambda rows=rows: _copy(store, rows)))
        journal.close()
        folder.close()
    ratios = [mine / theirs for mine, theirs in zip(drained, copied, strict=True)]
    return Row(
        promise="record-rate",
        ratio=OF_COPY / median(ratios),
        bound=1.0,
        extra={
            "of_copy": round(median(ratios), 3),
            "results_per_s": round(median(drained)),
            "copy_per_s": round(median(copied)),
            "bundle_bytes": sum(_night.SECTIONS.values()),
        },
    )


def _drain(store: StoreHandle, folder: RunFolder) -> None:
    drain = Drain(store.engine, folder)
    while drain.events() or drain.bundles():
        pass
    if drain.problems:
        sys.exit(f"the drain complained: {drain.problems[0]}")


def _empty(store: StoreHandle) -> None:
    with store.engine.begin() as connection:
        connection.execute(sa.text("TRUNCATE " + ", ".join(TABLES)))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CHECKPOINT"))


def _rows(store: StoreHandle, results: int) -> dict[str, bytes]:
    """The rows that were drained, as COPY takes them."""
    found = {}
    with psycopg.connect(store.url) as line, line.cursor() as cursor:
        for table in TABLES:
            count = cursor.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - our own tables
            if count != (results,):
                sys.exit(f"{count} rows of {table} reached the store, and not {results}")
            with cursor.copy(f"COPY {table} TO STDOUT (FORMAT binary)".encode()) as copy:
                found[table] = b"".join(copy)
    return found


def _copy(store: StoreHandle, rows: dict[str, bytes]) -> None:
    with psycopg.connect(store.url) as line, line.cursor() as cursor:
        for table, data in rows.items():
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)".encode()) as copy:
                for at in range(0, len(data), PIECE):
                    copy.write(data[at : at + PIECE])


# --- on the page ---


def on_the_page(store: StoreHandle, tests: int) -> list[Row]:
    """A run at its pace, its recorder, the server, and pages that are open."""
    progress("record-status", 0, 1)
    folder, journal = _night.begin(store.home, "live", tests, POOL)
    recorder = Recorder(store.url, folder)
    recorder.start()
    with tempfile.TemporaryDirectory(prefix="tl-bench-") as logs, serving(store) as link:
        pages = _opened(link)
        writers = workers(folder, tests, Path(logs), PACE)
        time.sleep(1.0)  # until all of them have loaded what they need
        let_go(writers)
        ended(writers)
        time.sleep(3.0)
        for page in pages:
            page.over.set()
        for page in pages:
            page.thread.join(30)
        appended = _appended(Path(logs))
    _night.end(journal)
    if not recorder.close(60):
        sys.exit("the recorder did not carry all over within a minute")
    return _status_rows(pages, appended)


def _opened(link: str) -> list[Page]:
    cookie, origin = log_in(link), link.partition("/login/")[0]
    pages = [Page(origin, cookie, "live") for _ in range(PAGES)]
    for page in pages:
        page.thread.start()
    for page in pages:
        if not page.opened.wait(60) or page.trouble:
            sys.exit(f"a page could not be opened: {page.trouble}")
    return pages


def _appended(logs: Path) -> dict[str, float]:
    """Row → when its outcome was about to be appended."""
    lines = [line.split() for path in logs.iterdir() for line in path.read_text().splitlines()]
    return {row_of(_night.test_name(int(number))): float(at) for number, at in lines}


def _status_rows(pages: Sequence[Page], appended: dict[str, float]) -> list[Row]:
    waits: list[float] = []
    paces: list[float] = []
    for page in pages:
        if page.trouble:
            sys.exit(f"a page ended before its time: {page.trouble}")
        shown = page.shown()
        if missing := appended.keys() - shown.keys():
            sys.exit(f"a page never showed {len(missing)} of {len(appended)} outcomes")
        waits += [shown[row] - at for row, at in appended.items()]
        paces.append(len(appended) / (max(shown.values()) - min(shown.values())))
    waits.sort()
    p99 = waits[math.ceil(0.99 * len(waits)) - 1]
    pace = median(paces)
    written = (len(appended) - 1) / (max(appended.values()) - min(appended.values()))
    extra = {
        "p99_s": round(p99, 3),
        "p50_s": round(waits[len(waits) // 2], 3),
        "most_s": round(waits[-1], 3),
        "pages": len(pages),
        "answers": sum(len(page.answers) for page in pages),
        "mb": round(sum(len(text) for page in pages for _, text in page.answers) / 1e6, 1),
    }
    return [
        Row(promise="record-status", ratio=p99 / WITHIN_S, bound=1.0, extra=extra),
        Row(
            promise="record-pace",
            ratio=RATE / pace,
            bound=1.0,
            extra={"shown_per_s": round(pace), "appended_per_s": round(written), "tests": len(appended)},
        ),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--results", type=int, default=2_000, help="of a round against COPY")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the pages are watched")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tl-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # the database's account passes through, where it is another
        with open_store(resolve({}, {}, {**os.environ, "TESTLAB_HOME": folder})) as store:
            rows = [against_copy(store, args.results, args.rounds), *on_the_page(store, round(args.seconds * PACE))]
        return finish(rows, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())

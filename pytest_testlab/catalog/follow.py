"""Shows the output of one test while it runs: what the lab takes down of it, and the platform's logs as they grow.

Text leaves here by whole lines and masked. A secret of several lines is masked line by line, and a private key that
nobody knows of is held back from its first line to its last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pytest_testlab.diagnosis.collect import RawSection
from pytest_testlab.plugins import nearest

Tell = Callable[[str, str, list[str]], None]
"""Test, section, lines."""
TICK_S = 0.3
LOOK_S = 1.5
"""How often the target is asked for more of its logs; sooner when the lab itself has taken something down."""
SOONER_S = 0.5
ORDER = {"build": 0, "deploy": 1, "app": 3}
"""What comes of a build was before what the lab did next, and that before what the app says to it."""
JOIN_S = 12.0
"""For the last look, which is bounded itself."""
LONG_LINE = 16_384
"""Bytes without an end after which a line is left out: it can't be masked before it is whole."""
KEY_BYTES = 16_384
A_TICK_SHOWS = 200
"""Lines of one section; the last ones."""
IN_ALL = 20_000
"""Lines of one test."""
_BEGIN, _END = b"-----BEGIN ", b"-----END "


@dataclass(frozen=True, kw_only=True)
class Follow:
    """Which tests are followed, and who is told."""

    tests: frozenset[str]
    tell: Tell


def followed(text: str | None, tests: Sequence[Mapping[str, Any]]) -> tuple[frozenset[str], str]:
    """(the tests that are meant, what is wrong with `text`).

    `text` is a test, `entry::stage`, an entry, or a part of the tests of just one.
    """
    if not text:
        return frozenset(), ""
    names = {test["test"]: (f"{test['entry']}::{test['stage']}", test["entry"]) for test in tests}
    for exact in (
        {test for test in names if test == text},
        {test for test, (short, _) in names.items() if short == text},
        {test for test, (_, entry) in names.items() if entry == text},
    ):
        if exact:
            return frozenset(exact), ""
    part = {test: entry for test, (_, entry) in names.items() if text in test}
    if part and len({(entry, test.partition("::")[0]) for test, entry in part.items()}) == 1:
        return frozenset(part), ""
    if part:
        shown = sorted(set(part.values()))
        more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
        return frozenset(), f"--testlab-follow: {text!r} fits several entries: {', '.join(shown[:4])}{more}"
    known = {name for pair in names.values() for name in pair}
    suggested = nearest(text, known)
    suggested = suggested if len(known) <= 12 or "did you mean" in suggested else ""
    return frozenset(), f"--testlab-follow: no test of this run is called {text!r}{suggested}"


class Lines:
    """One section's text as it comes: whole lines go out masked."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropping = False
        """Whether what comes belongs to a line that was left out."""

    def add(self, data: bytes) -> None:
        """More of it; a line that never ends is not kept for ever."""
        if self._dropping:
            _, found, data = data.partition(b"\n")
            self._dropping = not found
        self._rest += data
        begin = self._rest.rfind(b"\n") + 1
        if len(self._rest) - begin > LONG_LINE:
            self._rest = self._rest[:begin] + b"[a line of more than 16 KiB is left out]\n"
            self._dropping = True

    def take(self, mask: Callable[[bytes], bytes], *, last: bool = False) -> list[str]:
        """What can be shown by now; `last`: nothing more comes."""
        cut = len(self._rest) if last else self._rest.rfind(b"\n") + 1
        ready, rest = self._rest[:cut], self._rest[cut:]
        key = ready.rfind(_BEGIN)
        if key >= 0 and ready.find(_END, key) < 0:  # not all of a key is here
            key = ready.rfind(b"\n", 0, key) + 1
            if last or len(ready) - key > KEY_BYTES:
                ready = ready[:key] + b"[redacted: a key without an end]\n"
            else:
                ready, rest = ready[:key], ready[key:] + rest
        self._rest = rest
        if not ready:
            return []
        text = mask(ready).decode(errors="replace")
        return [part for line in text.split("\n") for part in line.split("\r") if part]


class Follower:
    """Follows one attempt, on a thread of its own, for as long as the `with` block runs."""

    def __init__(
        self,
        test: str,
        tell: Tell,
        mask: Callable[[bytes], bytes],
        look: Callable[[], tuple[frozenset[str], Callable[[], list[RawSection]]] | None],
    ) -> None:
        """`look` gives the names of the logs that the target keeps, and what asks for them; None before a deploy."""
        self._test = test
        self._tell = tell
        self._mask = mask
        self._look = look
        self._lines: dict[str, Lines] = {}
        self._seen: dict[str, int] = {}
        """Log → bytes at the source that were taken from it."""
        self._shown = 0
        self._waits = False
        """Whether something that the lab took down waits for the logs that came before it."""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="testlab-follow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(JOIN_S)

    def heard(self, section: str, data: bytes) -> None:
        """What the lab itself takes down; where the target keeps a log of that name, that one is shown."""
        found = self._look()
        if found is None or section not in found[0]:
            self._add(section, data)
            self._waits = found is not None

    def _add(self, section: str, data: bytes) -> None:
        with self._lock:
            self._lines.setdefault(section, Lines()).add(data)

    def _run(self) -> None:
        look_at = looked_at = time.monotonic()
        found = self._look()
        if found is not None:  # what an earlier test of the unit left there is not this one's
            self._seen = {raw.name: raw.size for raw in found[1]()}
        try:
            while not self._over.wait(TICK_S):
                if time.monotonic() >= (looked_at + SOONER_S if self._waits else look_at):
                    self._waits = False
                    self._ask()
                    looked_at = time.monotonic()
                    look_at = looked_at + LOOK_S
                if not self._waits:
                    self._show()
            self._ask()
            self._show(last=True)
        except OSError:
            return  # nobody is there any more to be told

    def _ask(self) -> None:
        found = self._look()
        for raw in found[1]() if found is not None else ():
            seen = self._seen.get(raw.name, 0)
            new = raw.size - (seen if seen <= raw.size else 0)
            if raw.absent is None and new:
                self._seen[raw.name] = raw.size
                self._add(raw.name, raw.text[-new:])

    def _show(self, *, last: bool = False) -> None:
        with self._lock:
            sections = sorted(self._lines.items(), key=lambda item: ORDER.get(item[0], 2))
            taken = [(name, lines.take(self._mask, last=last)) for name, lines in sections]
        for section, lines in taken:
            if lines and self._shown < IN_ALL:
                self._shown += len(lines)
                left_out = len(lines) - A_TICK_SHOWS
                note = [f"[{left_out} lines left out]"] if left_out > 0 else []
                end = ["[nothing more of it is shown: testlab why has the end]"] if self._shown >= IN_ALL else []
                self._tell(self._test, section, note + lines[-A_TICK_SHOWS:] + end)

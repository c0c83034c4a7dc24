"""Promise: masking does 50 MB/s a core with twenty known secrets, with at most one span in 100 KB of innocent logs.

The logs are those of tests/support/innocent.py: journald, nginx, pip, npm, tracebacks, JSON, SQL, docker, base64, and
prose about secrets, in bundles' sections of 64 KB; what this machine has of real text counts among the innocent too.
CPU time is measured, and the median taken. `worded_mb_s` is the rate where every line speaks of tokens and passwords.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _common import Row, finish, median, progress

from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.diagnosis.shapes import BUILT_IN_SHAPES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import innocent

PROMISED_MB_S = 50.0
SECTION = 65_536
KNOWN = 20


def megabytes_a_second(redactor: Redactor, sections: Sequence[bytes]) -> float:
    """How much CPU time masking takes."""
    start = time.process_time()
    for section in sections:
        redactor.redact(section)
    return sum(map(len, sections)) / 1e6 / (time.process_time() - start)


def sections_of(text: bytes) -> list[bytes]:
    """A text as bundles hold it."""
    return [text[start : start + SECTION] for start in range(0, len(text), SECTION)]


def main() -> int:
    """Measure the rate and count the spans."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    redactor = Redactor(innocent.some_secrets(KNOWN), BUILT_IN_SHAPES)
    logs, worded = sections_of(innocent.mixed(4_000_000)), sections_of(innocent.logs("prose", 500_000))
    rates, slow = [], []
    for number in range(args.rounds):
        progress("masking", number, args.rounds)
        rates.append(megabytes_a_second(redactor, logs))
        slow.append(megabytes_a_second(redactor, worded))
    every = [(kind, innocent.logs(kind, 300_000)) for kind in innocent.WRITERS] + list(innocent.of_this_machine())
    size, spans = sum(len(text) for _, text in every), sum(redactor.redact(text)[1] for _, text in every)
    rate = median(rates)
    figures = {"mb_s": round(rate, 1), "best_mb_s": round(max(rates), 1), "worded_mb_s": round(median(slow), 1)}
    rows = [
        Row(promise="redact-rate", ratio=PROMISED_MB_S / rate, bound=1.0, extra={**figures, "known": KNOWN}),
        Row(
            promise="redact-innocent-spans",
            ratio=spans / (size / 100_000),
            bound=1.0,
            extra={"spans": spans, "mb": round(size / 1e6, 2)},
        ),
    ]
    return finish(rows, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())

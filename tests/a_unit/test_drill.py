"""The drills' plans, and what their tables say."""

from __future__ import annotations

from collections import Counter

from drill import pool_plan
from drill.case import Case, Verdict
from drill.table import Report


def test_a_dozen_cases_of_a_pool_are_played_with_real_hosts() -> None:
    """Each at another point, the same ones with each seed; a case comes through its command line as it is."""
    cases = pool_plan.full(1)
    assert len(cases) >= 200
    real = [case for case in cases if case.hosts == "nspawn"]
    assert Counter((case.victim, case.point) for case in real) == Counter(pool_plan.ON_NSPAWN)
    assert len(real) == 12
    assert all("hetzner on nspawn, pool" in case.say for case in real)
    assert [Case.from_json(case.to_json()) for case in real] == real


def test_the_table_says_where_they_were_left_out() -> None:
    """With the reason; else how many there were."""
    (case, *_) = [case for case in pool_plan.full(1) if case.hosts == "nspawn"]
    played = [(case, Verdict(number=case.number, struck=True))]
    assert "\ncases with hosts of systemd-nspawn: 1\n" in Report(seed=1, played=played).text()
    without = Report(seed=1, played=[], no_nspawn="that needs root")
    assert "\nno case was played with hosts of systemd-nspawn: that needs root\n" in without.text()
    assert without.as_json()["no_nspawn"] == "that needs root"

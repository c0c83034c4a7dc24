"""The report of a drill: a row for each thing that was done to each victim at each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drill.case import Case, Verdict

MISSES = 0.05
"""The share of cases whose victim may have been gone before its moment came."""
COLUMNS = ("lost", "doubled", "leaked", "orphans", "left", "wrong")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of all cases."""

    seed: int
    played: Sequence[tuple[Case, Verdict]]
    no_nspawn: str = ""
    """Why none was played with hosts of systemd-nspawn that should have been."""

    @property
    def ok(self) -> bool:
        """Whether every promise was kept, and nearly all cases found their victim: a drill of misses proves nothing."""
        missed = sum(not verdict.struck for _, verdict in self.played)
        return all(verdict.ok for _, verdict in self.played) and missed <= MISSES * len(self.played)

    def rows(self) -> list[dict[str, Any]]:
        """Figures by act, point and victim; `runs` counts those in which the victim was there to be hit."""
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for case, verdict in self.played:
            key = (case.act, case.point, case.victim)
            row = rows.setdefault(
                key, {**dict(zip(("act", "point", "victim"), key, strict=True)), "runs": 0, "missed": 0}
            )
            row["runs" if verdict.struck else "missed"] += 1
            for column in COLUMNS:
                row[column] = row.get(column, 0) + len(getattr(verdict, column))
        return [rows[key] for key in sorted(rows)]

    def totals(self) -> dict[str, int]:
        """How often something was done, and what went wrong."""
        struck = [case for case, verdict in self.played if verdict.struck]
        totals = {"faults": len(struck), "kills": sum(case.kills for case in struck)}
        totals |= {"missed": len(self.played) - len(struck)}
        return totals | {column: sum(row[column] for row in self.rows()) for column in COLUMNS}

    def wrong(self) -> list[dict[str, Any]]:
        """The cases that went wrong, with all that is to be said of them."""
        return [{"case": case.say, **verdict.as_json()} for case, verdict in self.played if not verdict.ok]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        hosts = {"nspawn": self.on_nspawn, "no_nspawn": self.no_nspawn}
        return {"seed": self.seed, "ok": self.ok, **self.totals(), **hosts, "rows": self.rows(), "cases": self.wrong()}

    @property
    def on_nspawn(self) -> int:
        """How many were played with hosts of systemd-nspawn."""
        return sum(case.hosts == "nspawn" for case, _ in self.played)

    def text(self) -> str:
        """For people."""
        head = ("act", "point", "victim", "runs", "missed", *COLUMNS)
        lines = [head, *(tuple(str(row[name]) for name in head) for row in self.rows())]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        told = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        for case in self.wrong():
            told += ["", case["case"], *(f"  {name}: {say}" for name in COLUMNS for say in case[name])]
            told += [f"  see {case['folder']}"]
        if self.no_nspawn:
            told += ["", f"no case was played with hosts of systemd-nspawn: {self.no_nspawn}"]
        elif self.on_nspawn:
            told += ["", f"cases with hosts of systemd-nspawn: {self.on_nspawn}"]
        totals = self.totals()
        told += ["", f"seed {self.seed}: " + ", ".join(f"{count} {name}" for name, count in totals.items())]
        return "\n".join(told)

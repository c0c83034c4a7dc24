"""Collects the sections of a bundle in one round trip to the target; what can't be had is absent, with the reason."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_testlab.diagnosis.script import LATE, Frame, compose, decode
from pytest_testlab.errors import InfraError, beginning, ending
from pytest_testlab.model import Section
from pytest_testlab.protocols import Prepares, Target

LOST = "the line to the target was lost"
"""How the reason of every section begins that a lost line took away; the classifier takes it as a fact."""
TOO_LATE = "not collected: no time was left"
_MARGIN_S = 2.0


@dataclass(frozen=True, kw_only=True)
class RawSection:
    """One part of a bundle as it came from the target or from the lab's own record: bounded, not yet redacted."""

    name: str
    source: str
    text: bytes = b""
    size: int = 0
    """Bytes at the source, before the tail bound."""
    absent: str | None = None

    @property
    def truncated(self) -> bool:
        """Whether the beginning was cut off."""
        return self.size > len(self.text)


def prepare(target: Target) -> None:
    """Have the line ready for a collection to come, where the target knows how to; returns at once."""
    if isinstance(target, Prepares):
        target.prepare()


def collect(target: Target, sections: Sequence[Section], *, deadline_s: float) -> list[RawSection]:
    """The sections in their order; those with a script or files are had from the target in a single `run`, all at once.

    Never raises: when the line is lost, or after `deadline_s` seconds, whatever is missing is absent and says why.
    """
    fragments = [section for section in sections if _is_remote(section)]
    script_s = max(1, int(deadline_s - _MARGIN_S))
    frames, why = _from_target(target, fragments, deadline_s, script_s) if fragments else ({}, "")
    by_id = {id(section): frames.get(index) for index, section in enumerate(fragments)}
    return [_raw(section, by_id.get(id(section)), why, script_s) for section in sections]


def _is_remote(section: Section) -> bool:
    return section.absent is None and section.content is None and (section.script is not None or bool(section.files))


def _from_target(
    target: Target, fragments: Sequence[Section], deadline_s: float, script_s: int
) -> tuple[Mapping[int, Frame], str]:
    if deadline_s <= 1:
        return {}, TOO_LATE
    boundary = "testlab-" + secrets.token_hex(16)
    try:
        run = target.run_prepared if isinstance(target, Prepares) else target.run
        result = run(compose(fragments, boundary, script_s), timeout_s=deadline_s)
    except InfraError as error:
        return {}, f"{LOST}: {error}"
    except Exception as error:  # noqa: BLE001  a bundle must come about whatever a target's plugin raises
        return {}, f"the target raised {type(error).__name__}: {error}"
    frames, why = decode(result.stdout, boundary, len(fragments))
    if result.timed_out:
        return frames, f"it did not end within {deadline_s:g} s"
    if why and result.exit_code:
        said = ending(result.stderr.decode(errors="replace").strip(), 300)
        why += f" (exit code {result.exit_code}{': ' + said if said else ''})"
    return frames, why


def _raw(section: Section, frame: Frame | None, why: str, script_s: int) -> RawSection:
    if section.absent is not None:
        return _absent(section, section.absent)
    if section.content is not None:
        tail = section.content[-section.tail_bytes :] if section.tail_bytes else b""
        return RawSection(name=section.name, source=section.source, text=tail, size=len(section.content))
    if not _is_remote(section):
        return _absent(section, "nothing was recorded")
    if frame is None:
        return _absent(section, why or "the collection did not bring it")
    return _framed(section, frame, script_s)


def _framed(section: Section, frame: Frame, script_s: int) -> RawSection:
    text = frame.text[-section.tail_bytes :] if section.tail_bytes else b""
    size = max(len(frame.text), frame.size or 0)
    if text:
        note = f"\n[testlab: cut off here, {_late(section, script_s)}]\n".encode() if frame.cut else b""
        return RawSection(name=section.name, source=section.source, text=text + note, size=size + len(note))
    if size:
        return _absent(section, f"its {size} bytes could not be kept on the target (is its disk full?)")
    if frame.absent.strip():
        return _absent(section, _one_line(frame.absent))
    if frame.code == 0:
        return RawSection(name=section.name, source=section.source)
    why = _late(section, script_s, did="printed nothing") if frame.cut else _why_nothing(frame)
    return _absent(section, why)


def _late(section: Section, script_s: int, did: str = "did not end") -> str:
    """Whose time was up: one reason, whichever of two clocks that end together was read first."""
    return LATE if section.timeout_s >= script_s else f"it {did} within {section.timeout_s} s"


def _why_nothing(frame: Frame) -> str:
    said = _one_line(frame.error)
    code = "an unknown exit code" if frame.code is None else f"exit code {frame.code}"
    return f"it ended with {code}" + (f": {said}" if said else " and printed nothing")


def _absent(section: Section, why: str) -> RawSection:
    return RawSection(name=section.name, source=section.source, absent=why)


def _one_line(text: bytes) -> str:
    return beginning(" ".join(text.decode(errors="replace").split()), 300)

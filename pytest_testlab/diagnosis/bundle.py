"""Makes the bundle of an attempt: masks each section, reads the probe, names the class, writes the headline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from pytest_testlab.diagnosis.classify import PROBE, classify
from pytest_testlab.diagnosis.collect import LOST, RawSection
from pytest_testlab.diagnosis.headline import headline
from pytest_testlab.diagnosis.probe import parse_probe
from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.diagnosis.rules import TARGET
from pytest_testlab.diagnosis.sections import NETWORK_PROBE
from pytest_testlab.diagnosis.telling import plain
from pytest_testlab.errors import TestlabError, beginning
from pytest_testlab.evidence import Evidence
from pytest_testlab.model import Bundle, CollectedSection, Verdict
from pytest_testlab.protocols import Rule

_FIRST_LINE = 4_096
_SAY = 500


def diagnose(
    *,
    entry: str,
    stage: str,
    failure: TestlabError | None,
    static: bool,
    raw: Sequence[RawSection],
    redactor: Redactor,
    rules: Iterable[Rule],
    has_app: bool = True,
) -> Bundle:
    """The bundle of one attempt, masked; with a verdict and a headline when `failure` ended it."""
    bare = masked(raw, redactor)
    sections, redacted = bare.sections, bare.redacted
    if failure is None:
        return bare
    evidence = gather(
        entry=entry, stage=stage, failure=failure, static=static, raw=raw, sections=sections, has_app=has_app
    )
    verdict = classify(evidence, rules)
    lines = headline(evidence, verdict, redactor.redact_text)
    return Bundle(sections=sections, verdict=_shown(verdict, redactor), headline=lines, redacted=redacted)


def masked(raw: Sequence[RawSection], redactor: Redactor) -> Bundle:
    """Sections alone, masked: a bundle of nothing that was judged."""
    parts = [_masked(section, redactor) for section in raw]
    sections = tuple(section for section, _ in parts)
    return Bundle(sections=sections, verdict=None, headline=(), redacted=sum(count for _, count in parts))


def gather(
    *,
    entry: str,
    stage: str,
    failure: TestlabError,
    static: bool,
    raw: Sequence[RawSection],
    sections: Sequence[CollectedSection],
    has_app: bool = True,
) -> Evidence:
    """The evidence of a failed attempt. Probe lines are read unmasked, so that no mask can spoil a fact."""
    missing = {section.name: section.absent for section in sections if section.absent is not None}
    lost = next((why for why in missing.values() if why.startswith(LOST)), None)
    if lost is not None:
        missing[TARGET] = lost
    probes = [section.text for section in raw if section.absent is None and section.name in (PROBE, NETWORK_PROBE)]
    made = any(section.name == PROBE and section.absent is None for section in raw)
    facts = parse_probe(probes) if probes else None
    if facts is not None and not made:
        why = missing.get(PROBE, "it was not made")
        facts = dataclasses.replace(facts, missing={PROBE: why, **facts.missing})
    return Evidence(
        entry=entry,
        stage=stage,
        failure=failure,
        has_app=has_app,
        static=static,
        probe=facts,
        missing=missing,
        sections={section.name: section.text for section in sections if section.absent is None},
    )


def _masked(section: RawSection, redactor: Redactor) -> tuple[CollectedSection, int]:
    text, count = redactor.redact(_whole_lines(section)) if section.text else (b"", 0)
    absent = None if section.absent is None else redactor.redact_text(section.absent)
    collected = CollectedSection(
        name=section.name,
        source=redactor.redact_text(section.source),
        text=text,
        # Masking changes the length: what was whole must not seem cut, nor what was cut whole.
        size=max(section.size, len(text) + 1) if section.truncated else len(text),
        absent=absent,
    )
    return collected, count


def _whole_lines(section: RawSection) -> bytes:
    """The text without its first line where the tail bound cut it: half a secret has no shape to know it by."""
    if not section.truncated:
        return section.text
    end = section.text.find(b"\n", 0, _FIRST_LINE)
    return section.text[end + 1 :] if 0 <= end < len(section.text) - 1 else section.text


def _shown(verdict: Verdict, redactor: Redactor) -> Verdict:
    say, *lines = (
        beginning(redactor.redact_text(plain(redactor.redact_text(line))), _SAY)
        for line in (verdict.say, *verdict.lines)
    )
    return dataclasses.replace(verdict, say=say, lines=tuple(lines))

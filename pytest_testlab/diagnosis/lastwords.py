"""What is left to know of a server that something is wrong with: its console, and how it began to live."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pytest_testlab.diagnosis.bundle import masked
from pytest_testlab.diagnosis.collect import RawSection, collect
from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.diagnosis.sections import cloud_init
from pytest_testlab.errors import ending
from pytest_testlab.model import Bundle, CollectedSection, Server
from pytest_testlab.protocols import Provider, Target
from pytest_testlab.seams import blame

CONSOLE = "console"
CONSOLE_BYTES = 64 * 1024
"""Of a console's end; the cause of a server's death stands there."""
WITHIN_S = 10.0


def last_words(provider: Provider, target: Target) -> list[RawSection]:
    """Its cloud-init log, where SSH still answers, and its console. Never raises: what can't be had says why."""
    had = collect(target, [cloud_init(target.server)], deadline_s=WITHIN_S)
    return [*had, console(provider, target.server)]


def console(provider: Provider, server: Server) -> RawSection:
    """The console of a server, or whatever its provider can read when SSH can't. Never raises."""
    try:
        text = provider.console(server)
    except Exception as error:  # noqa: BLE001 - a provider is a plugin, and it is asked just when things are bad
        why = blame(f"the provider {provider.name}", error, provider)
        return RawSection(name=CONSOLE, source=provider.name, absent=why)
    if not text:
        return RawSection(name=CONSOLE, source=provider.name, absent="the provider has none")
    data = text.encode(errors="replace")
    return RawSection(name=CONSOLE, source=provider.name, text=data[-CONSOLE_BYTES:], size=len(data))


def with_last_words(bundle: Bundle, raw: Sequence[RawSection], redactor: Redactor) -> Bundle:
    """A bundle, and behind its own sections these, masked; a section that it has already is not added."""
    there = {section.name for section in bundle.sections}
    more = masked([section for section in raw if section.name not in there], redactor)
    return dataclasses.replace(
        bundle, sections=(*bundle.sections, *more.sections), redacted=bundle.redacted + more.redacted
    )


def told(sections: Sequence[CollectedSection], server: str, most: int = CONSOLE_BYTES) -> str:
    """Sections as a transcript has them: each under its name, and what is absent left out."""
    parts = [
        f"the {section.name} of {server}:\n{ending(section.text.decode(errors='replace'), most)}"
        for section in sections
        if section.text
    ]
    return "\n".join(parts)

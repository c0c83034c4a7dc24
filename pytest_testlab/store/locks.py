"""The numbers of the advisory locks that the lab takes in its store: two uses of one would wait for each other."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Lock(IntEnum):
    """What each lock is for."""

    MIGRATING = 0x7E571AB
    """The schema is changed; whoever writes shares it."""
    NUMBERING = 0x7E571AC
    """A run gets its number."""
    LEADING = 0x7E571AD
    """A scheduler plays the nights, for as long as it lives."""
    BEGINNING = 0x7E571AE
    """A night is begun."""

"""What to ask for where, and what is remembered of refusals."""

from __future__ import annotations

from testlab_hetzner.capacity import Capacity


def test_refusals_are_remembered_for_a_while() -> None:
    """In the order wished for: each type at every location, then the next type."""
    now = [100.0]
    capacity = Capacity(("cx23", "cpx11"), ("fsn1", "nbg1"), 60, lambda: now[0])
    first = capacity.offers[0]
    assert [str(offer) for offer in capacity.open()] == [
        "cx23 in fsn1",
        "cx23 in nbg1",
        "cpx11 in fsn1",
        "cpx11 in nbg1",
    ]
    capacity.refuse(first, "sold out")
    now[0] += 59
    assert capacity.open() == list(capacity.offers[1:])
    assert capacity.say() == "cx23 in fsn1: sold out, 59 s ago"
    now[0] += 1
    assert capacity.open() == list(capacity.offers)
    assert capacity.say() == ""

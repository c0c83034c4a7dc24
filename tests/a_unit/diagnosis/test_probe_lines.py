"""Probe lines come from the target and are read with distrust."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_testlab.diagnosis.probe import MAX_LINES, MAX_VALUE, parse_probe
from pytest_testlab.evidence import AddonProbe, Answer, Listener, NetworkProbe, ProcessState


def test_every_kind_of_line_becomes_a_fact() -> None:
    """What a probe prints is what the classifier gets."""
    facts = parse_probe(
        [
            b"process state=restarting pid=7 starts=3 exit=137\n"
            b"listener address=127.0.0.1:5003 pid=7 descends=yes\n"
            b"inside address=127.0.0.1:5003 declared=yes status=200 seconds=0.012\n"
            b"inside address=127.0.0.1:5000 declared=no error=refused\n"
            b"front-door address=127.0.0.1:8080 status=502 seconds=0.004\n"
            b"unknown-host address=127.0.0.1:8080 status=421 same=no\n",
            b'addon name=postgresql address=127.0.0.1:5432 answers=no say="he said \\"no\\""\n'
            b'network host=index.example.org ok=yes say="answers on port 443"\n'
            b'missing what=journal why="no permission"\n',
        ]
    )
    assert facts.process == ProcessState(state="restarting", pid=7, starts=3, exit_code=137)
    assert facts.listeners == (Listener(address="127.0.0.1:5003", pid=7, descends=True),)
    assert facts.inside == (
        Answer(address="127.0.0.1:5003", status=200, seconds=0.012, declared=True),
        Answer(address="127.0.0.1:5000", error="refused"),
    )
    assert facts.front_door == Answer(address="127.0.0.1:8080", status=502, seconds=0.004)
    assert facts.unknown_host == Answer(address="127.0.0.1:8080", status=421)
    assert facts.unknown_host_same is False
    assert facts.addons == (AddonProbe(name="postgresql", address="127.0.0.1:5432", answers=False, say='he said "no"'),)
    assert facts.network == (NetworkProbe(host="index.example.org", ok=True, say="answers on port 443"),)
    assert facts.missing == {"journal": "no permission"}


def test_unknown_keys_are_ignored_and_blank_lines_too() -> None:
    """A newer probe can say more."""
    facts = parse_probe([b"\nprocess state=running colour=green starts=1\n\n"])
    assert facts.process == ProcessState(state="running", starts=1)
    assert not facts.missing


def test_a_malformed_line_is_missing_evidence_with_its_number() -> None:
    """Nothing is guessed from a line that can't be read, and the reader learns which it was."""
    lines = (
        b"process state=dreaming",
        b"process pid=3",
        b"inside address=a:1 declared=yes status=200 error=refused",
        b"inside address=a:1 declared=maybe status=200",
        b"front-door address=a:1 status=9999",
        b"front-door address=a:1 status=200 seconds=soon",
        b'addon name=x answers=no say="unended',
        b"sh: 1: curl: not found",
        b"conclusion class=infra",
        b"network host= ok=no",
    )
    facts = parse_probe([b"\n".join(lines)])
    assert list(facts.missing) == [f"probe line {number}" for number in range(1, len(lines) + 1)]
    assert facts.missing["probe line 1"] == "state='dreaming' is unknown: process state=dreaming"
    assert facts.missing["probe line 2"] == "no state=: process pid=3"
    assert facts.process is None
    assert facts.front_door is None
    assert not facts.inside + facts.addons + facts.network


def test_values_are_bounded_and_free_of_control_characters() -> None:
    """A hostile answer can neither fill the store nor steer a terminal."""
    say = b"\x1b[2J" + b"x" * 5000
    (addon,) = parse_probe([b'addon name=x address=y answers=no say="%s"' % say]).addons
    assert len(addon.say) == MAX_VALUE
    assert "\x1b" not in addon.say
    flood = parse_probe([b"junk\n" * (MAX_LINES * 3)])
    assert len(flood.missing) == MAX_LINES + 1


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_can_be_read(texts: list[bytes]) -> None:
    """Whatever a target prints, reading it ends without an error."""
    parse_probe(texts)

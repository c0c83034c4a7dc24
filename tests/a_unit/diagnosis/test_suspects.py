"""Only hosts that a connection error names are worth a probe."""

from __future__ import annotations

import pytest

from pytest_testlab.diagnosis.sections import network_probe
from pytest_testlab.diagnosis.suspects import suspect_hosts


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(\"HTTPSConnection("
        "host='index.example.org', port=443): Failed to establish a new connection: [Errno -3]\")': /radicale/",
        "Failed to resolve 'index.example.org' ([Errno -2] Name or service not known)",
        "npm error request to https://index.example.org/express failed, getaddrinfo ENOTFOUND index.example.org",
        "npm error network timeout at: https://index.example.org/express",
        "Err:1 http://index.example.org/debian bookworm InRelease  Temporary failure resolving 'index.example.org'",
        "  Could not connect to index.example.org:80 (203.0.113.7). - connect (111: Connection refused)",
        "fatal: unable to access 'https://index.example.org/x.git/': Could not resolve host: index.example.org",
        "curl: (7) Failed to connect to index.example.org port 443 after 2 ms: Couldn't connect to server",
        "wget: unable to resolve host address ‘index.example.org’",
        "dial tcp: lookup index.example.org on 127.0.0.53:53: no such host",
    ],
)
def test_the_host_of_a_connection_error_is_found(line: str) -> None:
    """The words of pip, npm, apt, git, curl, wget and go lead to the host."""
    assert "index.example.org" in suspect_hosts(f"Collecting radicale\n{line}\nERROR: failed\n".encode())


def test_hosts_of_a_healthy_build_are_not_suspected() -> None:
    """A host that a log merely mentions is none, nor is the machine itself."""
    log = b"Looking in indexes: https://index.example.org/simple\nerror: command 'gcc' failed: see https://help.example.org\n"
    assert suspect_hosts(log) == ()
    assert (
        suspect_hosts(b"Failed to connect to 127.0.0.1 port 9999: timed out\nconnect ECONNREFUSED ::1 localhost\n")
        == ()
    )


def test_hostile_names_do_not_reach_a_shell() -> None:
    """Only plain host names are probed, at most four."""
    assert network_probe(["a.example.org; rm -rf /", "$(id).example.org", "-x"]).absent == "no host is suspected"
    many = suspect_hosts("".join(f"Could not resolve host: h{n}.example.org\n" for n in range(50)).encode())
    assert many == ("h49.example.org", "h48.example.org", "h47.example.org", "h46.example.org")

"""A stand-in for the Hetzner Cloud API, over real HTTP on loopback, that any client can be pointed at.

In a test::

    def test_something(standin: StandIn) -> None:                 # of tests/b_integration/standin/conftest.py
        client = hcloud.Client(standin.token, api_endpoint=standin.endpoint)

or, with what a test needs besides::

    with StandIn(LoopbackHosts(), speed=20, seed=7) as standin:
        standin.misbehave(Fault(kind=Kind.DROP, method="POST", path="^/servers$"))
        ...
        assert standin.left()["servers"] == []

By hand: `make standin`, with options in STANDIN ("--hosts loopback --speed 20").

**Hosts.** `NoHosts` (there is nobody at the addresses), `LoopbackHosts` (folders of this machine with a real SSH server
each, no root), `standin.nspawn.NspawnHosts` (a whole Debian each, with its own cloud-init, for root). Where port 22
can't be had, every sshd listens on `standin.ssh_port`, of the server's own address; a client must be told so, since the
API knows no such thing.

**Time.** A boot takes 25 s, cloud-init 15 s more, each give or take a fifth, divided by `speed`. Dates and the quota
are never sped up: labels hold true dates, and a client can't know.

**Shapes.** Where ../shared/hetzner/openapi.json lies beside the checkout, every answer is checked against it; what
doesn't fit becomes a 500 and is listed in `standin.api.mismatches`.
"""

from standin.faults import Fault, Kind, limit_exceeded, locked, rate_limited
from standin.hosts import Hosts, NoHosts
from standin.loopback import LoopbackHosts
from standin.standing import StandIn

__all__ = [
    "Fault",
    "Hosts",
    "Kind",
    "LoopbackHosts",
    "NoHosts",
    "StandIn",
    "limit_exceeded",
    "locked",
    "rate_limited",
]

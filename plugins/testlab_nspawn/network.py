"""The hosts' network: a bridge of this machine, an address each, and a way out through the machine's own.

What is shared is set up for the first host and taken down with the last one. Who does either holds the machine's lock,
whichever folder its hosts are in; each such folder has a network of its own, `10.77.N.0/24` on the bridge `testlabN`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.errors import InfraError
from testlab_nspawn import places as files
from testlab_nspawn.commands import call

STATE = Path("/run/testlab-nspawn")
LOCK_WITHIN_S = 60.0
STEP_S = 20.0
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_NETWORKS = 200


@dataclass(frozen=True, kw_only=True)
class Network:
    """One bridge with what belongs to it."""

    number: int

    @property
    def bridge(self) -> str:
        """Also the name of its table in nftables."""
        return f"testlab{self.number}"

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The hosts' addresses."""
        return ipaddress.IPv4Network(f"10.77.{self.number}.0/24")

    @property
    def gateway(self) -> str:
        """The machine's own address in it."""
        return str(self.subnet[1])

    def free(self, taken: Iterable[str]) -> str:
        """An address that no host has; raises `InfraError` when there is none."""
        taken = set(taken)
        for address in list(self.subnet.hosts())[1:]:
            if str(address) not in taken:
                return str(address)
        raise InfraError(f"every address of {self.subnet} is taken")


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """Alone on this machine with what all hosts share; for moments only."""
    with files.locked(files.lock_file(STATE / "lock"), LOCK_WITHIN_S, doing="setting up the hosts' network"):
        yield


# --- what is shared; the machine's lock is held ----------------------------------------------------------------------


def choose(base: Path) -> Network:
    """The network of a folder's hosts: the one that it has, or one that nothing on this machine uses yet."""
    claimed = claims()
    for number, owner in claimed.items():
        if owner == str(base):
            return Network(number=number)
    routes = _routes()
    for number in range(_NETWORKS):
        network = Network(number=number)
        if number not in claimed and not any(network.subnet.overlaps(route) for route in routes):
            return network
    raise InfraError("every network 10.77.N.0/24 is in use on this machine")


def up(base: Path, network: Network) -> None:
    """Set up what is missing of a network; raises `InfraError`. A host's record must be there before."""
    claim = _claim(network)
    if (files.read_json(claim) or {}).get("up") and _is_there(network.bridge):
        return
    claim.parent.mkdir(mode=0o700, exist_ok=True)
    files.write_json(claim, {"base": str(base), "up": False})
    if not (STATE / "forward").exists():
        files.write_json(STATE / "forward", {"was": _FORWARD.read_text().strip()})
    _bridge(network)
    call("nft", "-f", "-", within_s=STEP_S, stdin=_table(network))
    if _FORWARD.read_text().strip() != "1":
        _FORWARD.write_text("1")
    files.write_json(claim, {"base": str(base), "up": True})


def down(base: Path) -> None:
    """Take down a folder's network, and forwarding with the last one; gone already = done. Raises `InfraError`."""
    for number, owner in claims().items():
        if owner == str(base):
            network = Network(number=number)
            if _is_there(network.bridge):
                call("ip", "link", "del", network.bridge, within_s=STEP_S)
            # nothing is said of a table that isn't there
            gone = f"table ip {network.bridge}\ndelete table ip {network.bridge}\n"
            call("nft", "-f", "-", within_s=STEP_S, stdin=gone)
            _claim(network).unlink(missing_ok=True)
    if not claims():
        was = (files.read_json(STATE / "forward") or {}).get("was")
        if was in ("0", "1") and was != _FORWARD.read_text().strip():
            _FORWARD.write_text(was)
        (STATE / "forward").unlink(missing_ok=True)


def _bridge(network: Network) -> None:
    lines = []
    if not _is_there(network.bridge):
        # an address of its own, else it changes with the hosts
        lines.append(f"link add {network.bridge} address 02:54:4c:4d:00:{network.number:02x} type bridge")
    lines.append(f"address replace {network.gateway}/{network.subnet.prefixlen} dev {network.bridge}")
    lines.append(f"link set {network.bridge} up")
    call("ip", "-batch", "-", within_s=STEP_S, stdin="\n".join(lines) + "\n")


def _table(network: Network) -> str:
    return f"""table ip {network.bridge}
delete table ip {network.bridge}
table ip {network.bridge} {{
    chain out {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {network.subnet} oifname != "{network.bridge}" masquerade
    }}
}}
"""


def _claim(network: Network) -> Path:
    return STATE / "networks" / f"{network.number}.json"


def claims() -> dict[int, str]:
    """Number → the folder whose hosts have that network."""
    found = {}
    for file in sorted((STATE / "networks").glob("*.json")):
        if file.stem.isdecimal():
            found[int(file.stem)] = str((files.read_json(file) or {}).get("base", ""))
    return found


def _is_there(link: str) -> bool:
    """Whether this machine has a link of this name. In a container /sys may show those of another machine."""
    with contextlib.suppress(OSError):
        return socket.if_nametoindex(link) > 0
    return False


def _routes() -> list[ipaddress.IPv4Network]:
    found = []
    for route in json.loads(call("ip", "-4", "-j", "route", "show", "table", "all", within_s=STEP_S) or "[]"):
        destination = route.get("dst", "default")
        if destination != "default":
            found.append(ipaddress.IPv4Network(destination, strict=False))
    return found


# --- a host's own ----------------------------------------------------------------------------------------------------


def connect(unit: str, bridge: str, address: str, gateway: str) -> None:
    """Make a host's network namespace and put it on the bridge; raises `InfraError`."""
    prefix = Network(number=0).subnet.prefixlen
    call("ip", "netns", "add", unit, within_s=STEP_S)
    # Always the same for an address: the next host that has it answers at once, to those who still know the last one.
    hardware = "02:54:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)
    outside = f"link add {unit} type veth peer name eth0 address {hardware} netns {unit}\n"
    outside += f"link set {unit} master {bridge} up\n"
    call("ip", "-batch", "-", within_s=STEP_S, stdin=outside)
    inside = ["link set lo up", f"address add {address}/{prefix} dev eth0", "link set eth0 up"]
    inside.append(f"route add default via {gateway}")
    call("ip", "-n", unit, "-batch", "-", within_s=STEP_S, stdin="\n".join(inside) + "\n")


def disconnect(unit: str) -> None:
    """Remove a host's namespace and its end of the bridge; gone already = done. Raises `InfraError`."""
    if _is_there(unit):
        call("ip", "link", "del", unit, within_s=STEP_S)
    if namespace(unit).exists():
        call("ip", "netns", "del", unit, within_s=STEP_S)


def namespace(unit: str) -> Path:
    """Where a host's network namespace is."""
    return Path("/run/netns") / unit

"""A folder of nspawn hosts of a test's own, and all that such hosts can leave on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from testlab_nspawn import cgroups, network, places
from testlab_nspawn.recipes import RECIPES

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def make(base: Path) -> None:
    """Make the folder; images are the machine's, which take minutes to make."""
    base.mkdir(mode=0o700)
    system = places.prepare(places.SYSTEM)
    (base / "images").symlink_to(system.images)
    (base / "machine").symlink_to(system.machine)


def lacking() -> list[str]:
    """Images that are still to be made."""
    system = places.prepare(places.SYSTEM)
    return [
        recipe.name
        for recipe in RECIPES.values()
        if not (system.images / f"{recipe.name}-{recipe.digest}/image.json").is_file()
    ]


def others() -> set[str]:
    """Folders of hosts that other labs of this machine have just now."""
    return set(network.claims().values())


def names(pattern: str) -> set[str]:
    """Whatever carries the name of a host's things, anywhere that they can be."""
    found = {f"link {path.name}" for path in Path("/sys/class/net").glob(pattern)}
    found |= {f"namespace {path.name}" for path in Path("/run/netns").glob(pattern)}
    for top in cgroups.hierarchies():
        found |= {f"group {path}" for path in top.glob(pattern)}
    return found


def traces(base: Path, units: set[str]) -> list[str]:
    """All that the hosts of a folder have on this machine beside it; `units` is what their things are called."""
    found = [f"mount {at}" for at in places.mounts_below(base)]
    for unit in sorted(units):
        found += sorted(names(unit))
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = (proc / "cgroup").read_text()
            if "State:\tZ" in (proc / "status").read_text():
                continue  # dead, and only not yet heard of by the machine's PID 1
        except OSError:
            continue
        if (str(base) in command and int(proc.name) != os.getpid()) or any(unit in groups for unit in units):
            found.append(f"process {proc.name} {command[:80]}")
    for number, owner in network.claims().items():
        if owner == str(base):
            found.append(f"network {number}")
    return found


def on_disk(base: Path) -> list[str]:
    """What the folder holds of hosts and snapshots."""
    return sorted(str(path.relative_to(base)) for kind in ("hosts", "layers") for path in (base / kind).glob("*"))


def bridges() -> set[str]:
    """The bridges and tables of any folder's network."""
    links = {f"link {path.name}" for path in Path("/sys/class/net").glob("testlab*")}
    said = json.loads(subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=True).stdout)
    tables = {item["table"]["name"] for item in said["nftables"] if "table" in item}
    return links | {f"table {name}" for name in tables if name.startswith("testlab")}


def units(base: Path) -> set[str]:
    """What the things of its hosts are called, half-made ones too."""
    found = set()
    for file in (base / "hosts").glob("*/host.json"):
        found.add(f"tl-{json.loads(file.read_text())['id']}")
    return found


KILLED_AT_A_LINE = """
import os, signal, sys

left = int(sys.argv[1])

def tracer(frame, event, _):
    global left
    if "testlab_nspawn" not in frame.f_code.co_filename:
        return None
    if event == "line":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return tracer

from testlab_nspawn.hosts import Hosts, Order
from pytest_testlab import labels
hosts = Hosts()
ours = {labels.MANAGED_BY: labels.OURS, labels.DISPOSABLE: "true"}
sys.settrace(tracer)
hosts.make(Order(name="doomed", labels=ours))
hosts.rebuild(Order(name="doomed"))
hosts.freeze("doomed", "golden", ours)
hosts.make(Order(name="clone", layer="golden", labels=ours))
hosts.remove_layer("golden")
hosts.remove("clone")
hosts.remove("doomed")
sys.settrace(None)
print(int(sys.argv[1]) - left)
"""


def killed_after(lines: int, base: Path) -> subprocess.CompletedProcess[str]:
    """Make hosts, make them anew, freeze and remove them in a process that is killed after so many lines of ours.

    With more lines than there are it lives, and prints how many there were.
    """
    return subprocess.run(
        [sys.executable, "-c", KILLED_AT_A_LINE, str(lines)],
        env={**os.environ, places.VARIABLE: str(base)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

"""Freezes a server's disk: switched off first, as Hetzner advises, so that nothing is half written on it.

Before that the disk is made to forget whose it is: what is started from it must run its first boot, with a machine id
and a host key of its own, also when it is the very server that it was taken of.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from pytest_testlab import labels as names
from pytest_testlab.errors import InfraError
from pytest_testlab.protocols import Target
from testlab_hetzner import proof
from testlab_hetzner.actions import Actions
from testlab_hetzner.cloud import Cloud, Refused, Unanswered
from testlab_hetzner.machines import Machine, Step, step_of
from testlab_hetzner.servers import Servers, check_disposable

CALL = "call"
"""The label that tells which call made a snapshot, in case its answer is lost."""
_FORGET = f"""
set -e
{proof.TAKE_MARKER}
if [ "$(id -u)" = 0 ]; then
    if command -v cloud-init >/dev/null 2>&1 && cloud-init clean --logs >/dev/null 2>&1; then :; else
        rm -rf /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/sem
    fi
    rm -f /var/lib/dbus/machine-id
    : >/etc/machine-id
fi
sync
"""


class Freezer:
    """Makes snapshots of servers."""

    def __init__(self, cloud: Cloud, servers: Servers, actions: Actions) -> None:
        self._cloud = cloud
        self._servers = servers
        self._actions = actions
        self._times = cloud.times

    def freeze(self, name: str, id: int | None, target: Target, labels: Mapping[str, str]) -> str:  # noqa: A002 - the API's word
        """The id of a snapshot of a server, which is switched on again; raises `InfraError`."""
        machine = self._servers.find(name, id)
        if machine is None:
            raise InfraError(f"{name} is gone")
        check_disposable(machine)
        result = target.run(_FORGET, timeout_s=proof.STEP_S)
        if result.exit_code != 0:
            raise InfraError(f"{name}: its disk can't be made ready to be frozen: {proof.said(result)}")
        target.close()
        try:
            self._switch_off(machine)
            return self._image(machine, {**labels, CALL: secrets.token_hex(8)})
        finally:
            self._do(machine, "power_on", self._times.start)

    def _switch_off(self, machine: Machine) -> None:
        """By itself if it can in time, else by force: all that counts is on the disk by then."""
        with contextlib.suppress(InfraError):
            self._do(machine, "shutdown", self._times.off)
            deadline = time.monotonic() + self._times.off
            while time.monotonic() < deadline:
                if (there := self._servers.find(machine.name, machine.id)) is not None and there.status == "off":
                    return
                time.sleep(self._times.pause)
        self._do(machine, "power_off", self._times.off)

    def _do(self, machine: Machine, verb: str, within_s: float) -> None:
        """Carry out an action, and wait for its end."""
        what = f"{machine.name}: {verb.replace('_', ' ')}"
        step = self._cloud.ask(what, lambda client: step_of(getattr(client.servers, verb)(_server(machine))))
        self._actions.wait(what, [step], within_s=within_s)

    def _image(self, machine: Machine, labels: Mapping[str, str]) -> str:
        what = f"freezing {machine.name}"

        def create(client: Any) -> tuple[int, Step]:
            made = client.servers.create_image(
                _server(machine), description=f"{machine.name}, by the lab", type="snapshot", labels=dict(labels)
            )
            return made.image.id, step_of(made.action)

        try:
            image, step = self._cloud.ask(what, create, once=True)
        except (Unanswered, Refused) as error:
            if isinstance(error, Refused) and not error.code.startswith("5"):
                raise
            return self._adopt(what, labels)
        try:
            self._actions.wait(what, [step], within_s=self._times.snapshot)
        except InfraError:
            self._drop(image)
            raise
        return str(image)

    def _adopt(self, what: str, labels: Mapping[str, str]) -> str:
        """The snapshot whose answer was lost, once it is there; raises `InfraError`."""
        deadline = time.monotonic() + self._times.snapshot
        selector = f"{names.MANAGED_BY}={names.OURS},{CALL}={labels[CALL]}"
        while True:
            found = self._cloud.ask(
                what, lambda client: client.images.get_all(type=["snapshot"], label_selector=selector)
            )
            if not found:
                raise InfraError(f"{what}: no answer came, and no snapshot is there")
            if found[0].status == "available":
                return str(found[0].id)
            if time.monotonic() >= deadline:
                self._drop(found[0].id)
                raise InfraError(f"{what}: not done within {self._times.snapshot:g} s")
            time.sleep(self._times.pause)

    def _drop(self, image: int | None) -> None:
        """What came of it is of no use; the reaper finds it where this fails."""
        from hcloud.images import Image

        with contextlib.suppress(InfraError):
            self._cloud.ask(
                f"removing the snapshot {image}", lambda client: client.images.delete(Image(id=image)), urgent=True
            )


def _server(machine: Machine) -> Any:
    from hcloud.servers import Server

    return Server(id=machine.id)

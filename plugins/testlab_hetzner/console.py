"""What is left to read of a server when SSH isn't: the API has no text console, only what it did and how that ended.

The rescue system could show the disk, but it makes a host key of its own at each boot, which nothing tells us: to read
a log there we would have to trust whoever answers.
"""

from __future__ import annotations

import asyncio

import asyncssh

from pytest_testlab.errors import InfraError
from pytest_testlab.model import Server, SshAddress
from pytest_testlab.target.loop import wait_for
from pytest_testlab.target.ways import through
from testlab_hetzner.machines import Step
from testlab_hetzner.servers import Servers


def of_the_api(servers: Servers, server: Server, id: int | None) -> str:  # noqa: A002 - the API's word
    """Its status, and its actions in their order, with their errors."""
    try:
        machine = servers.find(server.name, id)
        if machine is None:
            return f"the API knows no server {server.name}"
        lines = [f"{machine.type} in {machine.location}, image {machine.image}: {machine.status}"]
        return "\n".join([*lines, *map(_line, reversed(servers.steps(machine)))])
    except InfraError as error:
        return str(error)


def of_sshd(server: Server, within_s: float) -> str:
    """Who answers where SSH should lead, without logging in."""
    if server.ssh is None:
        return "no address of it is known"
    where = f"{server.ssh.host}:{server.ssh.port}"
    try:
        shown = wait_for(asyncio.wait_for(_shown(server.ssh), within_s), within_s + 5)
    except TimeoutError:
        return f"{where}: no SSH server answers within {within_s:g} s"
    except (OSError, asyncssh.Error, InfraError) as error:
        return f"{where}: no SSH server answers: {error or type(error).__name__}"
    given = asyncssh.import_public_key(server.ssh.host_key)
    if shown == given:
        return f"{where}: the SSH server shows the host key that it was given for its first boot"
    return (
        f"{where}: the SSH server shows another host key, {shown.get_fingerprint()}, than its first boot was given, "
        f"{given.get_fingerprint()}: cloud-init hasn't run, or it isn't this server"
    )


async def _shown(address: SshAddress) -> asyncssh.SSHKey:
    way = None if address.jump is None else await through(address.jump, address.host, address.port)
    key = await asyncssh.get_server_host_key(address.host, address.port, sock=way, config=None)
    if key is None:
        raise InfraError("it shows no host key")
    return key


def _line(step: Step) -> str:
    return f"action {step.command}: {step.status}" + (f": {step.why}" if step.why else "")

"""A server that one already has is made blank by a real reboot, and that it came to pass is proven from inside."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from pathlib import Path

from testlab_nspawn.provider import NspawnProvider
from testlab_ssh.provider import SshProvider

from pytest_testlab import labels
from pytest_testlab.model import Server, ServerRequest
from pytest_testlab.options import Settings

BOOT = "cat /proc/sys/kernel/random/boot_id"


def inventory(host: Server, folder: Path) -> Settings:
    """The host as the only server of an inventory, as docs/guide/servers.md says."""
    assert host.ssh is not None
    (folder / "key").touch(0o600)
    (folder / "key").write_text(host.ssh.private_key)
    file = folder / "servers.toml"
    file.write_text(
        f"""
        [[server]]
        name = "web-1"
        address = "{host.ssh.host}"
        port = {host.ssh.port}
        user = "{host.ssh.user}"
        identity = "key"
        host-key = "{host.ssh.host_key.strip()}"
        disposable = true
        blank = {{ script = "rm -rf /var/lib/testlab ~/.testlab* /tmp/.testlab*", reboot = "systemctl reboot" }}
        proof = {{ rebooted = true }}
        """
    )
    return Settings(home=str(folder), inventory=str(file))


def said(provider: SshProvider, server: Server, script: str) -> str:
    with closing(provider.connect(server)) as target:
        return target.run(script, timeout_s=30).text.strip()


def test_a_real_reboot_is_proven_by_the_new_boot_id(provider: NspawnProvider, tmp_path: Path) -> None:
    """What ran is gone with the old boot, the lease outlives it, and the host that rebooted is removed as any other."""
    own = labels.labels_of(run="r", slot=0, expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    host = provider.create(ServerRequest(run="r", slot=0, labels=own))
    listed = SshProvider(inventory(host, tmp_path))
    server = listed.create(ServerRequest(run="r", slot=0))
    before = said(listed, server, BOOT)
    said(listed, server, "mkdir -p /var/lib/testlab/app && systemd-run --unit=left-behind sleep 600")
    assert said(listed, server, "systemctl is-active left-behind") == "active"
    blank = listed.blank(server)
    assert (blank.epoch, blank.proof["boot"]) == (server.epoch + 1, "another one")
    assert said(listed, blank, BOOT) not in ("", before)
    assert said(listed, blank, "systemctl is-active left-behind; ls -A /var/lib/testlab").startswith("inactive")
    assert "app" not in said(listed, blank, "ls -A /var/lib/testlab")
    listed.destroy(blank)
    listed.close()
    provider.destroy(host)
    assert list(provider.owned()) == []

"""What each image is made of. Whoever changes a recipe changes its digest, and so has the image built anew."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass

from pytest_testlab.errors import UsageError

_PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "login",
    "nginx-light",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
)
_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-firstboot.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
)
# The network is set up from outside. What would be the same on every host goes, and each gets its own.
_FINISH = r"""
rm -f etc/fstab etc/hostname var/lib/dbus/machine-id etc/ssh/ssh_host_* var/lib/systemd/random-seed
: >etc/machine-id
for unit in @MASKED@; do ln -sf /dev/null "etc/systemd/system/$unit"; done
mkdir -p etc/ssh/sshd_config.d etc/systemd/journald.conf.d var/log/journal
cat >etc/ssh/sshd_config.d/testlab.conf <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
MaxStartups 100
END
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' >etc/systemd/journald.conf.d/testlab.conf
rm -rf var/lib/apt/lists/* var/cache/apt/*.bin var/cache/apt/archives/*.deb var/log/apt/* var/log/*.log
rm -rf tmp/* var/tmp/* run/*
""".replace("@MASKED@", " ".join(_MASKED))

# cloud-init as Debian has it; it reads what is in the seed's folder, and keeps its hands off the network.
_CLOUD = r"""
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends cloud-init >/dev/null
mkdir -p etc/cloud/cloud.cfg.d
cat >etc/cloud/cloud.cfg.d/99-testlab.cfg <<'END'
datasource_list: [NoCloud, None]
network: {config: disabled}
manage_etc_hosts: false
locale: false
END
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an image is made: a release of Debian with packages, or another image and what is done in it."""

    name: str
    release: str
    packages: tuple[str, ...] = ()
    base: str | None = None
    script: str = _FINISH
    """Of sh, run in the image's root."""

    @property
    def digest(self) -> str:
        """Of all of it, what it stands on included."""
        base = RECIPES[self.base].digest if self.base else ""
        return hashlib.sha256(json.dumps([asdict(self), base]).encode()).hexdigest()[:12]


def _debian(number: int, release: str) -> tuple[Recipe, Recipe]:
    plain = Recipe(name=f"debian-{number}", release=release, packages=_PACKAGES)
    return plain, Recipe(name=f"{plain.name}-cloud", release=release, base=plain.name, script=_CLOUD + _FINISH)


RECIPES = {recipe.name: recipe for recipe in (*_debian(12, "bookworm"), *_debian(13, "trixie"))}
DEFAULT = "debian-12"


def recipe(name: str | None) -> Recipe:
    """The recipe of an image, of the default one for none; raises `UsageError` with the nearest names."""
    wanted = name or DEFAULT
    if wanted in RECIPES:
        return RECIPES[wanted]
    close = difflib.get_close_matches(wanted, RECIPES, n=2)
    hint = f"did you mean {' or '.join(close)}? It has" if close else "it has"
    raise UsageError(f"the provider nspawn has no image {wanted!r}; {hint}: {', '.join(RECIPES)}")

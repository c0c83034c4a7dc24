"""Puts Hop3 on a blank Debian host, as its docs say, and gives each host secrets of its own."""

from __future__ import annotations

import hashlib
import json
import shlex

from pytest_testlab.errors import DeployFailed, InfraError
from pytest_testlab.model import CommandResult
from pytest_testlab.protocols import Observer, Target
from testlab_hop3.source import Source

FOLDER = "/opt/testlab-hop3"
MARK = "/var/lib/testlab-hop3"
DOMAIN = "hop3.testlab.internal"
INSTALL_S = 880.0
OWN_SECRETS_S = 60.0
LACKING, FETCHING = 10, 11
"""Exit codes of our own: the host isn't fit for it; the installer can't be fetched."""
PREPARE = f"""
exec 2>&1
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    . /etc/os-release
    echo "Hop3 needs Python 3.12 or newer, as Debian 13 has it; this is $PRETTY_NAME"
    exit {LACKING}
fi
[ "$(id -u)" = 0 ] || {{ echo "Hop3 is installed by root, and the lab is $(id -un) here"; exit {LACKING}; }}
export DEBIAN_FRONTEND=noninteractive
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    {{ apt-get update -qq && apt-get install -y -qq python3-venv; }} || exit {FETCHING}
fi
mkdir -p {FOLDER} {MARK}
{{ python3 -m venv {FOLDER}/venv && {FOLDER}/venv/bin/python -m pip install -q @INSTALLER@; }} || exit {FETCHING}
"""
OFFICIAL = f"""
{FOLDER}/venv/bin/hop3-install server @ARGUMENTS@ --with redis --skip-acme --domain {DOMAIN} \
    --operator-email operator@{DOMAIN}
"""
# A snapshot's hosts share what was made on the first one: whoever has a token of one could use it on all.
OWN_SECRETS = f"""
exec 2>&1
set -e
mine=$(cat /etc/machine-id)
[ "$(cat {MARK}/machine 2>/dev/null)" != "$mine" ] || exit 0
umask 077
secret=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')
printf '%s\\n' "$secret" >{MARK}/secret
old=$(cat /etc/hop3/secret-key)
python3 - "$old" <<'END'
import pathlib, sys
new = pathlib.Path("{MARK}/secret").read_text().strip()
for name in ("/etc/hop3/secret-key", "/etc/default/hop3", "/home/hop3/hop3-server.toml", "/etc/hop3/hop3-server.toml"):
    file = pathlib.Path(name)
    if file.is_file():
        file.write_text(file.read_text().replace(sys.argv[1], new))
END
rm -f {MARK}/secret
systemctl restart hop3-server
printf '%s\\n' "$mine" >{MARK}/machine
"""
VERSIONS = """
for python in /home/hop3/venv/bin/python; do
"$python" - <<'END'
import importlib.metadata as metadata
import json
import platform

found = {"python": platform.python_version()}
for name in ("hop3-server", "hop3-rootd"):
    try:
        there = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        continue
    found[name] = there.version
    origin = json.loads(there.read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id")
    if commit:
        found[name + " commit"] = commit
print(json.dumps(found))
END
done
"""


def install(target: Target, source: Source, observe: Observer) -> dict[str, str]:
    """Install it unless just this is there; returns what there is. Raises `InfraError`, `DeployFailed`."""
    digest = hashlib.sha256(json.dumps(source.inputs(), sort_keys=True).encode()).hexdigest()[:16]
    there = target.run(f"cat {MARK}/installed 2>/dev/null", timeout_s=30.0)
    if there.text.strip() != digest:
        _from_scratch(target, source, observe)
        _done(target, f"mkdir -p {MARK} && echo {digest} >{MARK}/installed", 30.0, "noting what was installed")
    _done(target, OWN_SECRETS, OWN_SECRETS_S, "giving Hop3 a secret of this host's own")
    result = _done(target, VERSIONS, 30.0, "asking for Hop3's version")
    try:
        found = json.loads(result.text)
    except ValueError:
        raise DeployFailed("install", f"no version of Hop3 can be told: {_said(result)}") from None
    return {"hop3": str(source), **{str(name): str(value) for name, value in found.items()}}


def _from_scratch(target: Target, source: Source, observe: Observer) -> None:
    observe.write("install", f"Hop3, {source}\n")
    prepare = PREPARE.replace("@INSTALLER@", shlex.quote(source.installer))
    prepared = target.run(prepare, timeout_s=INSTALL_S)
    observe.write("install", prepared.stdout)
    if prepared.exit_code != 0:
        raise InfraError(f"{target.server.name}: Hop3 can't be installed: {_said(prepared)}")
    if source.tree is not None:
        target.upload(source.tree, f"{FOLDER}/tree")
    script = OFFICIAL.replace("@ARGUMENTS@", source.arguments)
    if source.own_way is not None:
        script = f"set -- {source.arguments}\n{source.own_way.read_text()}"
    result = target.run(f"exec 2>&1\n{script}", timeout_s=INSTALL_S)
    observe.write("install", result.stdout)
    if result.exit_code != 0:
        ended = f"no end within {INSTALL_S:g} s" if result.timed_out else f"exit code {result.exit_code}"
        raise DeployFailed("install", f"Hop3's installer: {ended}: {_said(result)}")


def _done(target: Target, script: str, timeout_s: float, doing: str) -> CommandResult:
    result = target.run(script, timeout_s=timeout_s)
    if result.exit_code != 0:
        raise DeployFailed("install", f"{doing}: {_said(result)}")
    return result


def _said(result: CommandResult) -> str:
    return " ".join((result.text + result.stderr.decode(errors="replace")).split())[-300:] or "no reason given"

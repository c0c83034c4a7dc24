"""Hop3's parts of a bundle, and what is asked on the target: who listens, and who answers."""

from __future__ import annotations

import secrets
import shlex

from pytest_testlab.model import Deployment, Section

ROOT = "/home/hop3"
PROBE_S = 8

# What lies behind the vhost: a socket or port, and whether the process that has it works below the app's folder.
_LISTENS = """
name=@NAME@ host=@HOST@
vhost=/home/hop3/nginx/$name.conf
[ -f "$vhost" ] || { echo "the front door has no vhost for $name"; exit 1; }
grep -qF -- "$host" "$vhost" || { echo "the vhost of $name is not for $host"; exit 1; }
[ -d "/home/hop3/apps/$name" ] || { echo "Hop3 has no folder for $name"; exit 1; }
port=$(sed -n 's/.*127\\.0\\.0\\.1:\\([0-9][0-9]*\\).*/\\1/p' "$vhost" | head -n 1)
[ -n "$port" ] || exit 0
for pid in $(ss -Hltnp "sport = :$port" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do
    where=$(readlink "/proc/$pid/cwd") || continue
    case $where in "/home/hop3/apps/$name" | "/home/hop3/apps/$name/"*) exit 0 ;; esac
    grep -qF -- "$name" "/proc/$pid/cmdline" "/proc/$pid/environ" 2>/dev/null && exit 0
    other="process $pid in $where"
done
echo "${other:-nobody} listens on port $port, behind the vhost of $name"
exit 1
"""

_PROBE = r"""
command -v python3 >/dev/null || absent "there is no python3 on the target"
python3 - @NAME@ @HOST@ @UNKNOWN@ @PATH@ <<'END'
import http.client, re, socket, ssl, subprocess, sys, time
from pathlib import Path

name, host, unknown, path = sys.argv[1:]


def ask(kind, address, tls, who, extra=""):
    began, body = time.monotonic(), None
    where, port = address.rsplit(":", 1)
    try:
        line = socket.create_connection((where, int(port)), timeout=2)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            line = context.wrap_socket(line, server_hostname=who)
        connection = http.client.HTTPConnection(who)
        connection.sock = line
        connection.request("GET", path, headers={"Host": who})
        answer = connection.getresponse()
        body = (answer.status, answer.read(65536))
        came = f"status={answer.status}"
    except ConnectionRefusedError:
        came = "error=refused"
    except TimeoutError:
        came = "error=timeout"
    except (ConnectionError, http.client.HTTPException):
        came = "error=reset"
    except OSError:
        came = "error=other"
    return f"{kind} address={address} {extra}{came} seconds={time.monotonic() - began:.3f}", body


def workers():
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            where = (proc / "cwd").readlink().as_posix()
            words = (proc / "cmdline").read_bytes()
        except OSError:
            continue
        if f"/home/hop3/apps/{name}/" in where + "/" or name.encode() in words:
            found.append(int(proc.name))
    return sorted(pid for pid in found if b"python3\0-\0" not in Path(f"/proc/{pid}/cmdline").read_bytes())


front, ours = ask("front-door", "127.0.0.1:443", True, host)
stranger, theirs = ask("unknown-host", "127.0.0.1:443", True, unknown)
same = "yes" if ours and ours == theirs else "no"
vhost = Path(f"/home/hop3/nginx/{name}.conf")
text = vhost.read_text() if vhost.is_file() else ""
ports = re.findall(r"127\.0\.0\.1:(\d+)", text)
pids = workers()
if pids:
    print(f"process state=running pid={pids[0]} starts=1")
elif ports:
    print("process state=exited starts=1")
else:
    print("process state=absent")
for port in dict.fromkeys(ports):
    said = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True).stdout
    for pid in sorted(set(map(int, re.findall(r"pid=(\d+)", said)))):
        print(f"listener address=127.0.0.1:{port} pid={pid} descends={'yes' if pid in pids else 'no'}")
    print(ask("inside", f"127.0.0.1:{port}", False, host, "declared=yes ")[0])
print(front)
print(f"{stranger} same={same}")
END
"""
_WORKERS = r"""
found=$(ls @ROOT@/uwsgi-enabled/@NAME@*.ini @ROOT@/uwsgi-available/@NAME@*.ini 2>/dev/null)
[ -n "$found" ] || absent "the app has no uWSGI worker: it is static, or it never got so far"
for file in $found; do echo "== $file"; sed -E 's/^(env *= *[A-Za-z_][A-Za-z0-9_]*)=.*/\1=[redacted]/' "$file"; done
echo "== processes"
ps -eo pid,stat,etimes,rss,args | grep -F -- @NAME@ | grep -v grep
true
"""
_LOGS = r"""
found=$(ls @FOLDER@/log/*.log 2>/dev/null | grep -v '/build\.log$')
[ -n "$found" ] || absent "the app has written no log"
for file in $found; do echo "== $file"; tail -n 300 "$file"; done
"""


def listens(deployment: Deployment) -> str:
    """A script that ends with 0 where the front door leads to this deploy, and says why not otherwise."""
    return _filled(_LISTENS, deployment)


def probe(deployment: Deployment) -> Section:
    """The section `proxy-probe`."""
    return Section(
        name="proxy-probe",
        source="asked on the target, when the test had ended",
        script=_filled(_PROBE, deployment),
        timeout_s=PROBE_S,
    )


def of_app(deployment: Deployment) -> list[Section]:
    """The build's log, the app's, its workers, its vhost, and the journals of Hop3 itself."""
    folder, name = f"{ROOT}/apps/{deployment.data['name']}", deployment.data["name"]
    return [
        _file("build", f"{folder}/log/build.log", "Hop3 has kept no log of a build"),
        Section(name="app", source=f"{folder}/log/*.log", script=_filled(_LOGS, deployment)),
        Section(name="uwsgi", source=f"{ROOT}/uwsgi-enabled/{name}*.ini, ps", script=_filled(_WORKERS, deployment)),
        _file("vhost", f"{ROOT}/nginx/{name}.conf", "Hop3 has made no vhost for the app"),
        *(_journal(unit) for unit in ("hop3-server", "hop3-rootd")),
        _file("nginx-error", "/var/log/nginx/error.log", "the front door has logged no error"),
        _file("nginx-access", "/var/log/nginx/access.log", "no request came through the front door"),
    ]


def _file(name: str, path: str, absent: str) -> Section:
    return Section(name=name, source=path, files=(path,), files_absent=absent)


def _journal(unit: str) -> Section:
    script = (
        f'command -v journalctl >/dev/null || absent "there is no journald"\njournalctl -u {unit} -n 400 --no-pager'
    )
    return Section(name=unit, source=f"journalctl -u {unit}", script=script)


def _filled(script: str, deployment: Deployment) -> str:
    name = deployment.data["name"]
    values = {
        "NAME": shlex.quote(name),
        "HOST": shlex.quote(deployment.app.host),
        "UNKNOWN": f"nobody-{secrets.token_hex(6)}.testlab.internal",
        "PATH": shlex.quote(deployment.app.entry.ready.http),
        "FOLDER": shlex.quote(f"{ROOT}/apps/{name}"),
        "ROOT": ROOT,
    }
    for key, value in values.items():
        script = script.replace(f"@{key}@", value)
    return script

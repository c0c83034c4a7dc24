"""The engine's own sections, good for any target: journald, resources, dns, and a network probe on suspicion."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from pytest_testlab.model import Deployment, Section, Server

NO_ISOLATION = "no isolation"
"""What `Server.isolation` says of targets that share one machine: what is not theirs alone is left out there."""
JOURNAL_MINUTES = 15
NETWORK_PROBE = "network-probe"
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)


def built_in_sections(server: Server, deployment: Deployment | None) -> list[Section]:
    """Journald, resources and dns of a target; all absent where no SSH leads."""
    if server.ssh is None:
        why = "no SSH leads to this target"
        return [Section(name=name, source=name, absent=why) for name in ("journald", "resources", "dns")]
    shared = server.isolation == NO_ISOLATION
    folder = deployment.folder if deployment is not None else "."
    return [journald(shared=shared), resources(folder, shared=shared), dns(deployment)]


def journald(*, shared: bool = False, minutes: int = JOURNAL_MINUTES) -> Section:
    """The last minutes of systemd's log; on a shared machine the kernel's lines alone, which tell of memory kills."""
    which = " -k" if shared else ""
    command = f"journalctl --no-pager -q -o short-iso -n 2000 --since '-{minutes} min'{which}"
    script = rf"""
command -v journalctl >/dev/null 2>&1 || absent "there is no journalctl"
[ -d /run/log/journal ] || [ -d /var/log/journal ] || absent "systemd's journal does not run here"
who=$(id)
case $who in
  uid=0\(*|*groups=*\(systemd-journal\)*|*groups=*\(adm\)*|*groups=*\(wheel\)*) ;;
  *)
    who=${{who#*\(}}
    absent "no permission: user ${{who%%\)*}} is in none of the groups systemd-journal, adm, wheel" ;;
esac
{command} 2>&1
"""
    return Section(name="journald", source=command, script=script)


def cloud_init(server: Server) -> Section:
    """How a server of a cloud was set up when it first booted; for when something is wrong with it."""
    path = "/var/log/cloud-init-output.log"
    absent = None
    if server.ssh is None:
        absent = "no SSH leads to this target"
    elif server.isolation == NO_ISOLATION:
        absent = "the target shares its machine, and cloud-init's log would be that one's"
    why = "cloud-init did not run there, or its log can't be read"
    return Section(name="cloud-init", source=path, files=(path,), files_absent=why, absent=absent)


def resources(folder: str, *, shared: bool = False) -> Section:
    """Disk, memory, load, and the largest processes; on a shared machine those of the target's user alone."""
    own = "$(id -u)" if shared else ""
    script = f"""
echo '$ df -Pk'
df -Pk {shlex.quote(folder)} / /tmp 2>/dev/null | {{
  seen=
  while IFS= read -r line; do
    case $seen in *"|$line|"*) continue ;; esac
    seen="$seen|$line|"
    printf '%s\\n' "$line"
  done
  [ -n "$seen" ]
}} || df -Pk /
echo '$ memory'
free -m 2>/dev/null || head -n 5 /proc/meminfo
echo '$ load'
{{ read -r load </proc/loadavg && echo "$load"; }} 2>/dev/null || uptime
echo '$ processes by memory'
{_LARGEST.replace("OWN", own)}"""
    return Section(name="resources", source="df, free, loadavg, ps or /proc", script=script, tail_bytes=16_384)


# `ps` takes thrice as long to look at every process: so one awk finds the largest, and ps tells of these alone. What
# ends meanwhile is passed over. The first line has the numbers with commas, the others what is told where ps can't.
_LARGEST = r"""
largest=$(awk -v own="OWN" '
  BEGIN {
    for (i = 1; i < ARGC; i++) {
      name = pid = parent = uid = rss = ""
      while ((getline <ARGV[i]) > 0) {
        if ($1 == "Name:") name = $2
        else if ($1 == "Pid:") pid = $2
        else if ($1 == "PPid:") parent = $2
        else if ($1 == "Uid:") uid = $2
        else if ($1 == "VmRSS:") { rss = $2; break }
      }
      close(ARGV[i])
      if (rss == "" || (own != "" && uid != own)) continue
      size[pid] = rss
      row[pid] = pid " " parent " " uid " " rss " " name
    }
    while (n++ < 16) {
      most = ""
      for (pid in size) if (most == "" || size[pid] + 0 > size[most] + 0) most = pid
      if (most == "") break
      pids = pids (n > 1 ? "," : "") most
      rows = rows "\n" row[most]
      delete size[most]
    }
    print pids rows
  }' /proc/[0-9]*/status 2>/dev/null)
rows=${largest#*[!0-9,]}
if [ "${largest%%[!0-9,]*}" ]; then
  ps -q "${largest%%[!0-9,]*}" -o pid,ppid,user,rss,pcpu,etime,args 2>/dev/null |
    awk '{ print (length($0) > 200 ? substr($0, 1, 199) "…" : $0) } END { exit NR < 2 }' ||
    printf '%s\n' 'PID PPID UID RSS_kB NAME' "$rows"
else
  ps 2>/dev/null | head -n 40
fi
"""


def dns(deployment: Deployment | None) -> Section:
    """How the target resolves names: its configuration, itself, the addons' hosts, and the app's, which must not."""
    lines = ["echo '$ /etc/resolv.conf'", "cat /etc/resolv.conf"]
    lines += ["read -r h </proc/sys/kernel/hostname || h=$(hostname)"]
    lines += ['echo "$ getent hosts $h"', 'getent hosts "$h" || echo "(no answer)"']
    if deployment is not None:
        host = shlex.quote(deployment.app.host)
        lines += [f"echo '$ getent hosts '{host}"]
        lines += [f'getent hosts {host} || echo "(no answer, as it should be: the lab alone knows this name)"']
        for addon in _hosts(deployment.addons.values()):
            lines += [f"echo '$ getent hosts {addon}'", f"getent hosts {addon} || echo '(no answer)'"]
    script = 'command -v getent >/dev/null 2>&1 || getent() { nslookup "$2" 2>&1; }\n' + "\n".join(lines) + "\n"
    return Section(name="dns", source="/etc/resolv.conf, getent", script=script, tail_bytes=8_192, timeout_s=8)


def network_probe(hosts: Sequence[str]) -> Section:
    """Whether hosts (names, as `suspect_hosts` gives them) answer from the target; prints probe lines `network`."""
    wanted = [host for host in hosts if _HOST.fullmatch(host)][:4]
    if not wanted:
        return Section(name=NETWORK_PROBE, source="a connection to suspected hosts", absent="no host is suspected")
    script = _NETWORK + "".join(f"probe {shlex.quote(host)} &\n" for host in wanted) + "wait\n"
    source = f"a connection to {', '.join(wanted)}"
    return Section(name=NETWORK_PROBE, source=source, script=script, tail_bytes=4_096, timeout_s=10)


NO_SUCH_NAME = "no such name"
"""What a network probe says when the name servers answer that a name does not exist: not the network's fault."""

_NETWORK = r"""
say() { printf 'network host=%s ok=%s say="%s"\n' "$1" "$2" "$3"; }
with_python() {
  python3 - "$1" <<'END'
import socket, sys
host = sys.argv[1]
try:
    found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
except socket.gaierror as error:
    missing = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
    sys.exit("no such name" if missing else "no name server answers")
said = ""
for family, kind, proto, _, address in found[:4]:
    for port in (443, 80):
        try:
            socket.create_connection((address[0], port), timeout=2).close()
        except OSError as error:
            said = said or f"{address[0]} port {port}: {error.strerror or error}"
        else:
            print(f"answers on port {port}")
            sys.exit(0)
sys.exit(said or "no address")
END
}
probe() {
  if command -v python3 >/dev/null 2>&1; then
    if why=$(with_python "$1" 2>&1); then say "$1" yes "$why"; else say "$1" no "$why"; fi
    return
  fi
  if command -v getent >/dev/null 2>&1 && ! getent hosts "$1" >/dev/null; then
    say "$1" no "can't be resolved"
    return
  fi
  for p in 443 80; do
    if command -v nc >/dev/null 2>&1; then
      nc -z -w 3 "$1" "$p" >/dev/null 2>&1
    elif command -v curl >/dev/null 2>&1; then
      curl -s -o /dev/null --connect-timeout 3 -m 4 "telnet://$1:$p" </dev/null
      [ $? -ne 7 ]
    elif command -v bash >/dev/null 2>&1; then
      timeout 3 bash -c ': <"/dev/tcp/$0/$1"' "$1" "$p" 2>/dev/null
    else
      absent "no python3, nc, curl or bash on the target to connect with"
    fi || continue
    say "$1" yes "answers on port $p"
    return
  done
  say "$1" no "no connection to port 443 or 80"
}
"""


def _hosts(urls: Iterable[str]) -> list[str]:
    found: list[str] = []
    for url in urls:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            continue
        if host and _HOST.fullmatch(host) and host not in found:
            found.append(host)
    return found

"""Composes the one POSIX sh script that collects every section of a bundle, and reads what it printed.

Logs are hostile input, so nothing that a fragment prints can pass for the script's own words: its output goes to a file
in a private folder first, and travels as a header, made of a boundary drawn anew for each collection and of byte
lengths, and then exactly as many bytes. The lab reads by these lengths and never searches.

Sections that are files are had all together, see `logs`; the others are fragments of their own.

The script runs under dash, bash and busybox; a log of any size streams through it in constant memory and disk.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_testlab.diagnosis import logs
from pytest_testlab.model import Section

LATE = "it did not end in time"
"""Why a section is absent or cut off that was given as long as the whole collection."""
NOTE_BYTES = 1_000
"""How much is kept of the reason for an absence, and of a fragment's standard error."""

# Every process that it starts costs the bundle a millisecond, and nine sections start them by the dozen: so the shell's
# own words wherever they do, and `dd`, which counts what passes through it.
_PREAMBLE = r"""
umask 077
d=
limited=
for t in /dev/shm "${TMPDIR:-/tmp}" "${HOME:-/}"; do
  d=$(timeout -k 1 5 mktemp -d "$t/testlab-collect.XXXXXX" 2>/dev/null) && limited=1 && break
  d=$(mktemp -d "$t/testlab-collect.XXXXXX" 2>/dev/null) && break
done
[ -n "$d" ] || { printf '%s homeless\n' "$b"; exit 0; }
trap 'rm -rf "$d"' EXIT
trap 'exit 129' HUP INT TERM
after() {
  trap 'kill "$s" 2>/dev/null; exit 0' TERM
  sleep "$1" & s=$!
  wait "$s"
  shift
  "$@"
}
only() { limit "$@"; }
if [ -n "$limited" ]; then
  limit() { n=$1; shift; timeout -k 2 "$n" "$@"; }
  only() { n=$1; shift; exec timeout -k 2 "$n" "$@"; }
elif timeout 5 true 2>/dev/null; then
  limit() { n=$1; shift; timeout "$n" "$@"; }
else
  group=$(command -v setsid)
  slay() { kill -9 "-$1" 2>/dev/null || kill -9 "$1"; }
  limit() {
    n=$1
    shift
    { $group "$@" <&8 8<&- & } 8<&0
    p=$!
    ( exec </dev/null >/dev/null 2>&1; after "$n" slay "$p" ) &
    q=$!
    wait "$p"
    r=$?
    kill "$q" 2>/dev/null
    return "$r"
  }
fi
job() {
  {
    { limit "$2" sh "$d/$1.sh" "$d/$1.absent" 2>"$d/$1.err"; echo $? >"$d/$1.code"; } |
      only $(($2 + 3)) dd bs=65536 2>"$d/$1.size" | tail -c "$3" >"$d/$1.out" && : >"$d/$1.kept"
  } 5>&-
  echo "$1 $3" >&5
}
length() {
  l=0
  [ -s "$1" ] || return 0
  l=$(($(wc -c <"$1")))
  [ "$l" -le "$2" ] || l=$2
}
print() { [ "$1" -eq 0 ] || head -c "$1" "$2"; }
emit() {
  size=-
  while read -r word rest; do size=$word; done <"$d/$1.size"
  case $size in *[!0-9]*) size=- ;; esac
  read -r code <"$d/$1.code" || code=-
  if [ -e "$d/$1.kept" ] && [ "${size:--}" != - ]; then
    l=$size
    [ "$l" -le "$2" ] || l=$2
  else
    length "$d/$1.out" "$2"
  fi
  k=$l
  length "$d/$1.absent" "$note"; a=$l
  length "$d/$1.err" "$note"; e=$l
  printf '%s %s %s %s %s %s %s\n' "$b" "$1" "${size:--}" "${code:--}" "$k" "$a" "$e"
  print "$k" "$d/$1.out"
  print "$a" "$d/$1.absent"
  print "$e" "$d/$1.err"
}
"""

_DONE = r"""
mkfifo "$d/done"
exec 5<>"$d/done"
"""

_PRELUDE = r"""testlab_absent=$1
testlab_scratch=${1%.absent}.scratch
shift
absent() { printf '%s\n' "$*" >"$testlab_absent"; exit 0; }
"""

_ENDING = r"""
say() { echo "$1" >&5; }
( exec </dev/null >/dev/null 2>&1; after 0.2 say go; after "$deadline" say end ) &
w=$!
begun=
sending=
sent() { [ -z "$sending" ] || wait "$sending"; sending=; }
[ "$logs" -gt 0 ] || others
while [ "$n" -gt 0 ] && read -r i tail <&5; do
  case $i in
    end) break ;;
    go) others ;;
    logs)
      n=$((n - tail))
      # apart, because a slow line may keep it waiting, while the others could work
      ( emit_logs; say go ) & sending=$!
      ;;
    *) sent; emit "$i" "$tail"; n=$((n - 1)) ;;
  esac
done
sent
kill "$w" 2>/dev/null
printf '%s end\n' "$b"
"""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What the script printed of one section."""

    size: int | None
    """Bytes that the fragment printed in all; None when they could not be counted."""
    code: int | None
    """The fragment's exit code; 124 or 137 when its time was up; None when unknown."""
    text: bytes
    absent: bytes
    """What it gave to `absent`, else empty."""
    error: bytes
    """The beginning of its standard error."""

    @property
    def cut(self) -> bool:
        """Whether its time was up before it ended."""
        return self.code in (124, 137, 143)


def compose(fragments: Sequence[Section], boundary: str, deadline_s: int) -> str:
    """The script that runs every fragment at once, each under its own time, and prints a frame as soon as each ends."""
    parts = [f"b={boundary}\nnote={NOTE_BYTES}\ndeadline={deadline_s}\nn={len(fragments)}\n", _PREAMBLE, _DONE]

    def job(words: str) -> str:
        # A job that outlives the script must not hold the line open, nor mix into the frames; by `exec`, because dash
        # keeps a copy of what a plain redirection replaces.
        return f"( exec </dev/null >/dev/null 2>&1; {words} ) &\n"

    def seconds(section: Section) -> int:
        # A second before the script's own end, so that what a cut-off section has printed until then still comes along.
        return max(1, min(section.timeout_s, deadline_s - 1))

    numbered = list(enumerate(fragments))
    # The logs come first, because they are most of the bytes, and travel while the others are at work; but a log that
    # hangs holds the others up no longer than a moment.
    parts.append("logs=0\n")
    if files := [(index, section) for index, section in numbered if section.files]:
        parts.append(logs.collecting(files))
        parts.append(job(f"collect_logs {max(seconds(section) for _, section in files)}"))
    scripts = [(index, section) for index, section in numbered if not section.files]
    for index, section in scripts:
        # By the shell's own `printf`: as an argument of a program, the fragment would show in the process list.
        text = shlex.quote(f"{_PRELUDE}{section.script}\n")
        parts.append(f'printf %s {text} >"$d/{index}.sh"\n')
    # Those that may take longest begin first: the others then come in, and travel, while these are at work.
    parts.append('others() {\n[ -z "$begun" ] || return 0\nbegun=1\n')
    for index, section in sorted(scripts, key=lambda numbered: -numbered[1].timeout_s):
        parts.append(job(f"job {index} {seconds(section)} {section.tail_bytes}"))
    parts.append("}\n")
    parts.append(_ENDING)
    return "".join(parts)


def decode(output: bytes, boundary: str, count: int) -> tuple[Mapping[int, Frame], str]:
    """The frames by index, and why there are no more of them: empty when the script came to its end."""
    header = re.compile(rb"%s (\d{1,4}) (\d{1,18}|-) (\d{1,4}|-) (\d{1,9}) (\d{1,9}) (\d{1,9})\n" % boundary.encode())
    frames: dict[int, Frame] = {}
    position = 0
    while match := header.match(output, position):
        index = int(match[1])
        ends = [match.end()]
        for length in match.group(4, 5, 6):
            ends.append(ends[-1] + int(length))
        if ends[-1] > len(output) or index >= count or index in frames:
            break
        text, absent, error = (output[start:end] for start, end in itertools.pairwise(ends))
        frames[index] = Frame(
            size=None if match[2] == b"-" else int(match[2]),
            code=None if match[3] == b"-" else int(match[3]),
            text=text,
            absent=absent,
            error=error,
        )
        position = ends[-1]
    return frames, _ending(output[position:], boundary, complete=len(frames) == count)


def _ending(rest: bytes, boundary: str, *, complete: bool) -> str:
    if rest == f"{boundary} homeless\n".encode():
        return "no folder could be made for it on the target (is its disk full?)"
    if rest == f"{boundary} end\n".encode():
        return "" if complete else LATE
    return "the output of the collection broke off"

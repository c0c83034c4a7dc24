"""The part of a collection's script that takes the ends of log files: one time limit, one count, one copy for them all.

A log belongs to whoever writes it. It may become a link, or a pipe that never ends, between the look at it and the
reading: so whatever opens logs runs below the time limit, each log apart from the others, and those that could be read
come along when one could not.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pytest_testlab.model import Section

# A script of its own, below the limit. `tail` finds the end of a file without reading the rest of it. INDEX.none says
# that no file was there to read, INDEX.code how the reading ended; without either, it didn't.
_KEEPING = r"""
cd "$1" || exit
shift
usable() { [ -f "$1" ] && [ ! -L "$1" ] && [ -s "$1" ]; }
keep() {
  i=$1 n=$2
  shift 2
  for part; do
    shift
    ! usable "$part" || set -- "$@" "$part"
  done
  case $# in
    0) : >"$i.none"; return ;;
    1) tail -c "$n" -- "$1" >"$i.out" 2>"$i.err" ;;
    *)
      { for part; do tail -c "$n" -- "$part" || : >"$i.failed"; done; } 2>"$i.err" | tail -c "$n" >"$i.out"
      [ ! -e "$i.failed" ]
      ;;
  esac
  echo "$?" >"$i.code"
}
"""

# The frames are one `cat`: each piece is a file in the private folder, counted when nothing writes to it any more.
_FRAMING = r"""
collect_logs() {
  limit "$1" sh "$d/logs.sh" "$d" 5>&- && : >"$d/counted"
  echo "logs $logs" >&5
}
size_of() {
  l=${counts#*"
$1:"}
  [ "$l" != "$counts" ] && l=${l%%:*} || l=0
}
frame() {
  i=$1 a=$2 why=$3
  shift 3
  if [ -e "$d/$i.none" ]; then
    printf %s "$why" >"$d/$i.why"
    code=0 total=0 k=0 e=0
  else
    code=124
    [ ! -e "$d/$i.code" ] || read -r code <"$d/$i.code"
    total=0
    for part; do size_of "$part"; total=$((total + l)); done
    size_of "$i.out"; k=$l
    size_of "$i.err"; e=$l
    a=0
  fi
  printf '%s %s %s %s %s %s %s\n' "$b" "$i" "$total" "${code:--}" "$k" "$a" "$e" >"$d/$i.head"
  pieces="$pieces $i.head"
  [ "$k" -eq 0 ] || pieces="$pieces $i.out"
  [ "$a" -eq 0 ] || pieces="$pieces $i.why"
  [ "$e" -eq 0 ] || pieces="$pieces $i.err"
}
emit_logs() {
  # when they were cut off they hadn't been counted; a log may hang, but what was kept of the others is here
  [ -e "$d/counted" ] || (cd "$d" && wc -c $kept) >"$d/counts" 2>/dev/null
  counts=
  while read -r size path; do
    counts="$counts
$path:$size:"
  done <"$d/counts"
  pieces=
  frames
  cd "$d" && cat $pieces
}
"""


def collecting(files: Sequence[tuple[int, Section]]) -> str:
    """Defines `collect_logs SECONDS`, which is a job, and `emit_logs`, which then prints a frame for each section.

    `emit_logs` is for a subshell, because it leaves its folder. Each section comes with its index; `collect_logs` says
    `logs` and their number on descriptor 5 when it is done.
    """
    kept = " ".join(f"{index}.out {index}.err" for index, _ in files)
    keeping = [_KEEPING]
    frames = ["frames() {\n"]
    for index, section in files:
        parts = " ".join(map(shlex.quote, section.files))
        keeping.append(f"keep {index} {section.tail_bytes} {parts} &\n")
        size = len(section.files_absent.encode())
        frames.append(f"frame {index} {size} {shlex.quote(section.files_absent)} {parts}\n")
    every = " ".join(shlex.quote(path) for _, section in files for path in section.files)
    keeping.append(f'wait\nfor part in {every}; do ! usable "$part" || set -- "$@" "$part"; done\n')
    keeping.append(f'wc -c -- "$@" {kept} >counts 2>/dev/null\n:\n')
    script = shlex.quote("".join(keeping))
    return f'logs={len(files)}\nkept="{kept}"\nprintf %s {script} >"$d/logs.sh"\n{_FRAMING}{"".join(frames)}}}\n'

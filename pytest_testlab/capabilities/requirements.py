"""Whether a target has the tools that an entry requires, as `NAME --version` says there."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence

from pytest_testlab.errors import InfraError, RequirementMissing
from pytest_testlab.model import Requirement
from pytest_testlab.protocols import Target

MOST_OUTPUT = 4096
"""Bytes kept of what a tool says."""
PACKAGES = {
    "cargo": "cargo",
    "composer": "composer",
    "curl": "curl",
    "gcc": "gcc",
    "git": "git",
    "go": "golang-go",
    "java": "default-jre-headless",
    "make": "make",
    "node": "nodejs",
    "npm": "npm",
    "php": "php-cli",
    "psql": "postgresql-client",
    "python3": "python3 python3-venv",
    "redis-server": "redis-server",
    "ruby": "ruby",
    "sqlite3": "sqlite3",
}
"""Tool → its packages on Debian, for the hint."""


def require(target: Target, requires: Sequence[Requirement], *, timeout_s: float = 30.0) -> None:
    """Raise `RequirementMissing` that names everything the target lacks; raises `InfraError` if it can't be asked."""
    if reasons := unmet(target, requires, timeout_s=timeout_s):
        raise RequirementMissing("; ".join(reasons))


def unmet(target: Target, requires: Sequence[Requirement], *, timeout_s: float = 30.0) -> list[str]:
    """A reason for each requirement that the target doesn't meet, in one round trip; raises `InfraError`."""
    if not requires:
        return []
    mark = f"testlab-{secrets.token_hex(8)}"
    result = target.run(script(requires, mark), timeout_s=timeout_s)
    answers = parse(result.stdout.decode(errors="replace"), mark)
    if len(answers) < len(requires) or result.timed_out:
        tool = requires[min(len(answers), len(requires) - 1)].tool
        how = f"within {timeout_s:g} s" if result.timed_out else f"(exit code {result.exit_code})"
        raise InfraError(f"the target didn't say which version of {tool} it has {how}")
    return [reason for need, answer in zip(requires, answers, strict=False) if (reason := judge(need, answer))]


def script(requires: Sequence[Requirement], mark: str) -> str:
    """POSIX sh that prints, for each tool, what it says of its version, and a line `<mark> <exit code, or absent>`."""
    parts = []
    for need in requires:
        tool = shlex.quote(need.tool)
        parts.append(
            f"if command -v {tool} >/dev/null 2>&1; then\n"
            f'  said=$({{ {tool} --version; echo "{mark}$?"; }} </dev/null 2>&1 | tail -c {MOST_OUTPUT})\n'
            f'  printf \'%s\\n{mark} %s\\n\' "${{said%{mark}*}}" "${{said##*{mark}}}"\n'
            f"else printf '{mark} absent\\n'; fi\n"
        )
    return "".join(parts)


def parse(output: str, mark: str) -> list[tuple[str, str]]:
    """(what a tool said, its exit code or `absent`), in the order asked."""
    answer = re.compile(rf"(.*?)^{re.escape(mark)} (\w+)$\n?", re.DOTALL | re.MULTILINE)
    return [(said.strip(), code) for said, code in answer.findall(output)]


_DOTTED = re.compile(r"(?<![\d.])(\d{1,9}(?:\.\d{1,9})+(?:(?:a|b|rc)\d{1,5})?)", re.ASCII)
_BARE = re.compile(r"(?<![\w.-])v?(\d{1,9})(?![\w.-])", re.ASCII)


def version_of(said: str) -> str | None:
    """The first version number in what a tool says; a dotted one goes before a bare one on the same line."""
    for text in said.splitlines():
        match = _DOTTED.search(text) or _BARE.search(text)
        if match is not None:
            return match[1]
    return None


def judge(need: Requirement, answer: tuple[str, str]) -> str | None:
    """Why a requirement is not met; None when it is. `answer` is as `parse` gives it."""
    said, code = answer
    if code == "absent":
        return f"{need.tool} is not on the target; {_hint(need)}"
    if not need.specifier:
        return None
    if code != "0":
        return f"{need.tool} --version failed on the target with exit code {code}, so {need} is not certain"
    version = version_of(said)
    if version is None:
        return f"{need.tool} --version names no version on the target, so {need} is not certain"
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(need.specifier).contains(version, prereleases=True):
        return None
    return f"{need.tool} {version} does not meet {need.specifier}; install {need} on the target"


def _hint(need: Requirement) -> str:
    package = PACKAGES.get(need.tool)
    return "install it there" + ("" if package is None else f" (Debian: apt install {package})")

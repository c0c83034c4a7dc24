"""Runs a tutorial on a target, block by block, as its reader would; the first that fails ends it.

Each block is a shell of its own. What a shell says of its errors names the page and the line in it, because its script
lies in a file of the page's name, on the same lines.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_testlab.catalog.transcript import one_line
from pytest_testlab.catalog.tutorials.model import PATTERN_WITHIN_S, AssertBlock, FileBlock, ShellBlock, Tutorial
from pytest_testlab.catalog.workshop import Workshop
from pytest_testlab.errors import RequirementMissing, StepFailed
from pytest_testlab.model import CommandResult
from pytest_testlab.platform.layout import STEP_S
from pytest_testlab.protocols import Observer

SECTION = "blocks"
TEARDOWN_S = 60.0
SEARCHED_BYTES = 1024 * 1024
"""The end of a block's output, in which expectations are looked for."""
LAST_LINES = 6
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FAILED = "failed"
"""Where a shell says which line failed, beside the script."""
_NO_FOLDER = 97
"""Exit code of our own, where `dir=` leads nowhere."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One run of one tutorial."""

    tutorial: Tutorial
    page: str
    """Its path in the catalog, for people."""
    workshop: Workshop
    env: Mapping[str, str] = field(repr=False)
    observe: Observer

    @property
    def _script_name(self) -> str:
        """What shells call the page in their messages."""
        name = self.tutorial.file.name
        return name if _PLAIN_NAME.fullmatch(name) else "tutorial.md"

    def run(self) -> None:
        """Run the blocks, then the teardown, come what may.

        Raises `StepFailed` at the first block that fails, `RequirementMissing` for a shell that isn't there,
        `InfraError`.
        """
        with self.observe.phase("prepare"):
            self._prepare()
        try:
            self._blocks()
        except BaseException:
            self._tear_down(after_failure=True)
            raise
        self._tear_down(after_failure=False)

    def _prepare(self) -> None:
        shells = {block.language for block in self.tutorial.blocks if isinstance(block, ShellBlock) and not block.skip}
        for shell in sorted(shells):
            if self.workshop.target.run(f"command -v {shell}", timeout_s=STEP_S).exit_code != 0:
                raise RequirementMissing(f"{shell} is not on the target")
        self.workshop.make("\n".join(self._files()))

    def _files(self) -> list[str]:
        """Commands that put each block's script into a folder of its own."""
        lines = []
        for block in self.tutorial.blocks:
            if isinstance(block, ShellBlock) and not block.skip:
                script = shlex.quote(_padded(block, f"{self.workshop.folder}/{block.line}"))
                lines.append(f"mkdir -p {block.line}\nprintf %s {script} >{block.line}/{self._script_name}")
        return lines

    def _blocks(self) -> None:
        blocks = [block for block in self.tutorial.blocks if not (isinstance(block, ShellBlock) and block.skip)]
        deadline = time.monotonic() + self.tutorial.timeout_s
        for number, block in enumerate(blocks, start=1):
            title = one_line(block.title, 80)
            self.observe.write(SECTION, f"=== block {number} of {len(blocks)}, {self.page}:{block.line}: {title}\n")
            step = f"block {number} ({title})"
            with self.observe.phase(f"block: {number:0{len(str(len(blocks)))}} {title}"):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._late(step, block.line, self.tutorial.timeout_s, "time left for it")
                match block:
                    case ShellBlock():
                        self._shell(step, block, left)
                    case FileBlock():
                        self._file(step, block, left)
                    case AssertBlock():
                        self._assert(step, block, left)

    # --- blocks -------------------------------------------------------------------------------------------------------

    def _shell(self, step: str, block: ShellBlock, left: float) -> None:
        within_s = min(left, block.timeout_s or left)
        self.observe.write(SECTION, "".join(f"$ {line}\n" for line in block.script.splitlines() if line.strip()))
        result = self.workshop.run(self._start(block), timeout_s=within_s, env=self.env)
        self._say(result, with_stderr=False)
        output = result.stdout[-SEARCHED_BYTES:].decode(errors="replace")
        lines = _last_lines(output)
        if result.timed_out:
            limit_s = within_s if within_s < left else self.tutorial.timeout_s
            raise self._late(step, block.line, limit_s, "exit code 0", lines)
        if result.exit_code == _NO_FOLDER and not output:
            raise self._failed(step, block.line, f"a folder {block.dir} to run in (dir=)", "none of that name")
        if result.exit_code != 0 and not block.continue_on_error:
            at = _failed_line(result.stderr, block)
            command = "" if at is None else block.script.splitlines()[at - block.line - 1].strip()
            code = f"exit code {result.exit_code}"
            raise self._failed(step, at or block.line, "exit code 0", code, lines, command)
        for expectation in block.expects:
            try:
                fits = expectation.fits(output)
                got = "other output" if output.strip() else "no output"
            except TimeoutError:
                fits, got = False, f"no end of the search for it within {PATTERN_WITHIN_S:g} s: the pattern backtracks"
            if not fits:
                raise self._failed(step, expectation.line, str(expectation), got, lines)

    def _start(self, block: ShellBlock) -> str:
        """A shell reads the script by its bare name, and then goes to where it is to run, by the script's first line.

        Standard output and error are one, as they are on a reader's terminal; on the latter alone comes the line that
        failed, where the shell can tell.
        """
        folder = shlex.quote(f"{self.workshop.work}/{block.dir}")
        return f"""
exec 3>&2 2>&1
[ -d {folder} ] || exit {_NO_FOLDER}
cd -- {shlex.quote(f"{self.workshop.folder}/{block.line}")}
TESTLAB_DIR={folder} {block.language} -e {self._script_name} 3>&- && exit
code=$?
[ ! -f {FAILED} ] || cat {FAILED} >&3
exit $code
"""

    def _file(self, step: str, block: FileBlock, left: float) -> None:
        path = shlex.quote(f"./{block.path}")
        script = f'mkdir -p -- "$(dirname -- {path})" && printf %s {shlex.quote(block.content)} >{path}'
        result = self.workshop.run(f"exec 2>&1\n{script}", timeout_s=min(left, STEP_S), env=self.env)
        self._say(result)
        if result.exit_code != 0:
            said = one_line(result.stdout) or "no reason given"
            raise self._failed(step, block.line, f"the file {block.path} to be written", said)

    def _assert(self, step: str, block: AssertBlock, left: float) -> None:
        path = shlex.quote(f"./{block.path}")
        result = self.workshop.run(f"[ -e {path} ]", timeout_s=min(left, STEP_S), env=self.env)
        self._say(result)
        if result.exit_code != 0:
            raise self._failed(step, block.line, f"{block.path} to exist", "nothing of that name")

    # --- the end ------------------------------------------------------------------------------------------------------

    def _tear_down(self, *, after_failure: bool) -> None:
        """What it fails on is told only where nothing failed before."""
        teardown = self.tutorial.teardown
        if teardown is None:
            return
        try:
            with self.observe.phase("teardown"):
                self.observe.write("teardown", "".join(f"$ {line}\n" for line in teardown.script.splitlines()))
                result = self.workshop.run(f"exec 2>&1\n{teardown.script}", timeout_s=TEARDOWN_S, env=self.env)
                self._say(result, "teardown")
        except Exception as error:
            self.observe.write("teardown", f"{type(error).__name__}: {error}\n")
            if not after_failure:
                raise
            return
        if result.exit_code != 0 and not after_failure:
            lines = _last_lines(result.stdout[-SEARCHED_BYTES:].decode(errors="replace"))
            if result.timed_out:
                raise self._late("the teardown", teardown.line, TEARDOWN_S, "exit code 0", lines)
            raise self._failed("the teardown", teardown.line, "exit code 0", f"exit code {result.exit_code}", lines)

    def _say(self, result: CommandResult, section: str = SECTION, *, with_stderr: bool = True) -> None:
        said = result.stdout + (result.stderr if with_stderr else b"")
        self.observe.write(section, said if not said or said.endswith(b"\n") else said + b"\n")
        ended = "no end" if result.timed_out else f"exit code {result.exit_code}"
        self.observe.write(section, f"[{ended} after {result.seconds:.2f} s]\n")

    def _failed(
        self, step: str, line: int, expected: str, got: str, output: Sequence[str] = (), command: str = ""
    ) -> StepFailed:
        return StepFailed(step, f"{self.page}:{line}", expected, got, output=output, command=command)

    def _late(self, step: str, line: int, within_s: float, expected: str, output: Sequence[str] = ()) -> StepFailed:
        got = f"no end within {within_s:g} s"
        return StepFailed(step, f"{self.page}:{line}", expected, got, output=output, deadline_s=within_s)


def _padded(block: ShellBlock, folder: str) -> str:
    """The block's script on the lines that it has in its page. What comes before it stands on the first line.

    `folder` is where the script lies. Only bash can say which line failed.
    """
    enter = 'cd -- "$TESTLAB_DIR" || exit; unset TESTLAB_DIR OLDPWD'
    if block.language == "bash":
        enter += f"; _testlab={shlex.quote(folder)}; trap 'echo $LINENO >\"$_testlab/{FAILED}\"' ERR"
    return enter + "\n" * block.line + block.script


def _failed_line(said: bytes, block: ShellBlock) -> int | None:
    """The line of the page that failed, by what the shell said; None where that is no line of the block."""
    last = said.strip().rpartition(b"\n")[2]
    line = int(last) if last.isdigit() and len(last) < 10 else 0
    return line if block.line < line <= block.line + len(block.script.splitlines()) else None


def _last_lines(output: str) -> list[str]:
    lines = [line for line in output.splitlines()[-100:] if line.strip()]
    return lines[-LAST_LINES:]

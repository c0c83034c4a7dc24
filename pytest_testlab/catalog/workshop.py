"""A folder of a test's own on its target, for what is no app: made, worked in, and removed with all that it started."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_testlab.errors import InfraError, RequirementMissing
from pytest_testlab.model import CommandResult
from pytest_testlab.platform.layout import STEP_S, ask_root
from pytest_testlab.platform.scripting import reason
from pytest_testlab.protocols import Target
from pytest_testlab.target import commands

MARK = "TESTLAB_WORKSHOP"
"""Set for all that is started in it, so that what went into the background is found at the end."""
REMOVE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where it is. Below `folder` are `work`, where commands run, and `home`, which is their HOME."""

    target: Target
    folder: str
    mark: str

    @classmethod
    def plan(cls, target: Target, name: str) -> Workshop:
        """Decide where it goes, without making it; raises `RequirementMissing` for a target without a shell."""
        if target.server.ssh is None:
            raise RequirementMissing("its commands need a shell, and no SSH leads to this target")
        mark = secrets.token_hex(6)
        root = target.server.facts.get("root") or ask_root(target)
        return cls(target=target, folder=f"{root}/workshops/{name}-{mark}", mark=mark)

    @property
    def work(self) -> str:
        """The folder in which commands run."""
        return f"{self.folder}/work"

    def make(self, script: str = "") -> None:
        """Make it, and run a script in its folder; raises `InfraError`."""
        folder = shlex.quote(self.folder)
        made = self.target.run(
            f"set -e\nmkdir -p -- {folder}/work {folder}/home\ncd -- {folder}\n{script}", timeout_s=STEP_S
        )
        if made.exit_code != 0:
            raise InfraError(f"{self.target.server.name}: {self.folder} can't be made: {reason(made)}")

    def run(self, script: str, *, timeout_s: float, env: Mapping[str, str]) -> CommandResult:
        """Run a POSIX sh script in its folder `work`, with `env`, and its own HOME unless that says another."""
        return self.target.run(script, timeout_s=timeout_s, cwd=self.work, env=self.environment(env))

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """What commands in it are given, beside `env`."""
        return {"HOME": f"{self.folder}/home", **env, MARK: self.mark}

    def remove(self) -> None:
        """End all that was started in it, and remove it; raises `InfraError` that names what stays. Safe to repeat."""
        folder = shlex.quote(self.folder)
        # caches of some tools take away their owner's right to write
        script = f"""
({commands.sweep(self.mark, MARK)}) || exit 1
rm -rf -- {folder} 2>/dev/null || {{ chmod -R u+rwX -- {folder} 2>/dev/null; rm -rf -- {folder}; }}
[ ! -e {folder} ] || {{ echo "the folder {self.folder}" >&2; exit 1; }}
"""
        gone = self.target.run(script, timeout_s=REMOVE_S)
        if gone.exit_code != 0:
            why = f"no end within {REMOVE_S:g} s" if gone.timed_out else reason(gone)
            raise InfraError(f"{self.target.server.name}: a test's own folder isn't gone; left: {why}")

"""What every line to a server promises: the part of `ProviderConformance` that needs a shell on the server."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.protocols import Target
from pytest_testlab.testing.kit import running, say, told

LAB_SECRET = "CONFORMANCE_TOKEN"  # noqa: S105 - a name
"""Set in the environment of the lab while the suite runs; no server may ever see it."""
LARGEST = 32 * 1024 * 1024
"""No result may hold more bytes of output."""


def nap() -> str:
    """Seconds to sleep, for longer than any test, that nothing else on a server sleeps."""
    return f"4{secrets.randbelow(10**9):09}"


class TargetPromises:
    """`protocols.Target`. `place`, a folder that may be written on the server, and `target` are fixtures."""

    # --- commands -----------------------------------------------------------------------------------------------------

    def test_run_keeps_output_errors_and_exit_code_apart(self, shell: Target) -> None:
        """What a script printed, what it complained of and how it ended come back each by itself."""
        result = shell.run("echo out; echo err >&2; exit 3", timeout_s=30)
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")

    def test_run_passes_variables_whole(self, shell: Target) -> None:
        """A value arrives byte by byte, whatever quotes, lines and letters are in it."""
        value = 'it\'s "$HOME" `two`\n \\ lines é %s ;'
        assert shell.run('printf %s "$VALUE"', timeout_s=30, env={"VALUE": value}).stdout.decode() == value

    def test_run_works_in_the_folder_that_it_is_told(self, shell: Target) -> None:
        """`cwd` is the script's working directory."""
        assert shell.run("pwd", timeout_s=30, cwd="/usr/share").stdout == b"/usr/share\n"

    def test_run_never_works_in_another_folder(self, shell: Target) -> None:
        """Where `cwd` isn't there, the script isn't run, and its exit code is not 0."""
        result = shell.run("echo ran", timeout_s=30, cwd="/no/such/folder")
        assert result.exit_code, told(result)
        assert result.stdout == b""

    def test_run_gives_scripts_no_input(self, shell: Target) -> None:
        """A command that reads its standard input finds it empty, and doesn't eat the rest of the script."""
        assert shell.run("cat; read line; cat\necho end", timeout_s=30).stdout == b"end\n"

    def test_run_takes_any_text(self, shell: Target) -> None:
        """Letters beyond ASCII go both ways."""
        assert shell.run("printf %s 'žluťoučký 馬 🐎'", timeout_s=30).stdout.decode() == "žluťoučký 馬 🐎"

    def test_run_brings_back_every_byte(self, shell: Target) -> None:
        """Output that is no text at all comes back as it was."""
        every = "".join(f"\\{byte:03o}" for byte in range(256))
        assert shell.run(f"printf '{every}'", timeout_s=30).stdout == bytes(range(256))

    def test_run_bounds_output_and_keeps_its_end(self, shell: Target) -> None:
        """A flood neither stalls the script nor fills the lab's memory; the end is what tells most."""
        result = shell.run("head -c 40000000 /dev/zero; echo the end", timeout_s=120)
        assert result.exit_code == 0
        assert len(result.stdout) <= LARGEST
        assert result.stdout.endswith(b"the end\n")

    def test_run_kills_on_the_server_at_the_deadline(self, shell: Target) -> None:
        """`exit_code` is None, and neither the script nor what it started in another session is left there."""
        long = nap()
        result = shell.run(f"setsid sleep {long} & echo begun; sleep {long}", timeout_s=1.5)
        assert result.exit_code is None, told(result)
        assert result.timed_out
        assert running(shell, long) == []

    def test_run_keeps_its_deadline_against_a_script_that_refuses(self, shell: Target) -> None:
        """A script that ignores the polite signal is killed all the same."""
        long = nap()
        result = shell.run(f"trap '' TERM; sleep {long}; sleep {long}", timeout_s=1.0)
        assert result.exit_code is None, told(result)
        assert running(shell, long) == []

    def test_run_shows_neither_script_nor_values_to_others(self, shell: Target) -> None:
        """Whoever lists the server's processes meanwhile reads no script and no value of a variable."""
        word = secrets.token_hex(8)
        script = f"cat /proc/[0-9]*/cmdline 2>/dev/null # {word}"
        listed = shell.run(script, timeout_s=60, env={"SECRET": f"in-a-value-{word}"}).stdout
        assert listed
        assert word.encode() not in listed

    def test_run_leaks_nothing_of_the_lab(self, shell: Target) -> None:
        """A script's environment is built from an allow-list: the lab's own secrets are not in it."""
        assert LAB_SECRET in os.environ
        assert os.environ[LAB_SECRET] not in say(shell, "env")

    def test_run_lets_daemons_live(self, shell: Target) -> None:
        """What a script put into the background survives its end: so a deploy starts an app's supervisor."""
        long = nap()
        say(shell, f"setsid nohup sleep {long} </dev/null >/dev/null 2>&1 &")
        found = running(shell, long)
        assert found
        say(shell, f"kill -9 {' '.join(found)}")

    def test_run_may_be_called_from_several_threads(self, shell: Target) -> None:
        """Commands that run at once don't mix their output."""
        with ThreadPoolExecutor(4) as threads:
            results = threads.map(lambda n: shell.run(f"sleep 0.2; echo {n}", timeout_s=30).stdout, range(4))
            assert [int(stdout) for stdout in results] == list(range(4))

    def test_run_goes_on_after_close(self, shell: Target) -> None:
        """`close` may be called twice; the next command opens the line again."""
        shell.close()
        shell.close()
        assert say(shell, "echo again") == "again"

    # --- files --------------------------------------------------------------------------------------------------------

    def test_upload_brings_contents_modes_and_links(self, shell: Target, place: str, tmp_path: Path) -> None:
        """Files with odd names, what may be executed, inner links and empty folders arrive."""
        folder = _folder(tmp_path)
        shell.upload(folder, f"{place}/up loaded")
        script = "cat 'a file'; ./run.sh; cat link; test -d empty; test -L link; test ! -x 'a file'; cat deep/er/é"
        assert say(shell, f"set -e\n{script}", cwd=f"{place}/up loaded").split() == ["content", "ran", "content", "é"]

    def test_upload_refuses_links_that_lead_out(self, shell: Target, place: str, tmp_path: Path) -> None:
        """A catalog can't have files of the lab's own sent to a server."""
        folder = _folder(tmp_path)
        (folder / "out").symlink_to("/etc/passwd")
        with pytest.raises(UsageError, match="link"):
            shell.upload(folder, f"{place}/out")

    def test_upload_says_when_there_is_no_place(self, shell: Target, tmp_path: Path) -> None:
        """What can't be written raises `InfraError`; it is never half an upload that counts as one."""
        with pytest.raises(InfraError):
            shell.upload(_folder(tmp_path), "/proc/nowhere")


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a file").write_text("content\n")
    (folder / "deep" / "er" / "é").write_text("é\n")
    (folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("a file")
    return folder


__all__ = ["LAB_SECRET", "TargetPromises", "nap"]

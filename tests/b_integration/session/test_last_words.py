"""What is kept of a server that failed the lab: its console, also when SSH is gone."""

from __future__ import annotations

from sessions import LabSession

LOSES_ITS_SERVER = """
    import os
    import signal
    from pathlib import Path

    from testlab_local import records


    def test_dies(target):
        first = Path(__file__).with_name("first")
        if not first.exists():
            first.touch()
            base = Path(target.server.facts["root"]).parent
            os.kill(records.read(base, target.server.name).pid, signal.SIGKILL)
        assert target.run("echo here").text == "here\\n"
"""
NEVER_READY = """
    from pytest_testlab.errors import InfraError
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryPlatform

    class Halfway(MemoryPlatform):
        def install(self, target, observe):
            observe.write("deploy", "unpacked with hunter-2-the-key\\nand then it stuck\\n")
            raise InfraError("the installer never ended")

    @hookimpl
    def testlab_platforms():
        return {"halfway": lambda settings: Halfway()}
"""


def test_a_server_that_is_lost_leaves_its_console(lab: LabSession) -> None:
    """Its SSH server is killed under a test: the end of that server's log is in the bundle, as `console`."""
    lab.module("tests/test_it.py", LOSES_ITS_SERVER)
    lab.run("--testlab-platform", "memory", provider="local")
    (test,) = lab.results()
    assert lab.results()[test].status == "flaky"
    assert lab.attempt(test, 1).result.failure_class == "infra"
    console = lab.section(test, 1, "console")
    assert console is not None
    assert b"the SSH server ended with signal 9" in console
    names = {section.name: section.absent for section in lab.attempt(test, 1).sections}
    assert "shares its machine" in (names["cloud-init"] or "")
    assert not {"console", "cloud-init"} & {section.name for section in lab.attempt(test, 2).sections}


def test_a_platform_that_is_never_ready_leaves_its_transcript(lab: LabSession) -> None:
    """What had come of the installation belongs to no test: it is in the run's transcript, masked."""
    lab.conftest(NEVER_READY)
    lab.pytester._monkeypatch.setenv("TESTLAB_SECRET_KEY", "hunter-2-the-key")
    lab.entry("alpha", '[run]\ncommand = "true"\n\n[env]\nKEY = { secret = "key" }\n\n[[checks]]\ncommand = "true"\n')
    assert lab.run("--testlab-platform", "halfway").ret == 6
    said = lab.testlab("why").stdout.str()
    assert "| and then it stuck" in said
    assert "hunter-2-the-key" not in said

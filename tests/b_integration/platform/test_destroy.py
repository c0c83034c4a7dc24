"""Removal: nothing of a deploy is left, whatever the app did, and however far the deploy came."""

from __future__ import annotations

import random
import socket

import pytest

from pytest_testlab.errors import BuildFailed

ODD = f"{random.randint(10_000, 1_000_000)}.5"
"""Seconds that nobody else on this machine sleeps for."""
DAEMON = f"""
trap '' TERM
setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
env -i setsid sleep {ODD} &
mkdir -p locked/inner; touch locked/inner/file; chmod 500 locked/inner locked
exec python3 app.py $PORT
"""


def _left(bench, deployment):
    nonce, root = deployment.app.nonce, bench.target.server.facts["root"]
    processes = f"grep -lsz TESTLAB_DEPLOY={nonce} /proc/[0-9]*/environ; pgrep -fx 'sleep {ODD}'"
    return bench.shell(f"{processes}; find {root} -name '*{nonce}*'; true")


def test_nothing_is_left(bench):
    """Daemons in sessions of their own, deaf to SIGTERM, locked folders, vhost, database and role: all of it goes."""
    deployment = bench.deploy(command=DAEMON, addons=("postgresql",))
    bench.get(deployment)
    assert len(_left(bench, deployment).splitlines()) > 4
    bench.platform.destroy(bench.target, deployment)
    assert _left(bench, deployment) == ""
    assert bench.get(deployment).status == 421
    database = deployment.data["database"]
    root, port = bench.target.server.facts["root"], bench.target.server.facts["ports"].split("-")[0]
    query = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
    names = bench.shell(
        f"PGPASSWORD=$(cat {root}/postgresql/password) psql -h 127.0.0.1 -p {int(port) + 1} -U testlab_admin -Atc"
        f" '{query}' postgres"
    )
    assert "testlab_admin" in names
    assert database not in names
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", deployment.port)) != 0


def test_removed_twice(bench):
    """What is gone already is gone."""
    deployment = bench.deploy()
    bench.platform.destroy(bench.target, deployment)
    bench.platform.destroy(bench.target, deployment)
    assert _left(bench, deployment) == ""


def test_a_deploy_that_never_began(bench):
    """Where nothing was made there is nothing to remove."""
    deployment = bench.place(addons=("postgresql",))
    bench.platform.destroy(bench.target, deployment)
    assert _left(bench, deployment) == ""


def test_half_a_deploy(bench):
    """After a failed build its background processes, folder and database go."""
    with pytest.raises(BuildFailed):
        bench.deploy(build=(f"setsid sleep {ODD} & exit 1",), addons=("postgresql",))
    [deployment] = bench.deployments
    assert "environ" in _left(bench, deployment)
    bench.platform.destroy(bench.target, deployment)
    assert _left(bench, deployment) == ""


def test_a_killed_supervisor(bench):
    """An app whose supervisor was killed is still found and stopped."""
    deployment = bench.deploy()
    bench.get(deployment)
    bench.shell(f"kill -9 $(cat {deployment.data['home']}/state/supervisor)")
    bench.platform.destroy(bench.target, deployment)
    assert _left(bench, deployment) == ""


def test_a_neighbour_stays(bench):
    """Removing one app leaves the other on the same target as it was."""
    first, second = bench.deploy(), bench.deploy()
    bench.get(first)
    bench.get(second)
    bench.platform.destroy(bench.target, first)
    assert bench.get(second).status == 200
    assert bench.probe(second).process.starts == 1


def test_ports_come_back(bench):
    """A removed app's port can be given to another."""
    first = bench.deploy()
    bench.platform.destroy(bench.target, first)
    assert bench.place().port == first.port

"""What the provider `nspawn` makes of a machine before it touches it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from testlab_nspawn import commands, images, network, places, records
from testlab_nspawn.recipes import RECIPES, recipe
from testlab_nspawn.surroundings import BUNDLE, look

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.options import Settings
from pytest_testlab.plugins import called, plugin_manager

NEAR = {"TESTLAB_DEBIAN_MIRROR": "http://near.example/debian"}


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine whose names are resolved somewhere on the network."""
    write(tmp_path, "etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch lab.example\n")
    return tmp_path


def test_apt_has_this_machines_mirrors_and_the_hosts_release(machine: Path) -> None:
    """Debian's own releases in either format; what leads to a folder, holds a password or isn't Debian stays out."""
    write(
        machine,
        "etc/apt/sources.list.d/debian.sources",
        "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main contrib\n\nTypes: deb-src\nURIs: http://src.example\nSuites: bookworm\nComponents: main\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n",
    )
    write(
        machine,
        "etc/apt/sources.list",
        "deb [arch=amd64] http://sec.example/debian-security bookworm-security main\n"
        "deb file:/srv/debs bookworm main\ndeb https://me:word@private.example/debian bookworm main\n"
        "deb https://packages.example/node nodistro main\n",
    )
    around = look(machine, {})
    assert around.mirror == "http://mirror.example/debian"
    text = around.files("trixie")["etc/apt/sources.list.d/debian.sources"]
    assert [line for line in text.splitlines() if line.startswith(("URIs", "Suites"))] == [
        "URIs: http://mirror.example/debian",
        "Suites: trixie",
        "URIs: http://mirror.example/debian",
        "Suites: trixie-updates",
        "URIs: http://sec.example/debian-security",
        "Suites: trixie-security",
    ]


def test_a_machine_that_is_no_debian_is_told_a_mirror(machine: Path) -> None:
    """Ubuntu's hold no Debian."""
    write(machine, "etc/apt/sources.list", "deb http://mirror.example/ubuntu noble main\n")
    assert look(machine, NEAR).mirror == "http://near.example/debian"
    with pytest.raises(InfraError, match="name a mirror in TESTLAB_DEBIAN_MIRROR"):
        look(machine, {})


def test_resolvers_on_loopback_are_of_no_use_to_hosts(machine: Path) -> None:
    """Those behind systemd-resolved are taken instead; where there are none, that is said."""
    assert look(machine, NEAR).nameservers == "nameserver 192.0.2.53\nsearch lab.example\n"
    write(machine, "etc/resolv.conf", "nameserver 127.0.0.53\n")
    with pytest.raises(InfraError, match="only this machine's own loopback"):
        look(machine, NEAR)
    write(machine, "run/systemd/resolve/resolv.conf", "nameserver 192.0.2.54\n")
    assert look(machine, NEAR).nameservers == "nameserver 192.0.2.54\n"


def test_no_password_and_no_folder_of_this_machine_gets_into_a_host(machine: Path) -> None:
    """Of pip's, npm's and apt's settings, and of proxies."""
    write(
        machine,
        "etc/pip.conf",
        "[global]\nindex-url = https://pypi.example/simple\nextra-index-url = https://u:needle@pypi.example/x file:///opt/x\n"
        "find-links = /opt/wheels\ntimeout = 60\nclient-cert = /root/needle.pem\n",
    )
    write(machine, "root/.npmrc", "//npm.example/:_authToken=needle\nregistry=https://npm.example/\n")
    write(
        machine,
        "etc/apt/apt.conf.d/9",
        'Acquire::http::Proxy "http://u:needle@proxy.example:3128";\nAcquire::Retries "3";\nDir::Cache "";\n',
    )
    environ = {
        "https_proxy": "http://u:needle@proxy.example",
        "HTTP_PROXY": "http://127.0.0.1:3128",
        "no_proxy": "lab.example",
        "PIP_TRUSTED_HOST": "pypi.example",
        "PIP_PASSWORD": "needle",
        "HCLOUD_TOKEN": "needle",
        "HOME": "/root",
    }
    around = look(machine, {**environ, **NEAR})
    files = around.files("bookworm")
    assert "needle" not in "".join(files.values())
    assert files["etc/pip.conf"].splitlines() == [
        "[global]",
        "disable-pip-version-check = true",
        "index-url = https://pypi.example/simple",
        "timeout = 60",
        "trusted-host = pypi.example",
    ]
    assert around.environment == {"no_proxy": "lab.example", "npm_config_registry": "https://npm.example/"}
    assert files["etc/apt/apt.conf.d/90testlab"] == 'APT::Install-Recommends "false";\nAcquire::Retries "3";\n'


def test_certificates_that_the_machine_trusts_are_trusted_in_hosts(machine: Path) -> None:
    """And named to the programs that don't look where Debian has them; another set of them is another digest."""
    before = look(machine, NEAR)
    assert "SSL_CERT_FILE" not in before.environment
    write(machine, "usr/local/share/ca-certificates/own.crt", "certificate")
    after = look(machine, NEAR)
    assert after.certificates == {"own.crt": b"certificate"}
    assert after.environment["REQUESTS_CA_BUNDLE"] == BUNDLE
    assert before.digest("bookworm") != after.digest("bookworm") != after.digest("trixie")


def test_a_changed_recipe_is_another_image() -> None:
    """The digest is of all that goes into an image, and of what it stands on."""
    digests = [each.digest for each in RECIPES.values()]
    assert len(set(digests)) == len(digests)
    assert recipe(None).name == "debian-12"
    with pytest.raises(UsageError, match=r"no image 'debian-14'; did you mean debian-1.* It has: debian-12,"):
        recipe("debian-14")


def test_missing_programs_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In one line that can be copied; without root it says so first."""
    monkeypatch.setattr(commands, "PATH", str(tmp_path))
    if os.geteuid() == 0:
        packages = "debootstrap iproute2 mount nftables systemd-container util-linux"
        say = f"install Debian's packages: apt-get install {packages}"
    else:
        say = "needs root: it mounts, and makes networks; the provider local needs none"
    with pytest.raises(UsageError, match=say):
        commands.check_machine()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".new", "x" * 64, "a_b", "a-"])
def test_a_name_that_is_no_hosts_is_refused(name: str) -> None:
    """Before it becomes part of a path."""
    with pytest.raises(UsageError, match="can't name a host"):
        places.check_name(name)


def test_addresses_are_given_out_once() -> None:
    """The bridge's own is none of them; when all are taken that is said."""
    net = network.Network(number=3)
    taken: list[str] = []
    for _ in range(253):
        taken.append(net.free(taken))
    assert taken[0] == "10.77.3.2"
    assert len(set(taken)) == 253
    with pytest.raises(InfraError, match="every address"):
        net.free(taken)


def test_an_image_is_removed_whole_and_only_where_nothing_stands_on_it(tmp_path: Path) -> None:
    """With older ones of its name and what the machine's configuration added; others, and one in use, stay."""
    where = places.Places(base=tmp_path)
    own = ("images/debian-12-0a1b", "images/debian-12-2c3d", "machine/debian-12-0a1b-ff00")
    for name in (*own, "images/debian-12-cloud-4e5f", "images/debian-13-6a7b"):
        write(where.base, f"{name}/root/etc/os-release", "")
    host = records.HostRecord(
        name="one", id="0000", image="debian-12", digest="2c3d", lower=(f"{tmp_path}/images/debian-12-2c3d/root",)
    )
    with pytest.raises(UsageError, match="the image debian-12-cloud stands on debian-12"):
        images.discard(where, recipe("debian-12"), [])
    images.discard(where, recipe("debian-12-cloud"), [host])
    with pytest.raises(UsageError, match="the host one stands on debian-12: testlab servers"):
        images.discard(where, recipe("debian-12"), [host])
    assert all((tmp_path / name).is_dir() for name in own)
    images.discard(where, recipe("debian-12"), [])
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["debian-13-6a7b"]
    with pytest.raises(UsageError, match="there is no image debian-12 below"):
        images.discard(where, recipe("debian-12"), [])


def test_the_doctor_says_what_hosts_lack_and_minds_it_only_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the hook testlab_doctor: Debian's packages by name."""
    monkeypatch.setattr(commands, "PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    manager = plugin_manager()
    told = {
        provider: next(
            one
            for several in called(manager, "testlab_doctor", settings=Settings(provider=provider))
            for one in several
            if one[0] == "nspawn"
        )
        for provider in ("local", "nspawn")
    }
    assert [told[provider][1] for provider in told] == [True, False]
    for _, _, say in told.values():
        assert "debootstrap" in say
        assert "nftables" in say
        assert "systemd-container" in say

"""What a host gets of this machine's own configuration, so that packages can be installed in it as they can here.

Names are resolved, certificates trusted and packages found as on this machine. What holds a password or a token stays
out: hosts run whatever is under test. What only works here (folders, loopback addresses) stays out as well.
"""

from __future__ import annotations

import configparser
import hashlib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pytest_testlab.errors import InfraError

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_CERTIFICATES = "usr/local/share/ca-certificates"
_RELEASES = ("bullseye", "bookworm", "trixie", "forky", "sid")
_SUITES = ("", "-updates", "-security")
MIRROR = "TESTLAB_DEBIAN_MIRROR"
"""Where Debian comes from on a machine that has no sources of it itself."""
_CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "npm_config_cafile",
)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_APT = re.compile(r'(?:Acquire::(?:Check-Valid-Until|Check-Date|Retries|ForceIPv4|https?::Proxy)) "([^"]*)";')


@dataclass(frozen=True, kw_only=True)
class Source:
    """A line of apt's: `suite` is what follows the release's name, such as `-updates`."""

    uri: str
    suite: str
    components: str


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """All of it, as texts."""

    nameservers: str
    sources: tuple[Source, ...]
    apt_conf: str
    pip_conf: str
    environment: Mapping[str, str]
    certificates: Mapping[str, bytes] = field(default_factory=dict)
    """File name → certificate, of those that this machine trusts beside Debian's."""

    @property
    def mirror(self) -> str:
        """Where the release itself comes from."""
        return next(source.uri for source in self.sources if not source.suite)

    def files(self, release: str) -> dict[str, str]:
        """Path below a host's root → text, certificates aside."""
        words = "".join(f"{name}={value}\n" for name, value in self.environment.items())
        manager = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        return {
            "etc/resolv.conf": self.nameservers,
            "etc/apt/sources.list": "",
            "etc/apt/sources.list.d/debian.sources": "\n".join(_deb822(source, release) for source in self.sources),
            "etc/apt/apt.conf.d/90testlab": self.apt_conf,
            "etc/pip.conf": self.pip_conf,
            "etc/environment": words,
            # Without these two, each login and each boot complains in the journal of what is no fault.
            "etc/default/locale": "LANG=C.UTF-8\n",
            "etc/systemd/system/dbus.service.d/testlab.conf": "[Service]\nLimitNOFILE=65536\n",
            "etc/systemd/system.conf.d/testlab.conf": f"[Manager]\nDefaultEnvironment={manager}\n",
        }

    def digest(self, release: str) -> str:
        """Of all that decides what a host gets."""
        whole = hashlib.sha256()
        for name, text in sorted(self.files(release).items()):
            whole.update(f"{name}\0{text}\0".encode())
        for name, certificate in sorted(self.certificates.items()):
            whole.update(name.encode() + b"\0" + certificate)
        return whole.hexdigest()[:12]


def look(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Surroundings:
    """This machine's own; raises `InfraError` where hosts could resolve no name, or have no source of Debian."""
    certificates = {file.name: file.read_bytes() for file in sorted((root / _CERTIFICATES).rglob("*.crt"))}
    environment = dict.fromkeys(_CA_VARIABLES, BUNDLE) if certificates else {}
    environment |= dict(_proxies(environ)) | dict(_npm(root, environ))
    return Surroundings(
        nameservers=_nameservers(root),
        sources=tuple(_sources(root, environ)),
        apt_conf=_apt_conf(root),
        pip_conf=_pip_conf(root, environ, bundle=bool(certificates)),
        environment=environment,
        certificates=certificates,
    )


def _nameservers(root: Path) -> str:
    """The machine's resolv.conf, or that of what stands behind a resolver on loopback, which hosts can't reach."""
    for file in (root / "etc/resolv.conf", root / "run/systemd/resolve/resolv.conf"):
        text = file.read_text(errors="replace") if file.is_file() else ""
        lines = [line for line in text.splitlines() if re.match(r"(nameserver|search|domain|options)\s", line)]
        kept = [line for line in lines if not (line.startswith("nameserver") and _is_here(line.split()[1]))]
        if any(line.startswith("nameserver") for line in kept):
            return "\n".join(kept) + "\n"
    raise InfraError(
        "/etc/resolv.conf: names no resolver that a host of nspawn could reach, only this machine's own loopback; "
        "name one there that is on the network"
    )


def _is_here(host: str | None) -> bool:
    if not host or host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local


def _usable(url: str) -> bool:
    """Whether a host can go there, and the address holds no password."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and "@" not in parts.netloc and not _is_here(parts.hostname)


# --- apt -------------------------------------------------------------------------------------------------------------


def _sources(root: Path, environ: Mapping[str, str]) -> Iterator[Source]:
    """This machine's sources of Debian, as far as they have one for the release itself, else the mirror named.

    Raises `InfraError` where there is neither.
    """
    found = list(dict.fromkeys([*_deb822_sources(root), *_line_sources(root)]))
    if any(not source.suite and "main" in source.components.split() for source in found):
        yield from found
    elif mirror := environ.get(MIRROR):
        yield from (Source(uri=mirror, suite=suite, components="main") for suite in ("", "-updates"))
    else:
        raise InfraError(
            f"this machine has no apt sources of Debian that hosts could be made from: name a mirror in {MIRROR}"
        )


def _deb822_sources(root: Path) -> Iterator[Source]:
    for file in sorted((root / "etc/apt/sources.list.d").glob("*.sources")):
        text = "\n".join(line for line in file.read_text(errors="replace").splitlines() if not line.startswith("#"))
        for stanza in re.split(r"\n\s*\n", text):
            fields = {name.lower(): value.strip() for name, value in re.findall(r"(?m)^([\w-]+):(.*)$", stanza)}
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                yield from _of_debian(
                    fields.get("uris", "").split(), fields.get("suites", "").split(), fields.get("components", "")
                )


def _line_sources(root: Path) -> Iterator[Source]:
    for file in (root / "etc/apt/sources.list", *sorted((root / "etc/apt/sources.list.d").glob("*.list"))):
        text = file.read_text(errors="replace") if file.is_file() else ""
        for line in text.splitlines():
            match = re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)", line.strip())
            if match:
                yield from _of_debian([match[1]], [match[2]], match[3])


def _of_debian(uris: Iterable[str], suites: Iterable[str], components: str) -> Iterator[Source]:
    suites = list(suites)
    for uri in uris:
        for suite in suites:
            release, dash, rest = suite.partition("-")
            if release in _RELEASES and dash + rest in _SUITES and _usable(uri):
                yield Source(uri=uri, suite=dash + rest, components=components)


def _deb822(source: Source, release: str) -> str:
    return (
        f"Types: deb\nURIs: {source.uri}\nSuites: {release}{source.suite}\nComponents: {source.components}\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def _apt_conf(root: Path) -> str:
    kept = ['APT::Install-Recommends "false";']
    for file in sorted((root / "etc/apt/apt.conf.d").glob("*")):
        for line in file.read_text(errors="replace").splitlines() if file.is_file() else ():
            match = _APT.fullmatch(line.strip())
            if match and ("://" not in match[1] or _usable(match[1])):
                kept.append(line.strip())
    return "\n".join(dict.fromkeys(kept)) + "\n"


# --- pip, npm, the rest ----------------------------------------------------------------------------------------------


def _pip_conf(root: Path, environ: Mapping[str, str], *, bundle: bool) -> str:
    kept: dict[str, str] = {"cert": BUNDLE} if bundle else {}
    home = root / environ.get("HOME", "root").lstrip("/")
    files = (root / "etc/xdg/pip/pip.conf", root / "etc/pip.conf", home / ".pip/pip.conf")
    for file in (*files, home / ".config/pip/pip.conf"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file)
        except (configparser.Error, UnicodeDecodeError) as error:
            raise InfraError(f"{file}: can't be read: {error}") from error
        if parser.has_section("global"):
            kept |= dict(_pip_words(parser.items("global")))
    kept |= dict(
        _pip_words(
            (name[4:].lower().replace("_", "-"), value) for name, value in environ.items() if name.startswith("PIP_")
        )
    )
    return "[global]\ndisable-pip-version-check = true\n" + "".join(f"{name} = {kept[name]}\n" for name in sorted(kept))


def _pip_words(words: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in words:
        if name in ("index-url", "extra-index-url", "find-links"):
            usable = [url for url in value.split() if _usable(url)]
            if usable:
                yield name, " ".join(usable)
        elif name in ("timeout", "default-timeout", "retries", "trusted-host"):
            yield name.removeprefix("default-"), value


def _npm(root: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The registry that npm uses here."""
    found = ""
    home = environ.get("HOME", "root").lstrip("/")
    for name in ("etc/npmrc", "usr/etc/npmrc", "usr/local/etc/npmrc", f"{home}/.npmrc"):
        file = root / name
        text = file.read_text(errors="replace") if file.is_file() else ""
        found = next(iter(re.findall(r"(?m)^registry\s*=\s*\"?([^\s\"]+)", text)), found)
    found = environ.get("npm_config_registry", environ.get("NPM_CONFIG_REGISTRY", found))
    if _usable(found):
        yield "npm_config_registry", found


def _proxies(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in _PROXIES:
        value = environ.get(name) or environ.get(name.upper(), "")
        if value and (name == "no_proxy" or _usable(value)):
            yield name, value

"""Finds the hosts that a build log names in connection errors: they are worth a probe of the network, no more."""

from __future__ import annotations

import ipaddress
import re

MAX_HOSTS = 4
_TAIL = 200_000
_HOST = rb"\[?(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?)\]?"
# What pip, npm, apt, git, curl, wget, cargo and go say when a connection can't be made. A line needs one of these…
_TROUBLE = re.compile(
    rb"(?i)connection broken|failed to establish|failed to resolve|max retries|name resolution|name or service"
    rb"|could ?n[o']t resolve|unable to resolve|temporary failure|getaddrinfo|enotfound|eai_again|econnrefused"
    rb"|etimedout|econnreset|ehostunreach|enetunreach|network timeout|timed out|could not connect|failed to connect"
    rb"|no route to host|network is unreachable|dial tcp|dns error|no such host|failed to lookup"
    rb"|cannot initiate the connection"
)
# …and the host is what stands at one of these places on it.
_PLACES = tuple(
    re.compile(pattern % _HOST)
    for pattern in (
        rb"host='%s'",
        rb"(?i)(?:(?:resolve|resolving|lookup|connect to|connection to)(?: host)?(?: address)?|host) *:?"
        rb" *['\"\xe2\x80\x98]*%s",
        rb"(?i)(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT) +%s",
        rb"(?i)https?://(?:[^\s/@]{1,200}@)?%s",
    )
)


def suspect_hosts(build_log: bytes) -> tuple[str, ...]:
    """Hosts named in the log's connection errors, at most four, the last named first; never loopback or a bare word."""
    found: dict[str, None] = {}
    for line in reversed(build_log[-_TAIL:].splitlines()):
        if len(found) >= MAX_HOSTS:
            break
        line = line[:2_000]
        if _TROUBLE.search(line):
            found |= dict.fromkeys(_hosts_of(line))
    return tuple(found)[:MAX_HOSTS]


def _hosts_of(line: bytes) -> list[str]:
    hosts = (match["host"].decode().rstrip(".").lower() for place in _PLACES for match in place.finditer(line))
    return [host for host in hosts if _is_outside(host)]


def _is_outside(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not host.endswith(".localhost") and re.search(r"\.[a-z][a-z0-9-]*$", host) is not None
    return not address.is_loopback

"""What makes two headlines the same failure: their text with everything masked that changes from night to night."""

from __future__ import annotations

import hashlib
import re

# In this order: an address would else lose its digits first, and a path its words.
_MASKS = (
    (re.compile(r"https?://\S+"), "<url>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])"), "<address>"),
    (re.compile(r"(?<![\w/])(?:~|\.{1,2})?(?:/[\w.+@%-]+){2,}/?"), "<path>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<hex>"),
    (re.compile(r"(?<![a-zA-Z0-9])(?=[a-f]*\d)[0-9a-fA-F]{6,}(?![a-zA-Z0-9])"), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
)


def mask(text: str) -> str:
    """The text with URLs, addresses, paths, hexadecimal words and numbers replaced by what they are."""
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text


def fingerprint(text: str) -> bytes:
    """Eight bytes that are equal for two failures with the same cause, as far as text can tell."""
    return hashlib.blake2b(mask(text).encode("utf-8", "replace"), digest_size=8).digest()


def digest(text: str) -> bytes:
    """Sixteen bytes that are equal for equal texts only."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()

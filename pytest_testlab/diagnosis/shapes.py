"""Well-known shapes of secrets, for those that the lab was never told of.

Each pattern is anchored on a literal and bounded, so that a line of any length is searched in linear time. Code that
shows up in tracebacks (`password=self.password`, `token = os.environ[…]`) and placeholders are left alone.
"""

from __future__ import annotations

import re

from pytest_testlab.protocols import RedactionShape


def _shape(
    name: str,
    searched_by: str | tuple[re.Pattern[bytes], ...],
    *pattern: str,
    flags: int = 0,
    reach: int | None = None,
) -> RedactionShape:
    return RedactionShape(
        name=name,
        words=(searched_by.encode(),) if isinstance(searched_by, str) else (),
        hints=() if isinstance(searched_by, str) else searched_by,
        reach=reach,
        pattern=re.compile("".join(pattern).encode(), flags),
    )


_SUFFIX = r"(?:[_-]?key)?(?:_?(?:base|value|enc|b64|base64|[0-9]{1,2}))?"
# It begins with a set of letters, and not with alternatives, because that makes the search several times faster.
_NAME = (
    r"(?P<name>[PpSsTtAa_-](?i:(?<=p)(?:assw(?:or)?d|assphrase|rivate[_-]key)|(?<=s)ecret|(?<=t)oken"
    r"|(?<=a)(?:pi[_-]?key|ccess[_-]key)|(?<=[_-])pass))"
    rf"(?i:{_SUFFIX})"
)
_LONGEST_NAME = 16
# Every name has one of these in it. Each begins with a literal, or a search would be several times slower; the names
# with `k` share theirs.
_NAMED = tuple(
    re.compile(rf"{word}{_SUFFIX}[\"'\\]{{0,4}}\s{{0,4}}[:=]".encode(), re.IGNORECASE)
    for word in (r"pass(?:wd|word|phrase)?", r"secret", r"k(?:en(?<=token)|ey(?<=[_i-]key))")
)
_BEARER = re.compile(rb"bearer {1,4}[a-z0-9._~+/=-]{12}", re.IGNORECASE)
_JWT = re.compile(rb"J(?<=eyJ)")
_CAPITAL = re.compile(rb"A(?:[KS]IA|Iza)")
_DASH = re.compile(rb"-(?:(?<=sk-)|(?<=lpat-)|(?<=glrt-)|(?<=xox[abeoprs]-)|AgE(?<=pypi-AgE)|SECRET-KEY-)")
# What stands where a secret would and isn't one: a variable, a template, code, or a word that says there is none.
_NOT_CODE = (
    r"(?i:(?!\\{0,3}[\"']?(?:\$[a-z_{(]|[%{<(*\[]|(?:self|os|settings|config|env|process|request|none|null|nil|true"
    r"|false|undefined|str|bytes|required|invalid|missing|not|redacted|xxx)\b))"
    r"(?!\\{0,3}[\"']?[a-z_.]{0,64}(?P=name)[a-z_]{0,64}[\"']?(?:[\s,;)\]}&(]|$)))"
)
_DIGIT = r"(?=[^\s\"',;]{0,200}[0-9])"
_LETTER = r"(?=[^\s\"',;]{0,200}[A-Za-z])"
_BEGIN = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"

BUILT_IN_SHAPES: tuple[RedactionShape, ...] = (
    _shape(
        "private-key",
        "private key",
        _BEGIN,
        r"(?P<secret>(?:(?!-----BEGIN).){0,16384}?)(?:(?=-----END )|\Z)",
        flags=re.DOTALL,
    ),
    _shape(
        "private-key-cut",  # the tail bound took its beginning
        "private key",
        r"\A(?P<secret>(?:(?!-----BEGIN).){1,16384}?)(?=-----END [A-Z0-9 ]{0,40}PRIVATE KEY)",
        flags=re.DOTALL,
    ),
    _shape(
        "authorization",
        "authorization",
        r"(?i)authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:basic|bearer|token|digest|negotiate|apikey)\s{1,4}",
        r"(?P<secret>[^\r\n\"']{4,4000})",
    ),
    _shape(
        "authorization-bare",
        "authorization",
        r"(?i)authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<secret>",
        _DIGIT,
        r"[^\s\"',;\[]{12,4000})",
    ),
    _shape(
        "bearer",
        (_BEARER,),
        r"(?i)\bbearer {1,4}(?P<secret>",
        _DIGIT,
        r"[A-Za-z0-9._~+/=-]{12,4000})",
    ),
    _shape(
        "set-cookie",
        "cook",
        r"(?i)set-cookie[\"']?\s{0,4}[:=,]\s{0,4}[\"']?[^=;\s\"']{1,200}=(?P<secret>[^;\s\"']{1,4000})",
    ),
    _shape(
        "cookie",
        "cook",
        r"(?i)(?<!set-)cookie[\"']?:\s{0,4}[\"']?[^=;\s\"']{1,200}=(?P<secret>[^\r\n\"']{1,8000})",
    ),
    _shape(
        "url-password",
        "@",
        r"://(?:[^\s:/@\"'?#<>]{0,128}:|(?=[A-Za-z0-9_-]{20,256}@))(?P<secret>(?![${%])[^\s/\"'<>]{1,256})@",
    ),
    _shape(
        "assignment",
        _NAMED,
        _NAME,
        rf"(?:[\"'\\]{{0,4}}\s{{0,4}}(?:=>|=|:)\s{{0,4}}{_NOT_CODE}(?P<quote>\\{{0,3}}[\"'])",
        rf"|=(?!=)\s?{_NOT_CODE}(?![\"'\\])",
        rf"|\s{{0,2}}[:=]\s{{1,2}}{_NOT_CODE}(?={_DIGIT}{_LETTER}[^\s\"',;()\[\]]{{8}}))",
        r"(?P<secret>(?(quote)(?:(?!(?P=quote))[^\r\n]){4,2000}|[^\s\"',;&)}\]]{4,2000}))",
        reach=_LONGEST_NAME,
    ),
    _shape(
        "assignment-yaml",
        _NAMED,
        rf"(?m)^[\s-]{{0,40}}[\w.-]{{0,80}}?{_NAME}:\s{{1,4}}{_NOT_CODE}(?P<secret>[^\s\"',;]{{6,2000}})\s{{0,4}}$",
    ),
    RedactionShape(
        name="after-underscore",  # GitHub, Stripe, npm, DigitalOcean
        hints=(re.compile(rb"_[A-Za-z0-9]{16}"),),
        reach=16,
        pattern=re.compile(
            rb"\b(?P<secret>(?:gh[oprsu]_|github_pat_)[A-Za-z0-9_]{20,255}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}"
            rb"|npm_[A-Za-z0-9]{36}|do[opr]_v1_[A-Za-z0-9]{20,255})"
        ),
    ),
    _shape("gitlab", (_DASH,), r"\b(?P<secret>gl(?:pat|rt)-[A-Za-z0-9_.-]{16,255})", reach=16),
    _shape("aws", (_CAPITAL,), r"\b(?P<secret>A(?:KI|SI)A[A-Z0-9]{16})\b", reach=16),
    _shape("slack", (_DASH,), r"\b(?P<secret>xox[abeoprs]-[A-Za-z0-9-]{10,255})", reach=16),
    _shape(
        "jwt",
        (_JWT,),
        r"\b(?P<secret>eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,8000}(?:\.[A-Za-z0-9_-]{0,4000})?)",
        reach=16,
    ),
    _shape("sk", (_DASH,), r"\b(?P<secret>sk-(?=[A-Za-z0-9_-]{0,200}[0-9])[A-Za-z0-9_-]{20,255})", reach=16),
    _shape("pypi", (_DASH,), r"\b(?P<secret>pypi-AgE[A-Za-z0-9_-]{32,1000})", reach=16),
    _shape("google", (_CAPITAL,), r"\b(?P<secret>AIza[A-Za-z0-9_-]{35})", reach=16),
    _shape("age", (_DASH,), r"(?P<secret>AGE-SECRET-KEY-1[A-Z0-9]{40,80})", reach=16),
    _shape("vault", "hvs.", r"\b(?P<secret>hvs\.[A-Za-z0-9_.-]{20,255})", reach=16),
)
"""Every built-in shape."""

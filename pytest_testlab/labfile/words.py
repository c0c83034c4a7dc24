"""What each key of a lab.toml takes and means, for the reference page: key → (value, default, meaning)."""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, tuple[str, str, str]]

SERVER: Words = {
    "host": ("an address or a name of this machine", '`"127.0.0.1"`', "the address to listen on"),
    "port": ("0 to 65535; 0 = any that is free", "`8410`", "the port to listen on"),
    "url": ("`http[s]://name[:port]`", "", "the address that users type, when a proxy stands before the server"),
}
OWN: Words = {
    "cron": (
        'five fields: `"minute hour day-of-month month day-of-week"`',
        "required",
        "when a night is due; names (`MON`, `JAN`), lists, ranges and steps as in Debian's cron, Sunday is 0 or 7",
    ),
    "time-zone": ('an IANA name, e.g. `"Europe/Berlin"`, or `"UTC"`', "required", "whose clocks `cron` means"),
    "catalog": ("1 to 100 paths, below the file's folder or absolute", "required", "what is run; each has to be there"),
    "arguments": ("up to 100 strings", "`[]`", 'pytest\'s own arguments, e.g. `["-k", "not slow"]`'),
    "overlap": (
        '`"refuse"` or `"wait"`',
        '`"refuse"`',
        "what a night does that is due while another one of this store still runs; at most one of a schedule waits",
    ),
    "catch-up": (
        'a duration up to `"24h"`, or `"no"`',
        '`"6h"`',
        "how long after its time a night is still begun that nobody began, because the server was down",
    ),
    "keep-logs": ("1 to 10000", "`60`", "how many terminal logs are kept"),
    "keep-logs-days": ("1 to 3650", "`60`", "for how many days"),
}

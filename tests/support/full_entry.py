"""A testlab.toml with every key of the format."""

from __future__ import annotations

FULL = """\
[app]
name = "radicale"
priority = "P0"
tags = ["calendar", "dav"]
owner = "groupware"
timeout = "10m"
requires = ["python3>=3.11", "git"]
addons = ["postgresql"]
expects-failure = "build-failure"

[build]
commands = ["python3 -m venv venv", "venv/bin/pip install radicale==3.5.4"]

[run]
command = "venv/bin/python -m radicale --server-hosts 127.0.0.1:$PORT"
ready = { http = "/up", within = "30s" }

[env]
LOG_LEVEL = "info"
npm_config_cache = ""
ADMIN_PASSWORD = { secret = "radicale-admin" }
KEY = { generate = 24 }

[[checks]]
name = "an event comes back"
script = "checks/event.py"

[[checks]]
http = "/.web/"
method = "POST"
status = 200
contains = "Radicale"
json = { "a.b" = 1, c = { d = [true, "x"] } }
headers = { Content-Type = "text/html" }
within = "1.5m"

[[checks]]
command = "venv/bin/radicale --version"
exit-code = 3
stdout = "3.5"
"""

"""What a testlab.toml may say, and the exact words for everything else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path, PurePosixPath

import pytest
from full_entry import FULL

from pytest_testlab.catalog.read import LARGEST, key_name, read_entry
from pytest_testlab.errors import CatalogError, Problem, UsageError
from pytest_testlab.model import (
    CommandCheck,
    FailureClass,
    Generated,
    HttpCheck,
    Priority,
    Ready,
    Requirement,
    ScriptCheck,
    SecretRef,
    Suite,
)

APP = '[app]\nname = "shop"\n'
RUN = '[run]\ncommand = "serve"\n'
NAME_RULE = "1 to 40 of a-z, 0-9 and -, beginning and ending with a letter or digit"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "event.py").write_text("")
    (tmp_path / "site").mkdir()
    return tmp_path


def write(folder: Path, content: str | bytes) -> Path:
    file = folder / "testlab.toml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def problems(file: Path) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(CatalogError) as caught:
        read_entry(file)
    return [line.removeprefix(f"{file.parent}/") for line in str(caught.value).splitlines()]


def test_a_full_file_is_read_to_the_letter(folder: Path) -> None:
    """Every key of the format reaches the model, with its unit."""
    entry = read_entry(write(folder, FULL))
    assert (entry.name, entry.suite, entry.priority, entry.owner) == ("radicale", Suite.APPS, Priority.P0, "groupware")
    assert (entry.tags, entry.addons, entry.timeout_s) == (("calendar", "dav"), ("postgresql",), 600.0)
    assert entry.requires == (Requirement(tool="python3", specifier=">=3.11"), Requirement(tool="git"))
    assert entry.expects_failure is FailureClass.BUILD_FAILURE
    assert entry.build == ("python3 -m venv venv", "venv/bin/pip install radicale==3.5.4")
    assert entry.ready == Ready(http="/up", within_s=30.0)
    assert entry.env == {
        "LOG_LEVEL": "info",
        "npm_config_cache": "",
        "ADMIN_PASSWORD": SecretRef(name="radicale-admin"),
        "KEY": Generated(length=24),
    }
    assert entry.checks == (
        ScriptCheck(name="an event comes back", script=PurePosixPath("checks/event.py")),
        HttpCheck(
            name="POST /.web/",
            path="/.web/",
            method="POST",
            status=200,
            contains="Radicale",
            json={"a.b": 1, "c.d": [True, "x"]},
            headers={"Content-Type": "text/html"},
            within_s=90.0,
        ),
        CommandCheck(
            name="venv/bin/radicale --version", command="venv/bin/radicale --version", exit_code=3, stdout="3.5"
        ),
    )
    assert entry.folder == folder


def test_a_short_file_gets_the_defaults(folder: Path) -> None:
    """A name and what runs are all that an entry needs."""
    entry = read_entry(write(folder, '[demo]\nname = "s"\n[run]\nstatic = "site"\n'))
    assert (entry.suite, entry.priority, entry.timeout_s) == (Suite.DEMOS, Priority.P1, 600.0)
    assert (entry.command, entry.static) == (None, PurePosixPath("site"))
    assert (entry.ready, entry.checks, entry.env) == (Ready(), (), {})


def test_a_static_folder_may_come_from_the_build(folder: Path) -> None:
    """What a build makes can't be there yet."""
    content = APP + '[build]\ncommands = ["make"]\n[run]\nstatic = "public"\n'
    assert read_entry(write(folder, content)).static == PurePosixPath("public")


def http(line: str) -> str:
    return APP + RUN + f'[[checks]]\nhttp = "/"\ncontains = "x"\n{line}\n'


CASES: list[tuple[str, str, list[str]]] = [
    (
        "a mistyped key",
        APP + RUN + '[[checks]]\nhttp = "/"\ncontians = "x"\njson = { a = 1 }\n',
        [
            'testlab.toml:7: checks[1].contians: unknown key; did you mean "contains"? '
            "(allowed: contains, headers, http, json, method, name, status, within)"
        ],
    ),
    (
        "an unknown table",
        APP + RUN + "[[chekcs]]\n",
        [
            'testlab.toml:5: chekcs: unknown key; did you mean "checks"? '
            "(allowed: app, build, checks, demo, env, run, steps)"
        ],
    ),
    (
        "an unknown key of [run]",
        APP + RUN + "zzz = 1\n",
        ["testlab.toml:5: run.zzz: unknown key (allowed: command, ready, static)"],
    ),
    (
        "an unknown key of ready",
        APP + RUN + 'ready = { path = "/" }\n',
        ["testlab.toml:5: run.ready.path: unknown key (allowed: http, within)"],
    ),
    (
        "an empty file",
        "",
        [
            "testlab.toml:1: no [app] or [demo] is given; a file holds exactly one of them",
            'testlab.toml:1: no [run] is given; add [run] with command = "…" or static = "…"',
        ],
    ),
    (
        "both kinds of entry",
        APP + '[demo]\nname = "d"\n' + RUN,
        ["testlab.toml:3: demo: both [app] and [demo] are given; a file holds exactly one of them"],
    ),
    ("no name", '[app]\nowner = "me"\n' + RUN, ["testlab.toml:1: app: name is missing"]),
    (
        "a name that is a path",
        '[app]\nname = "../etc"\n' + RUN,
        [f'testlab.toml:2: app.name: "../etc" is not allowed; allowed: {NAME_RULE}'],
    ),
    (
        "a name in capitals",
        '[app]\nname = "Shop"\n' + RUN,
        [f'testlab.toml:2: app.name: "Shop" is not allowed; allowed: {NAME_RULE}'],
    ),
    (
        "a name that ends with a dash",
        '[app]\nname = "a-"\n' + RUN,
        [f'testlab.toml:2: app.name: "a-" is not allowed; allowed: {NAME_RULE}'],
    ),
    (
        "a name with a line's end",
        '[app]\nname = "a\\n"\n' + RUN,
        [f'testlab.toml:2: app.name: "a\\n" is not allowed; allowed: {NAME_RULE}'],
    ),
    (
        "a name too long",
        f'[app]\nname = "{"a" * 41}"\n' + RUN,
        [f'testlab.toml:2: app.name: "{"a" * 41}" is not allowed; allowed: {NAME_RULE}'],
    ),
    (
        "an encoded host name",
        '[app]\nname = "xn--a"\n' + RUN,
        ['testlab.toml:2: app.name: "xn--a" is not allowed: host names that begin with "xn--" are encoded ones'],
    ),
    (
        "a boolean is no string",
        "[app]\nname = true\n" + RUN,
        ["testlab.toml:2: app.name: expected a string, got a boolean"],
    ),
    (
        "an unknown priority",
        APP + 'priority = "p1"\n' + RUN,
        ['testlab.toml:3: app.priority: "p1" is unknown; allowed: P0, P1, P2'],
    ),
    ("tags as a string", APP + 'tags = "a"\n' + RUN, ["testlab.toml:3: app.tags: expected an array, got a string"]),
    (
        "bad tags, all of them",
        APP + 'tags = ["ok",\n  "not ok",\n  3, "ok"]\n' + RUN,
        [
            'testlab.toml:4: app.tags[2]: "not ok" is not allowed; allowed: '
            "1 to 40 of a-z, A-Z, 0-9, _, . and -, first a letter or digit",
            "testlab.toml:5: app.tags[3]: expected a string, got an integer",
            'testlab.toml:5: app.tags[4]: "ok" is given twice',
        ],
    ),
    (
        "an owner of two lines",
        APP + 'owner = "a\\nb"\n' + RUN,
        ["testlab.toml:3: app.owner: must be one line without control characters"],
    ),
    (
        "a timeout without quotes",
        APP + "timeout = 10\n" + RUN,
        ['testlab.toml:3: app.timeout: expected a duration such as "90s", "10m" or "1h", got an integer'],
    ),
    *[
        (
            f"the timeout {text}",
            APP + f'timeout = "{text}"\n' + RUN,
            [
                f'testlab.toml:3: app.timeout: "{text}" is not a duration such as "90s", "10m" or "1h" '
                "(above 0, at most 24h)"
            ],
        )
        for text in ("soon", "0s", "25h", "-5m", "9" * 30)
    ],
    (
        "a requirement that is none",
        APP + 'requires = ["python 3", "; rm -rf /", ""]\n' + RUN,
        [
            f"testlab.toml:3: app.requires[{i}]: {text} is not a tool with an optional version, "
            'e.g. "git" or "python3>=3.11"'
            for i, text in enumerate(('"python 3"', '"; rm -rf /"', '""'), start=1)
        ],
    ),
    (
        "a bad specifier",
        APP + 'requires = ["node>=abc"]\n' + RUN,
        ['testlab.toml:3: app.requires[1]: ">=abc" is not a version specifier, e.g. >=3.11 or >=18,<21'],
    ),
    (
        "an unknown addon",
        APP + 'addons = ["redis"]\n' + RUN,
        ['testlab.toml:3: app.addons[1]: "redis" is unknown; allowed: postgresql'],
    ),
    (
        "an unknown class",
        APP + 'expects-failure = "boom"\n' + RUN,
        [
            'testlab.toml:3: app.expects-failure: "boom" is unknown; allowed: infra, build-failure, deploy-failure, '
            "addon-unreachable, app-crash, app-error, proxy-502, timeout, check-failed, indeterminate"
        ],
    ),
    (
        "an outage expected",
        APP + 'expects-failure = "infra"\n' + RUN,
        ['testlab.toml:3: app.expects-failure: "infra" can\'t be expected: an outage of the lab would count as a pass'],
    ),
    ("no commands", APP + "[build]\n" + RUN, ["testlab.toml:3: build: commands is missing"]),
    (
        "an empty command",
        APP + '[build]\ncommands = ["make", " "]\n' + RUN,
        ["testlab.toml:4: build.commands[2]: must not be empty"],
    ),
    (
        "too many commands",
        APP + f"[build]\ncommands = {['x'] * 101}\n" + RUN,
        ["testlab.toml:4: build.commands: must hold 1 to 100 items, got 101"],
    ),
    (
        "a command with a zero byte",
        APP + '[run]\ncommand = "a\\u0000b"\n',
        ["testlab.toml:4: run.command: must not hold the character U+0000"],
    ),
    (
        "nothing to run",
        APP + "[run]\n",
        ["testlab.toml:3: run: neither command nor static is given; exactly one of them is needed"],
    ),
    (
        "two things to run",
        APP + RUN + 'static = "site"\n',
        ["testlab.toml:3: run: both command and static are given; exactly one of them is needed"],
    ),
    ("run is no table", "run = 3\n" + APP, ["testlab.toml:1: run: expected a table, got an integer"]),
    (
        "ready is no table",
        APP + RUN + 'ready = "/"\n',
        ["testlab.toml:5: run.ready: expected a table, got a string"],
    ),
    (
        "a missing folder",
        APP + '[run]\nstatic = "public"\n',
        ["testlab.toml:4: run.static: \"public\" doesn't exist in the entry's folder"],
    ),
    (
        "a file where a folder is needed",
        APP + '[run]\nstatic = "checks/event.py"\n',
        ['testlab.toml:4: run.static: "checks/event.py" is not a folder'],
    ),
    *[
        (
            f"the path {path}",
            APP + f"[run]\nstatic = '{path}'\n",
            [
                f"testlab.toml:4: run.static: {shown} must be a path inside the entry's folder: "
                "relative, with / and without .."
            ],
        )
        for path, shown in (("/etc", '"/etc"'), ("site/../..", '"site/../.."'), (r"a\b", r'"a\\b"'))
    ],
    (
        "a variable's name",
        APP + RUN + '[env]\n"A B" = "x"\n1X = "y"\n',
        [
            'testlab.toml:6: env."A B": is not a variable\'s name; '
            "allowed: letters, digits and _, not beginning with a digit",
            "testlab.toml:7: env.1X: is not a variable's name; "
            "allowed: letters, digits and _, not beginning with a digit",
        ],
    ),
    (
        "reserved variables",
        APP + RUN + '[env]\nPORT = "1"\nAPP_URL = "x"\nhttp_proxy = "x"\nTESTLAB_X = "x"\n',
        [
            "testlab.toml:6: env.PORT: is reserved: the platform sets it",
            "testlab.toml:7: env.APP_URL: is reserved: script checks get the app's address there",
            "testlab.toml:8: env.http_proxy: is reserved: the lab's own proxy needs it",
            "testlab.toml:9: env.TESTLAB_X: is reserved: names that begin with TESTLAB_ are the lab's",
        ],
    ),
    (
        "values of variables",
        APP
        + RUN
        + '[env]\nA = 5\nB = { secret = "Bad Name" }\nC = { generate = 7 }\nD = {}\nE = { generate = true }\n',
        [
            'testlab.toml:6: env.A: expected a string, { secret = "name" } or { generate = 24 }, got an integer',
            'testlab.toml:7: env.B.secret: "Bad Name" is not allowed; allowed: '
            "1 to 64 of a-z, 0-9 and -, beginning and ending with a letter or digit",
            "testlab.toml:8: env.C.generate: must be an integer from 8 to 256",
            'testlab.toml:9: env.D: expected a string, { secret = "name" } or { generate = 24 }, '
            "got a table with no keys",
            "testlab.toml:10: env.E.generate: expected an integer from 8 to 256, got a boolean",
        ],
    ),
    (
        "a single [checks]",
        APP + RUN + '[checks]\nhttp = "/"\n',
        ["testlab.toml:5: checks: expected an array of tables, got a table; write [[checks]], one for each check"],
    ),
    (
        "checks of no kind",
        "checks = [\n  1,\n  {}]\n" + APP + RUN,
        ["testlab.toml:2: checks[1]: expected a table, got an integer"],
    ),
    (
        "a check of no kind",
        APP + RUN + '[[checks]]\nname = "x"\n',
        [
            "testlab.toml:5: checks[1]: it has none of http, script and command; "
            "a check has exactly one of http, script and command"
        ],
    ),
    (
        "a check of two kinds",
        http("") + '[[checks]]\nhttp = "/"\ncommand = "x"\n',
        ["testlab.toml:9: checks[2]: http and command are given; a check has exactly one of http, script and command"],
    ),
    (
        "a key of another kind",
        http("exit-code = 0"),
        [
            "testlab.toml:8: checks[1].exit-code: belongs to a check with command; a check with http allows: "
            "contains, headers, http, json, method, name, status, within"
        ],
    ),
    (
        "a bare status",
        APP + RUN + '[[checks]]\nhttp = "/"\nstatus = 200\n',
        [
            "testlab.toml:5: checks[1]: asserts nothing about the answer's content, and a bare status also passes when "
            'something else answers; add contains = "…", json = { … } or headers = { … }'
        ],
    ),
    (
        "assertions that are empty",
        APP + RUN + '[[checks]]\nhttp = "/"\ncontains = ""\njson = {}\nheaders = {}\n',
        [
            "testlab.toml:7: checks[1].contains: must not be empty",
            "testlab.toml:8: checks[1].json: must not be empty: an empty table asserts nothing",
            "testlab.toml:9: checks[1].headers: must not be empty: an empty table asserts nothing",
        ],
    ),
    (
        "a body of an answer to HEAD",
        http('method = "HEAD"'),
        ["testlab.toml:8: checks[1].method: an answer to HEAD has no body; assert on headers = { … }"],
    ),
    (
        "an odd method",
        http('method = "get"'),
        ['testlab.toml:8: checks[1].method: "get" is not allowed; allowed: an HTTP method in capitals, e.g. "POST"'],
    ),
    ("an odd status", http("status = 99"), ["testlab.toml:8: checks[1].status: must be an integer from 100 to 599"]),
    (
        "a status as text",
        http('status = "200"'),
        ["testlab.toml:8: checks[1].status: expected an integer from 100 to 599, got a string"],
    ),
    (
        "dates in JSON",
        http('json = { "a.b" = 2020-01-01, c = [[nan]], "" = 1 }'),
        [
            'testlab.toml:8: checks[1].json."a.b": JSON has no dates; give the text that the answer holds',
            "testlab.toml:8: checks[1].json.c: JSON has no such number",
            'testlab.toml:8: checks[1].json."": a path must not be empty',
        ],
    ),
    (
        "one JSON path twice",
        http('json = { "a.b" = 1, a = { b = 2 } }'),
        ["testlab.toml:8: checks[1].json.a.b: is given twice"],
    ),
    (
        "a header's name",
        http('headers = { "X Y" = "z" }'),
        ['testlab.toml:8: checks[1].headers."X Y": "X Y" is not allowed; allowed: a header\'s name'],
    ),
    *[
        (
            f"the request's path {path}",
            APP + RUN + f'[[checks]]\nhttp = "{path}"\ncontains = "x"\n',
            [f'testlab.toml:6: checks[1].http: "{path}" must {why}'],
        )
        for path, why in (
            ("x", 'begin with one "/"; the host is always the app\'s own'),
            ("//evil.example/", 'begin with one "/"; the host is always the app\'s own'),
            ("http://evil.example/", 'begin with one "/"; the host is always the app\'s own'),
            ("/a b", "be percent-encoded: ASCII without spaces and #"),
            ("/ü", "be percent-encoded: ASCII without spaces and #"),
        )
    ],
    (
        "a script that is missing",
        APP + RUN + '[[checks]]\nscript = "checks/nope.py"\n',
        ["testlab.toml:6: checks[1].script: \"checks/nope.py\" doesn't exist in the entry's folder"],
    ),
    (
        "a script that is a folder",
        APP + RUN + '[[checks]]\nscript = "checks"\n',
        ['testlab.toml:6: checks[1].script: "checks" is not a file'],
    ),
    (
        "an exit code out of bounds",
        APP + RUN + '[[checks]]\ncommand = "x"\nexit-code = 256\n',
        ["testlab.toml:7: checks[1].exit-code: must be an integer from 0 to 255"],
    ),
    (
        "a syntax error",
        APP + "priority =\n",
        ["testlab.toml:3: is not valid TOML: Invalid value (column 11)"],
    ),
    (
        "a key given twice",
        APP + 'name = "b"\n',
        ["testlab.toml:3: is not valid TOML: Cannot overwrite a value (column 11)"],
    ),
    (
        "a number that never ends",
        "x = " + "1" * 5000,
        [
            "testlab.toml: is not valid TOML: Exceeds the limit (4300 digits) for integer string conversion: "
            "value has 5000 digits; use sys.set_int_max_str_digits() to increase the limit"
        ],
    ),
    (
        "a key without end",
        APP + "[" + "a." * 40_000 + "a]\n",
        ["testlab.toml:3: has a key of more than 32 parts"],
    ),
    (
        "a quoted key without end",
        APP + "x = { y = [1, {" + "'a b' . " * 40_000 + "a = 1 }] }\n",
        ["testlab.toml:3: has a key of more than 32 parts"],
    ),
    ("nested without end", "x = " + "[" * 5000, ["testlab.toml: is nested too deeply"]),
]


@pytest.mark.parametrize(("content", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_fault_has_its_words(folder: Path, content: str, expected: list[str]) -> None:
    """A fault is told with file, line, key, reason and what is allowed; all of a file's faults at once."""
    assert problems(write(folder, content)) == expected


def test_not_utf8(folder: Path) -> None:
    """A file in another encoding is refused by the line that shows it."""
    assert problems(write(folder, b'[app]\nname = "\xff"\n')) == ["testlab.toml:2: is not UTF-8 (byte 0xff)"]


def test_a_large_file_is_refused(folder: Path) -> None:
    """Nothing above the bound is read."""
    file = write(folder, "")
    os.truncate(file, LARGEST + 1)
    assert problems(file) == ["testlab.toml: is larger than 1024 KiB; keep data in files of its own"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, a link to itself, a pipe and a missing file are told apart, and none is waited for."""
    file = tmp_path / "testlab.toml"
    assert problems(file) == ["testlab.toml: can't be read: No such file or directory"]
    file.mkdir()
    assert problems(file) == ["testlab.toml: is a folder, not a file"]
    file.rmdir()
    file.symlink_to(file)
    assert problems(file) == ["testlab.toml: can't be read: Too many levels of symbolic links"]
    file.unlink()
    os.mkfifo(file)
    assert problems(file) == ["testlab.toml: is not a regular file"]


def test_links_out_of_the_folder_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A script or site is the entry's own; a link inside its folder is fine."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.py").write_text("")
    (folder / "out").symlink_to(outside)
    (folder / "in").symlink_to("checks")
    (folder / "out.py").symlink_to(outside / "x.py")
    (folder / "loop.py").symlink_to("loop.py")
    scripts = ["out/x.py", "out.py", "loop.py", "in/event.py"]
    file = write(folder, APP + RUN + "".join(f'[[checks]]\nscript = "{script}"\n' for script in scripts))
    leads_out = "is, or goes through, a symbolic link that leads out of the entry's folder"
    assert problems(file) == [
        f'testlab.toml:6: checks[1].script: "out/x.py" {leads_out}',
        f'testlab.toml:8: checks[2].script: "out.py" {leads_out}',
        'testlab.toml:10: checks[3].script: "loop.py" is not a file',
    ]


def test_values_of_env_are_never_told(folder: Path) -> None:
    """A password at the wrong place doesn't reach the output."""
    file = write(folder, APP + RUN + '[env]\nA = ["hunter2"]\nB = { value = "hunter2" }\nTESTLAB_C = "hunter2"\n')
    assert "hunter2" not in "".join(problems(file))


def test_many_faults_are_bounded(folder: Path) -> None:
    """A file of nothing but faults gives a bounded list."""
    found = problems(write(folder, APP + RUN + "".join(f"k{i} = 1\n" for i in range(5000))))
    assert len(found) == 51
    assert found[-1] == "testlab.toml: has more problems than these 50"


def test_the_error_is_the_users_to_mend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is told as the user would type it, and it crosses processes whole."""
    monkeypatch.chdir(folder.parent)
    with pytest.raises(UsageError, match=rf"^{folder.name}/testlab.toml:1: no \[app\]") as caught:
        read_entry(write(folder, RUN))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes


def test_a_hostile_path_can_not_steer_the_terminal() -> None:
    """Control characters in the name of a folder are shown escaped."""
    assert str(Problem(file=Path("/a\x1b[2J\n/testlab.toml"), message="x")) == "/a\\x1b[2J\\n/testlab.toml: x"


def test_key_names_are_readable() -> None:
    """Items are counted from 1; keys that TOML would quote are quoted."""
    assert key_name(("checks", 0, "json", "a.b")) == 'checks[1].json."a.b"'

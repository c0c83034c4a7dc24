"""What a Hop3 checkout is read as, file by file, and what is said of files that can't be."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from testlab_hop3.format import Hop3Format

from pytest_testlab.catalog.formats import Formats
from pytest_testlab.catalog.scan import Catalog, scan
from pytest_testlab.model import Entry, HttpCheck, PlatformCheck, Priority, Requirement, Suite


def catalog(root: Path, files: dict[str, str]) -> Catalog:
    for place, text in files.items():
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return scan(root, formats=Formats([Hop3Format()]))


def one(root: Path, files: dict[str, str]) -> Entry:
    found = catalog(root, files)
    assert found.problems == ()
    (entry,) = found.entries
    return entry


def said(root: Path, files: dict[str, str]) -> list[str]:
    """The problems, without the root's path."""
    return [str(problem).replace(f"{root}/", "") for problem in catalog(root, files).problems]


TEST = '[test]\nname = "n"\ntier = "fast"\npriority = "P0"\n'
SCRIPT = "def run(ctx):\n    pass\n"


# --- a recipe --------------------------------------------------------------------------------------------------------


def test_a_recipe_alone_is_an_app_with_its_health_check(tmp_path: Path) -> None:
    """Its name is its path, its tier medium, its priority P1, and its one check the health check."""
    recipe = '[metadata]\nid = "x"\n[healthcheck]\npath = "/up"\ncontains = "fine"\n[[addons]]\ntype = "postgres"\n'
    entry = one(tmp_path, {"apps/golden/it/hop3.toml": recipe})
    assert (entry.name, entry.label, entry.suite, entry.priority) == (
        "apps/golden/it",
        "app-it",
        Suite.APPS,
        Priority.P1,
    )
    assert entry.tags == ("medium", "postgres")
    assert entry.addons == ("postgres",)
    assert (entry.recipe, entry.deploys, entry.ready.http) == ("hop3", True, "/up")
    (check,) = entry.checks
    assert check == HttpCheck(name="GET /up", path="/up", status=200, contains="fine", follow=True, within_s=30.0)
    assert entry.unproven == ""


def test_both_shapes_of_a_validation_mean_the_same(tmp_path: Path) -> None:
    """What stands beside `type` wins over what stands in `expect`, key by key."""
    recipe = """
[[test.validations]]
path = "/a"
status = 201
contains = "x"
[[test.validations]]
type = "http"
path = "/a"
expect = { status = 201, contains = "x" }
[[test.validations]]
path = "/a"
status = 201
expect = { status = 500, contains = "x" }
"""
    first, *others = one(tmp_path, {"a/hop3.toml": recipe}).checks
    assert others == [first, first]


def test_any_of_several_statuses_will_do(tmp_path: Path) -> None:
    """`status_in` goes before `status`, in either spelling."""
    recipe = '[[test.validations]]\nstatus = 200\nstatus-in = [200, 202]\ncontains = "x"\n'
    (check,) = one(tmp_path, {"a/hop3.toml": recipe}).checks
    assert isinstance(check, HttpCheck)
    assert (check.status, check.statuses) == (None, (200, 202))


def test_what_the_recipe_says_of_its_test_goes_before_a_test_toml(tmp_path: Path) -> None:
    """A test.toml counts only beside a recipe without [test]."""
    files = {
        "a/hop3.toml": '[test]\ntier = "slow"\n',
        "a/test.toml": TEST,
        "b/hop3.toml": "[env]\n",
        "b/test.toml": TEST,
    }
    by_name = {entry.name: entry for entry in catalog(tmp_path, files).entries}
    assert ("slow" in by_name["a"].tags, by_name["a"].priority) == (True, Priority.P1)
    assert ("fast" in by_name["b"].tags, by_name["b"].priority) == (True, Priority.P0)


def test_check_py_comes_last_and_once(tmp_path: Path) -> None:
    """Where a validation names it already, it isn't added again."""
    named = '[[test.validations]]\ntype = "script"\npath = "check.py"\n'
    files = {"a/hop3.toml": "[env]\n", "a/check.py": "", "b/hop3.toml": named, "b/check.py": ""}
    first, second = catalog(tmp_path, files).entries
    assert [type(check) for check in first.checks] == [HttpCheck, PlatformCheck]
    assert second.checks == (PlatformCheck(name="check.py", action="check"),)
    assert (first.unproven, second.unproven) == ("", "")


def test_a_bare_status_proves_nothing(tmp_path: Path) -> None:
    """It is said what to add; of an app that is to be rejected nothing is asked."""
    files = {"a/hop3.toml": "[env]\n", "b/hop3.toml": "[test]\nexpects-failure = true\n"}
    bare, negative = catalog(tmp_path, files).entries
    assert bare.unproven.startswith("only a status is asked for, and there is no check.py")
    assert (negative.unproven, negative.rejected) == ("", True)


def test_a_builder_that_is_a_tool_is_required(tmp_path: Path) -> None:
    """Docker and Nix must be on the target; `local` is Hop3's own."""
    files = {f"{name}/hop3.toml": f'[build]\nbuilder = "{name}"\n' for name in ("docker", "local")}
    docker, local = catalog(tmp_path, files).entries
    assert (docker.requires, local.requires) == ((Requirement(tool="docker"),), ())


# --- without a recipe ------------------------------------------------------------------------------------------------


def test_a_test_toml_leads_to_its_app(tmp_path: Path) -> None:
    """The entry is the app's folder, also where that has a recipe of its own, and goes by that."""
    text = TEST + '[deployment]\npath = "src"\nenv_vars = { A = "b", N = 1, D = true }\n'
    entry = one(tmp_path, {"x/test.toml": text, "x/src/hop3.toml": "[env]\n", "x/src/check.py": ""})
    assert (entry.name, entry.subfolder, entry.folder) == ("x/src", PurePosixPath("src"), tmp_path / "x/src")
    assert dict(entry.env) == {"A": "b", "N": "1", "D": "true"}
    assert entry.checks == (PlatformCheck(name="check.py", action="check"),)


def test_an_app_that_says_nothing_is_what_it_looks_like(tmp_path: Path) -> None:
    """Fast, P1, in its folder `app` if that is one, asked for its first page if there is a Procfile."""
    files = {"x/hop3.toml": "# nothing\n", "x/app/Procfile": "web: true\n", "x/app/package.json": "{}"}
    entry = one(tmp_path, files)
    assert (entry.name, entry.tags, entry.priority) == ("x/app", ("fast", "nodejs"), Priority.P1)
    assert entry.unproven.startswith("only a status")
    assert isinstance(entry.checks[0], HttpCheck)


def test_a_declarative_demo_is_its_steps(tmp_path: Path) -> None:
    """It goes by the first app that it deploys."""
    text = (
        TEST
        + """
[demo]
type = "declarative"
[[demo.steps]]
action = "deploy"
app_path = "site"
app_name = "site"
[[demo.steps]]
action = "wait"
[[demo.steps]]
action = "validate"
expect_contains = "Hello"
"""
    )
    entry = one(tmp_path, {"d/test.toml": text, "d/site/index.html": "Hello"})
    assert (entry.name, entry.suite, entry.deploys) == ("d/site", Suite.DEMOS, False)
    assert [step.name for step in entry.steps] == ["deploy site", "wait 5", "validate /"]


def test_the_apps_of_a_demo_are_its_own(tmp_path: Path) -> None:
    """However deep they lie; a demo within a demo is one."""
    files = {"d/demo-script.py": SCRIPT, "d/app/hop3.toml": "", "d/e/f/test.toml": TEST, "d/g/demo-script.py": SCRIPT}
    assert [entry.name for entry in catalog(tmp_path, files).entries] == ["d", "d/g"]


def test_what_is_ignored_dropped_or_linked_to(tmp_path: Path) -> None:
    """A folder that says so is passed over with all below it; a dropped app too, a blocked one not, nor a link."""
    files = {
        "a/HOP3_TEST_IGNORE": "",
        "a/hop3.toml": "[env]\n",
        "a/b/hop3.toml": "[env]\n",
        "apps/broken/dropped/hop3.toml": "[env]\n",
        "apps/broken/dropped/DEFERRED.md": "Business: Not a Platform Limitation",
        "apps/broken/blocked/hop3.toml": "[env]\n",
        "apps/broken/blocked/DEFERRED.md": "## Blocker",
        "c/hop3.toml": "[env]\n",
    }
    (tmp_path / "again").symlink_to(tmp_path / "c")
    assert [entry.name for entry in catalog(tmp_path, files).entries] == ["c", "apps/broken/blocked"]


def test_a_testlab_toml_goes_before_a_recipe(tmp_path: Path) -> None:
    """Who writes one of ours beside it means it."""
    ours = '[app]\nname = "ours"\n[run]\ncommand = "true"\n'
    assert one(tmp_path, {"a/testlab.toml": ours, "a/hop3.toml": "[env]\n"}).name == "ours"


# --- what is malformed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[test\n", "a/hop3.toml:1: is not valid TOML: Expected ']' at the end of a table declaration (column 6)"),
        (
            '[test]\ntier = "quick"\n',
            "a/hop3.toml:2: test.tier: 'quick' is unknown; allowed: fast, medium, slow, very-slow",
        ),
        ('[test]\npriority = "P9"\n', "a/hop3.toml:2: test.priority: 'P9' is unknown; allowed: P0, P1, P2"),
        ('[test]\nexpects-failure = "no"\n', "a/hop3.toml:2: test.expects-failure: expected a boolean, got a string"),
        (
            '[test]\ntargets = ["moon"]\n',
            "a/hop3.toml:2: test.targets[1]: 'moon' is unknown; allowed: local, docker, remote",
        ),
        ('addons = "redis"\n', "a/hop3.toml:1: addons: expected an array, got a string"),
        (
            '[[test.validations]]\ntype = "ftp"\n',
            "a/hop3.toml:2: test.validations[1].type: 'ftp' is unknown; allowed: http, command, script",
        ),
        (
            '[[test.validations]]\ntype = "validoc"\n',
            "a/hop3.toml:2: test.validations[1].type: validoc is for a tutorial; allowed: http, command, script",
        ),
        ('[[test.validations]]\ntype = "command"\n', "a/hop3.toml:1: test.validations[1]: run is missing"),
        (
            '[[test.validations]]\nstatus = 99\ncontains = "x"\n',
            "a/hop3.toml:2: test.validations[1].status: 99 is no HTTP status (100 to 599)",
        ),
        (
            '[[test.validations]]\ntype = "script"\npath = "gone.sh"\n',
            "a/hop3.toml:3: test.validations[1].path: 'gone.sh' isn't a file of the app's folder",
        ),
        (
            '[healthcheck]\npath = "up"\n',
            'a/hop3.toml:2: healthcheck.path: "up" must begin with one "/"; the host is always the app\'s own',
        ),
    ],
)
def test_a_malformed_recipe_is_an_error_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    """Place, mismatch and way out; never an app that is passed over."""
    assert said(tmp_path, {"a/hop3.toml": text}) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[test]\nname = "n"\ntier = "fast"\n', "a/test.toml:1: test: priority is missing"),
        (
            TEST + '[deployment]\npath = "gone"\n',
            "a/test.toml:6: deployment.path: 'gone' is not a folder, seen from the test.toml's",
        ),
        (TEST + '[demo]\nscript = "gone.py"\n', "a/gone.py: can't be read: No such file or directory"),
        (TEST + '[demo]\ntype = "live"\n', "a/test.toml:6: demo.type: 'live' is unknown; allowed: declarative, script"),
        (
            TEST + '[demo]\ntype = "declarative"\n[[demo.steps]]\naction = "sing"\n',
            "a/test.toml:8: demo.steps[1].action: 'sing' is unknown; allowed: deploy, wait, validate, destroy, command",
        ),
        (
            TEST + '[tutorial]\npath = "gone.md"\n',
            "a/test.toml:6: tutorial.path: 'gone.md' is not a Markdown file, seen from the test.toml's folder",
        ),
    ],
)
def test_a_malformed_test_toml_is_an_error_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    """As for a recipe."""
    assert problem in said(tmp_path, {"a/test.toml": text})


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("def run(ctx:\n", "d/demo-script.py:1: is not Python: '(' was never closed"),
        ("def walk(ctx): ...\n", "d/demo-script.py: has no function run(ctx), which is what a demo does"),
        (
            "\ndef run(): ...\n",
            "d/demo-script.py:2: run() takes no argument; a demo's is called with its context: run(ctx)",
        ),
    ],
)
def test_a_script_that_could_not_run_is_an_error(tmp_path: Path, script: str, problem: str) -> None:
    """It is parsed, and nothing of it is executed."""
    assert said(tmp_path, {"d/demo-script.py": script}) == [problem]


def test_all_faults_of_both_files_count(tmp_path: Path) -> None:
    """A test.toml that can't be parsed is an error beside a recipe too."""
    files = {"a/hop3.toml": "[env]\n", "a/test.toml": "[test\n"}
    assert said(tmp_path, files)[0].startswith("a/test.toml:1: is not valid TOML")

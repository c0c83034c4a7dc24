"""Which Markdown is a tutorial, what its blocks say, and the exact words for everything that is wrong with one."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.catalog.tutorials import model
from pytest_testlab.catalog.tutorials.model import AssertBlock, Expectation, FileBlock, ShellBlock, Teardown, Tutorial
from pytest_testlab.catalog.tutorials.read import MOST_BLOCKS, read_tutorial
from pytest_testlab.errors import CatalogError, Problem
from pytest_testlab.model import Generated, Priority, Requirement, SecretRef, Suite

FILE = Path("/catalog/docs/First App.md")
FULL = """\
---
title: My first app
tutorial:
  name: first-app
  priority: P0
  tags: [beginner]
  owner: docs
  timeout: 5m
  requires:
    - python3>=3.11
  env:
    DEBUG: no
    VERSION: 1.10
    PASSWORD: { generate: 24 }
    TOKEN: { secret: shop-token }
  teardown: |
    rm -f one
    rm -f two
---
# My first app

1. Write it:

   ```file path=src/app.py
   print("hello")
     # indented
   ```

2. Run it:

   ```bash exec id=run dir=src timeout=20s continue-on-error
   python3 app.py

   exit 3
   ```

   ```output contains
   hello
   ```

   ```output regex
   ^hel+o$
   ```

> ```assert file-exists path=src/app.py
> ```

~~~sh exec
# a comment
true
~~~

```bash skip
apt install nginx
```

```output contains
Setting up nginx
```

```python
print("only shown")
```

<!--
```bash exec
echo "in a comment"
```
-->
"""


def read(text: str) -> Tutorial | None:
    return read_tutorial(FILE, text.encode())


def problems(text: str) -> list[str]:
    with pytest.raises(CatalogError) as error:
        read(textwrap.dedent(text))
    return [str(problem).removeprefix(f"{FILE}:") for problem in error.value.problems]


def test_everything_a_page_may_say() -> None:
    """Each key and each fence comes out as it was written, with its line; what is only shown doesn't."""
    tutorial = read(FULL)
    assert tutorial == Tutorial(
        name="first-app",
        name_line=4,
        file=FILE,
        priority=Priority.P0,
        tags=("beginner",),
        owner="docs",
        timeout_s=300.0,
        requires=(Requirement(tool="python3", specifier=">=3.11"),),
        env={"DEBUG": "no", "VERSION": "1.10", "PASSWORD": Generated(length=24), "TOKEN": SecretRef(name="shop-token")},
        teardown=Teardown(line=16, script="rm -f one\nrm -f two\n"),
        blocks=(
            FileBlock(line=24, path="src/app.py", content='print("hello")\n  # indented\n'),
            ShellBlock(
                line=31,
                language="bash",
                script="python3 app.py\n\nexit 3\n",
                id="run",
                dir="src",
                timeout_s=20.0,
                continue_on_error=True,
                expects=(
                    Expectation(line=37, text="hello", is_regex=False),
                    Expectation(line=41, text="^hel+o$", is_regex=True),
                ),
            ),
            AssertBlock(line=45, path="src/app.py"),
            ShellBlock(line=48, language="sh", script="# a comment\ntrue\n"),
            ShellBlock(
                line=53,
                language="bash",
                script="apt install nginx\n",
                skip=True,
                expects=(Expectation(line=57, text="Setting up nginx", is_regex=False),),
            ),
        ),
    )
    assert tutorial.suite is Suite.TUTORIALS
    assert [block.title for block in tutorial.blocks[1:4]] == ["run", "assert file-exists src/app.py", "true"]


def test_a_wrong_key_does_not_hide_that_there_is_nothing_to_execute() -> None:
    """Both are said at once; a block that was meant to be executed counts as one."""
    head = "---\ntutorial:\n  nam: x\n---\n"
    nothing, key = problems(head)
    assert nothing == "2: tutorial: has nothing to execute; mark a block with ```bash exec"
    assert key.startswith("3: tutorial.nam: unknown key")
    assert len(problems(head + "```bash exex\ntrue\n```\n")) == 2


@pytest.mark.parametrize("info", ["bash", 'bash title="how to exec it"', "sh title=exec.sh", "bash linenos copy"])
def test_plain_info_strings_are_prose(info: str) -> None:
    """What is nothing like a word of the lab's, and what is quoted, is for readers."""
    page = read(f"```bash exec\ntrue\n```\n```{info}\nfalse\n```\n")
    assert page is not None
    assert len(page.blocks) == 1


def test_a_page_without_front_matter() -> None:
    """One marked block is enough; the name is the file's, and nobody else's business."""
    tutorial = read("```bash exec\ntrue\n```\n")
    assert tutorial is not None
    assert (tutorial.name, tutorial.name_line, tutorial.timeout_s) == ("first-app", None, 600.0)


def test_a_blocks_time_in_seconds() -> None:
    """A number alone is seconds there, as in pages that were there before the lab."""
    tutorial = read("```bash exec timeout=30\ntrue\n```\n")
    assert tutorial is not None
    assert [getattr(block, "timeout_s", None) for block in tutorial.blocks] == [30.0]


def test_windows_line_ends_and_marks_change_nothing() -> None:
    """A page that was saved on another system is the same tutorial."""
    assert read_tutorial(FILE, b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode()) == read(FULL)


@pytest.mark.parametrize(
    "text",
    [
        "# A tutorial on exec\n\n```bash\nexec ls\n```\n",
        "---\ntitle: a tutorial\n---\ntext about exec\n",
        "---\nexecutable: [\n---\n```bash\ntrue\n```\n",
        '```python exec="on"\nprint()\n```\n',
        "```output contains\nx\n```\n\n```bash skip\nx\n```\n",
        "---\n",
        "",
        "    ```bash exec\n    true\n    ```\n",
        "text `bash exec` text\n",
    ],
)
def test_other_markdown_is_no_test(text: str) -> None:
    """Only front matter that says so, or a block marked exec, makes a tutorial."""
    assert read(text) is None


HEAD = "---\ntutorial:\n  name: x\n---\n"
BLOCK = "```bash exec\ntrue\n```\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "2: tutorial: has nothing to execute; mark a block with ```bash exec"),
        (HEAD + "```bash skip\ntrue\n```\n", "2: tutorial: has nothing to execute; mark a block with ```bash exec"),
        ("---\ntutorial:\n  nam: x\n---\n" + BLOCK, '3: tutorial.nam: unknown key; did you mean "name"? (allowed: '),
        ("---\ntutorial:\n  env: { A: [x] }\n---\n" + BLOCK, "3: tutorial.env.A: expected a string, "),
        ("---\ntutorial:\n  timeout: ten\n---\n" + BLOCK, '3: tutorial.timeout: "ten" is not a duration such as'),
        ("---\ntutorial: x\n---\n" + BLOCK, "2: tutorial: expected keys below it: env, name, owner"),
        ("---\ntutorial:\n  name: x\n  name: y\n---\n" + BLOCK, "4: tutorial: 'name' is given twice"),
        ("---\ntutorial: {\n---\n" + BLOCK, "3: tutorial: is not valid YAML: "),
        ("---\ntutorial: &a\n  tags: *a\n---\n" + BLOCK, "2: tutorial: anchors and aliases (& and *) are not allowed"),
        ("---\ntutorial:\n" + BLOCK, "1: tutorial: the front matter is not closed; end it with a line ---"),
        (f"---\ntutorial: {'[' * 5000}\n---\n" + BLOCK, "2: tutorial: is nested too deeply"),
        (f"---\ntutorial: {'x' * 70000}\n---\n" + BLOCK, "1: tutorial: the front matter is longer than 64 KiB"),
        ("```bash exec exce\ntrue\n```\n", '1: exec: "exce": unknown word; did you mean "exec"? (allowed: '),
        ("```bash exec id\ntrue\n```\n", '1: exec: "id": needs a value: id=…'),
        ("```bash exec exec=1\ntrue\n```\n", '1: exec: "exec=1": takes no value'),
        ("```bash exec id=a id=b\ntrue\n```\n", '1: exec: "id" is given twice'),
        ("```bash exec dir=../up\ntrue\n```\n", '1: exec: dir: "../up" must be a path inside the tutorial\'s folder'),
        ("```bash exec dir=/etc\ntrue\n```\n", '1: exec: dir: "/etc" must be a path inside'),
        ("```bash exec dir=~root\ntrue\n```\n", '1: exec: dir: "~root" must be a path inside'),
        ("```bash exec timeout=ten\ntrue\n```\n", '1: exec: timeout: "ten" is not a duration'),
        ('```bash exec id="a\ntrue\n```\n', "1: exec: a quote in its words is not closed"),
        ("```bash exec\n\n```\n", "1: exec: is empty"),
        ("```python exec\nprint()\n```\n", '1: exec: "python" can\'t be executed; allowed: bash, sh'),
        ("```bash exec\ntrue\n", "1: the block is not closed; end it with a line of as many ` or ~"),
        (BLOCK + "```bash timeout=5s\ntrue\n```\n", '4: exec: "timeout=5s", but the block is neither exec nor skip'),
        (
            BLOCK + "```bash exex\ntrue\n```\n",
            '4: exec: "exex", but the block is neither exec nor skip; did you mean "exec"?',
        ),
        (
            BLOCK + "```sh Exec,\ntrue\n```\n",
            '4: exec: "Exec,", but the block is neither exec nor skip; did you mean "exec"?',
        ),
        (
            BLOCK + "```bash skpi\ntrue\n```\n",
            '4: exec: "skpi", but the block is neither exec nor skip; did you mean "skip"?',
        ),
        (BLOCK + "```output\nx\n```\n", "4: output: says neither contains nor regex; exactly one is needed"),
        (BLOCK + "```output contains regex\nx\n```\n", "4: output: says both contains and regex"),
        (BLOCK + "```output contains\n```\n", "4: output: is empty, which every output would fit"),
        (BLOCK + "```output regex\n(\n```\n", "4: output: is not a regular expression: missing )"),
        ("```output contains\nx\n```\n" + BLOCK, "1: output: no block comes before it whose output it could be"),
        (BLOCK + "```bash\nls\n```\n```output contains\nx\n```\n", "7: output: the block before it, on line 4, is not"),
        (BLOCK + "```assert file-exist path=x\n```\n", '4: assert: "file-exist": unknown word; did you mean "file-ex'),
        (BLOCK + "```assert path=x\n```\n", "4: assert: says nothing to assert; allowed: file-exists path=…"),
        (BLOCK + "```assert file-exists\n```\n", "4: assert: path=… is missing"),
        (BLOCK + "```assert file-exists path=x\nx\n```\n", "4: assert: has content; file-exists needs none"),
        (BLOCK + "```file\nx\n```\n", "4: file: path=… is missing"),
        (BLOCK + "```file path=a/../../b\nx\n```\n", '4: file: path: "a/../../b" must be a path inside'),
        (BLOCK + "```file path=.\nx\n```\n", '4: file: path: "." is a folder'),
        (
            "```sh exec id=a\nx\n```\n```sh exec id=a\nx\n```\n",
            '4: exec: id: "a" is already the id of the block on line 1',
        ),
        (BLOCK * (MOST_BLOCKS + 1), "601: has more than 200 blocks"),
        ("```bash exec\necho \0\n```\n", "2: is not UTF-8 text (byte 0x00)"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    """A malformed page names the line, what stands there, and what is allowed."""
    assert [problem for problem in problems(text) if problem.startswith(said)], problems(text)


def test_all_problems_are_said_at_once() -> None:
    """Front matter and blocks, in the order of their lines."""
    found = problems("---\ntutorial: { nam: x }\n---\n```bash exec exce\ntrue\n```\n```file\n```\n")
    assert [problem.partition(":")[0] for problem in found] == ["2", "4", "7"]


def test_bytes_that_are_no_text() -> None:
    """A page in another encoding is not run with letters replaced."""
    with pytest.raises(CatalogError, match=r"First App\.md:2: is not UTF-8 text \(byte 0xe9\)"):
        read_tutorial(FILE, b"```bash exec\necho caf\xe9\n```\n")


FENCES = st.sampled_from(
    [
        "```bash exec",
        "```bash exec id=a dir=b",
        "```output contains",
        "```output regex",
        "```file path=x",
        "```",
        "~~~",
        "---",
        "tutorial:",
        "  name: x",
        "  env: {A: b}",
        "> ```sh exec",
        "- ```bash skip",
        "<!--",
        "-->",
        "text",
        "",
    ]
)


@given(st.lists(FENCES | st.text(max_size=20), max_size=40))
@settings(deadline=None)
def test_whatever_is_in_a_page(lines: list[str]) -> None:
    """Any text is a tutorial, no tutorial, or refused with lines that it has."""
    text = "\n".join(lines)
    count = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    for problem in problems_of(text.encode("utf-8", "surrogatepass")):
        assert problem.line is not None
        assert 1 <= problem.line <= count


def problems_of(data: bytes) -> tuple[Problem, ...]:
    try:
        tutorial = read_tutorial(FILE, data)
    except CatalogError as error:
        return error.problems or (Problem(file=FILE, message="refused without a reason"),)
    assert tutorial is None or tutorial.blocks
    return ()


@pytest.mark.parametrize(
    "text",
    [">" * 200_000, "- " * 100_000, "```\n" * 50_000, "   - " * 50_000, "[a\n" * 10_000, "1. a\n   > b\n" * 3_000],
)
def test_hostile_markdown_costs_little(text: str) -> None:
    """Deep nesting and endless repetition are read like anything else."""
    assert read(text) is None


def test_a_pattern_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that backtracks without end is given up, and costs its page and not the night."""
    monkeypatch.setattr(model, "PATTERN_WITHIN_S", 0.2)
    backtracks = Expectation(line=1, text=r"^(a|aa)+$", is_regex=True)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        backtracks.fits("a" * 80 + "b")
    assert time.monotonic() - began < 60
    assert backtracks.fits("a" * 80)


@pytest.mark.parametrize(
    ("text", "is_regex", "output", "fits"),
    [
        ("two  \nthree", False, "one\ntwo\nthree   \n", True),
        ("two\nfour", False, "one\ntwo\nthree\nfour\n", False),
        ("^two$", True, "one\r\ntwo\r\n", True),
        ("^w", True, "two\n", False),
    ],
)
def test_expectations(text: str, is_regex: bool, output: str, fits: bool) -> None:
    """Blanks at the ends of lines and the system's line ends don't count; everything else does."""
    assert Expectation(line=1, text=text, is_regex=is_regex).fits(output) is fits

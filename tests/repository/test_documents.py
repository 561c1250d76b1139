"""What the documents name is there: files, headings, commands, metrics. And nothing names somebody's machine."""

import importlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
TRACKED = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd=TOP,
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\0")
FILES = [path for name in TRACKED if name and (path := TOP / name).is_file()]
PAGES = [path for path in FILES if path.suffix == ".md"]
DECISIONS = sorted((TOP / "docs" / "decisions").glob("[0-9]*.md"))
DEVELOPERS_FOLDER = re.compile(r"(?<![\w.}-])/(?:work|Users|home)/(?!a/)\w")
"""A folder of somebody's machine; /home/a/ is the one that tests make up."""


def named(page: Path) -> str:
    return str(page.relative_to(TOP))


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_to_a_file_leads_to_it_and_to_a_heading_in_it(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_target_that_is_named_is_one(page: Path) -> None:
    makefile = (TOP / "Makefile").read_text()
    targets = set(re.findall(r"^([\w/-]+(?: [\w/-]+)*):(?!=)", makefile, re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    # In code only, where it is a command: `make test` or an indented line.
    named_here = re.findall(r"(?:`|^    )make ([a-z][a-z/-]*)", page.read_text(), re.MULTILINE)
    assert set(named_here) <= known


def test_every_metric_that_the_operating_page_names_is_exported() -> None:
    contracts = [importlib.import_module(f"fluxpool_{side}.contract") for side in ("operator", "inference")]
    names = {str(value) for module in contracts for value in vars(module).values()}
    operators = TOP / "operator" / "src" / "fluxpool_operator" / "metrics.py"
    names |= set(re.findall(r'"(fluxpool_operator_\w+)"', operators.read_text()))
    exported = names | {f"{name}_{suffix}" for name in names for suffix in ("total", "bucket", "sum", "count")}
    used = set(re.findall(r"fluxpool_\w+", (TOP / "docs" / "operating.md").read_text()))
    assert len(used) > 15
    assert used - exported == set()


def test_decisions_are_numbered_without_a_gap_and_all_are_in_the_index() -> None:
    index = (TOP / "docs" / "decisions" / "README.md").read_text()
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", index, re.MULTILINE)
    titles = [page.read_text().partition("\n")[0].removeprefix("# ").partition(". ") for page in DECISIONS]
    assert listed == [(number, title, page.name) for page, (number, _, title) in zip(DECISIONS, titles, strict=True)]
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04d}" for number in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("page", DECISIONS, ids=named)
def test_a_decision_says_what_was_given_what_was_chosen_and_what_follows(page: Path) -> None:
    assert re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_the_readme_of_a_distribution_names_its_commands() -> None:
    manifests = {path.parent: tomllib.loads(path.read_text()) for path in FILES if path.name == "pyproject.toml"}
    published = {
        folder: found["project"] for folder, found in manifests.items() if "readme" in found.get("project", ())
    }
    assert len(published) >= 6
    for folder, project in published.items():
        title, _, text = (folder / project["readme"]).read_text().partition("\n")
        assert title == f"# {project['name']}"
        assert {command for command in project.get("scripts", ()) if command not in text} == set()


def lines_of_text_files() -> Iterator[tuple[str, str]]:
    for path in FILES:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        yield from ((named(path), line) for line in text.splitlines())


def test_no_file_names_a_folder_of_a_developers_machine() -> None:
    assert not [(name, line) for name, line in lines_of_text_files() if DEVELOPERS_FOLDER.search(line)]


def test_locks_name_the_public_index_and_no_mirror() -> None:
    locks = [path for path in FILES if path.name == "uv.lock"]
    assert len(locks) >= 4
    for lock in locks:
        hosts = set(re.findall(r'(?:registry|url) = "https?://([^/"]+)', lock.read_text()))
        assert hosts <= {"pypi.org", "files.pythonhosted.org"}, lock

"""README, guides and site configuration say the same as the notebooks, the code and each other.

The site is built by .ci/run.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from itertools import groupby
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from forks import errors_of

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def script(name):
    "A script of .ci as a module"
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs = script("docs")

QUARTO = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
GUIDES = sorted(p.name for p in (ROOT / "howto").glob("*.md"))
PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / "howto" / name for name in GUIDES)]
FORMS = sorted(p.name for p in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TESTED = re.compile(r"^<!-- tested -->\n```(python|sh)\n(.+?)^```$", re.M | re.S)


def hrefs(node):
    "Every href below a node of _quarto.yml"
    if isinstance(node, list):
        return [h for item in node for h in hrefs(item)]
    if not isinstance(node, dict):
        return []
    return [h for key, value in node.items() for h in ([value] if key == "href" else hrefs(value))]


def test_readme_is_made_from_the_index_notebook():
    assert README == docs.readme(), "run: python .ci/docs.py --readme"


def test_readme_links_exist():
    links = [target.partition("#")[0] for _, target in docs.LINK.findall(README)]
    assert "nbs/00_eda.ipynb" in links and [x for x in links if not (ROOT / x).exists()] == []


def test_readme_example_has_its_output():
    block = re.search(r"```python\nfrom sklearn.+?```\n\n```text\n(.+?)```", README, re.S)
    assert block and re.search(r"ROC AUC 0\.9\d\d", block[1])


def test_the_chart_of_the_front_page_is_that_of_the_stored_benchmark(tmp_path):
    pictures, words = script("pictures"), re.compile(r">([^<>]*[\w×][^<>]*)</text>")
    assert not errors_of(ROOT / ".ci" / "pictures.py", "--out", tmp_path / "speed.svg")
    made, shown = (
        words.findall(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "speed.svg", ROOT / "nbs" / "images" / "speed.svg")
    )
    assert shown == made and set(pictures.CHOSEN) <= set(shown), "run: python .ci/pictures.py"
    assert sum(word.endswith("×") for word in shown) == len(pictures.CHOSEN)


def test_site_navigation_leads_to_every_chapter():
    pages = {docs.NUMBER.sub("", p.name) for p in (ROOT / "nbs").glob("*.ipynb")}
    linked = set(hrefs(QUARTO["website"]["sidebar"]))
    assert pages <= linked, f"add to _quarto.yml: {pages - linked}"
    assert [x for x in linked - pages - {"api.md"} if not (ROOT / x).exists()] == []
    assert set(hrefs(QUARTO)) <= linked


def test_there_is_one_quarto_configuration():
    assert not (ROOT / "nbs" / "_quarto.yml").exists()
    assert (ROOT / "nbs" / QUARTO["format"]["html"]["css"]).exists()


def test_guides_and_contributing_are_on_the_site():
    assert {str(path) for path in docs.guides()} <= set(hrefs(QUARTO["website"]["sidebar"])), (
        "add the page to _quarto.yml"
    )


def test_links_of_the_guides_exist():
    links = {
        (path.name, target.partition("#")[0]): path.parent
        for path in PAGES
        for _, target in docs.LINK.findall(path.read_text(encoding="utf-8"))
    }
    assert ("backend.md", "../nbs/05b_evaluation.ipynb") in links
    assert [place for place, folder in links.items() if not (folder / place[1]).exists()] == []


@pytest.mark.parametrize(
    "link, on_the_site",
    [
        ("](../nbs/05_manager.ipynb", "](../manager.ipynb"),
        ("](nbs/03b_estimators.ipynb", "](estimators.ipynb"),
        ("](../nbs/00_eda.ipynb#two-baselines", "](../eda.ipynb#two-baselines"),
        ("](howto/map.md", "](howto/map.md"),
        ("](LICENSE", "](LICENSE"),
    ],
)
def test_links_to_chapters_become_links_to_their_pages(link, on_the_site):
    assert docs.LINK.sub(docs.guide_link, link) == on_the_site


@pytest.mark.parametrize(
    "link", ["[there](00_eda.ipynb#two-baselines)", "[[`there`](eda.html#there)](00_eda.ipynb#two-baselines)"]
)
def test_links_to_headings_of_chapters_become_links_to_their_pages(link):
    assert re.fullmatch(r"\[`?there`?\]\(eda\.ipynb#two-baselines\)", docs.site_links(link, "cleaning"))


def test_a_figure_of_the_site_has_a_name_or_is_refused():
    figure = '<?xml version="1.0"?><!DOCTYPE svg><svg width="1"><svg/></svg>'
    assert (
        docs.named(figure, '#| hide\n#| fig-alt: "a < \\"b\\""\nplot()', "x.ipynb")
        == '<svg role="img" aria-label="a &lt; &quot;b&quot;" width="1"><svg/></svg>'
    )
    with pytest.raises(docs.DocsError, match="no fig-alt"):
        docs.named(figure, "plot()", "x.ipynb")


def test_two_figures_of_a_page_share_no_id():
    assert (
        docs.apart('<path id="m"/><use xlink:href="#m"/><g clip-path="url(#m)"/>', 3)
        == '<path id="c3-m"/><use xlink:href="#c3-m"/><g clip-path="url(#c3-m)"/>'
    )


def test_a_command_of_the_site_has_its_options_in_place_of_a_signature():
    page = docs.said(
        "[source](mlp_bench/cli.py#L1)\n\n### bench\n\n```python\ndef bench(\n    task:Annotated=None\n"
        "):\n```\n\n*Time it.*"
    )
    assert "Annotated" not in page and "mlp_bench bench [OPTIONS]" in page and "*Time it.*" in page
    assert re.search(r"^\| `--rounds <.+>` \| How often .+ \| 7; .+ \|$", page, re.M)


def test_a_name_that_two_modules_have_leads_to_the_source_of_its_chapter():
    by_nbdev = "[source](https://x/mlp_bench/cli.py#L1)\n\n### rank\n"
    page = docs.sourced(by_nbdev, "ranking")
    line = int(re.search(r"/mlp_bench/ranking\.py#L(\d+)\)", page)[1])
    assert (
        (ROOT / "mlp_bench" / "ranking.py")
        .read_text(encoding="utf-8")
        .splitlines()[line - 1]
        .startswith("def rank(")
    )
    assert docs.said(page) == page and "`--metric <str>`" in docs.said(by_nbdev)


def test_what_a_cell_printed_breaks_or_is_set_smaller_but_a_table_keeps_its_lines():
    assert [docs.printed_as(text) for text in ("word " * 40, "─" * 110, "─" * 130)] == [" prose", "", " wide"]


def steps(guide):
    "The blocks of a guide below `<!-- tested -->`; neighbours in one language are one script"
    blocks = TESTED.findall((ROOT / "howto" / guide).read_text(encoding="utf-8"))
    for language, group in groupby(blocks, lambda block: block[0]):
        yield language, "\n".join(code for _, code in group)


LONG = ("dask.md", "deploy.md", "own-csv.md")  # a cluster, a server, and a dozen commands


@pytest.mark.parametrize(
    "guide",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in GUIDES if list(steps(name))],
)
def test_guide_runs_as_it_is_written(guide, no_store):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # blocks call mlp_bench itself
    for language, code in steps(guide):
        Path(f"step.{language}").write_text(code, encoding="utf-8")
        if language == "python":
            assert not errors_of("step.python"), code
        else:
            command = ["bash", "-eu", "step.sh"]
            done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True)
            assert done.returncode == 0, (code + done.stdout + done.stderr)[-4000:]


def test_commands_of_contributing_name_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:nbs|tests)/\w+\.\w+|(?<=[ `])\.ci/\w+(?:\.py)?", text))
    assert {".ci/run", ".ci/docs.py", ".ci/fill.py", "nbs/05_manager.ipynb"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_promises_name_tests_that_exist():
    named = re.findall(
        r"`(test_\w+\.py)(?:::(\w+))?`", (ROOT / "howto" / "promises.md").read_text(encoding="utf-8")
    )
    assert len(named) > 20
    assert [
        f"{file}::{test}"
        for file, test in named
        if f"def {test}" not in (ROOT / "tests" / file).read_text(encoding="utf-8")
    ] == []


def map_rows():
    "The map's table as (module, notebook), in its order"
    text = (ROOT / "howto" / "map.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `?([\w–]+)`? \| \[.+?\]\(\.\./nbs/(.+?)\) \| .+ \|$", text, re.M)


def test_map_names_every_notebook_with_its_module():
    made = {
        path.name: re.search(r"#\| default_exp (\w+)", path.read_text(encoding="utf-8"))
        for path in (ROOT / "nbs").glob("*.ipynb")
    }
    assert {notebook: module for module, notebook in map_rows()} == {
        name: found[1] if found else "–" for name, found in made.items()
    }


def test_map_is_the_stair_that_the_contract_holds():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    assert [module for module, _ in map_rows() if module != "–"] == contract["layers"][::-1]


def test_citation_has_the_version_and_the_licence_of_the_package():
    ini = ConfigParser(interpolation=None)
    ini.read(ROOT / "settings.ini", encoding="utf-8")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(cited["version"]) == ini["DEFAULT"]["version"]
    assert cited["license"] == "Apache-2.0" and [a["name"] for a in cited["authors"]] == [
        ini["DEFAULT"]["author"]
    ]
    assert {r["license"] for r in cited["references"]} == {"ODbL-1.0", "CC-BY-4.0"}


@pytest.mark.parametrize(
    "schema, files",
    [
        ("citation-file-format", ["CITATION.cff"]),
        ("github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
        ("github-issue-forms", [f".github/ISSUE_TEMPLATE/{name}" for name in FORMS if name != "config.yml"]),
    ],
)
def test_files_follow_their_schema(schema, files):
    from check_jsonschema import main as check_jsonschema  # takes seconds

    command = ["--builtin-schema", f"vendor.{schema}", *(str(ROOT / file) for file in files)]
    done = CliRunner().invoke(check_jsonschema, command)
    assert done.exit_code == 0, done.output

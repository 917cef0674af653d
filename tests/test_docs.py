"""README, site configuration and containers say the same as the notebooks and each other. The site is built by .ci/run."""
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEC = importlib.util.spec_from_file_location("docs", ROOT / ".ci" / "docs.py")
docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docs)

QUARTO = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def install_and_use(venv):
    "The README's one line for a virtual environment, as (install, use)"
    line, = re.findall(rf"^(python3 -m venv {re.escape(venv)} && .+)$", README, re.M)
    install, use = line.rsplit(" && ", 1)
    return install, use


def hrefs(node):
    "Every href below a node of _quarto.yml"
    if isinstance(node, list): return [h for item in node for h in hrefs(item)]
    if not isinstance(node, dict): return []
    return [h for key, value in node.items() for h in ([value] if key == "href" else hrefs(value))]


def test_readme_is_made_from_the_index_notebook():
    assert README == docs.readme(), "run: python .ci/docs.py --readme"


def test_readme_links_exist():
    links = [target.partition("#")[0] for _, target in docs.LINK.findall(README)]
    assert "nbs/00_eda.ipynb" in links and [x for x in links if not (ROOT / x).exists()] == []


def test_readme_example_has_its_output():
    block = re.search(r"```python\nfrom sklearn.+?```\n\n```text\n(.+?)```", README, re.S)
    assert block and re.search(r"ROC AUC 0\.9\d\d", block[1])


def test_site_navigation_leads_to_every_chapter():
    pages = {docs.NUMBER.sub("", p.name) for p in (ROOT / "nbs").glob("*.ipynb")}
    linked = set(hrefs(QUARTO["website"]["sidebar"]))
    assert pages <= linked, f"add to _quarto.yml: {pages - linked}"
    assert [x for x in linked - pages - {"api.md"} if not (ROOT / x).exists()] == []
    assert set(hrefs(QUARTO)) <= linked


def test_there_is_one_quarto_configuration():
    assert not (ROOT / "nbs" / "_quarto.yml").exists()
    assert (ROOT / "nbs" / QUARTO["format"]["html"]["css"]).exists()


@pytest.mark.parametrize("venv", [".venv", ".venv-dev"])
def test_dockerfile_uses_the_commands_of_the_readme(venv):
    install, use = install_and_use(venv)
    assert f"RUN {install}\n" in DOCKERFILE
    assert f"CMD {json.dumps(use.split())}\n" in DOCKERFILE


def test_image_is_pinned_and_does_not_run_as_root():
    assert re.search(r"^FROM python:3\.\d+\.\d+-slim-\w+ AS base$", DOCKERFILE, re.M)
    for stage in DOCKERFILE.split("\nFROM "):  # root installs Debian packages, and hands over
        assert re.findall(r"^USER (.+)$", stage, re.M)[-1:] in ([], ["1000"])
    assert "USER 1000" in DOCKERFILE.split("\nFROM ")[0] + DOCKERFILE.split("\nFROM ")[1]


def test_compose_has_the_four_services_on_this_machine_only():
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert ports == {"jupyter": ["127.0.0.1:8888:8888"], "dashboard": ["127.0.0.1:8501:8501"],
                     "mlflow": ["127.0.0.1:5000:5000"], "tests": []}
    assert COMPOSE["services"]["tests"]["command"] == install_and_use(".venv-dev")[1]
    assert COMPOSE["services"]["tests"]["profiles"] == ["tests"]


def test_compose_services_share_one_store():
    shared = [s for name, s in COMPOSE["services"].items() if name != "tests"]
    uris = {s["environment"]["MLFLOW_TRACKING_URI"] for s in shared}
    volume, mount = shared[0]["volumes"][0].split(":")
    assert uris == {f"sqlite:///{mount}/mlflow.db"} and volume in COMPOSE["volumes"]
    assert all(s["volumes"] == shared[0]["volumes"] for s in shared)


def test_jupyter_never_has_an_empty_token():
    jupyter = COMPOSE["services"]["jupyter"]
    assert jupyter["environment"]["JUPYTER_TOKEN"] == "${JUPYTER_TOKEN:-}"  # empty: Jupyter makes one up and logs it
    assert "token" not in jupyter["command"]

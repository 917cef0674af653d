"""The images install as the README says, and Compose offers what it promises to this machine only.

No engine is needed.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SHARED = {name: service for name, service in COMPOSE["services"].items() if name != "tests"}


def install_and_use(venv):
    "The README's one line for a virtual environment, as (install, use)"
    (line,) = re.findall(rf"^(python3 -m venv {re.escape(venv)} && .+)$", README, re.M)
    install, use = line.rsplit(" && ", 1)
    return install, use


@pytest.mark.parametrize("venv", [".venv", ".venv-dev"])
def test_dockerfile_uses_the_commands_of_the_readme(venv):
    install, use = install_and_use(venv)
    assert f"RUN {install}\n" in DOCKERFILE
    assert f"CMD {json.dumps(use.split())}\n" in DOCKERFILE


def test_image_is_pinned_and_does_not_run_as_root():
    assert re.search(r"^FROM python:3\.\d+\.\d+-slim-\w+ AS base$", DOCKERFILE, re.M)
    for stage in DOCKERFILE.split("\nFROM "):  # root installs Debian packages, and hands over
        assert re.findall(r"^USER (.+)$", stage, re.M)[-1:] in ([], ["1000"])
    assert "USER 1000" in DOCKERFILE.split(" AS base\n")[1].split("\nFROM ")[0]
    assert all(
        line.endswith(" AS base") or line.startswith("FROM base AS ")
        for line in re.findall(r"^FROM .+$", DOCKERFILE, re.M)
    )


def test_compose_has_the_four_services_on_this_machine_only():
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert ports == {
        "jupyter": ["127.0.0.1:8888:8888"],
        "dashboard": ["127.0.0.1:8501:8501"],
        "mlflow": ["127.0.0.1:5000:5000"],
        "tests": [],
    }
    assert COMPOSE["services"]["tests"]["command"] == install_and_use(".venv-dev")[1]
    assert COMPOSE["services"]["tests"]["profiles"] == ["tests"]


def test_compose_services_share_one_store():
    shared = list(SHARED.values())
    uris = {s["environment"]["MLFLOW_TRACKING_URI"] for s in shared}
    volume, mount = shared[0]["volumes"][0].split(":")
    assert uris == {f"sqlite:///{mount}/mlflow.db"} and volume in COMPOSE["volumes"]
    assert all(s["volumes"] == shared[0]["volumes"] for s in shared)


@pytest.mark.parametrize(
    "service, variable", [("jupyter", "JUPYTER_TOKEN"), ("dashboard", "MLP_BENCH_TOKEN")]
)
def test_token_comes_from_the_environment_or_is_made_up(service, variable):
    assert (
        COMPOSE["services"][service]["environment"][variable] == f"${{{variable}:-}}"
    )  # empty: the service makes one up and logs it
    assert "token" not in COMPOSE["services"][service]["command"]


def test_no_secret_is_written_in_a_file():
    words = re.compile(r"(?i)^.*(?:token|password|secret).*[:=] *[\"']?(?!\$\{)[\w-]{6,}[\"']?$", re.M)
    assert [
        line
        for text in (DOCKERFILE, (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
        for line in words.findall(text)
    ] == []
    assert {".git", ".env*"} <= set((ROOT / ".dockerignore").read_text().split())


def test_every_service_says_whether_it_is_healthy():
    for name, service in SHARED.items():
        (port,) = re.findall(r"--port (\d+)", service["command"])
        program, flag, code = service["healthcheck"]["test"][1:]
        assert (program, flag) == ("python", "-c") and f"http://127.0.0.1:{port}/" in code
        assert service["ports"] == [
            f"127.0.0.1:{port}:{port}"
        ] and f"--host 0.0.0.0 --port {port}" in service["command"].replace("--ip ", "--host ")
        compile(code, name, "exec")


def test_services_give_up_what_they_do_not_need():
    for service in COMPOSE["services"].values():
        assert (
            service["cap_drop"] == ["ALL"]
            and service["security_opt"] == ["no-new-privileges:true"]
            and not service.get("privileged")
        )


def test_dockerfile_passes_hadolint():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_file_follows_its_schema():
    from check_jsonschema import main as check_jsonschema  # takes seconds

    command = ["--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")]
    done = CliRunner().invoke(check_jsonschema, command)
    assert done.exit_code == 0, done.output

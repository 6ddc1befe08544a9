"""The files for people and machines beside the package say the same: dependencies, version, paper, commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it along

ROOT = Path(__file__).resolve().parents[1]
CONDA = {"torch": "pytorch"}  # where conda-forge has another name
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def listed(requirements) -> dict[str, str]:
    """Name -> version rule, as conda-forge would write them."""
    split = (re.fullmatch(r"([\w-]+)\s*([<>=!~].*)?", text.strip()) for text in requirements)
    return {CONDA.get(name, name): rule or "" for name, rule in (match.groups() for match in split)}


def conda(path: str) -> dict[str, str]:
    content = yaml.safe_load((ROOT / path).read_text())
    assert content["channels"] == ["conda-forge"]
    return listed(content["dependencies"])


def test_environment_holds_what_pyproject_asks_for_with_the_same_versions():
    wanted = listed(PROJECT["dependencies"]) | listed(PROJECT["optional-dependencies"]["test"])
    assert conda("environment.yml") == wanted | {"python": PROJECT["requires-python"], "pip": ""}


def test_binder_holds_what_pyproject_asks_for_with_a_cpu_build():
    wanted = listed(PROJECT["dependencies"])
    wanted["pytorch-cpu"] = wanted.pop("pytorch")
    assert conda("binder/environment.yml") == wanted | {"python": "=3.12", "pip": ""}


def test_postbuild_is_executable_and_stops_at_errors():
    path = ROOT / "binder" / "postBuild"
    lines = path.read_text().splitlines()
    assert os.access(path, os.X_OK)
    assert lines[0] == "#!/bin/bash" and "set -e" in lines


def run_postbuild(folder: Path, python: str) -> subprocess.CompletedProcess:
    """postBuild with an empty home and a stand-in for Python, so that nothing is installed."""
    for name in ("home", "bin"):
        (folder / name).mkdir()
    (folder / "bin" / "python").write_text(f"#!/bin/sh\n{python}\n")
    (folder / "bin" / "python").chmod(0o755)
    environment = os.environ | {"HOME": str(folder / "home"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run([ROOT / "binder" / "postBuild"], env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_postbuild_installs_the_package_alone_and_opens_the_first_notebook(tmp_path):
    done = run_postbuild(tmp_path, 'echo "$@"')
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["-m", "pip", "install", "--no-deps", "--no-cache-dir", "-e", "."]
    settings = tmp_path / "home" / ".jupyter"
    for server in json.loads((settings / "jupyter_server_config.json").read_text()).values():
        path = server["default_url"].removeprefix("/lab/tree/")
        assert path == sorted(f"notebooks/{file.name}" for file in (ROOT / "notebooks").glob("*.ipynb"))[0]
    assert json.loads((settings / "labconfig" / "default_setting_overrides.json").read_text())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_postbuild_fails_where_the_install_fails(tmp_path):
    assert run_postbuild(tmp_path, "exit 3").returncode == 3


def test_repo2docker_makes_its_image_from_binder_alone():
    pytest.importorskip("repo2docker", reason="no repo2docker: pip install jupyter-repo2docker")
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    assert "conda environment for python=3.12" in said
    assert set(re.findall(r'env update .*--file "([^"]+)"', said)) == {"binder/environment.yml"}
    assert re.findall(r"^RUN (\S*/postBuild)$", said, re.M) == ["./binder/postBuild"]


def test_ci_calls_both_commands_of_the_readme():
    """The series with what the package asks for and nothing else, then the tests with what they ask for."""
    text = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    calls = ["install -q -e .\n", "python -m ptsa_lite reproduce --out", 'install -q -e ".[test]" && python -m pytest']
    places = [text.index(call) for call in calls]
    assert places == sorted(places)


def test_the_version_is_one():
    import ptsa_lite

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"(?m)^## (\S+),", (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert PROJECT["version"] == ptsa_lite.__version__ == cited["version"] == newest.group(1)


def test_the_citation_is_that_of_the_readme():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = ", ".join(author["family-names"] for author in paper["authors"])
    assert f'{names}, "{paper["title"]}"' in readme
    assert paper["url"] in readme


def test_hooks_and_workflow_run_what_ci_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    ci = (ROOT / ".ci" / "run").read_text()
    for command in (hook["entry"] for hook in hooks):
        assert command in workflow and command in ci, command
    assert 'install -e ".[test]" && python -m pytest' in workflow


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forms_and_workflows_are_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)

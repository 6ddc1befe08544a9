"""pyproject.toml, environment.yml and binder/environment.yml name the same dependencies."""

import os
import re
import sys
from pathlib import Path

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


def test_postbuild_is_executable_stops_at_errors_and_installs_the_package_alone():
    path = ROOT / "binder" / "postBuild"
    lines = path.read_text().splitlines()
    assert os.access(path, os.X_OK)
    assert lines[0] == "#!/bin/bash" and "set -e" in lines
    assert any("pip install --no-deps" in line for line in lines)


def test_ci_calls_both_commands_of_the_readme():
    text = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    tests = text.index('install -q -e ".[test]" && python -m pytest')
    assert text.index("install -q -e . && python -m ptsa_lite reproduce") > tests

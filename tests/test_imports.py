"""The house stands: imports lead downward only (contracts in pyproject.toml), and its parts stay small."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ptsa_lite"
FACES = {"__init__", "__main__", "predict"}  # flat, and not the paper

# What each part may be long, in lines: as it is now where that is more than what it should be, which stands beside it.
CORE_LINES = 1500
CORE_FILE_LINES = 200
FAST_LINES = 172  # 160
BASELINE_LINES = 90
ALL_LINES = 13_665  # 8,500, without baselines
CORE = sorted(path for path in PACKAGE.glob("*.py") if path.stem not in FACES | {"fast"})
BASELINES = sorted((PACKAGE / "baselines").glob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_imports_lead_downward_only(capsys):
    broken = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    said = capsys.readouterr().out
    assert not broken, said[said.index("Contracts") :]


def test_importing_the_package_loads_no_wing_and_its_data_nothing_heavy_beyond_torch_and_timm():
    wings = {f"ptsa_lite.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    assert "ptsa_lite.training" in wings
    code = (
        "import sys, torch, timm\nimport ptsa_lite\nprint(*sys.modules)\n"
        "import ptsa_lite.methods, ptsa_lite.similarity, ptsa_lite.data\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second = (set(line.split()) for line in done.stdout.splitlines())
    assert not wings & first
    heavy = {"datasets", "pandas", "pyarrow", "scipy", "matplotlib", "papermill", "jupytext", "ipywidgets"}
    assert not heavy & second


def test_the_core_reads_in_an_evening():
    assert sum(map(lines, CORE)) <= CORE_LINES


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_no_file_of_the_core_is_long(path):
    assert lines(path) <= CORE_FILE_LINES


def test_the_fast_forms_are_one_small_file():
    assert lines(PACKAGE / "fast.py") <= FAST_LINES


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_rival_is_a_small_file(path):
    assert lines(path) <= BASELINE_LINES


def test_the_whole_stays_small():
    assert sum(lines(path) for path in PACKAGE.rglob("*.py") if path not in BASELINES) <= ALL_LINES

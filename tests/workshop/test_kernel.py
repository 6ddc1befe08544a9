"""The kernel's environment, and which Python it is of."""

import os
import subprocess
import sys

from ptsa_lite.workshop import kernel as notebook_kernel
from ptsa_lite.workshop import notebooks


def test_the_kernel_keeps_what_you_set_but_draws_inline(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    found = notebook_kernel.environment()
    assert found["OMP_NUM_THREADS"] == "7"
    assert found["MPLBACKEND"].endswith("backend_inline")
    assert os.environ["MPLBACKEND"] == "Agg", "only the kernel's environment changes"


def test_no_bar_of_progress_gets_into_an_output():
    code = "from ptsa_lite.data.cache import progress; print(progress(1, 'frames').disable)"
    environment = notebook_kernel.environment()
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "True"


def test_a_hub_may_be_asked_unless_you_forbid_it(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert "HF_HUB_OFFLINE" not in notebook_kernel.environment(), "settings may ask for weights of a hub"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert notebook_kernel.environment()["HF_HUB_OFFLINE"] == "1"


def test_a_project_where_you_stand_does_not_stand_for_the_libraries(tmp_path, monkeypatch):
    (tmp_path / "datasets.py").write_text("raise SystemExit('the other project ran')")
    (tmp_path / "00_look_here.py").write_text("# %%\nimport datasets, ptsa_lite\nprint(datasets.Dataset, ptsa_lite)\n")
    monkeypatch.delenv("PYTHONPATH", raising=False)  # as in a clone that is not installed
    executed = notebooks.execute(tmp_path / "00_look_here.py", tmp_path / "out.ipynb", where=tmp_path)
    assert "arrow_dataset" in executed.cells[0].outputs[0].text


def test_a_kernel_installed_for_another_python_does_not_win(tmp_path, monkeypatch):
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["/no/such/python"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert notebook_kernel.Kernel(kernel_name="python3").kernel_spec.argv[0] == sys.executable

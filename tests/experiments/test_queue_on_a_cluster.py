"""A study as jobs of a cluster, which here are processes of this machine."""

import sys

import pytest
import yaml

from ptsa_lite.__main__ import main
from ptsa_lite.experiments.queue import submit_study
from ptsa_lite.experiments.results import collected
from ptsa_lite.experiments.settings import read_runs

TINY = {"n_frames": 2, "img_size": 32, "weights": "random", "tasks": ["semseg"], "method": "bitfit",
        "config": {"epochs": 1, "warmup_epochs": 0, "batch_size": 2}, "grid": {"seed": [0, 1]}}  # fmt: skip


@pytest.fixture
def grid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(TINY))
    return tmp_path / "grid.yaml"


def test_jobs_of_a_cluster_do_what_the_study_then_finds_done(grid, tmp_path, capsys):
    pytest.importorskip("submitit", reason='no submitit: pip install "ptsa-lite[cluster]"')
    runs, folder = read_runs(grid), tmp_path / "runs" / "study" / "grid"
    assert [job.result() for job in submit_study(runs, folder, "local", timeout_min=5)] == [True, True]
    assert main(["study", "grid.yaml", "--cluster", "local"]) == 0
    assert "0 runs are with local" in capsys.readouterr().out
    assert main(["study", "grid.yaml"]) == 0 and "2 of 2 runs were done before" in capsys.readouterr().out
    assert [result["run"]["seed"] for result in collected("figures/results/grid.json")] == [0, 1]


def test_without_submitit_a_cluster_is_refused_in_one_sentence(grid, monkeypatch, capsys):
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(["study", "grid.yaml", "--cluster", "local", "--set", "seed=3"]) == 2
    assert 'install it by pip install "ptsa-lite[cluster]"' in capsys.readouterr().err

"""A study as jobs of a cluster, which here are processes of this machine."""

import pytest

from ptsa_lite.experiments.queue import run_study
from ptsa_lite.experiments.run import Run

submitit = pytest.importorskip("submitit", reason='no submitit: pip install "ptsa-lite[cluster]"')


def test_jobs_of_a_cluster_do_what_the_study_then_finds_done(tmp_path):
    from ptsa_lite.experiments.cluster import submit_study

    config = {"epochs": 1, "warmup_epochs": 0, "batch_size": 2}
    runs = [Run(method, ("semseg",), n_frames=2, img_size=32, weights="random", config=config)
            for method in ("bitfit", "decoders_only")]  # fmt: skip
    jobs = submit_study(runs, tmp_path, "local", timeout_min=5)
    assert [job.result() for job in jobs] == [True, True] and not submit_study(runs, tmp_path, "local")
    results = run_study(runs, tmp_path, report=lambda line: None)
    assert [result["run"]["method"] for result in results] == ["bitfit", "decoders_only"]

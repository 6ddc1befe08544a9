"""All rows of the comparison at once: each method trains on scenes, and stands in one table."""

import math

from tiny import tiny_backbone

from ptsa_lite.experiments import run as one_run
from ptsa_lite.experiments.queue import run_study
from ptsa_lite.experiments.run import Run
from ptsa_lite.experiments.tables import markdown_table, summarise
from ptsa_lite.methods import METHODS
from ptsa_lite.tasks import SCENES, select
from ptsa_lite.tree import TaskTree

TASKS = ("depth", "normals")
TREE = TaskTree(((TASKS,), (TASKS,), (TASKS,), (("depth",), ("normals",)))).to_dict()
TWO_STEPS = {"epochs": 1, "batch_size": 2, "lr": 1e-3, "warmup_epochs": 0.0}  # of four frames


def test_every_method_trains_two_steps_on_scenes_and_has_its_line_in_one_table(monkeypatch, tmp_path):
    monkeypatch.setattr(one_run, "load_backbone", lambda name, weights, img_size, **_: tiny_backbone(img_size))
    monkeypatch.setattr(one_run, "count_macs", lambda model: 10**9)  # counted in test_costs and test_rivals, at length
    settings = dict(rank=4, n_frames=4, img_size=64, config=TWO_STEPS)
    runs = [Run(method, TASKS, TREE if method == "ptsa" else None, **settings) for method in METHODS]
    rows = summarise(run_study(runs, tmp_path))
    for row in rows:
        assert math.isfinite(row["delta_m"]) and all(map(math.isfinite, row["metrics"].values())), row
    lines = markdown_table(rows, select(SCENES, TASKS)).splitlines()[2:]
    assert sorted(line.split("|")[1].strip() for line in lines) == sorted(method.title for method in METHODS.values())

import math
from dataclasses import asdict

import pytest

from ptsa_lite.experiments.run import Run
from ptsa_lite.experiments.tables import best_rates, markdown_table, paired_difference, summarise, table_of_methods
from ptsa_lite.tasks import SUITES, select
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "normals")
TREE = TaskTree(((TASKS,), (TASKS,), (TASKS,), (("semseg",), ("normals",)))).to_dict()


def result(method, seed=0, tree=None, **metrics):
    run = Run(method, tree=tree, seed=seed, tasks=TASKS, rank=1)
    return {"run": asdict(run), "metrics": metrics, "parameters": {"trainable": 7}, "gmacs": 0.5, "seconds": 1.0}


def test_the_table_compares_each_seed_with_its_own_single_task_run():
    rows = table_of_methods([
        result("single_task", semseg=40.0, normals=20.0),
        result("single_task", seed=1, semseg=50.0, normals=20.0),
        result("ptsa", tree=TREE, semseg=44.0, normals=19.0),
        result("ptsa", seed=1, tree=TREE, semseg=44.0, normals=21.0),
    ])
    assert [round(row["delta_m"], 6) for row in rows] == [0.0, 0.0, 7.5, -8.5]
    assert rows[2]["tree"] == "(1, 1, 1, 2)"
    assert rows[2]["groups"] == "semseg+normals > semseg+normals > semseg+normals > semseg | normals"
    assert (rows[0]["rank"], rows[2]["rank"], rows[2]["trainable"]) == (None, 1, 7)


def test_without_a_usable_single_task_run_there_is_no_gain_to_print():
    alone = table_of_methods([result("ptsa", tree=TREE, semseg=44.0, normals=19.0)])
    nothing = result("single_task", semseg=0.0, normals=20.0)
    zero = table_of_methods([nothing, result("bitfit", semseg=1.0, normals=9.0)])
    assert [row["delta_m"] for row in (*alone, *zero)] == [None, None, None]


def test_conditions_are_averaged_over_seeds_and_gains_are_kept_by_seed():
    rows = summarise([
        result("single_task", semseg=40.0, normals=20.0),
        result("ptsa", tree=TREE, semseg=44.0, normals=19.0),
        result("single_task", seed=1, semseg=50.0, normals=20.0),
        result("ptsa", seed=1, tree=TREE, semseg=44.0, normals=21.0),
    ])
    assert [row["method"] for row in rows] == ["single_task", "ptsa"]
    assert rows[1]["seeds"] == [0, 1] and rows[1]["metrics"] == {"semseg": 44.0, "normals": 20.0}
    assert rows[1]["metrics_sd"]["normals"] == pytest.approx(math.sqrt(2))
    assert rows[1]["gains"] == pytest.approx({0: 7.5, 1: -8.5}) and rows[1]["delta_m"] == pytest.approx(-0.5)
    assert rows[1]["delta_m_sd"] == pytest.approx(16 / math.sqrt(2))


def test_one_seed_has_no_spread_and_other_trees_are_other_conditions():
    other = TaskTree.separate(TASKS).to_dict()
    rows = summarise([result("ptsa", tree=tree, semseg=44.0, normals=19.0) for tree in (TREE, other)])
    assert len(rows) == 2 and rows[0]["delta_m"] is None and rows[0]["metrics_sd"] == {"semseg": None, "normals": None}


def test_a_difference_is_paired_by_seed_with_students_interval():
    found = paired_difference({0: 3.0, 1: 5.0, 2: 4.0, 7: 99.0}, {0: 2.0, 1: 3.0, 2: 1.0})
    assert found["n"] == 3 and found["differences"] == {0: 1.0, 1: 2.0, 2: 3.0} and found["mean"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)  # t(2) at 0.975, sd 1
    assert found["low"] == pytest.approx(4.0 - found["high"])
    assert paired_difference({0: 1.0}, {0: 0.0})["low"] is None
    with pytest.raises(ValueError, match="no seed in common"):
        paired_difference({0: 1.0}, {1: 1.0})


def test_the_best_rate_is_the_one_whose_metrics_gain_most_over_the_middle_one():
    tried = [result("bitfit", semseg=s, normals=n) for s, n in ((40.0, 21.0), (40.0, 20.0), (50.0, 20.0))]
    for one, rate in zip(tried, (1e-3, 2e-3, 4e-3), strict=True):
        one["run"]["config"] = {"lr": rate}
    assert best_rates(tried) == {"bitfit": pytest.approx({1e-3: -2.5, 2e-3: 0.0, 4e-3: 12.5})}


def test_the_table_for_a_readme_goes_from_best_to_worst_and_leaves_out_what_has_no_gain():
    rows = summarise([
        result("single_task", semseg=40.0, normals=20.0),
        result("ptsa", tree=TREE, semseg=44.0, normals=19.0),
        result("ptsa", seed=9, tree=TREE, semseg=44.0, normals=19.0),
    ])
    assert markdown_table(rows, select(SUITES["nyud"], TASKS)).splitlines() == [
        "| condition | semseg mIoU ↑ | normals mean angle (°) ↓ | delta_m % ↑ | seeds | trainable M | GMACs |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| PTSA (TGLoRA) | 44.00 | 19.00 | +7.50 | 2, delta_m 1 | 0.000 | 0.500 |",
        "| Single task | 40.00 | 20.00 | +0.00 | 1 | 0.000 | 0.500 |",
    ]

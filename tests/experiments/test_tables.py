import math
from dataclasses import asdict, replace

import pytest

from ptsa_lite.experiments import tables
from ptsa_lite.experiments.run import Run
from ptsa_lite.experiments.tables import markdown_table, summarise, table_of_methods, told_apart
from ptsa_lite.tasks import NYUD, SUITES, select
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "normals")
TREE = TaskTree(((TASKS,), (TASKS,), (TASKS,), (("semseg",), ("normals",)))).to_dict()
OTHER_TREE = TaskTree.separate(TASKS).to_dict()


def result(method, seed=0, tree=None, settings=None, **metrics):
    run = Run(method, tree=tree, seed=seed, tasks=TASKS, **{"rank": 1} | (settings or {}))
    return {"run": asdict(run), "metrics": metrics, "parameters": {"trainable": 7}, "gmacs": 0.5, "seconds": 1.0}


def test_the_table_compares_each_seed_with_its_own_single_task_run():
    rows = table_of_methods(
        [
            result("single_task", semseg=40.0, normals=20.0),
            result("single_task", seed=1, semseg=50.0, normals=20.0),
            result("ptsa", tree=TREE, semseg=44.0, normals=19.0),
            result("ptsa", seed=1, tree=TREE, semseg=44.0, normals=21.0),
        ]
    )
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
    rows = summarise(
        [
            result("single_task", semseg=40.0, normals=20.0),
            result("ptsa", tree=TREE, semseg=44.0, normals=19.0),
            result("single_task", seed=1, semseg=50.0, normals=20.0),
            result("ptsa", seed=1, tree=TREE, semseg=44.0, normals=21.0),
        ]
    )
    assert [row["method"] for row in rows] == ["single_task", "ptsa"]
    assert rows[1]["seeds"] == [0, 1] and rows[1]["metrics"] == {"semseg": 44.0, "normals": 20.0}
    assert rows[1]["metrics_sd"]["normals"] == pytest.approx(math.sqrt(2))
    assert rows[1]["gains"] == pytest.approx({0: 7.5, 1: -8.5}) and rows[1]["delta_m"] == pytest.approx(-0.5)
    assert rows[1]["delta_m_sd"] == pytest.approx(16 / math.sqrt(2))


def test_one_seed_has_no_spread_and_other_trees_are_other_conditions():
    rows = summarise([result("ptsa", tree=tree, semseg=44.0, normals=19.0) for tree in (TREE, OTHER_TREE)])
    assert len(rows) == 2 and rows[0]["delta_m"] is None and rows[0]["metrics_sd"] == {"semseg": None, "normals": None}


def test_the_reference_may_be_the_mean_of_the_single_task_runs_and_tasks_may_be_left_out():
    runs = [
        result("single_task", semseg=40.0, normals=20.0),
        result("single_task", seed=1, semseg=60.0, normals=20.0),
        result("bitfit", seed=2, semseg=55.0, normals=16.0),
    ]
    rows = table_of_methods(runs, "mean")
    assert [row["delta_m"] for row in rows] == pytest.approx([-10.0, 10.0, 15.0])  # of 50 and 20
    assert [row["delta_m"] for row in table_of_methods(runs, "mean", ["normals"])] == pytest.approx([-20.0, 20.0, 10.0])
    assert table_of_methods(runs)[2]["delta_m"] is None and table_of_methods(runs, without=TASKS)[0]["delta_m"] is None
    single = summarise(runs, "mean")[0]
    assert single["delta_m"] == pytest.approx(0) and single["delta_m_sd"] == pytest.approx(math.sqrt(200))
    with pytest.raises(ValueError, match="unknown reference 'median'"):
        table_of_methods(runs, "median")


def test_a_result_older_than_a_setting_is_of_the_same_condition_wherever_its_data_lay():
    old, new = result("bitfit", semseg=40.0, normals=20.0), result("bitfit", seed=1, semseg=40.0, normals=20.0)
    old["run"].pop("similarity")
    new["run"]["root"] = "elsewhere"
    assert len(summarise([old, new])) == 1


def test_a_label_whose_tree_changes_with_the_seed_is_one_row_by_label():
    runs = [result("single_task", seed=seed, semseg=50.0, normals=20.0) for seed in (0, 1)]
    for seed, tree, semseg in ((0, TREE, 50.0), (0, OTHER_TREE, 52.0), (1, OTHER_TREE, 55.0)):
        runs.append(result("ptsa", seed=seed, tree=tree, semseg=semseg, normals=20.0))
    assert len(summarise(runs)) == 3
    (_, row) = summarise(runs, by_label=True)
    assert row["seeds"] == [0, 1] and row["gains"] == pytest.approx({0: 1.0, 1: 5.0})
    assert row["delta_m"] == pytest.approx(3.0)


def test_where_edges_are_measured_by_odsf_the_table_shows_delta_m_without_them_too(monkeypatch):
    measured = {"edge": replace(NYUD["edge"], metric="odsF", higher_is_better=True)}
    monkeypatch.setattr(tables, "run_tasks", lambda run: {"semseg": NYUD["semseg"]} | measured)
    runs = [result("single_task", semseg=40.0, edge=0.5), result("bitfit", semseg=44.0, edge=0.4)]
    assert [row["delta_m"] for row in summarise(runs)] == pytest.approx([0.0, -5.0])
    assert [row["without_edges"] for row in summarise(runs)] == pytest.approx([0.0, 10.0])
    assert summarise(runs, without=["edge"])[1]["without_edges"] is None
    assert markdown_table(summarise(runs), {"semseg": NYUD["semseg"]} | measured).splitlines()[0::3] == [
        "| condition | semseg mIoU ↑ | edge odsF ↑ | delta_m % ↑ | without edges % ↑ | seeds | trainable M | GMACs |",
        "| BitFit | 44.00 | 0.4000 | -5.00 | +10.00 | 1 | 0.000 | 0.500 |",
    ]


def test_the_table_for_a_readme_goes_from_best_to_worst():
    rows = summarise(
        [
            result("single_task", semseg=40.0, normals=20.0),
            result("ptsa", tree=TREE, semseg=44.0, normals=19.0),
            result("ptsa", seed=9, tree=TREE, semseg=44.0, normals=19.0),
        ]
    )
    assert markdown_table(rows, select(SUITES["nyud"], TASKS)).splitlines() == [
        "| condition | semseg mIoU ↑ | normals mean angle (°) ↓ | delta_m % ↑ | seeds | trainable M | GMACs |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| PTSA (TGLoRA) | 44.00 | 19.00 | +7.50 | 2, delta_m 1 | 0.000 | 0.500 |",
        "| Single task | 40.00 | 20.00 | +0.00 | 1 | 0.000 | 0.500 |",
    ]


def test_what_has_no_gain_is_in_the_table_all_the_same():
    """Grids without single tasks ended in an empty table."""
    ours = [result("ptsa", tree=TREE, semseg=44.0, normals=19.0), result("bitfit", semseg=45.0, normals=21.0)]
    tasks = select(SUITES["nyud"], TASKS)
    assert markdown_table(summarise(ours), tasks).splitlines() == [
        "| condition | semseg mIoU ↑ | normals mean angle (°) ↓ | seeds | trainable M | GMACs |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| PTSA (TGLoRA) | 44.00 | 19.00 | 1 | 0.000 | 0.500 |",
        "| BitFit | 45.00 | 21.00 | 1 | 0.000 | 0.500 |",
    ]
    ours.append(result("single_task", seed=1, semseg=40.0, normals=20.0))
    lines = markdown_table(summarise(ours), tasks).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| Single task", "| PTSA (TGLoRA)", "| BitFit"]


def test_conditions_of_one_label_say_what_they_differ_in():
    """The three rates of a method were one row, with the mean of all."""
    some = {"semseg": 44.0, "normals": 19.0}
    runs = [result("bitfit", settings={"config": {"lr": rate}}, **some) for rate in (5e-4, 1e-3)]
    runs += [result("lora_shared", settings={"rank": rank}, seed=seed, **some) for rank in (1, 2) for seed in (0, 1)]
    runs += [result("ptsa", tree=tree, **some) for tree in (TREE, OTHER_TREE)]
    runs += [result("ptsa", tree=tree, settings={"label": "any tree"}, **some) for tree in (TREE, OTHER_TREE)]
    runs += [result("decoders_only", seed=seed, **some) for seed in (0, 1)]
    joined, apart = "semseg+normals > semseg+normals > semseg+normals", "semseg | normals"
    assert [(row["label"], len(row["seeds"])) for row in summarise(told_apart(runs), by_label=True)] == [
        ("BitFit, lr 0.0005", 1), ("BitFit, lr 0.001", 1), ("LoRA, shared, rank 1", 2), ("LoRA, shared, rank 2", 2),
        (f"PTSA (TGLoRA), {joined}", 1), ("PTSA (TGLoRA), " + " > ".join([apart] * 3), 1), ("any tree", 1),
        ("Decoders only", 2),
    ]  # fmt: skip
    assert runs[0]["run"]["label"] == ""
    tasks = select(SUITES["nyud"], TASKS)
    assert r"| PTSA (TGLoRA), semseg \| normals > " in markdown_table(summarise(told_apart(runs), by_label=True), tasks)


def test_several_references_of_a_seed_count_as_their_mean_in_any_order():
    """As in a search for a rate; the last one counted before."""
    alone = [result("single_task", settings={"config": {"lr": lr}}, semseg=semseg, normals=20.0)
             for lr, semseg in ((1e-3, 40.0), (2e-3, 60.0))]  # fmt: skip
    results = [*alone, result("bitfit", semseg=55.0, normals=20.0)]
    for order in (results, results[::-1]):
        (gain,) = [row["delta_m"] for row in table_of_methods(order) if row["method"] == "bitfit"]
        assert gain == pytest.approx(5.0)


def test_metrics_of_a_label_are_means_over_its_seeds_as_its_gains_are():
    runs = [result("bitfit", seed, settings={"label": "P", "rank": rank}, semseg=semseg, normals=20.0)
            for seed, rank, semseg in ((0, 1, 60.0), (0, 2, 64.0), (1, 1, 40.0))]  # fmt: skip
    (row,) = summarise(runs, by_label=True)
    assert row["metrics"]["semseg"] == pytest.approx(51) and row["metrics_sd"]["semseg"] == pytest.approx(
        22 / math.sqrt(2)
    )

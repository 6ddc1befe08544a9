"""What is said of a study is what its numbers allow, and no more."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import yaml
from scipy import stats

from ptsa_lite.__main__ import main
from ptsa_lite.experiments.comparison import compare, gains_of, reference_error, report, table_of, tree_test
from ptsa_lite.experiments.run import Run
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "depth", "normals", "edge")
TREES = [tree.to_dict() for tree in TaskTree.enumerate(TASKS, (1, 1, 2, 4))]


def result(label, seed, gain, method="bitfit", **settings):
    """A run whose delta_m is its gain, against references of 100 and 1."""
    run = Run(method, TASKS, seed=seed, data="nyud", rank=1, label=label, **settings)
    metrics = {"semseg": 100 + 4 * gain, "depth": 1.0, "normals": 1.0, "edge": 1.0}
    return {"name": run.name(), "run": asdict(run), "metrics": metrics, "parameters": {"trainable": 7}, "gmacs": 0.5,
            "seconds": 1.0, "losses": {}, "frames": [8, 8]}  # fmt: skip


def study(**gains):
    """Every condition by its label, and a single task of mean 0 over the seeds."""
    alone = [result("", seed, gain, "single_task") for seed, gain in enumerate((0.3, 0.0, -0.3))]
    return alone + [result(label, seed, y) for label, ys in gains.items() for seed, y in enumerate(ys)]


def test_gains_are_against_the_mean_of_the_single_tasks_whose_own_error_is_said():
    results = study(a=[1.0, 2.0])
    assert gains_of(results)["a"] == pytest.approx({0: 1.0, 1: 2.0})
    assert gains_of(results, without=["depth", "edge"])["a"] == pytest.approx({0: 2.0, 1: 4.0})
    assert reference_error(results) == (3, pytest.approx(0.3 / np.sqrt(3)))
    assert reference_error(results[:1]) == (1, None)
    for wrong in (results[3:], [*results, result("b", 0, float("nan"))]):
        with pytest.raises(ValueError, match="has no delta_m: that needs a finite metric"):
            gains_of(wrong)


def test_the_primary_is_tested_alone_and_the_others_are_corrected_together_also_those_not_run_yet():
    rng = np.random.default_rng(1)
    ys = {label: rng.normal(mean, 0.2, 8) for label, mean in (("a", 1.0), ("b", 0.0), ("c", 0.8), ("d", 0.7))}
    rows = compare(study(**ys), ("a", "b"), [("a", "c"), ("a", "d"), ("a", "none")])
    raw = [stats.ttest_rel(ys["a"], ys[label]).pvalue for label in "bcd"]
    assert [row["p"] for row in rows] == [*map(pytest.approx, raw), None]
    first, second = sorted(raw[1:])
    expected = {first: 3 * first, second: max(2 * second, 3 * first)}
    assert [row["p_holm"] for row in rows] == pytest.approx([raw[0], *(min(1, expected[p]) for p in raw[1:]), 1.0])
    assert rows[3]["n"] == 0 and rows[3]["verdict"] == "not run yet: no seed in common"
    both = compare(study(**ys), ("a", "b"), [("a", "c")])[0]["pooled"]
    assert both["high"] - both["low"] != pytest.approx(rows[0]["pooled"]["high"] - rows[0]["pooled"]["low"]), \
        "the error is pooled over the plan's conditions"  # fmt: skip


SPREAD = np.array([-1.0, 1.0, -0.5, 0.5, 0.0, 0.2, -0.2, 0.0])


@pytest.mark.parametrize("difference, verdict", [
    (1.2 + 0.3 * SPREAD, "a is better by 1.20 [1.05, 1.35]"),
    (-1.2 + 0.3 * SPREAD, "b is better by 1.20 [1.05, 1.35]"),
    (0.2 + 0.1 * SPREAD, "a is better by 0.20 [0.15, 0.25], and the same within 0.5"),
    (0.01 + 0.3 * SPREAD, "the same within 0.5: +0.01 [-0.14, +0.16]"),
    (0.3 + 1.0 * SPREAD, "not distinguished: with 8 seeds a difference of 0.70 would have been seen in four of five "
                         "such studies"),
    (SPREAD[:1], "one seed, which distinguishes nothing"),
], ids=str)  # fmt: skip
def test_a_verdict_in_words(difference, verdict):
    assert compare(study(a=difference, b=0 * difference), ("a", "b"))[0]["verdict"] == verdict


def grown(gains, chosen=0):
    """One run for each (tree, seed) of gains; the chosen tree has a label of its own."""
    alone = [result("", seed, 0.0, "single_task") for seed in range(9)]
    return alone + [result("mine" if tree == chosen else "another", seed, y, "ptsa", tree=TREES[tree])
                    for (tree, seed), y in gains.items()]  # fmt: skip


def test_all_trees_in_one_f_test_with_the_seeds_as_blocks():
    table = np.random.default_rng(2).normal(0, 1, (7, 3)) + [0, 5, 9]
    table[4] += 3
    test = tree_test(grown(dict(np.ndenumerate(table)), chosen=4), "mine")
    between = 3 * ((table.mean(1) - table.mean()) ** 2).sum() / 6
    within = ((table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()) ** 2).sum() / 12
    assert (
        test["F"] == pytest.approx(between / within) and test["freedom"] == (6, 12) and {*test["runs"].values()} == {3}
    )
    assert test["p"] == pytest.approx(stats.f.sf(between / within, 6, 12))
    effects = {str(TaskTree.from_dict(tree)): y - table.mean() for tree, y in zip(TREES, table.mean(1), strict=True)}
    assert test["trees"] == pytest.approx(effects) and list(test["trees"]) == sorted(effects, key=effects.get)[::-1]
    assert test["rank"] == 1 and test["chosen"] == str(TaskTree.from_dict(TREES[4]))


def test_trees_that_have_a_few_seeds_each_are_helped_by_conditions_that_have_all():
    gains = {(0, seed): float(seed) for seed in range(8)} | {(1 + seed % 6, seed): seed + 0.1 for seed in range(8)}
    results = grown(gains) + [result("rival", seed, seed + (-1) ** seed * 0.1) for seed in range(8)]
    alone, beside = tree_test(results, "mine"), tree_test(results, "mine", ["rival", "mine", "another", "none"])
    assert alone["freedom"] == (6, 2) and beside["freedom"] == (6, 9) and alone["rank"] == beside["rank"] == 7
    early = result("early", 0, 9.0, "ptsa", tree=next(TaskTree.enumerate(TASKS, (1, 2, 2, 4))).to_dict())
    found = tree_test([*results, early], "mine")
    assert sum(found["runs"].values()) == 16, "a tree of other groups is another question"
    plan = {"primary": ["mine", "another"], "others": [], "margin": 0.5}
    assert "number 7 of 7, by 8 runs where another has 1, so that its place says little." in report(results, plan)
    apart = {(0, 0): 1.0, (1, 0): 2.0, (0, 1): 1.0, (1, 1): 2.5, (2, 2): 9.0}
    assert tree_test(grown(apart), "mine") is None, "no seed joins the third tree with another"
    assert tree_test(results, "rival") is None and tree_test(grown({(0, 0): 1.0, (0, 1): 2.0}), "mine") is None


def test_compare_prints_a_studys_tables_by_the_plan_of_its_grid(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    results = grown({(tree, seed): tree + 0.1 * (seed * tree % 2) for tree in (0, 1, 2) for seed in (0, 1, 2)})
    plan = {"primary": ["mine", "another"], "others": [["mine", "Single task"]], "margin": 0.4}
    remark = {"remark": "Edges are derived."}
    runs = [{key: one["run"][key] for key in ("method", "label", "seed", "tree")} for one in results]
    for run in runs:
        run["tree"] = run["tree"] and str(TaskTree.from_dict(run["tree"]))
    (tmp_path / "g.yaml").write_text(yaml.safe_dump({"data": "nyud", "rank": 1, "plan": plan | remark, "runs": runs}))
    assert main(["compare", "g.yaml"]) == 2
    assert "no results in figures/results/g.json; run python -m ptsa_lite study g.yaml" in capsys.readouterr().err
    (tmp_path / "figures" / "results").mkdir(parents=True)
    (tmp_path / "figures" / "results" / "g.json").write_text(json.dumps({"runs": results}))
    assert main(["compare", "g.yaml"]) == 0
    said = capsys.readouterr().out
    assert said.strip() == report(results, plan | remark) and "\n\nEdges are derived.\n\n" in said
    assert report(results, plan) == said.strip().replace("Edges are derived.\n\n", "")
    assert table_of(compare(results, **plan)) in said
    for words in ("| mine − another | 3 | -1.52 [", "mean of 9 single-task runs, whose standard error is 0.00",
                  "3 trees, 9 runs: F(2, ", "the chosen one is number 3 of 3", "| **"):  # fmt: skip
        assert words in said
    assert main(["compare", "g.yaml", "--without", "edge"]) == 0
    assert "delta_m of semseg, depth, normals against" in capsys.readouterr().out
    assert main(["compare", "g.yaml", "--without", "edges"]) == 2
    assert "unknown task 'edges'; did you mean 'edge'?" in capsys.readouterr().err

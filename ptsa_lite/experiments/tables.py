"""What a study's results say: the table of methods, means with spread over seeds, paired differences."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from ptsa_lite.methods import METHODS
from ptsa_lite.metrics import delta_m
from ptsa_lite.tasks import Task, select, suite
from ptsa_lite.tree import TaskTree

from .run import Run


def table_of_methods(results: Sequence[dict]) -> list[dict]:
    """The rows of the table of methods, with delta_m against the single-task run of the same seed (None without)."""
    singles = {r["run"]["seed"]: r["metrics"] for r in results if r["run"]["method"] == "single_task"}
    rows = []
    for result in results:
        run = Run.from_dict(result["run"])
        single, tasks = singles.get(run.seed), select(suite(run.data), run.tasks)
        tree = run.tree and TaskTree.from_dict(run.tree)
        comparable = single is not None and all(single[task] for task in tasks)  # delta_m divides by them
        rows.append({
            "method": run.method,
            "label": run.label or METHODS[run.method].title,
            "tree": str(tree.n_groups) if tree else None,
            "groups": str(tree) if tree else None,
            "rank": run.rank if METHODS[run.method].low_rank else None,
            "seed": run.seed,
            "metrics": result["metrics"],
            "delta_m": delta_m(result["metrics"], single, tasks) if comparable else None,
            "trainable": result["parameters"]["trainable"],
            "gmacs": result["gmacs"],
            "seconds": result["seconds"],
        })
    return rows


def summarise(results: Sequence[dict]) -> list[dict]:
    """One row for each condition, that is all runs that differ in nothing but the seed; in the order of `results`.

    A row is one of `table_of_methods` with "metrics" and "delta_m" as means over seeds, "metrics_sd" and "delta_m_sd"
    as standard deviations (n - 1 in the denominator; None for one seed), "seeds", and "gains": {seed: delta_m}.
    """
    groups: dict[str, list[dict]] = {}
    for result, row in zip(results, table_of_methods(results), strict=True):
        groups.setdefault(condition(result), []).append(row)
    return [_summary(rows) for rows in groups.values()]


def condition(result: dict) -> str:
    """What a run shares with its repetitions under other seeds."""
    return json.dumps({key: value for key, value in result["run"].items() if key != "seed"}, sort_keys=True)


def _summary(rows: list[dict]) -> dict:
    gains = {row["seed"]: row["delta_m"] for row in rows if row["delta_m"] is not None}
    metrics = {task: [row["metrics"][task] for row in rows] for task in rows[0]["metrics"]}
    return rows[0] | {
        "seeds": [row["seed"] for row in rows],
        "metrics": {task: float(np.mean(values)) for task, values in metrics.items()},
        "metrics_sd": {task: _sd(values) for task, values in metrics.items()},
        "gains": gains,
        "delta_m": float(np.mean(list(gains.values()))) if gains else None,
        "delta_m_sd": _sd(list(gains.values())),
        "seconds": float(np.mean([row["seconds"] for row in rows])),
    }


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired_difference(one: dict[int, float], other: dict[int, float], confidence: float = 0.95) -> dict:
    """Mean over the seeds that both have of (one - other), with its confidence interval by Student's t.

    mean +- t(n - 1) sd / sqrt n, of differences within a seed: what a seed does to both falls out. Returns
    {"n", "mean", "low", "high", "differences"}; low and high are None for a single seed. Raises ValueError without a
    common seed.
    """
    differences = {seed: one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())}
    if not differences:
        raise ValueError(f"no seed in common: {sorted(one)} and {sorted(other)}; run both with the same seeds")
    values = np.array(list(differences.values()))
    mean, n = float(values.mean()), len(values)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n) if n > 1 else None
    low, high = (None, None) if half is None else (mean - float(half), mean + float(half))
    return {"n": n, "mean": mean, "low": low, "high": high, "differences": differences}


def markdown_table(rows: Sequence[dict], tasks: Mapping[str, Task]) -> str:
    """Conditions from best to worst as a table for a README: metrics and delta_m, means over seeds (± sd), costs."""
    metrics = [f"{name} {task.metric} {'↑' if task.higher_is_better else '↓'}" for name, task in tasks.items()]
    headings = ["condition", *metrics, "delta_m % ↑", "seeds", "trainable M", "GMACs"]
    lines = ["| " + " | ".join(headings) + " |", "| --- " + "| ---: " * (len(headings) - 1) + "|"]
    for row in sorted((row for row in rows if row["delta_m"] is not None), key=lambda row: -row["delta_m"]):
        spread = "" if row["delta_m_sd"] is None else f"\u00a0±\u00a0{row['delta_m_sd']:.2f}"  # in one line
        seeds, compared = len(row["seeds"]), len(row["gains"])  # delta_m needs the single tasks of the same seed
        cells = (
            row["label"], *(f"{row['metrics'][name]:#.4g}" for name in tasks), f"{row['delta_m']:+.2f}{spread}",
            str(seeds) if seeds == compared else f"{seeds}, delta_m {compared}",
            f"{row['trainable'] / 1e6:.3f}", f"{row['gmacs']:.3f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def best_rates(results: Sequence[dict]) -> dict[str, dict[float, float]]:
    """For every method the gain of each learning rate that it tried, in per cent: delta_m against its middle rate.

    A run with a label counts as a method of that name. The best rate is the one with the largest gain; the reference
    only sets the units in which the tasks are added.
    """
    tried: dict[str, dict[float, dict]] = {}
    for result in results:
        run = result["run"]
        tried.setdefault(run["label"] or run["method"], {})[run["config"]["lr"]] = result
    gains = {}
    for method, by_rate in tried.items():
        middle = by_rate[sorted(by_rate)[len(by_rate) // 2]]
        tasks = select(suite(middle["run"]["data"]), middle["run"]["tasks"])
        gains[method] = {rate: delta_m(r["metrics"], middle["metrics"], tasks) for rate, r in sorted(by_rate.items())}
    return gains

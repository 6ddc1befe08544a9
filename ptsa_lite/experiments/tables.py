"""What a study's results say: the table of methods, means with spread over seeds."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from ptsa_lite.methods import METHODS
from ptsa_lite.metrics import delta_m
from ptsa_lite.tasks import Task, known
from ptsa_lite.tree import TaskTree

from .labels import labels_of
from .run import Run, run_tasks


def table_of_methods(results: Sequence[dict], reference: str = "seed", without: Collection[str] = ()) -> list[dict]:
    """The rows of the table of methods, with delta_m against single-task runs (None where there are none).

    reference: "seed", the single-task run of the same seed, or "mean", the mean of all of them over their seeds;
    where several are of one seed, as in a search for a rate, their mean stands for it.
    without: tasks left out of delta_m. "without_edges" is delta_m without edges too, where edges are measured by odsF,
    and None elsewhere.
    """
    known(reference, ("seed", "mean"), "reference")
    alone = [(r["run"]["seed"], r["metrics"]) for r in results if r["run"]["method"] == "single_task"]
    each = {task: _by_seed([(seed, m[task]) for seed, m in alone]) for task in (alone[0][1] if alone else ())}
    singles = {seed: {task: means[seed] for task, means in each.items()} for seed, _ in alone}
    mean = singles and {task: float(np.mean([m[task] for m in singles.values()])) for task in [*singles.values()][0]}
    rows = []
    for result in results:
        run = Run.from_dict(result["run"])
        single = mean if reference == "mean" else singles.get(run.seed)
        tasks = {name: task for name, task in run_tasks(run).items() if name not in without}
        inner = {name: task for name, task in tasks.items() if task.metric != "odsF"}
        tree, metrics = run.tree and TaskTree.from_dict(run.tree), result["metrics"]
        rows.append({
            "method": run.method, "label": run.label or METHODS[run.method].title,
            "tree": str(tree.n_groups) if tree else None, "groups": str(tree) if tree else None,
            "rank": run.rank if METHODS[run.method].low_rank else None, "seed": run.seed,
            "metrics": metrics, "delta_m": _gain(metrics, single, tasks),
            "without_edges": _gain(metrics, single, inner) if len(inner) < len(tasks) else None,
            "trainable": result["parameters"]["trainable"], "gmacs": result["gmacs"], "seconds": result["seconds"],
        })  # fmt: skip
    return rows


def _gain(metrics: Mapping, single: Mapping | None, tasks: Mapping[str, Task]) -> float | None:
    """delta_m, or None without tasks or where a reference is missing or 0, by which one cannot divide."""
    return delta_m(metrics, single, tasks) if single and tasks and all(single[task] for task in tasks) else None


def summarise(
    results: Sequence[dict], reference: str = "seed", without: Collection[str] = (), by_label: bool = False
) -> list[dict]:
    """One row for each condition, that is all runs that differ in nothing but the seed; in the order of `results`.

    A row is one of `table_of_methods` with "metrics", "delta_m" and "without_edges" as means over seeds, "metrics_sd"
    and so on as standard deviations (n - 1 in the denominator; None for one seed), "seeds", and "gains":
    {seed: delta_m}. by_label: one row for each label, such as that of a tree which changes with the seed; of several
    runs of a label and seed the mean counts.
    """
    groups: dict[str, list[dict]] = {}
    for result, row in zip(results, table_of_methods(results, reference, without), strict=True):
        groups.setdefault(row["label"] if by_label else condition(result), []).append(row)
    return [_summary(rows) for rows in groups.values()]


def condition(result: dict, besides: Collection[str] = ()) -> str:
    """What a run shares with its repetitions under other seeds, wherever its data lay; `besides`, but for more."""
    run = asdict(Run.from_dict(result["run"]))  # a setting that is newer than a result has its default there
    return json.dumps({key: run[key] for key in run.keys() - {"seed", "root", *besides}}, sort_keys=True)


def told_apart(results: Sequence[dict]) -> list[dict]:
    """The results under the labels of `labels_of`, which say in what those of one label differ."""
    labels = labels_of([Run.from_dict(result["run"]) for result in results])
    return [result | {"run": result["run"] | {"label": label}} for result, label in zip(results, labels, strict=True)]


def _summary(rows: list[dict]) -> dict:
    summary = rows[0] | {"seeds": list(dict.fromkeys(row["seed"] for row in rows))}
    summary["seconds"] = float(np.mean([row["seconds"] for row in rows]))
    metrics = {task: _moments([*_by_seed([(row["seed"], row["metrics"][task]) for row in rows]).values()])
               for task in rows[0]["metrics"]}  # fmt: skip
    summary |= {"metrics": {t: mean for t, (mean, _) in metrics.items()}}
    summary |= {"metrics_sd": {t: sd for t, (_, sd) in metrics.items()}}
    for name in ("without_edges", "delta_m"):
        gains = _by_seed([(row["seed"], row[name]) for row in rows])
        summary[name], summary[f"{name}_sd"] = _moments([*gains.values()])
    return summary | {"gains": gains}


def _by_seed(found: Sequence[tuple[int, float | None]]) -> dict[int, float]:
    """The mean of each seed's values, of (seed, value); None is no value."""
    values: dict[int, list[float]] = {}
    for seed, value in found:
        if value is not None:
            values.setdefault(seed, []).append(value)
    return {seed: float(np.mean(several)) for seed, several in values.items()}


def _moments(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation, None where there are too few values."""
    return (float(np.mean(values)) if values else None, float(np.std(values, ddof=1)) if len(values) > 1 else None)


def markdown_table(rows: Sequence[dict], tasks: Mapping[str, Task]) -> str:
    """Conditions as a table for a README: metrics and delta_m, means over seeds (± sd), and costs.

    From the best delta_m to the worst; what has none follows, in the order of the rows.
    """
    gains = [name for name in ("delta_m", "without_edges") if any(row[name] is not None for row in rows)]
    metrics = [f"{name} {task.metric} {'↑' if task.higher_is_better else '↓'}" for name, task in tasks.items()]
    headings = ["condition", *metrics, *("delta_m % ↑", "without edges % ↑")[: len(gains)],
                "seeds", "trainable M", "GMACs"]  # fmt: skip
    lines = []
    for row in sorted(rows, key=lambda row: math.inf if row["delta_m"] is None else -row["delta_m"]):
        seeds, compared = len(row["seeds"]), len(row["gains"])  # delta_m needs the single tasks of the same seed
        lines.append((
            row["label"].replace("|", r"\|"), *(f"{row['metrics'][name]:#.4g}" for name in tasks),
            *(_with_spread(row, name) for name in gains),
            str(seeds) if seeds == compared or not gains else f"{seeds}, delta_m {compared}",
            f"{row['trainable'] / 1e6:.3f}", f"{row['gmacs']:.3f}",
        ))  # fmt: skip
    return markdown(headings, lines)


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], last: str = "---:") -> str:
    """A table in Markdown, its first column to the left, the others to the right; `last` is the last one's rule."""
    rules = ["---", *["---:"] * (len(headings) - 2), last]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rules, *rows))


def _with_spread(row: Mapping, name: str) -> str:
    if row[name] is None:
        return ""
    spread = row[f"{name}_sd"]
    return f"{round(row[name], 2) + 0:+.2f}" + ("" if spread is None else f"\u00a0±\u00a0{spread:.2f}")  # in one line

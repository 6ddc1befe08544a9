"""What a study says: the comparisons that its plan names, each with its errors and a verdict in words.

Every difference is one of delta_m against the mean of the single-task runs over their seeds, so that the reference's
luck falls out of it, but for the scale. All use the error rate of one in twenty.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from scipy import stats

from .run import Run, run_tasks
from .statistics import TwoWay, detectable, holm, paired_difference, same_within
from .tables import condition, markdown, markdown_table, summarise, table_of_methods

ALPHA = 0.05
Cells = dict[str, dict[int, float]]  # label -> seed -> delta_m


def gains_of(results: Sequence[dict], without: Sequence[str] = ()) -> Cells:
    """{label: {seed: delta_m}} against the mean of the single-task runs; several runs of one label and seed averaged.

    without: tasks left out of delta_m. Raises ValueError for a label that has none.
    """
    cells = {row["label"]: row["gains"] for row in summarise(results, "mean", without, by_label=True)}
    for label, gains in cells.items():
        if not gains or not all(map(math.isfinite, gains.values())):
            raise ValueError(f"{label} has no delta_m: that needs a finite metric of every task, and single-task runs "
                             f"beside it whose metrics are not 0")  # fmt: skip
    return cells


def compare(
    results: Sequence[dict], primary: Sequence[str], others: Sequence[Sequence[str]] = (), margin: float = 0.5,
    without: Sequence[str] = (),
) -> list[dict]:  # fmt: skip
    """A row for each pair of labels, the first less the second: the primary one, tested alone, then the others.

    n, mean, low, high, p, differences   the paired t test (`paired_difference`)
    pooled                               {"mean", "low", "high", "p"} by the error of all conditions of the plan
    p_holm                               p, corrected among the others (`holm`)
    p_same                               of the two one-sided tests at the margin (`same_within`), corrected likewise
    detectable                           the difference seen with 80 % power, at alpha over the number of tests
    told, same, verdict                  p_holm and p_same below 0.05, and both in words

    A pair without a common seed has n = 0, and counts in the correction all the same.
    """
    cells, pairs = gains_of(results, without), [tuple(primary), *map(tuple, others)]
    planned = dict.fromkeys(label for pair in pairs for label in pair if label in cells)
    pooled = TwoWay((label, seed, y) for label in planned for seed, y in cells[label].items()) if planned else None
    rows = []
    for k, pair in enumerate(pairs):
        row = {"label": " − ".join(pair), "pair": pair, "margin": margin, "n": 0}
        row |= dict.fromkeys(("mean", "p", "p_same"))
        one, other = (cells.get(label, {}) for label in pair)
        if one.keys() & other.keys():
            row |= paired_difference(one, other) | {"pooled": pooled.difference(*pair)}
        if row["n"] > 1:
            row["p_same"] = same_within(row["mean"], row["sd"], row["n"], margin)
            row["detectable"] = detectable(row["sd"], row["n"], alpha=ALPHA / (len(others) if k else 1))
        rows.append(row)
    for family in (rows[:1], rows[1:]):
        for name, corrected in (("p", "p_holm"), ("p_same", "p_same")):
            ps = holm([1.0 if row[name] is None else row[name] for row in family])
            for row, p in zip(family, ps, strict=True):
                row[corrected] = p
    for row in rows:
        row |= {"told": row["p_holm"] < ALPHA, "same": row["p_same"] < ALPHA}
        row["verdict"] = _verdict(row)
    return rows


def _verdict(row: Mapping) -> str:
    """What may be said of a row, and no more."""
    if row["n"] < 2:
        return "one seed, which distinguishes nothing" if row["n"] else "not run yet: no seed in common"
    same = f"the same within {row['margin']:g}"
    if row["told"]:
        low, high = sorted(map(abs, (row["low"], row["high"])))
        words = f"{row['pair'][row['mean'] < 0]} is better by {abs(row['mean']):.2f} [{low:.2f}, {high:.2f}]"
        return f"{words}, and {same}" if row["same"] else words
    if row["same"]:
        return f"{same}: {_with_interval(row)}"
    return (f"not distinguished: with {row['n']} seeds a difference of {row['detectable']:.2f} would have been seen in "
            f"four of five such studies")  # fmt: skip


def tree_test(
    results: Sequence[dict], chosen: str, beside: Sequence[str] = (), without: Sequence[str] = ()
) -> dict | None:
    """Do trees differ at all? One F test of all that differ from the runs labelled `chosen` in nothing but the tree.

    F = ((R_0 - R_1) / q) / (R_1 / freedom), with R_1 the residual sum of squares of y = tree + seed, R_0 that of one
    effect for all trees, and q the number of trees less one. beside: labels of further conditions in both models, which
    know the seeds' luck as well where not every tree has every seed. Source: Fisher (1925), randomised blocks.

    Returns {"F", "freedom": (q, freedom), "p", "trees": {tree: effect, about the trees' mean}, "runs": {tree: number},
    "chosen": the tree that most runs labelled so have, "rank": its place from the best}; None where there are fewer
    than two trees, no seeds that join them, or no degree of freedom.
    """
    cells, rows = gains_of(results, without), table_of_methods(results, "mean", without)
    alike = [((condition(result, ("tree", "groups", "similarity", "label")), row["tree"]), row)  # but for seed and tree
             for result, row in zip(results, rows, strict=True) if row["groups"]]  # fmt: skip
    family = {key for key, row in alike if row["label"] == chosen}
    grown = [row for key, row in alike if key in family]
    if not grown:
        return None
    rivals = [(label, seed, y) for label in beside if label not in {row["label"] for row in grown}
              for seed, y in cells.get(label, {}).items()]  # fmt: skip
    apart = TwoWay([*((row["groups"], row["seed"], row["delta_m"]) for row in grown), *rivals])
    as_one = TwoWay([*((chosen, row["seed"], row["delta_m"]) for row in grown), *rivals])
    q, effects = as_one.freedom - apart.freedom, {row["groups"]: float(apart.effects[row["groups"]]) for row in grown}
    if not q or q < len(effects) - 1 or not apart.freedom:
        return None
    f = (as_one.residual - apart.residual) / q / apart.variance
    middle = fmean(effects.values())
    own = Counter(row["groups"] for row in grown if row["label"] == chosen).most_common(1)[0][0]
    return {
        "F": f, "freedom": (q, apart.freedom), "p": float(stats.f.sf(f, q, apart.freedom)),
        "trees": {tree: effect - middle for tree, effect in sorted(effects.items(), key=lambda item: -item[1])},
        "runs": Counter(row["groups"] for row in grown),
        "chosen": own, "rank": 1 + sum(effect > effects[own] for effect in effects.values()),
    }  # fmt: skip


def reference_error(results: Sequence[dict], without: Sequence[str] = ()) -> tuple[int, float | None]:
    """(seeds, standard error in delta_m) of the mean of the single-task runs: sd / sqrt n of each against the mean.

    None for one seed. It is common to every condition's delta_m, and falls out of their differences.
    """
    gains = [r["delta_m"] for r in table_of_methods(results, "mean", without) if r["method"] == "single_task"]
    return len(gains), stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None


def table_of(rows: Sequence[Mapping]) -> str:
    """Rows of `compare` as a table: differences with their intervals of 95 %, paired and pooled; p values; verdicts."""
    headings = ["first − second", "seeds", "difference", "pooled", "p", "p, corrected", "p, the same",
                "seen with 80 % power", "verdict"]  # fmt: skip
    lines = []
    for row in rows:
        cells = [row["label"], str(row["n"]), *[""] * 6, row["verdict"]]
        if row["n"]:
            cells[2:4] = _with_interval(row), _with_interval(row["pooled"])
        if row["n"] > 1:
            cells[4:7] = (f"{p:.3f}" if p >= 0.001 else "< 0.001" for p in (row["p"], row["p_holm"], row["p_same"]))
            cells[7] = f"{row['detectable']:.2f}"
        lines.append(cells)
    return markdown(headings, lines, last="---")


def _with_interval(found: Mapping) -> str:
    return f"{found['mean']:+.2f}" + ("" if found["low"] is None else f" [{found['low']:+.2f}, {found['high']:+.2f}]")


def report(results: Sequence[dict], plan: Mapping, without: Sequence[str] = ()) -> str:
    """All that a study says of its plan (`settings.read_plan`): its conditions, its comparisons, its trees."""
    tasks = {name: task for name, task in run_tasks(Run.from_dict(results[0]["run"])).items() if name not in without}
    n, error = reference_error(results, without)
    planned = dict.fromkeys(label for pair in (plan["primary"], *plan["others"]) for label in pair)
    test = tree_test(results, plan["primary"][0], planned, without)
    return "\n\n".join([
        markdown_table(summarise(results, "mean", without, by_label=True), tasks),
        f"delta_m of {', '.join(tasks)} against the mean of {n} single-task runs"
        + ("." if error is None else f", whose standard error is {error:.2f} per cent points."),
        *([plan["remark"]] if plan.get("remark") else []),
        table_of(compare(results, plan["primary"], plan["others"], plan["margin"], without)),
        *([_of_trees(test)] if test else []),
    ])  # fmt: skip


def _of_trees(test: Mapping) -> str:
    (q, freedom), n = test["freedom"], len(test["trees"])
    stages = [tree.split(" > ") for tree in test["trees"]]
    differ = [k for k, groups in enumerate(zip(*stages, strict=True)) if len(set(groups)) > 1]
    runs, own = test["runs"], test["runs"][test["chosen"]]
    fewest = min(runs.values())
    words = (f"{n} trees, {sum(runs.values())} runs: F({q}, {freedom}) = {test['F']:.2f}, p = {test['p']:.3f}; the "
             f"chosen one is number {test['rank']} of {n}"
             + (f", by {own} runs where another has {fewest}, so that its place says little" if fewest < own else "")
             + ".\n\n")  # fmt: skip
    lines = []
    for (tree, effect), groups in zip(test["trees"].items(), stages, strict=True):
        name = " > ".join(groups[k] for k in differ).replace("|", "\\|")
        lines.append((f"**{name}**" if tree == test["chosen"] else name, str(runs[tree]), f"{effect:+.2f}"))
    return words + markdown(("tree, where they differ", "runs", "delta_m about their mean"), lines)

"""Figures of what a model costs: numbers that train, multiply-adds, and seconds against the plain ways."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .style import CHOSEN, FROZEN, INK, OURS, PAPER, SOFT, STAGES, THEIRS, Drawing, canvas

BILL = {  # what trains: its roles, and a shade that no task has and that grey keeps apart
    "backbone": (("backbone",), FROZEN),
    "norms, tables, patches": (("norms", "positions", "patch_embed"), CHOSEN),
    "patch merging": (("merging",), "#9eabb3"),
    "heads": (("heads",), "#3d4a54"),
    "adapters": (("adapters",), OURS),
}
BY_STAGE = {"what all trees have": FROZEN, **{f"stage {s}": shade for s, shade in enumerate(STAGES, 1)}}


def draw_bars(
    axes, names: Sequence[str], parts: Sequence[Sequence[float]], shades: Mapping[str, str], words: str | Sequence[str],
    **look,
) -> np.ndarray:  # fmt: skip
    """A horizontal bar per name from the top down, made of its parts, each {part: shade}; returns where bars end.

    words: what stands behind each bar, or how its end is written, as in "{:.2f}".
    """
    ends, parts = np.zeros(len(names)), np.asarray(parts, float)
    for (part, shade), lengths in zip(shades.items(), parts.T, strict=True):
        axes.barh(range(len(names)), lengths, left=ends, color=shade, label=part, **look)
        ends = ends + lengths
    said = [words.format(end) for end in ends] if isinstance(words, str) else words
    for y, (end, one) in enumerate(zip(ends, said, strict=True)):
        axes.text(end, y, f" {one}", va="center", fontsize=9)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 1.3 * ends.max()))
    axes.set_yticks(range(len(names)), names)
    return ends


def draw_costs(costs: Sequence[Mapping], title: str = "") -> Figure:
    """A bar per condition: millions of trained parameters by what they are, and its multiply-adds beside it.

    costs: {"label", "parameters": {role: count}, "macs": {"paper": count}}.
    """
    figure, axes = canvas((9, 0.36 * len(costs) + 1.3))
    parts = [[sum(c["parameters"][role] for role in roles) / 1e6 for roles, _ in BILL.values()] for c in costs]
    words = [f"{sum(row):.2f} M, {c['macs']['paper'] / 1e9:.1f} GMACs" for row, c in zip(parts, costs, strict=True)]
    draw_bars(axes, [c["label"] for c in costs], parts, {part: shade for part, (_, shade) in BILL.items()}, words)
    axes.set(xlabel="millions of parameters that train", title=title)
    axes.legend(fontsize=9, loc="lower right")
    return figure


def draw_tree_costs(
    names: Sequence[str], gmacs: Sequence[Sequence[float]], millions: Sequence[Sequence[float]],
    published: Mapping[str, float],
) -> Figure:  # fmt: skip
    """Trees' multiply-adds and trainable parameters, of what all trees have and of each stage, (trees, 1 + stages).

    published: the printed GMACs by a tree's name, white diamonds.
    """
    figure = Drawing(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw_bars(left, names, gmacs, BY_STAGE, "  {:.1f}")
    draw_bars(right, names, millions, BY_STAGE, "{:.2f}")
    for name, value in published.items():
        left.plot(value, list(names).index(name), "D", color=PAPER, markeredgecolor=INK, zorder=3)
    left.set(xlabel="GMACs for one image, lower is better", title="An early parting pays in all later stages")
    right.set(xlabel="trainable parameters, millions", title="Early stages hold few parameters")
    left.legend(fontsize=8, loc="upper right")
    return figure


def draw_speed(found: Mapping, title: str = "") -> Figure:
    """Left: every ratio that a target was set for, with its quartiles over turns and the target as a bar; left of the
    bar is met. Right: seconds of a step over tasks and over groups, whole and without the heads.

    found: what the bench writes, `figures/results/speed.json`.
    """
    figure = Drawing(figsize=(11, 3.9))
    left, *panels = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    rows = {**found["ratios"], **found.get("memory", {}).get("ratios", {})}
    rows = {name: row for name, row in rows.items() if row.get("at_most") is not None}
    for place, row in enumerate(reversed(rows.values())):
        limit, colour = row["at_most"], OURS if row["median"] <= row["at_most"] else CHOSEN
        low, high = row.get("quartiles", (row["median"], row["median"]))
        left.plot([limit, limit], [place - 0.3, place + 0.3], color=INK, linewidth=2)
        left.plot([low, high], [place, place], color=colour, alpha=0.6)
        left.plot(row["median"], place, "o", color=colour, markersize=8)
        left.annotate(f"{row['median']:.2f}", (1.0, place), (-2, 0), textcoords="offset points", ha="right",
                      xycoords=left.get_yaxis_transform(), va="center", color=colour)  # fmt: skip
    left.set_yticks(range(len(rows)), list(reversed(rows)))
    left.set(xlim=(0, 1.5), ylim=(-0.6, len(rows) - 0.2), xlabel="ours / theirs, lower is better; bar: target")
    left.axvline(1, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    left.set_title(title)
    growth = {name.split(",")[0].split()[0]: rows for name, rows in found.get("scaling", {}).items()}
    for panel, name, other in zip(panels, ("tasks", "groups"), ("groups", "tasks"), strict=True):
        panel.set_visible(name in growth)  # a run of the first part only has none
        if name in growth:
            for key, colour, words in (("seconds", THEIRS, "whole step"), ("without_heads", OURS, "without heads")):
                middle = np.array([row["median"] for row in growth[name][key]])
                errors = np.abs(np.transpose([row["quartiles"] for row in growth[name][key]]) - middle)
                panel.errorbar(growth[name]["values"], middle, yerr=errors, fmt="o-", color=colour, markersize=5,
                               label=words)  # fmt: skip
            panel.set_xticks(growth[name]["values"])
            panel.set(xlabel=f"{name}, {other} stay", ylim=(0, 1.25 * panel.get_ylim()[1]))  # room for the legend
            panel.legend(loc="upper left", fontsize=8.5)
    panels[0].set_ylabel("seconds per step")
    figure.tight_layout()
    return figure

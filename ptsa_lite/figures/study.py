"""Figures of a study: every seed a small point, every mean a large one, so that spread is seen before it is named."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ptsa_lite.metrics import delta_m
from ptsa_lite.tasks import Task

from .style import CHOSEN, INK, OURS, PAPER, SOFT, THEIRS, canvas, spread, task_colour


def draw_costs_and_gains(rows: Sequence[dict], x: str = "trainable", title: str = "", axes=None) -> Figure:
    """delta_m over seeds against cost: discs are means, points single seeds.

    rows: of `summary.summarise`. x: "trainable" or "gmacs".
    """
    figure, axes = canvas(axes, (8.6, 5.2))
    scale = 1e-6 if x == "trainable" else 1.0
    rows = [row for row in rows if row["delta_m"] is not None]
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    for row in rows:
        axes.plot([row[x] * scale] * len(row["gains"]), list(row["gains"].values()), ".", color=OURS, alpha=0.45)
        axes.plot(row[x] * scale, row["delta_m"], "o", markersize=9, color=OURS, zorder=3)
    if x == "trainable":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.12, y=0.08)
    _label(axes, [(row[x] * scale, row["delta_m"], row["label"]) for row in rows])
    axes.set_xlabel("trainable parameters, millions" if x == "trainable" else "GMACs, one image")
    axes.set_ylabel("Δm against single task, %, higher is better")
    axes.set_title(title)
    return figure


def _label(axes, marks: Sequence[tuple[float, float, str]]) -> None:
    """Names in a column to the right, in the order of their heights, each tied to its mark by a thin line."""
    (low, high), line = axes.get_ylim(), _inches(axes, 0.19)
    heights = np.array(spread([y for _, y, _ in marks], line))
    heights += max(0, low + line / 2 - heights.min()) - max(0, heights.max() - high + line / 2)
    for (x, y, words), height in zip(marks, heights, strict=True):
        axes.annotate(
            words, (x, y), (1.03, height), textcoords=axes.get_yaxis_transform(), fontsize=8.5, color=INK, va="center",
            arrowprops=dict(arrowstyle="-", color=SOFT, linewidth=0.5, alpha=0.6, shrinkA=1, relpos=(0, 0.5)),
        )  # fmt: skip


def _inches(axes, height: float) -> float:
    """A height on paper in units of the vertical axis."""
    low, high = axes.get_ylim()
    return (high - low) * height / (axes.get_position().height * axes.figure.get_figheight())


def draw_ranked(rows: Sequence[dict], names: Sequence[str], chosen: str = "", references: Sequence[dict] = (),
                title: str = "", axes=None) -> Figure:  # fmt: skip
    """Conditions from best to worst delta_m, a line each: single seeds, their mean, and the chosen one in red.

    rows: of `summary.summarise`; names: what each is called. references: further rows, drawn as vertical lines.
    """
    order = sorted(range(len(rows)), key=lambda i: rows[i]["delta_m"])
    figure, axes = canvas(axes, (8.6, 0.42 * len(rows) + 1.5))
    for place, i in enumerate(order):
        row, colour = rows[i], CHOSEN if names[i] == chosen else OURS
        gains = list(row["gains"].values())
        axes.plot([min(gains), max(gains)], [place, place], color=colour, linewidth=1, alpha=0.5)
        axes.plot(gains, [place] * len(gains), ".", color=colour, alpha=0.6)
        axes.plot(row["delta_m"], place, "o", markersize=9, color=colour, zorder=3)
    for number, row in enumerate(references):
        style = (0, (4, 2)) if number else "-"
        axes.axvline(row["delta_m"], color=SOFT, linewidth=1.2, linestyle=style, zorder=0)
        axes.annotate(row["label"], (row["delta_m"], len(rows) - 0.4 + 0.45 * number), (4, 0), fontsize=8, color=SOFT,
                      textcoords="offset points", va="center")  # fmt: skip
    axes.set_yticks(range(len(order)), [names[i] for i in order])
    for place, label in enumerate(axes.get_yticklabels()):
        if names[order[place]] == chosen:
            label.set(color=CHOSEN, fontweight="bold")
    axes.set_ylim(-0.6, len(rows) - 0.2 + 0.45 * len(references))
    axes.set_xlabel("Δm against single task, %, higher is better")
    axes.set_title(title)
    return figure


def draw_task_gains(rows: Sequence[dict], single: dict, tasks: Mapping[str, Task], title: str = "") -> Figure:
    """Who gains, who pays: a panel a task, a line a condition; means over seeds, with one standard deviation.

    single: the row of the single-task models; gains are per cent of its means, positive is better.
    """
    figure, _ = canvas(None, (11, 0.3 * len(rows) + 1.4))
    figure.clear()
    panels = figure.subplots(1, len(tasks), sharey=True)
    for axes, (name, task) in zip(panels, tasks.items(), strict=True):
        for place, row in enumerate(reversed(rows)):
            gain = delta_m({name: row["metrics"][name]}, {name: single["metrics"][name]}, {name: task})
            error = 100 * (row["metrics_sd"][name] or 0) / abs(single["metrics"][name])
            axes.errorbar(gain, place, xerr=error, fmt="o", color=task_colour(name), markersize=6, linewidth=1.2)
        axes.axvline(0, color=SOFT, linewidth=1)
        axes.set_title(name, color=task_colour(name))
        axes.set_xlabel("gain, %")
        axes.grid(axis="y")
    panels[0].set_yticks(range(len(rows)), [row["label"] for row in reversed(rows)], fontsize=8.5)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    inch = 1 / figure.get_figheight()
    figure.subplots_adjust(left=0.22, right=0.99, top=1 - 0.62 * inch, bottom=0.55 * inch, wspace=0.08)
    return figure


def draw_choices(bootstrap: Sequence[dict], names: Mapping[str, str], title: str = "", axes=None) -> Figure:
    """How often each tree is chosen from n samples: one stacked bar for each n. names: a short name for each tree."""
    figure, axes = canvas(axes, (8.6, 3.4))
    trees = sorted({t for row in bootstrap for t in row["trees"]}, key=lambda t: (-bootstrap[-1]["trees"].get(t, 0), t))
    shades = colormaps["viridis"](np.linspace(0.15, 0.95, len(trees)))
    bottom = np.zeros(len(bootstrap))
    for tree, shade in zip(trees, shades, strict=True):
        heights = np.array([row["trees"].get(tree, 0.0) for row in bootstrap])
        axes.bar(range(len(bootstrap)), heights, 0.8, bottom=bottom, color=shade, edgecolor=PAPER,
                 label=names.get(tree, tree))  # fmt: skip
        bottom += heights
    axes.set_xticks(range(len(bootstrap)), [str(row["n"]) for row in bootstrap])
    axes.set(xlabel="samples", ylabel="share of redraws", ylim=(0, 1), title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    return figure


def draw_cosines(conditions: Sequence[dict], tasks: Sequence[str], choice: str, title: str = "", axes=None) -> Figure:
    """The similarity of each pair of tasks under each condition: a column a pair, a mark a condition and its error."""
    figure, axes = canvas(axes, (9.5, 4.2))
    pairs = [(i, j) for i in range(len(tasks)) for j in range(i + 1, len(tasks))]
    width = 0.8 / len(conditions)
    for k, condition in enumerate(conditions):
        found = condition["similarity"][choice]
        for place, (i, j) in enumerate(pairs):
            x = place + (k - (len(conditions) - 1) / 2) * width
            axes.errorbar(
                x, found["matrix"][i][j], found["error"][i][j], fmt="o" if k else "s", markersize=8 if k == 0 else 5,
                color=task_colour(tasks[i]), markeredgecolor=task_colour(tasks[j]), markeredgewidth=1.6, linewidth=1,
            )  # fmt: skip
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.set_xticks(range(len(pairs)), [f"{tasks[i]}\n{tasks[j]}" for i, j in pairs], fontsize=8.5)
    axes.set(ylabel=f"cosine ({choice})", title=title)
    return figure


def draw_differences(rows: Sequence[dict], title: str = "", axes=None) -> Figure:
    """Paired differences, a line each: single seeds as points, their mean with its confidence interval, zero dashed.

    rows: {"label"} with what `summary.paired_difference` returns. An interval that holds zero is drawn in grey: the two
    are not told apart. A single seed has no interval.
    """
    figure, axes = canvas(axes, (8.6, 0.42 * len(rows) + 1.3))
    for place, row in enumerate(reversed(rows)):
        known = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
        colour = OURS if known else THEIRS
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        axes.plot(list(row["differences"].values()), [place] * row["n"], ".", color=INK, alpha=0.5, zorder=4)
        axes.plot(row["mean"], place, "D", markersize=7, color=colour, markeredgecolor=PAPER, zorder=3)
    axes.axvline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(rows)), [row["label"] for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("difference in Δm, per cent points, with its 95 % interval")
    axes.set_title(title)
    return figure


def draw_sweep(lines: Mapping[str, Sequence[tuple]], xlabel: str, title: str = "", axes=None) -> Figure:
    """delta_m along a setting, a line a method: means joined, single seeds as points.

    lines: name -> (x, row) in the order of x, rows of `summary.summarise`.
    """
    figure, axes = canvas(axes, (8.6, 4.0))
    shades = dict(zip(lines, colormaps["viridis"](np.linspace(0.1, 0.75, len(lines))), strict=True))
    for (name, points), marker in zip(lines.items(), "osD^v", strict=False):
        axes.plot([x for x, _ in points], [row["delta_m"] for _, row in points], f"-{marker}", color=shades[name],
                  markersize=7, label=name)  # fmt: skip
        for x, row in points:
            axes.plot([x] * len(row["gains"]), list(row["gains"].values()), ".", color=shades[name], alpha=0.5)
    axes.set(xlabel=xlabel, ylabel="Δm against single task, %", title=title)
    axes.legend(loc="best", fontsize=8.5)
    return figure

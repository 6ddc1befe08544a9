"""Figures of trainings and studies: every seed a small point, every mean a large one, so that spread is seen."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ptsa_lite.checks import known
from ptsa_lite.metrics import delta_m
from ptsa_lite.tasks import Task

from .costs import draw_bars
from .style import BOX, CHOSEN, INK, OURS, PAPER, SOFT, THEIRS, Drawing, canvas, name_ends, plain_ticks, task_colour

GAIN = "Δm against single task, %, higher is better"
COSTS = {"trainable": ("trainable parameters, millions", 1e-6), "gmacs": ("GMACs, one image", 1)}  # and one's unit


def draw_curves(losses: Mapping[str, Sequence[float]], xlabel: str = "epoch", title: str = "", axes=None) -> Figure:
    """{task: its loss at each epoch or step}, each divided by its first value, as the units differ.

    A task that begins at 0, because no frame had labels of it, is left out.
    """
    figure, axes = canvas((6.4, 3.4), axes)
    ends = []
    for name, values in losses.items():
        if not values[0]:
            continue
        shares = np.divide(values, values[0])
        axes.plot(range(1, len(shares) + 1), shares, color=task_colour(name))
        ends.append((len(shares), shares[-1], name, dict(color=task_colour(name), fontweight="bold", fontsize=10)))
    axes.set(xlabel=xlabel, ylabel="loss / first loss, lower is better", title=title, ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    name_ends(axes, ends, tie=False)
    return figure


def draw_tradeoff(rows: Sequence[Mapping], x: str = "trainable", title: str = "", axes=None) -> Figure:
    """delta_m against cost, a point per row; names stand to the right by gain.

    rows: {"label", "delta_m", "trainable" (a count) or "gmacs"}; "gains" {seed: delta_m} adds a small point per seed,
    "published" makes a hollow diamond, "strong" lets it stand out. A row with an empty label is a point without a name;
    rows without a gain or a cost are left out.
    """
    xlabel, unit = COSTS[known(x, COSTS, "cost")]
    figure, axes = canvas((8.6, 4.6), axes)
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    ends = []
    for row in rows:
        if row.get("delta_m") is None or row.get(x) is None:
            continue
        cost, gains = row[x] * unit, list(row.get("gains", {}).values())
        axes.plot([cost] * len(gains), gains, ".", color=OURS, alpha=0.45)
        look = dict(marker="o", markersize=9, color=OURS)
        if row.get("published"):
            look = dict(marker="D", markersize=7, markerfacecolor=PAPER, markeredgewidth=1.5,
                        markeredgecolor=OURS if row.get("strong") else THEIRS)  # fmt: skip
        axes.plot(cost, row["delta_m"], linestyle="", zorder=3, **look)
        if row["label"]:
            weight = "bold" if row.get("strong") else "normal"
            ends.append((cost, row["delta_m"], row["label"], dict(fontweight=weight)))
    axes.set(xlabel=xlabel, ylabel=GAIN, title=title)
    if x == "trainable":
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    axes.margins(x=0.08, y=0.1)
    name_ends(axes, ends)
    return figure


def draw_ranked(rows: Sequence[Mapping], names: Sequence[str], chosen: str = "", references: Sequence[Mapping] = (),
                title: str = "") -> Figure:  # fmt: skip
    """Conditions from best to worst delta_m, a line each: single seeds, their mean, and the chosen one in red.

    rows: of `experiments.tables.summarise`; names: what each is called. references: further rows, vertical lines.
    """
    figure, axes = canvas((8.6, 0.42 * len(rows) + 1.5))
    ranked = sorted(zip(names, rows, strict=True), key=lambda one: -one[1]["delta_m"])
    _strips(axes, [
        (name, row["gains"], row["delta_m"], (min(row["gains"].values()), max(row["gains"].values())),
         CHOSEN if name == chosen else OURS) for name, row in ranked
    ])  # fmt: skip
    for number, row in enumerate(references):
        axes.axvline(row["delta_m"], color=SOFT, linewidth=1.2, linestyle=(0, (4, 2)) if number else "-", zorder=0)
        look = dict(fontsize=8, color=SOFT, va="center", bbox=dict(facecolor=PAPER, edgecolor="none", pad=1))
        place = row["delta_m"], -0.6 - 0.45 * number
        axes.annotate(row["label"], place, (4, 0), textcoords="offset points", **look)
    axes.set(ylim=(len(rows) - 0.4, -0.8 - 0.45 * len(references)), xlabel=GAIN, title=title)
    for label in axes.get_yticklabels():
        if label.get_text() == chosen:
            label.set(color=CHOSEN, fontweight="bold")
    return figure


def draw_differences(rows: Sequence[Mapping], title: str = "", margin: float = 0.0) -> Figure:
    """Paired differences, a line each: single seeds as points, their mean with its confidence interval, zero dashed.

    rows: {"label"} with what `experiments.statistics.paired_difference` returns; or of `comparison.compare`, whose
    pooled intervals are thin lines. Grey could not be distinguished, by the corrected p where there is one. A single
    seed has no interval, what has not been run no line. margin: shades what would count as the same.
    """
    rows = [row for row in rows if row["mean"] is not None]
    figure, axes = canvas((8.6, 0.42 * len(rows) + 1.3))
    strips = []
    for place, row in enumerate(rows):
        interval = None if row["low"] is None else (row["low"], row["high"])
        told = row.get("told", interval and (row["low"] > 0 or row["high"] < 0))
        strips.append((row["label"], row["differences"], row["mean"], interval, OURS if told else THEIRS))
        if (pooled := row.get("pooled", {})).get("low") is not None:
            axes.plot([pooled["low"], pooled["high"]], [place + 0.25] * 2, "|-", color=SOFT, linewidth=1)
    _strips(axes, strips)
    axes.axvline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    words = ["thin: pooled"] * any("pooled" in row for row in rows)
    if margin:
        axes.axvspan(-margin, margin, color=BOX, zorder=0)
        words.append(f"shaded: the same within {margin:g}")
    xlabel = "difference in Δm, per cent points, with its 95 % interval" + "\n" * bool(words) + "; ".join(words)
    axes.set(ylim=(len(rows) - 0.4, -0.6), title=title, xlabel=xlabel)
    return figure


def _strips(axes, strips: Sequence[tuple[str, Mapping, float, tuple[float, float] | None, str]]) -> None:
    """A line each from the top down: (name, values by seed as points, their mean, an interval or None, colour)."""
    for place, (_, values, mean, interval, colour) in enumerate(strips):
        if interval:
            axes.plot(interval, [place, place], color=colour, linewidth=2.5, alpha=0.4, solid_capstyle="butt")
        axes.plot(list(values.values()), [place] * len(values), ".", color=INK, alpha=0.5, zorder=4)
        axes.plot(mean, place, "D", markersize=7, color=colour, markeredgecolor=PAPER, zorder=3)
    axes.set_yticks(range(len(strips)), [name for name, *_ in strips])


def draw_task_gains(rows: Sequence[dict], single: dict, tasks: Mapping[str, Task], title: str = "") -> Figure:
    """Who gains, who pays: a panel per task, a line per condition; means over seeds, with one standard deviation.

    single: the row of the single-task models; gains are per cent of its means, positive is better.
    """
    figure = Drawing(figsize=(11, 0.3 * len(rows) + 1.4))
    panels = figure.subplots(1, len(tasks), sharey=True)
    for axes, (name, task) in zip(panels, tasks.items(), strict=True):
        for place, row in enumerate(rows):
            gain = delta_m({name: row["metrics"][name]}, {name: single["metrics"][name]}, {name: task})
            error = 100 * (row["metrics_sd"][name] or 0) / abs(single["metrics"][name])
            axes.errorbar(gain, place, xerr=error, fmt="o", color=task_colour(name), markersize=6, linewidth=1.2)
        axes.axvline(0, color=SOFT, linewidth=1)
        axes.set_title(name)
        axes.set_xlabel("gain, %")
        axes.grid(axis="y")
    panels[0].set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8.5)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    inch = 1 / figure.get_figheight()
    figure.subplots_adjust(left=0.22, right=0.99, top=1 - 0.62 * inch, bottom=0.55 * inch, wspace=0.08)
    return figure


def draw_choices(bootstrap: Sequence[dict], names: Mapping[str, str], title: str = "") -> Figure:
    """How often each tree is chosen from n samples: one stacked bar per n. names: a short name for each tree."""
    figure, axes = canvas((8.6, 3.4))
    trees = sorted({t for row in bootstrap for t in row["trees"]}, key=lambda t: (-bootstrap[-1]["trees"].get(t, 0), t))
    shades = dict(zip([names.get(tree, tree) for tree in trees],
                      colormaps["viridis"](np.linspace(0.15, 0.95, len(trees))), strict=True))  # fmt: skip
    shares = [[row["trees"].get(tree, 0.0) for tree in trees] for row in bootstrap]
    draw_bars(axes, [row["n"] for row in bootstrap], shares, shades, [""] * len(shares), edgecolor=PAPER)
    axes.set(xlabel="share of redraws", ylabel="samples", xlim=(0, 1), title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    return figure


def draw_sweep(lines: Mapping[str, Sequence[tuple]], xlabel: str, title: str = "") -> Figure:
    """delta_m along a setting, a line per method: means joined, single seeds as points.

    lines: name -> (x, row) in the order of x, rows of `experiments.tables.summarise`.
    """
    figure, axes = canvas((8.6, 4.0))
    shades = dict(zip(lines, colormaps["viridis"](np.linspace(0.1, 0.75, len(lines))), strict=True))
    for (name, points), marker in zip(lines.items(), "osD^v", strict=False):
        axes.plot([x for x, _ in points], [row["delta_m"] for _, row in points], f"-{marker}", color=shades[name],
                  markersize=7, label=name)  # fmt: skip
        for x, row in points:
            axes.plot([x] * len(row["gains"]), list(row["gains"].values()), ".", color=shades[name], alpha=0.5)
    axes.set(xlabel=xlabel, ylabel="Δm against single task, %", title=title)
    axes.legend(loc="best", fontsize=8.5)
    return figure

"""How long a training step takes against the plain ways, and how that grows: what tests/bench/speed.py found."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from .style import CHOSEN, INK, OURS, SOFT, THEIRS, canvas


def draw_speed(found: Mapping, title: str = "") -> Figure:
    """Left: every ratio that a target was set for, with its quartiles over turns and the target as a bar; left of the
    bar is met. Right: seconds of a step over tasks and over groups, whole and without the heads.

    found: what the bench writes, `figures/results/speed.json`.
    """
    figure, _ = canvas(None, (11, 3.9))
    figure.clear()
    left, tasks, groups = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
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
    axes = {name.split(",")[0].split()[0]: axis for name, axis in found.get("scaling", {}).items()}
    for panel, name, label in ((tasks, "tasks", "tasks, groups stay"), (groups, "groups", "groups, tasks stay")):
        if name not in axes:  # a run of the first part only
            panel.set_visible(False)
            continue
        _draw_growth(panel, axes[name])
        panel.set(xlabel=label)
        panel.set_ylim(0, 1.25 * panel.get_ylim()[1])  # room for the legend
    tasks.set_ylabel("seconds a step")
    left.set_title(title)
    figure.tight_layout()
    return figure


def _draw_growth(axes, axis: Mapping) -> None:
    for key, colour, words in (("seconds", THEIRS, "whole step"), ("without_heads", OURS, "without heads")):
        middle = [row["median"] for row in axis[key]]
        errors = [[abs(row["quartiles"][side] - row["median"]) for row in axis[key]] for side in (0, 1)]
        axes.errorbar(axis["values"], middle, yerr=errors, fmt="o-", color=colour, markersize=5, label=words)
    axes.set_xticks(axis["values"])
    axes.legend(loc="upper left", fontsize=8.5)

"""Figures of what a model costs: numbers that train, and multiply-adds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .style import CHOSEN, FROZEN, INK, OURS, PAPER, STAGES, Drawing, canvas

BILL = {  # what trains: its roles, and a shade that no task has and that grey keeps apart
    "backbone": (("backbone",), FROZEN),
    "norms, tables, patches": (("norms", "positions", "patch_embed"), CHOSEN),
    "patch merging": (("merging",), "#9eabb3"),
    "heads": (("heads",), "#3d4a54"),
    "adapters": (("adapters",), OURS),
}
BY_STAGE = {"what all trees have": FROZEN, **{f"stage {s}": shade for s, shade in enumerate(STAGES, 1)}}


def draw_bars(
    axes, names: Sequence[str], parts: Sequence[Sequence[float]], shades: Mapping[str, str], words: Sequence[str],
    **look,
) -> None:  # fmt: skip
    """A horizontal bar per name from the top down, made of its parts, each {part: shade}, with words behind it."""
    ends = np.zeros(len(names))
    for (part, shade), lengths in zip(shades.items(), np.transpose(parts), strict=True):
        bars = axes.barh(range(len(names)), lengths, left=ends, color=shade, label=part, **look)
        ends = ends + lengths
    axes.bar_label(bars, [f" {said}" for said in words], fontsize=9)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 1.3 * ends.max()))
    axes.set_yticks(range(len(names)), names)


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


def draw_work_and_size(
    names: Sequence, gmacs: Sequence[Sequence[float]], millions: Sequence[Sequence[float]], titles: tuple[str, str],
    shades: Mapping[str, str] = BY_STAGE, published: Mapping | None = None,
) -> Figure:  # fmt: skip
    """Multiply-adds and parameters side by side, a bar per name on both: (names, parts), by default those of BY_STAGE.

    published: the printed GMACs by a bar's name, white diamonds.
    """
    figure = Drawing(figsize=(11, 0.35 * len(names) + 1.15), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw_bars(left, names, gmacs, shades, [f"  {sum(parts):.1f}" for parts in gmacs])
    draw_bars(right, names, millions, shades, [f"{sum(parts):.2f}" for parts in millions])
    for name, value in (published or {}).items():
        left.plot(value, list(names).index(name), "D", color=PAPER, markeredgecolor=INK, zorder=3)
    left.set(xlabel="GMACs for one image, lower is better", title=titles[0])
    right.set(xlabel="parameters, millions", title=titles[1])
    if len(shades) > 1:
        left.legend(fontsize=8, loc="upper right")
    return figure

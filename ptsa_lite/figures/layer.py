"""Idea figures of one layer: whose pair is whose, the layer's equation, and where the layer sits in a Swin block."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from .parts import FROZEN, adapter, arrow, box, plus, sheet, spread, stream
from .style import BOX, INK, PAPER, SOFT, task_colour, task_ink


def draw_block(groups: Sequence[Sequence[str]]) -> Figure:
    """A Swin block with its four linear layers frozen and an adapter per task group on each of them."""
    low = -0.97 - 0.66 * (len(groups) - 1)
    figure, axes = sheet((-0.6, 12.0), (low - 0.95, 1.75))
    arrow(axes, (-0.1, 0), (11.0, 0), zorder=0, linewidth=1.4)
    axes.text(-0.2, 0, "x", ha="right", va="center", fontsize=12, fontstyle="italic")
    axes.text(11.1, 0, "next\nblock", va="center", fontsize=9, color=SOFT)
    for start, end in ((0.15, 5.25), (5.55, 10.25)):
        axes.plot([start, start, end, end], [0, 1.1, 1.1, 0], color=SOFT, linewidth=1.2, zorder=0)
        plus(axes, end, 0, 15)
    for x in (0.75, 6.05):
        box(axes, x, 0, 0.5, 0.9, PAPER, edge=INK, zorder=3, words="norm", rotation=90)
    for x, width, words in ((3.1, 1.15, "attention\nin windows"), (8.25, 0.8, "GELU")):
        box(axes, x, 0, width, 0.7, BOX, edge=SOFT, dash=True, zorder=3, words=words)
    for x, words in ((1.8, "qkv"), (4.4, "proj"), (7.1, "fc1"), (9.4, "fc2")):
        box(axes, x, 0, 0.8, 0.9, FROZEN, zorder=3, words=words, fontweight="bold")
        axes.plot([x - 0.56, x - 0.56, x + 0.56, x + 0.56], [0, low, low, 0], color=SOFT, linewidth=1, zorder=1)
        plus(axes, x + 0.56, 0, 7)
        for i, group in enumerate(groups):
            y = -0.97 - 0.66 * i
            axes.plot([x - 0.56, x + 0.56], [y, y], color=SOFT, linewidth=1, zorder=1)
            adapter(axes, x, y, group, 0.62, ground=PAPER)
    words = (
        "grey: frozen   ·   hourglass: the adapter of one group, width to rank to width   ·   "
        "outlined: norm, trained   ·   dashed: no matrix of its own"
    )
    axes.text(-0.5, low - 0.72, words, fontsize=8.5, color=SOFT, va="center")
    axes.text(-0.5, 1.55, "One Swin block, and where the adapters sit", fontweight="bold", va="center")
    return figure


def draw_layer(groups: Sequence[Sequence[str]]) -> Figure:
    """h_G = W x_G + b + s B_G A_G x_G for two groups: one frozen product for both, a low-rank detour for each."""
    first, second = groups
    figure, axes = sheet((-1.0, 7.0), (-2.9, 1.5))
    words = "W, b\n\nfrozen,\nthe same for\nevery group"
    box(axes, 2.5, -0.7, 1.7, 2.1, FROZEN, zorder=3, words=words)
    for number, group, y, side in ((1, first, 0.0, 1), (2, second, -1.4, -1)):
        for name, place in spread(group, y, 0.28).items():
            for x in (0.0, 6.1):
                box(axes, x, place, 0.26, 0.26, task_colour(name), zorder=5)
        arrow(axes, (0.16, y), (5.93, y), zorder=1, linewidth=1.3)
        detour = y + side * 0.8
        axes.plot([0.6, 0.6, 5.2, 5.2], [y, detour, detour, y], color=INK, linewidth=1.3, zorder=1)
        adapter(axes, 2.5, detour, group, 1.7, 0.56, ground=PAPER)
        axes.text(1.55, detour + 0.08, f"$A_{number}$", ha="right", va="bottom", fontsize=11)
        axes.text(3.45, detour + 0.08, f"$B_{number}$", ha="left", va="bottom", fontsize=11)
        axes.text(4.5, detour + 0.1, "× s", ha="center", va="bottom", fontsize=10)
        plus(axes, 5.2, y, 14)
        axes.text(-0.25, y, f"$x_{number}$", ha="right", va="center", fontsize=12)
        axes.text(6.35, y, f"$h_{number}$", va="center", fontsize=12)
    return figure


def draw_sharing(groupings: Mapping[str, Sequence[Sequence[str]]]) -> Figure:
    """A frozen matrix per panel, and over it an hourglass per group with its tasks' strands: {title: groups}."""
    order = [name for group in next(iter(groupings.values())) for name in group]
    low, step = -0.75 * len(order), 3.3
    figure, axes = sheet((-1.2, step * len(groupings) - 0.8), (low - 0.1, 1.35))
    for k, (title, groups) in enumerate(groupings.items()):
        x = step * k
        axes.text(x - 1.15, 1.1, title, fontweight="bold", va="center")
        axes.text(x, 0.45, "W, frozen", ha="center", color=SOFT, fontsize=9)
        box(axes, x, low / 2 + 0.15, 1.3, -low + 0.2, FROZEN, zorder=1)
        for group in groups:
            middle = -0.75 * sum(map(order.index, group)) / len(group) - 0.225
            stream(axes, x - 1.1, x + 1.1, middle, group)
            adapter(axes, x, middle, group, 0.9)
    for i, name in enumerate(order):
        words = dict(color=task_ink(name), va="center", fontweight="bold", fontsize=9)
        axes.text(x + 1.25, -0.75 * i - 0.225, name, **words)
    return figure

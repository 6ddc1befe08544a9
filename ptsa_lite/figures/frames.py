"""The drawings of notebooks 06 and 07: the way through, frames with their labels, costs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ptsa_lite.tasks import Task

from .pictures import colour_labels, picture_of
from .style import BOX, INK, OURS, SOFT, Drawing, task_colour

BILL = {  # what trains: its roles, and a shade that no task has and that grey keeps apart
    "backbone": (("backbone",), "#d3d9dd"),
    "norms, tables, patches": (("norms", "positions", "patch_embed"), "#D55E00"),
    "patch merging": (("merging",), "#9eabb3"),
    "heads": (("heads",), "#3d4a54"),
    "adapters": (("adapters",), OURS),
}


def draw_road(steps: Mapping[str, str]) -> Figure:
    """The steps from left to right: a name in a box each, and under it what the step leaves."""
    figure = Drawing(figsize=(10, 1.3))
    axes = figure.add_axes((0, 0, 1, 1))
    for x, (name, leaves) in enumerate(steps.items()):
        axes.text(x, 0, name, ha="center", va="center", color=INK, fontweight="bold",
                  bbox=dict(boxstyle="round,pad=0.5", facecolor=BOX, edgecolor=OURS))  # fmt: skip
        axes.text(x, -0.36, leaves, ha="center", va="top", color=SOFT, fontsize=9)
        if x:
            arrow = dict(arrowstyle="-|>", color=SOFT)
            axes.annotate("", (x - 0.36, 0), (x - 0.6, 0), arrowprops=arrow)
    axes.set(xlim=(-0.6, len(steps) - 0.4), ylim=(-0.85, 0.4))
    axes.axis("off")
    return figure


def draw_frames(batch: Mapping, tasks: Mapping[str, Task]) -> Figure:
    """A row per frame: the picture, then every task's label; hatched where nobody said what is there."""
    rows = len(batch["image"])
    figure = Drawing(figsize=(1.75 * (1 + len(tasks)), 1.8 * rows))
    grid = figure.subplots(rows, 1 + len(tasks), squeeze=False)
    for i, axes in enumerate(grid):
        pictures = [picture_of(batch["image"][i]), *(colour_labels(t, batch[n][i]) for n, t in tasks.items())]
        for place, picture, name in zip(axes, pictures, ("image", *tasks), strict=True):
            place.imshow(picture, interpolation="nearest")
            place.set(xticks=[], yticks=[])
            place.spines[:].set_visible(False)
            if i == 0:
                place.set_title(name, fontsize=10, color=INK if name == "image" else task_colour(name), loc="center")
    figure.subplots_adjust(wspace=0.04, hspace=0.04, left=0.01, right=0.99, bottom=0.01, top=1 - 0.25 / (1.8 * rows))
    return figure


def draw_costs(costs: Sequence[Mapping], title: str = "") -> Figure:
    """A bar a row of the table: millions of trained parameters by role; its multiply-adds beside it."""
    figure = Drawing(figsize=(9, 0.36 * len(costs) + 1.3))
    axes = figure.add_subplot()
    left = [0.0] * len(costs)
    for name, (roles, shade) in BILL.items():
        widths = [sum(c["parameters"][role] for role in roles) / 1e6 for c in costs]
        axes.barh(range(len(costs)), widths, left=left, color=shade, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for y, (c, end) in enumerate(zip(costs, left, strict=True)):
        axes.text(end, y, f"  {end:.2f} M, {c['macs']['paper'] / 1e9:.1f} GMACs", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(costs)), [c["label"] for c in costs])
    axes.invert_yaxis()
    axes.set(xlabel="millions of parameters that train", xlim=(0, 1.3 * max(left)), title=title)
    axes.legend(fontsize=9, loc="lower right")
    return figure

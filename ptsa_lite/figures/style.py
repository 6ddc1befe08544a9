"""The look of every figure: one colour and one title per task, one way to make a figure, one way to save it.

As the last line of a cell a figure is shown once; elsewhere, and in a widget, `IPython.display.display(figure)` shows
it. Figures have an opaque light ground, so that they read the same on a light and on a dark page.
"""

import re
from collections.abc import Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path
from textwrap import shorten

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator
from PIL import Image
from scipy.optimize import isotonic_regression

from ptsa_lite.tasks import Task

PAPER = "#ffffff"  # the ground of every figure
INK, SOFT, BOX = "#1d2730", "#66727c", "#eceff1"  # words, second words, a quiet box
FROZEN = "#d3d9dd"  # what does not train
OURS, THEIRS = "#0072B2", "#8a949c"
CHOSEN = "#D55E00"  # the one to look at
STAGES = ("#8fbfdc", "#56a0cc", "#1f6fa3", "#0b3954")  # light to dark: early to late

COLOURS = {  # the palette of Okabe and Ito (2008), which colour-blind eyes tell apart
    "semseg": "#0072B2", "human_parts": "#CC79A7", "saliency": "#E69F00", "normals": "#009E73", "depth": "#D55E00",
    "edge": "#56B4E9",
}  # fmt: skip
TITLES = {"semseg": "Semantic segmentation", "normals": "Surface normals", "edge": "Edges"}
_further = cycle(("#882255", "#999933", "#332288", "#44AA99"))  # for a reader's own tasks


def task_colour(task: Task | str) -> str:
    """A task's one colour in every figure. A task of your own takes the next free one when it is first drawn."""
    name = getattr(task, "name", task)
    if name not in COLOURS:
        COLOURS[name] = next(_further)
    return COLOURS[name]


def contrast(one: str, other: str) -> float:
    """How far apart two colours are in lightness, from 1 to 21 (WCAG 2.2); words need 4.5 against their ground."""
    linear = (np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(x)])
              for x in (one, other))  # fmt: skip
    low, high = sorted(float(rgb @ (0.2126, 0.7152, 0.0722)) for rgb in linear)
    return (high + 0.05) / (low + 0.05)


def in_words(colour: str) -> str:
    """A colour as words in it must be to be read on white: the same hue, darker where it is too light."""
    while contrast(colour, PAPER) < 4.5:
        colour = to_hex(0.97 * np.array(to_rgb(colour)))
    return colour


def task_ink(task: Task | str) -> str:
    """A task's colour for words."""
    return in_words(task_colour(task))


def task_title(task: Task | str) -> str:
    """A task as written in tables and prose: `human_parts` is "Human parts"."""
    name = getattr(task, "name", task)
    return TITLES.get(name, name.replace("_", " ").capitalize())


def use_style() -> None:
    """The project's look for every figure drawn after this call."""
    plt.rcParams.update({
        "figure.dpi": 110, "figure.facecolor": PAPER, "axes.facecolor": PAPER, "axes.edgecolor": SOFT,
        "text.color": INK, "axes.labelcolor": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
        "xtick.color": SOFT, "ytick.color": SOFT, "grid.color": "#dde1e4", "lines.linewidth": 2,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "font.size": 10,
        "axes.titlesize": 11, "axes.titlelocation": "left", "axes.titleweight": "bold",
    })  # fmt: skip


class Drawing(Figure):
    """A figure that shows itself in a notebook and that pyplot does not keep: shown once, gone when nobody holds it."""

    def __repr__(self) -> str:
        """The words that stand in the figure, titles first: what a page tells whoever cannot see it."""
        titles = [axes.get_title(loc=loc) for axes in self.axes for loc in ("left", "center")]
        words = [*titles, *(text.get_text() for text in self.findobj(Text))]
        said = dict.fromkeys(" ".join(text.split()) for text in words if re.search(r"[^\W\d_]", text))
        return shorten(f"a figure that says: {'; '.join(said)}", 400, placeholder=" ...")

    def _repr_png_(self) -> bytes:
        # A notebook's own way waits for pyplot to open a figure, which never happens here. The box is measured, because
        # `bbox_inches="tight"` draws the whole figure a first time to find it, and a widget should answer at once.
        if self.get_layout_engine() is not None:
            self.draw_without_rendering()
        box = self.get_tightbbox(FigureCanvasAgg(self).get_renderer()).padded(0.1)
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=self.dpi, bbox_inches=box, facecolor=PAPER)
        return picture.getvalue()


def canvas(size: tuple[float, float], axes=None) -> tuple[Figure, plt.Axes]:
    """The figure and axes to draw on: those given, or new ones of this size in inches."""
    if axes is not None:
        return axes.figure, axes
    figure = Drawing(figsize=size)
    return figure, figure.subplots()


def plain_ticks(axis) -> None:
    """Numbers as one says them at the ticks of a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def save_figure(figure: Figure, name: str, out_dir: str | Path) -> Path:
    """Write out_dir/figures/NAME.svg and .png without dates or random ids: an unchanged figure is an unchanged file.

    What shows no pictures is packed into 256 colours, at a third of the bytes.
    NAME begins with the notebook's number. `notebooks build` takes the figures of a default run into figures/; a run
    on other data leaves that folder alone. Returns the path of the .svg.
    """
    if not (name[:2].isdigit() and name[2:3] == "_"):
        raise ValueError(f"figure {name!r} must be named after its notebook's number, as in '03_similarity'")
    folder = Path(out_dir) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    look = dict(dpi=160, facecolor=PAPER, bbox_inches="tight")
    with plt.rc_context({"svg.hashsalt": "ptsa_lite"}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, **look)
        figure.savefig(pixels := BytesIO(), **look)
    picture = Image.open(pixels).convert("RGB")
    if not any(axes.images for axes in figure.axes):
        picture = picture.quantize(256, dither=Image.Dither.NONE)
    picture.save(folder / f"{name}.png", optimize=True)
    return folder / f"{name}.svg"


def name_ends(axes, ends: Sequence[tuple[float, float, str, dict]], tie: bool = True) -> None:
    """Names in a column right of finished axes, in the order of their heights and apart from each other.

    ends: (x, y, words, the words' look) of what is named; with `tie` a thin line leads from each name to it.
    """
    (low, high), inches = axes.get_ylim(), axes.get_position().height * axes.figure.get_figheight()
    line, ends = 0.19 * (high - low) / inches, sorted(ends, key=lambda end: end[1])
    steps = line * np.arange(len(ends))
    heights = isotonic_regression([y for _, y, _, _ in ends] - steps).x + steps  # apart by a line, moved the least
    heights = np.clip(heights, low + line / 2 + steps, high - line / 2 - steps[::-1])  # none above or below
    arrow = dict(arrowstyle="-", color=SOFT, linewidth=0.5, alpha=0.6, shrinkA=1, relpos=(0, 0.5)) if tie else None
    for (x, y, words, look), height in zip(ends, heights, strict=True):
        look = {"fontsize": 8.5, **look, "color": in_words(look.get("color", INK))}
        axes.annotate(words, (x, y), (1.03 if tie else 1.015, height), textcoords=axes.get_yaxis_transform(),
                      va="center", arrowprops=arrow, **look)  # fmt: skip

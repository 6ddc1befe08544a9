"""The method as a drawing that moves: adapters separate, and then the maps of a training sharpen."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ptsa_lite.tree import TaskTree

from .style import SOFT
from .tree import draw_adaptation

Maps = Mapping[str, np.ndarray]  # {task: (H, W, 3) uint8}


def moving_adaptation(
    tree: TaskTree, pictures: Sequence[Any], moments: Sequence[tuple[str, Sequence[Maps]]], steps: int = 10
) -> Iterator[tuple[Image.Image, int]]:
    """Frames and how many milliseconds each is shown.

    First all tasks share every adapter, and the groups of each stage leave the middle, the last stage first. Then what
    is said of the first picture at one moment of the training after the other; at last the other pictures.

    pictures: (H, W, 3) uint8 each. moments: a title, and every picture's maps.
    """
    blank = {name: np.full((2, 2, 3), 235, np.uint8) for name in tree.tasks}
    opened, splits = [0.0] * len(tree.stages), [i for i, groups in enumerate(tree.stages) if len(groups) > 1]
    yield _frame(tree, pictures[0], blank, opened, "all adapters shared"), 900
    for stage in reversed(splits):
        for share in np.linspace(0, 1, steps + 1)[1:]:
            opened[stage] = float(share * share * (3 - 2 * share))  # begins and ends slowly
            yield _frame(tree, pictures[0], blank, opened, "separating, stage by stage"), 60
    for title, maps in moments:
        yield _frame(tree, pictures[0], maps[0], opened, title), 420
    title, maps = moments[-1]
    for picture, said in zip(pictures, maps, strict=True):
        yield _frame(tree, picture, said, opened, title), 1300


def save_animation(frames: Iterator[tuple[Image.Image, int]], path: Any) -> None:
    """An animated GIF that begins again when it is over. All frames have the palette of the last four."""
    images, milliseconds = zip(*frames, strict=True)
    last = Image.fromarray(np.concatenate([np.asarray(image) for image in images[-4:]]))
    colours = last.quantize(256, dither=Image.Dither.NONE)
    first, *rest = (image.quantize(palette=colours, dither=Image.Dither.NONE) for image in images)
    first.save(path, format="gif", save_all=True, append_images=rest, duration=milliseconds, loop=0, optimize=True)


def _frame(tree: TaskTree, picture: Any, maps: Maps, opened: Sequence[float], title: str) -> Image.Image:
    figure = draw_adaptation(tree, picture, maps, opened=opened)
    figure.text(0.01, 0.9, title, color=SOFT, fontsize=11)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return Image.open(file).convert("RGB")

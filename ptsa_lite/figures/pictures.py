"""Dense labels, predictions and features as pictures: what a network sees and says, one look a task."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ptsa_lite.backbones import IMAGENET_MEAN, IMAGENET_STD
from ptsa_lite.tasks import IGNORE, REAL, Task

from .style import INK, Drawing, task_colour, task_ink

HATCH = np.uint8([[205], [165]]) * np.ones(3, np.uint8)  # the two greys of "no label here"
CLASS_COLOURS = {  # background, head, torso, ...; all other segmentations wear `palette`
    "human_parts": ("#E8E8E4", "#D55E00", "#0072B2", "#E69F00", "#F0E442", "#009E73", "#56B4E9"),
}


def palette(classes: int) -> np.ndarray:
    """uint8 (classes, 3): class 0 is a pale grey, the others walk the hue circle by the golden angle.

    Neighbouring numbers differ in hue and in lightness, so that they part in grey and for colour-blind eyes too.
    Colours are set in OKLCH, where equal steps look equal (Björn Ottosson, 2020).
    """
    number = np.arange(1, classes)
    hue, chroma = number * np.pi * (3 - 5**0.5), 0.115
    lightness = np.choose(number % 3, [0.62, 0.80, 0.46])
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    to_linear = [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                 [-0.0041960863, -0.7034186147, 1.7076147010]]  # fmt: skip
    linear = np.clip(np.stack([long, medium, short], -1) @ np.transpose(to_linear), 0, 1)
    srgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.concatenate([np.uint8([[232, 232, 228]]), np.uint8(np.round(255 * srgb))])


def colour_labels(
    task: Task, values: Any, predicted: bool = False, limits: tuple[float, float] | None = None
) -> np.ndarray:
    """uint8 (H, W, 3): a label tensor of this task as a picture or, with `predicted`, what its head put out.

    Shapes as in `Task`. Segmentation takes class colours. A normal (x, y, z) becomes red to the right, green up, blue
    toward the viewer: the camera's y points down and its z away. Depth, like any regression, runs from small (light) to
    large (dark) within `limits`, by default its own range. Binary maps run from pale to the task's colour. Pixels
    without a label are hatched grey.
    """
    values = as_array(values)
    if values.ndim != (2 if task.kind == "segmentation" and not predicted else 3):
        what = f"{'prediction' if predicted else 'label'} of shape {values.shape}"
        raise ValueError(f"{task.name}: {what}; expected one frame as in the table of ptsa_lite.tasks.Task")
    missing = (values.reshape(-1, *values.shape[-2:]) == IGNORE).any(0) & (not predicted)
    if task.kind == "segmentation":
        colours = 255 * np.array([to_rgb(one) for one in CLASS_COLOURS.get(task.name, ())])
        colours = colours if len(colours) == task.channels else palette(task.channels)
        classes = values.argmax(0) if predicted else np.where(missing, 0, values)
        picture = np.uint8(np.round(colours))[classes.astype(int)]  # (H, W) -> (H, W, 3)
    elif task.kind == "normals":
        vectors = values.astype(np.float64) / np.maximum(np.linalg.norm(values, axis=0), 1e-6)
        right, down, away = np.where(missing, 0, vectors)
        picture = np.uint8(np.round(127.5 * (1 + np.stack([right, -down, -away], -1))))
    elif task.kind in REAL:
        low, high = limits or depth_limits(values)
        near = 1 - np.clip((values[0] - low) / max(high - low, 1e-6), 0, 1)
        picture = np.uint8(np.round(255 * colormaps["cividis"](near)[..., :3]))
    else:
        share = 1 / (1 + np.exp(-values[0].astype(np.float64))) if predicted else np.where(missing, 0, values[0])
        pale, full = np.array([0.96, 0.96, 0.94]), 0.8 * np.array(to_rgb(task_colour(task)))
        picture = np.uint8(np.round(255 * (pale + share[..., None] * (full - pale))))
    rows, columns = np.indices(missing.shape)
    return np.where(missing[..., None], HATCH[(rows + columns) // 4 % 2], picture)


def draw_grid(
    pictures: Sequence[Sequence[Any]], columns: Sequence[str], rows: Sequence[str] = (), tasks: Collection[str] = (),
    **look: Any,
) -> Figure:  # fmt: skip
    """Rows of pictures, all of one aspect: names of columns above, names of rows to the left, tasks' in their colours.

    pictures: (H, W, 3), or maps of numbers (H, W), for which `look` is what imshow wants, such as a colour map.
    """
    side, left, top = 1.75, 1.4 * bool(rows), 0.3 * any(columns)  # inches
    shape = np.shape(pictures[0][0])
    size = left + side * len(columns), top + side * shape[0] / shape[1] * len(pictures)
    figure = Drawing(figsize=size)
    room = dict(wspace=0.04, hspace=0.04, left=left / size[0], right=0.995, bottom=0.005, top=0.995 - top / size[1])
    grid = figure.subplots(len(pictures), len(columns), squeeze=False, gridspec_kw=room)
    for places, row in zip(grid, pictures, strict=True):
        for axes, picture in zip(places, row, strict=True):
            show(axes, picture, **look)
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(name, fontsize=10, color=task_ink(name) if name in tasks else INK, loc="center")
    for axes, name in zip(grid[:, 0], rows, strict=False):
        axes.set_ylabel(name, fontsize=10, color=task_ink(name) if name in tasks else INK, rotation=0, ha="right",
                        va="center", fontweight="bold" if name in tasks else "normal")  # fmt: skip
    return figure


def show(axes, picture: Any, **look: Any) -> None:
    """A picture without a frame, its pixels as they are."""
    axes.imshow(picture, interpolation="nearest", **look)
    axes.set(xticks=[], yticks=[], anchor="N")
    axes.spines[:].set_visible(False)


def draw_frames(batch: Mapping[str, Any], tasks: Mapping[str, Task]) -> Figure:
    """A row per frame of a batch as loaders give it: the image, then every task's label."""
    rows = [[picture_of(image), *(colour_labels(task, batch[name][i]) for name, task in tasks.items())]
            for i, image in enumerate(batch["image"])]  # fmt: skip
    return draw_grid(rows, ["image", *tasks], tasks=tasks)


def draw_progress(
    label: Mapping[str, Any], moments: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, Task], image: Any = None
) -> Figure:
    """A row per task for one frame: the image where given, its label, and what the model said at each moment.

    label {task: label}; moments {title: {task: prediction (C, H, W)}}. Label and predictions share the range of depth.
    """
    rows = [_label_and_said(task, label[name], *(said[name] for said in moments.values()))
            for name, task in tasks.items()]  # fmt: skip
    first = [] if image is None else ["image"]
    rows = [[*(picture_of(image) for _ in first), *row] for row in rows]
    return draw_grid(rows, [*first, "label", *moments], list(tasks), tasks)


def draw_predictions(
    images: Any, targets: Mapping[str, Any], predictions: Mapping[str, Any], tasks: Mapping[str, Task]
) -> Figure:
    """Two rows per frame: the image, then a column per predicted task with its label above and its prediction below.

    images (B, 3, H, W), uint8, or float as the transforms normalise them; targets {task: (B, ...)} and predictions
    {task: (B, C, H, W)}. Label and prediction share the range of depth.
    """
    shown, rows = {name: task for name, task in tasks.items() if name in predictions}, []
    for i, image in enumerate(images):
        columns = [_label_and_said(task, targets[name][i], predictions[name][i]) for name, task in shown.items()]
        rows += zip([picture_of(image), np.full_like(picture_of(image), 255)], *columns, strict=True)
    return draw_grid(rows, ["image", *shown], ["label", "prediction"] * len(images), tasks)


def _label_and_said(task: Task, label: Any, *predictions: Any) -> list[np.ndarray]:
    """One frame's label and what was predicted for it, which share the range of depth."""
    limits = depth_limits(label) if task.kind in REAL else None
    return [colour_labels(task, label, limits=limits),
            *(colour_labels(task, said, predicted=True, limits=limits) for said in predictions)]  # fmt: skip


def draw_pca(features: Mapping[str, Any], images: Any = None) -> Figure:
    """Feature maps as colours: their three main directions as red, green and blue, a column per named set of maps.

    features {name: (B, C, h, w)}, a row per frame; the directions are common to all frames of a column. Alike colours
    mean alike features. Each direction's sign is set so that its largest entry is positive: runs compare.
    """
    columns = {} if images is None else {"image": [picture_of(image) for image in images]}
    columns |= {name: main_directions(as_array(maps)) for name, maps in features.items()}
    return draw_grid(list(zip(*columns.values(), strict=True)), list(columns))


def main_directions(maps: np.ndarray) -> np.ndarray:
    """(B, C, h, w) -> uint8 (B, h, w, 3), each of the three directions scaled to its 1st..99th percentile."""
    frames, channels, height, width = maps.shape
    rows = maps.transpose(0, 2, 3, 1).reshape(-1, channels).astype(np.float64)  # (B*h*w, C)
    rows -= rows.mean(0)
    directions = np.linalg.svd(rows.T @ rows)[0][:, :3]  # (C, 3)
    largest = directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])]
    scores = rows @ (directions * np.where(largest < 0, -1, 1))
    low, high = np.percentile(scores, [1, 99], axis=0)
    colours = np.zeros((len(rows), 3))  # fewer than three channels leave the last colours dark
    colours[:, : scores.shape[1]] = np.clip((scores - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.uint8(np.round(255 * colours)).reshape(frames, height, width, 3)


def picture_of(image: Any) -> np.ndarray:
    """uint8 (H, W, 3) of an image (3, H, W) or (H, W, 3): uint8 as it is, float with the normalisation undone."""
    image = as_array(image)
    if image.shape[-1] != 3:
        image = image.transpose(1, 2, 0)
    if image.dtype == np.uint8:
        return image
    return np.uint8(np.round(255 * np.clip(image * IMAGENET_STD + IMAGENET_MEAN, 0, 1)))


def depth_limits(depth: Any) -> tuple[float, float]:
    """Smallest and largest labelled number of a map, of depth in metres; (0, 1) where nothing is labelled."""
    depth = as_array(depth)
    known = depth[depth != IGNORE]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def as_array(values: Any) -> np.ndarray:
    """A tensor of any device, or anything array-like, as numpy."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu() if values.dtype.is_floating_point else values.detach().cpu()
    return np.asarray(values)

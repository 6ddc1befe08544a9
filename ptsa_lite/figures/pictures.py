"""Dense labels, predictions and features as pictures: what a network sees and says, one look a task."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ptsa_lite.backbones import IMAGENET_MEAN, IMAGENET_STD
from ptsa_lite.tasks import IGNORE, Task

from .style import Drawing, task_colour

HATCH = np.uint8([[205], [165]]) * np.ones(3, np.uint8)  # the two greys of "no label here"
PARTS = ("#E8E8E4", "#D55E00", "#0072B2", "#E69F00", "#F0E442", "#009E73", "#56B4E9")  # background, head, torso, ...


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
                 [-0.0041960863, -0.7034186147, 1.7076147010]]
    linear = np.clip(np.stack([long, medium, short], -1) @ np.transpose(to_linear), 0, 1)
    srgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.concatenate([np.uint8([[232, 232, 228]]), np.uint8(np.round(255 * srgb))])


def colour_labels(
    task: Task, values: Any, predicted: bool = False, limits: tuple[float, float] | None = None
) -> np.ndarray:
    """uint8 (H, W, 3): a label tensor of this task as a picture or, with `predicted`, what its head put out.

    Shapes as in `Task`. Segmentation takes class colours. A normal (x, y, z) becomes red to the right, green up, blue
    toward the viewer: the camera's y points down and its z away. Depth runs from near (light) to far (dark) within
    `limits`, in metres, by default its own range. Binary maps run from pale to the task's colour. Pixels without a
    label are hatched grey.
    """
    values = as_array(values)
    if values.ndim != (2 if task.kind == "segmentation" and not predicted else 3):
        raise ValueError(f"{task.name}: {'prediction' if predicted else 'label'} of shape {values.shape}; "
                         f"expected one frame as in the table of ptsa_lite.tasks.Task")
    missing = np.zeros(values.shape[-2:], bool)
    if not predicted:
        missing = values == IGNORE if values.ndim == 2 else (values == IGNORE).any(0)
    if task.kind == "segmentation":
        colours = np.uint8([[round(255 * c) for c in to_rgb(part)] for part in PARTS]) if task.name == "human_parts" \
            else palette(task.channels)
        classes = values.argmax(0) if predicted else np.where(missing, 0, values)
        picture = colours[classes.astype(int)]  # (H, W) -> (H, W, 3)
    elif task.kind == "normals":
        vectors = values.astype(np.float64) / np.maximum(np.linalg.norm(values, axis=0), 1e-6)
        right, down, away = np.where(missing, 0, vectors)
        picture = np.uint8(np.round(127.5 * (1 + np.stack([right, -down, -away], -1))))
    elif task.kind == "depth":
        low, high = limits or depth_limits(values)
        near = 1 - np.clip((values[0] - low) / max(high - low, 1e-6), 0, 1)
        picture = np.uint8(np.round(255 * matplotlib.colormaps["cividis"](near)[..., :3]))
    else:
        share = 1 / (1 + np.exp(-values[0].astype(np.float64))) if predicted else np.where(missing, 0, values[0])
        pale, full = np.array([0.96, 0.96, 0.94]), 0.8 * np.array(to_rgb(task_colour(task)))
        picture = np.uint8(np.round(255 * (pale + share[..., None] * (full - pale))))
    rows, columns = np.indices(missing.shape)
    return np.where(missing[..., None], HATCH[(rows + columns) // 4 % 2], picture)


def draw_predictions(
    images: Any, targets: dict[str, Any], predictions: dict[str, Any], tasks: dict[str, Task]
) -> Figure:
    """A band per frame: the image, then a column per task with its label above and its prediction below.

    images (B, 3, H, W), uint8, or float as the transforms normalise them; targets {task: (B, ...)} and predictions
    {task: (B, C, H, W)}. Label and prediction share the range of depth.
    """
    frames, names = len(images), [name for name in tasks if name in predictions]
    size = 1.45
    figure = Drawing(figsize=(size * (len(names) + 2.2), size * 2.05 * frames + 0.35))
    grid = figure.add_gridspec(
        2 * frames, len(names) + 1, width_ratios=[2.05, *[1] * len(names)], wspace=0.05, hspace=0.05,
        left=0.01, right=0.955, bottom=0.01, top=1 - 0.35 / figure.get_figheight(),
    )
    for frame in range(frames):
        axes = figure.add_subplot(grid[2 * frame : 2 * frame + 2, 0])
        _show(axes, picture_of(images[frame]), "image" if frame == 0 else "")
        for column, name in enumerate(names, 1):
            task, target, guess = tasks[name], as_array(targets[name][frame]), as_array(predictions[name][frame])
            limits = depth_limits(target) if task.kind == "depth" else None
            upper = figure.add_subplot(grid[2 * frame, column])
            lower = figure.add_subplot(grid[2 * frame + 1, column])
            _show(upper, colour_labels(task, target, limits=limits), task.name if frame == 0 else "", task_colour(task))
            _show(lower, colour_labels(task, guess, predicted=True, limits=limits))
            if column == len(names):
                for side, words in ((upper, "label"), (lower, "prediction")):
                    side.yaxis.set_label_position("right")
                    side.set_ylabel(words, rotation=270, va="bottom", fontsize=9)
    return figure


def draw_pca(features: dict[str, Any], images: Any = None) -> Figure:
    """Feature maps as colours: their three main directions as red, green and blue, a column per named set of maps.

    features {name: (B, C, h, w)}, a row per frame; the directions are common to all frames of a column. Alike colours
    mean alike features. Each direction's sign is set so that its largest entry is positive: runs compare.
    """
    columns = ([("image", [picture_of(image) for image in images])] if images is not None else []) + [
        (name, main_directions(as_array(maps))) for name, maps in features.items()
    ]
    frames = len(columns[0][1])
    figure = Drawing(figsize=(1.9 * len(columns), 1.9 * frames + 0.35))
    room = dict(wspace=0.05, hspace=0.05, left=0.01, right=0.99, bottom=0.01, top=1 - 0.35 / figure.get_figheight())
    axes = figure.subplots(frames, len(columns), squeeze=False, gridspec_kw=room)
    for column, (name, pictures) in enumerate(columns):
        for row, picture in enumerate(pictures):
            _show(axes[row, column], picture, name if row == 0 else "")
    return figure


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


def depth_limits(depth: np.ndarray) -> tuple[float, float]:
    """Nearest and farthest labelled metres of a depth map; (0, 1) where nothing is labelled."""
    known = depth[depth != IGNORE]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def as_array(values: Any) -> np.ndarray:
    """A tensor of any device, or anything array-like, as numpy."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu() if values.dtype.is_floating_point else values.detach().cpu()
    return np.asarray(values)


def _show(axes, picture: np.ndarray, title: str = "", colour: str = "black") -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_anchor("N")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, fontsize=10, color=colour, pad=4)

"""One picture in, every task's map out, at the picture's size; and the model as a program for other runtimes."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.data.pictures import read_picture
from ptsa_lite.data.transforms import normalise

from .losses import unit
from .tasks import Task

STRIP = 256  # rows of a map that are computed at once: 40 classes of a large photograph would not fit


def predict(model: nn.Module, image: str | Path | Image.Image | np.ndarray, tasks: Iterable[str] | None = None) -> dict:
    """{task: map} of one picture of any size H x W, each map at that size.

    ============ ==========================================
    segmentation (H, W) uint8, class ids
    binary       (H, W) float32, probabilities
    normals      (H, W, 3) float32, unit vectors
    depth        (H, W) float32, metres
    ============ ==========================================

    image: a path, a PIL image or an array; the rules for odd ones stand in `data.pictures`. A rotation noted in EXIF is
    applied, so that maps come as a viewer shows the picture. It is resized to the model's size as test frames are,
    without keeping the aspect. The model is put into evaluation mode.
    Raises ValueError naming a file that is missing, or no picture.
    """
    picture = Image.fromarray(read_picture(image))
    height, width = model.img_size
    small = picture.resize((width, height), Image.Resampling.BICUBIC)
    device = next(model.parameters()).device
    with torch.inference_mode():
        inputs = normalise(np.asarray(small))[None].to(device)
        out = model.eval()(inputs, tasks=tasks, resize=False)
        size = picture.height, picture.width
        return {name: np.concatenate([answer(model.tasks[name], strip) for strip in strips(maps, size)])
                for name, maps in out.items()}  # fmt: skip


def answer(task: Task, x: Tensor) -> np.ndarray:
    """What a head's output (1, C, h, w) says, as `predict` returns it."""
    if task.kind == "segmentation":
        return x[0].argmax(0).to(torch.uint8).cpu().numpy()
    if task.kind == "normals":
        return unit(x)[0].permute(1, 2, 0).cpu().numpy()
    return (x.sigmoid() if task.kind == "binary" else x)[0, 0].cpu().numpy()


def write_maps(maps: dict[str, np.ndarray], tasks: Mapping[str, Task], folder: str | Path) -> list[Path]:
    """Writes TASK.npy and, coloured, TASK.png for each map of `predict`; returns the files."""
    written = []
    for name, values in maps.items():
        stem = Path(folder) / name
        stem.parent.mkdir(parents=True, exist_ok=True)
        np.save(stem.with_suffix(".npy"), values)
        Image.fromarray(paint(tasks[name], values)).save(stem.with_suffix(".png"))
        written += [stem.with_suffix(".npy"), stem.with_suffix(".png")]
    return written


def paint(task: Task, values: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): a map of `predict` in the task's colours."""
    from ptsa_lite.figures.pictures import colour_labels

    shown = values if values.ndim == 2 else values.transpose(2, 0, 1)
    return colour_labels(task, shown[None] if task.kind in ("binary", "depth") else shown)


def strips(maps: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """The bilinear resize of (1, C, h, w) to (1, C, *size), some rows at a time."""
    height, width = size
    wide = F.interpolate(maps.float(), (maps.shape[2], width), mode="bilinear", align_corners=False)  # (1, C, h, W)
    at = ((torch.arange(height, device=maps.device) + 0.5) * (maps.shape[2] / height) - 0.5).clamp(min=0)
    above = at.floor().long().clamp(max=maps.shape[2] - 1)
    below, share = (above + 1).clamp(max=maps.shape[2] - 1), (at - above)[:, None]
    for rows in torch.arange(height, device=maps.device).split(STRIP):
        yield torch.lerp(wide[:, :, above[rows]], wide[:, :, below[rows]], share[rows])


def export(model: nn.Module, batch: int = 1) -> torch.export.ExportedProgram:
    """The merged model as a program of torch.export: images (batch, 3, H, W) -> {task: (batch, C, H, W)}.

    Save it with torch.export.save. Other runtimes read it, and none of this package is needed to run it.
    """
    merged = model.merge()
    images = torch.zeros(batch, 3, *model.img_size, device=next(model.parameters()).device)
    with torch.no_grad():
        return torch.export.export(merged.eval(), (images,))


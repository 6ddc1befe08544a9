"""One cell of a table: what it holds as numbers, and these as a label of a task, as `frames` keeps it.

============ ============================================================= =========================================
kind         what a cell holds                                             where there is no label
============ ============================================================= =========================================
segmentation class ids 0..n-1                                              `ignore`, 255 where none is said
binary       0 and 1, or 0 and 255                                         `ignore`
regression   numbers, by the task's `scale` in its unit                    `ignore`, or not finite
depth        the same, in metres                                           `ignore`, or not above 0
normals      unit vectors x right, y down, z forward; in 8 bits 2v/255 - 1 `ignore` in all three, or zero
============ ============================================================= =========================================

A cell is a picture of one channel (of normals: three), an array (H, W) (of normals: (H, W, 3) or (3, H, W)), or the
path of a picture or a .npy; an empty one means that the frame has no such label. Faults are DataErrors that begin with
"it".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ptsa_lite.tasks import IGNORE, REAL, Task

from . import files
from .files import DataError
from .pictures import read_grey, read_picture


def is_empty(cell: Any) -> bool:
    """Whether a cell says nothing: None, NaN, an array of nothing else, no text, no bytes."""
    cell = _stored(cell)
    if isinstance(cell, np.ndarray) and cell.dtype.kind == "f" and cell.size:  # as a null of an Array2D comes
        return bool(np.isnan(cell).all())
    return cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str | bytes) and not cell)


def _stored(cell: Any) -> Any:
    """A picture of `datasets` is stored as its bytes or its path."""
    return cell.get("bytes") or cell.get("path") if isinstance(cell, Mapping) else cell


def paths_of(cell: str | Path, places: Iterable[Path]) -> list[Path]:
    """Where the file of a path in a cell may lie; the path may have been written on Windows."""
    return [place / path for place in places for path in dict.fromkeys((str(cell), str(cell).replace("\\", "/")))]


def opened(cell: Any, places: Sequence[Path], channels: int) -> Any:
    """An array, a PIL picture, or what one is read from.

    places: the folders that a path may go from; the first where there is such a file is meant.
    """
    cell = _stored(cell)
    if isinstance(cell, bytes):
        return BytesIO(cell)
    if isinstance(cell, str | Path):
        path = next(filter(Path.is_file, paths_of(cell, places)), places[0] / cell)
        return files.read_array(path, channels) if path.suffix == ".npy" else path
    if isinstance(cell, list | tuple):
        try:
            cell = np.asarray(cell)
        except ValueError:  # rows of different lengths
            raise DataError("size", "it is a list whose rows differ in length; expected (H, W)") from None
    if isinstance(cell, np.ndarray) and cell.ndim == 3 and cell.shape[2] != channels == cell.shape[0]:
        return cell.transpose(1, 2, 0)  # channels first
    return cell


def numbers(cell: Any, kind: str) -> np.ndarray:
    """(H, W) of numbers, of normals (H, W, 3)."""
    if isinstance(cell, int | float):
        raise DataError("size", f"it holds {cell}, one number; expected one for each pixel, (H, W)")
    if not isinstance(cell, np.ndarray):
        if kind == "normals":
            return read_picture(cell, turn=False, colour=False)
        return read_grey(cell, stored=True, real=kind in REAL)
    if cell.ndim == 3 and kind != "normals" and cell.shape[2] == 1:
        cell = cell[..., 0]
    wanted = "(H, W, 3)" if kind == "normals" else "(H, W)"
    if cell.dtype.kind not in "buif" or cell.ndim != wanted.count(",") + 1 or cell.shape[2:] not in ((), (3,)):
        raise DataError("size", f"it is an array of {cell.dtype} and shape {cell.shape}; expected numbers {wanted}")
    return cell


def _classes(values: np.ndarray, task: Task) -> np.ndarray:
    ignore, highest = IGNORE if task.ignore is None else task.ignore, task.channels - 1
    allowed = f"; task {task.name!r} has 0..{highest}, and {ignore:g} where there is no label"
    files.check_ids(values, highest, ignore, "it holds classes", allowed)
    return np.where(values == ignore, IGNORE, values).astype(np.uint8)


def _binary(values: np.ndarray, task: Task) -> np.ndarray:
    none = values == task.ignore
    kept = np.where(none, 0, values)
    if 1 < kept.max(initial=0) < 128:
        words = f"it reaches {kept.max():g}; task {task.name!r} is binary: expected 0 and 1, or 0 and 255"
        raise DataError("range", words)
    if kept.max(initial=0) == 255 and (kept == 1).any() and np.isin(kept, (0, 1, 255)).all():
        words = f"it holds 1 and 255, of which task {task.name!r} can have one"
        raise DataError("range", f"{words}; where 255 means that there is no label, say ignore: 255")
    return np.where(none, np.uint8(IGNORE), files.above_half(kept, "it", "binary"))


def _regression(values: np.ndarray, task: Task) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold is no label
        real = np.multiply(values, task.scale, dtype=np.float64).astype(np.float32)
        none = task.ignore is not None and np.asarray(values, np.float32) == np.float32(task.ignore)
    return np.where(np.isfinite(real) & ~(none | (values == task.ignore)), real, np.float32(np.nan))


def _depth(values: np.ndarray, task: Task) -> np.ndarray:
    metres = _regression(values, task)
    return np.where(metres > 0, metres, np.float32(0))


def _normals(values: np.ndarray, task: Task) -> np.ndarray:
    none = (values == task.ignore).all(-1, keepdims=True)
    if none.any():
        values = np.where(none, np.float32(0), files.unit_range(values))
    return files.clean_normals(values, "it")


LABELS: dict[str, Callable[[np.ndarray, Task], np.ndarray]] = {
    "segmentation": _classes, "binary": _binary, "regression": _regression, "depth": _depth, "normals": _normals,
}  # fmt: skip

"""NYUv2 with 13 classes from a local copy of the Hugging Face set `tanganke/nyuv2`: a protocol of its own.

Parquet files under ROOT (or ROOT/data), train*.parquet and val*.parquet (or test*), 795 and 654 frames of 288x384:

============ ============================ ==============================
column       shape                        values
============ ============================ ==============================
image        (3, H, W) float              0..1
segmentation (H, W) integer               0..12, -1 = none
depth        (1, H, W) float              metres, 0 = none
normal       (3, H, W) float              unit vectors, zero = none
noise        left alone
============ ============================ ==============================

Its mIoU over 13 classes says nothing about the one over 40, and its frames are prepared differently: the data set's
name is nyuv2_13, and no reader of one opens the other.
"""

import bisect
from pathlib import Path

import numpy as np

from . import files, frames, store
from .files import DataError

TASKS = ("semseg", "depth", "normals")
COLUMNS = {"image": "image", "semseg": "segmentation", "depth": "depth", "normals": "normal"}


def find(root: str | Path, split: str) -> list[Path]:
    """The parquet files of a split, in order. Raises DataError where there are none."""
    root = Path(root)
    for start in ("train",) if split == "train" else ("val", "test"):
        for folder in (root / "data", root):
            found = sorted(folder.glob(f"{start}*.parquet"))
            if found:
                return found
    raise DataError("missing", f"{root} holds no {split}*.parquet; expected a copy of tanganke/nyuv2 with its data/")


class Rows:
    """The rows of several parquet files as frames, one row group in memory at a time."""

    def __init__(self, paths: list[Path]):
        import pyarrow.parquet as pq

        self.files = []
        for path in paths:
            try:
                self.files.append(pq.ParquetFile(path))
            except (OSError, ValueError) as error:
                raise DataError("unreadable", f"{path} cannot be read as parquet ({error}); fetch it again") from None
            lacking = [name for name in COLUMNS.values() if name not in self.files[-1].schema_arrow.names]
            if lacking:
                raise DataError("missing", f"{path} has no column {lacking[0]}; expected those of tanganke/nyuv2")
        self.paths = paths
        self.groups = [(f, g) for f, file in enumerate(self.files) for g in range(file.num_row_groups)]
        sizes = [self.files[f].metadata.row_group(g).num_rows for f, g in self.groups]
        self.ends = np.cumsum(sizes).tolist()
        self.loaded, self.columns = -1, {}

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def frame(self, i: int) -> frames.Frame:
        """Row i as a frame of this project."""
        group = bisect.bisect_right(self.ends, i)
        f, g = self.groups[group]
        if group != self.loaded:
            table = self.files[f].read_row_group(g, columns=list(COLUMNS.values()))
            self.columns = {key: table.column(name).combine_chunks() for key, name in COLUMNS.items()}
            self.loaded = group
        row = i - (self.ends[group - 1] if group else 0)
        path = Path(f"{self.paths[f]}, row {row} of group {g}")
        values = {key: _array(column, row) for key, column in self.columns.items()}
        return _frame(values, path)


def _array(column, row: int) -> np.ndarray:
    """One row's nested lists as an array of their shape."""
    storage = getattr(column, "storage", column)  # Hugging Face's fixed shapes are an Arrow extension
    values, shape = storage.slice(row, 1), []
    while hasattr(values, "flatten") and hasattr(values.type, "value_type"):
        inner = values.flatten()
        shape.append(len(inner) // max(len(values), 1))
        values = inner
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _frame(values: dict[str, np.ndarray], path: Path) -> frames.Frame:
    image, ids, depth, normals = (values[key] for key in COLUMNS)
    size = image.shape[1:]
    shapes = {"image": (3, *size), "segmentation": size, "depth": (1, *size), "normal": (3, *size)}
    for (name, shape), array in zip(shapes.items(), (image, ids, depth, normals), strict=True):
        if array.shape != shape or len(size) != 2:
            raise DataError("size", f"{path}: {name} has shape {array.shape}; expected {shape}")
    if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
        raise DataError("range", f"{path}: image values outside 0..1")
    if ids.min() < -1 or ids.max() > 12:
        raise DataError("range", f"{path}: classes {ids.min()}..{ids.max()}; expected -1..12, the 13 classes")
    return {
        "image": np.ascontiguousarray(np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)),
        "semseg": np.where(ids < 0, 255, ids).astype(np.uint8),
        "depth": files.clean_depth(np.array(depth[0]), path, 1.0),
        "normals": files.clean_normals(np.ascontiguousarray(normals.transpose(1, 2, 0)), path),
    }


def build(root: str | Path, split: str, limit: int | None, cache) -> tuple[list[Path], int]:
    """The part files of a split's frames and their number: converted once, at their own size, and kept."""
    paths = find(root, split)
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    folder = store.cache_folder(cache) / f"nyuv2_13-{split}-{store.fingerprint(stats, 1)}"
    rows = Rows(paths)
    n = min(len(rows), limit or len(rows))

    def row_at(i: int) -> dict:
        return frames.encode(rows.frame(i), i, TASKS)

    return store.build(folder, n, row_at, frames.schema(TASKS), f"reading {split} of {root}"), n

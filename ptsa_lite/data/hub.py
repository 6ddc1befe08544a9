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

import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import cache, files, frames
from .files import DataError

TASKS = ("semseg", "depth", "normals")
COLUMNS = ("image", "segmentation", "depth", "normal")


def find(root: str | Path, split: str) -> list[Path]:
    """The parquet files of a split, in order. Raises DataError where there are none."""
    if not str(root):
        raise ValueError("data set 'nyuv2_13' needs root=, the folder of the parquet files")
    for start in ("train",) if split == "train" else ("val", "test"):
        for folder in (Path(root) / "data", Path(root)):
            if found := sorted(folder.glob(f"{start}*.parquet")):
                return found
    raise DataError("missing", f"{root} holds no {split}*.parquet; expected a copy of tanganke/nyuv2 with its data/")


def count(paths: list[Path]) -> int:
    """How many frames the files hold. Raises DataError for one that is damaged, or of another set."""
    from pyarrow import parquet

    n = 0
    for path in paths:
        try:
            about = parquet.read_metadata(path)
        except (OSError, ValueError) as error:
            raise DataError("unreadable", f"{path} cannot be read as parquet ({error}); fetch it again") from None
        lacking = [name for name in COLUMNS if name not in about.schema.to_arrow_schema().names]
        if lacking:
            raise DataError("missing", f"{path} has no column {lacking[0]}; expected those of tanganke/nyuv2")
        n += about.num_rows
    return n


def frame_of(row: dict[str, np.ndarray], where: Path) -> frames.Frame:
    """A row as a frame of this project. Raises DataError for values of another protocol."""
    image, ids, depth, normals = (row[name] for name in COLUMNS)
    size = image.shape[1:]
    for name, shape in zip(COLUMNS, ((3, *size), size, (1, *size), (3, *size)), strict=True):
        if row[name].shape != shape or len(size) != 2:
            raise DataError("size", f"{where}: {name} has shape {row[name].shape}; expected {shape}")
    if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
        raise DataError("range", f"{where}: image values outside 0..1")
    if ids.min() < -1 or ids.max() > 12:
        raise DataError("range", f"{where}: classes {ids.min()}..{ids.max()}; expected -1..12, the 13 classes")
    return {
        "image": np.ascontiguousarray(np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)),
        "semseg": np.where(ids < 0, 255, ids).astype(np.uint8),
        "depth": files.clean_depth(depth[0], where, 1.0),
        "normals": files.clean_normals(np.ascontiguousarray(normals.transpose(1, 2, 0)), where),
    }


def build(root: str | Path, split: str, n_frames: int | None, folder: str | Path | None) -> tuple[list[Path], int]:
    """The part files of a split's frames and their number: converted once, at their own size, and kept."""
    paths = find(root, split)
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    place = cache.cache_folder(folder) / f"nyuv2_13-{split}-{cache.fingerprint(stats, 1)}"
    n = count(paths)
    n = min(n, n_frames or n)

    @lru_cache
    def table():
        files = [str(path) for path in paths]
        rows = cache.hugging_face().Dataset.from_parquet(files, cache_dir=str(place / "parquet"))
        return rows.select_columns(list(COLUMNS)).with_format("numpy")

    def row_at(i: int) -> dict:
        return frames.encode(frame_of(table()[i], Path(f"{paths[0].parent}, {split} row {i}")), i, TASKS)

    made = cache.build(place, n, row_at, frames.schema(TASKS), f"reading {split} of {root}")
    shutil.rmtree(place / "parquet", ignore_errors=True)
    return made, n

"""NYUD-v2 archives of the multi-task line, as frames (layouts B and C; facts: data on disk).

Three archives go by one name. What tells them apart is the kind of file in each folder:

============ ================== ================== ==================
folder       A (ASTMT), refused B (survey, MTLoRA) C (ATRC, InvPT)
============ ================== ================== ==================
images       jpg                jpg                png
segmentation mat, 41 classes    png, 0..40         png, 0..40
depth        mat                npy                npy
normals      jpg                npy                png, 2 v / 255 - 1
edge         png                npy                png
============ ================== ================== ==================

Each folder is read in whichever of these kinds it comes, and depth as 16-bit png too. Splits are gt_sets/train.txt and
gt_sets/val.txt.

Depth is in metres in some copies of B and in millimetres in others. The rule: take the median positive depth of three
frames, and the middle one of the three. A room's is from 0.6 m, nearer than which no Kinect sees, to 10 m. So from 0.6
to 10 it is in metres, from 600 to 10,000 in millimetres, and else in neither (centimetres, 8-bit greys, shares of the
deepest), and refused. Whole numbers, of which there are ten up to 10, are never metres. `data verify` says which.
"""

from functools import partial
from pathlib import Path

import numpy as np

from . import files
from .archive import PICTURES, Archive, Layout, Reader, Source, read_stored
from .files import DataError
from .pictures import read_ids, read_numbers

UNITS = {1.0: "depth in metres", 1000.0: "depth in millimetres", 0.0: "depth in no known unit"}
ARRAYS = (".npy", ".png")


def _survey(archive: Archive, names: list[str]) -> tuple[str, dict[str, Reader]]:
    there = {key: archive.sources[key] for key, found in archive.index.items() if found}
    if "semseg" not in there and any((archive.root / "segmentation").glob("*.mat")):
        raise DataError(
            "unreadable",
            f"{archive.root} is NYUD layout A (segmentation as .mat with 41 classes, not .png with 0..40; depth as "
            ".mat, normals as .jpg); bring layout B (.png and .npy) or C (.png and depth as .npy)",
        )
    unit = _unit(archive.of_a_few("depth", names, read_numbers)) if "depth" in there else 1.0
    found = ["NYUD-v2", UNITS[unit] if "depth" in there else "no depth"]
    found += [f"{key} as {source.suffixes[0]}" for key, source in there.items()]
    return ", ".join(found), {"depth": partial(read_depth, per_metre=unit)}


def _unit(depths: list[np.ndarray]) -> float:
    """1, 1000 or 0 for neither: the units in a metre, by the rule above. A file that differs is refused when it is
    read, and so are all of an archive in neither."""
    whole = any(depth.dtype.kind in "ui" for depth in depths)
    medians = sorted(filter(None, map(median_depth, depths))) or [1000.0 if whole else 1.0]
    middle = medians[len(medians) // 2]
    return 1000.0 if 600 <= middle <= 10_000 else 1.0 if 0.6 <= middle <= 10 and not whole else 0.0


def median_depth(depth: np.ndarray) -> float:
    """Median of the positive finite values, 0 if there are none; a grid of one pixel in sixteen is enough."""
    sparse = depth[::4, ::4]
    positive = sparse[np.isfinite(sparse) & (sparse > 0)]
    return float(np.median(positive)) if positive.size else 0.0


def read_depth(path: Path, per_metre: float) -> np.ndarray:
    depth = read_numbers(path)
    if per_metre == 0:
        words = f"{path}: the archive's depth, here {median_depth(depth):.3g} in the middle, fits a room neither in "
        raise DataError("range", words + "metres nor in millimetres; write it in one of them")
    return files.clean_depth(depth, path, per_metre)


def read_classes(path: Path) -> np.ndarray:
    """1..40 as 0..39; 0, unlabelled, wraps around to 255, ignore."""
    return read_ids(path, highest=40) - np.uint8(1)


def read_normals(path: Path) -> np.ndarray:
    return files.clean_normals(read_numbers(path, channels=3), path)


def read_edges(path: Path) -> np.ndarray:
    return files.above_half(read_numbers(path), path, "edge")


LAYOUT = Layout(
    name="nyud",
    lists="gt_sets/{}.txt",
    published={"train": 795, "val": 654},
    sources={
        "image": Source(("images",), PICTURES, read_stored),
        "semseg": Source(("segmentation",), (".png",), read_classes),
        "depth": Source(("depth",), ARRAYS, read_depth),
        "normals": Source(("normals",), ARRAYS, read_normals),
        "edge": Source(("edge",), ARRAYS, read_edges),
    },
    survey=_survey,
)

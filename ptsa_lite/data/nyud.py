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

A copy that mixes B and C folder by folder is read too. Splits are gt_sets/train.txt and gt_sets/val.txt.

Depth is in metres in some copies of B and in millimetres in others. The rule: take the median positive depth of three
frames, and the middle one of the three. From 0.4 to 100 it is in metres, from 400 on in millimetres; in between or
below it is in neither (centimetres, 8-bit greys, shares of the deepest), and refused. `describe()` says which.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import files
from .files import DataError

TASKS = ("semseg", "depth", "normals", "edge")
PUBLISHED = {"train": 795, "val": 654}

FOLDERS = {"image": "images", "semseg": "segmentation", "depth": "depth", "normals": "normals", "edge": "edge"}
READABLE = {
    "image": (".jpg", ".png"),
    "semseg": (".png",),
    "depth": (".npy",),
    "normals": (".npy", ".png"),
    "edge": (".npy", ".png"),
}
LAYOUTS = {
    "B": {"image": ".jpg", "semseg": ".png", "depth": ".npy", "normals": ".npy", "edge": ".npy"},
    "C": {"image": ".png", "semseg": ".png", "depth": ".npy", "normals": ".png", "edge": ".png"},
}


@dataclass(frozen=True)
class NyudArchive:
    """An archive that was looked at: which files it holds, and in which unit its depth is."""

    root: Path
    suffixes: dict[str, str]  # of each folder that is there: {"image": ".jpg", "semseg": ".png", ...}
    per_metre: float | None  # 1 or 1000; 0 for neither; None without depth

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have a folder."""
        return tuple(task for task in TASKS if task in self.suffixes)

    @property
    def layout(self) -> str:
        """B, C, or both where the folders that are there fit both (or partly each)."""
        fits = [name for name, kinds in LAYOUTS.items() if all(kinds[key] == s for key, s in self.suffixes.items())]
        return " or ".join(fits) or "B and C mixed"

    def describe(self) -> str:
        units = {1.0: "depth in metres", 1000.0: "depth in millimetres", 0.0: "depth in no known unit"}
        unit = units.get(self.per_metre, "no depth")
        return f"NYUD-v2, layout {self.layout}, {unit}"

    def list_path(self, split: str) -> Path:
        return self.root / "gt_sets" / f"{split}.txt"

    def names(self, split: str) -> list[str]:
        return files.read_list(self.list_path(split))

    def folder(self, task: str) -> str:
        return FOLDERS[task]

    def files(self, name: str, tasks) -> dict[str, str]:
        """The files of a frame, by column, relative to the root."""
        return {key: f"{FOLDERS[key]}/{name}{self.suffixes[key]}" for key in ("image", *tasks)}

    def label(self, task: str, paths: dict[str, str], size: tuple[int, int] | None, remarks=None) -> np.ndarray:
        """A task's label of the frame whose files are `paths`, at its picture's size (H, W) where that is given."""
        path = self.root / paths[task]
        return files.fit(READERS[task](self, path, remarks), size, path, remarks)


def open_archive(root: str | Path) -> NyudArchive:
    """Looks at the folders of an archive. Raises DataError where it is none, or layout A."""
    root = Path(root)
    found = {key: _suffixes(root / folder) for key, folder in FOLDERS.items()}
    if ".mat" in found["semseg"] and ".png" not in found["semseg"]:
        raise DataError(
            "unreadable",
            f"{root} is NYUD layout A (segmentation as .mat with 41 classes, not .png with 0..40; depth as .mat, "
            "normals as .jpg); bring layout B (.png and .npy) or C (.png and depth as .npy)",
        )
    lists = [path for path in (root / "gt_sets/train.txt", root / "gt_sets/val.txt") if path.is_file()]
    lacking = ([] if found["image"] else ["images/"]) + ([] if lists else ["gt_sets/train.txt and val.txt"])
    if lacking:
        raise DataError(
            "missing",
            f"{root} is no NYUD archive: it lacks {' and '.join(lacking)}; expected images/, segmentation/, "
            "depth/, normals/, edge/, gt_sets/",
        )
    names = files.parse_list(files.read_text(lists[0]))[0]
    suffixes = {}
    for key, kinds in READABLE.items():
        there = [kind for kind in kinds if kind in found[key]]
        # Where a folder holds two kinds, the one that the split list's frames come in.
        listed = [kind for kind in there if names and (root / FOLDERS[key] / f"{names[0]}{kind}").is_file()]
        if there:
            suffixes[key] = (listed or there)[0]
    return NyudArchive(root, suffixes, _depth_unit(root, names) if "depth" in suffixes else None)


def _suffixes(folder: Path) -> set[str]:
    try:
        return {path.suffix for path in folder.iterdir()}
    except OSError:
        return set()


def _depth_unit(root: Path, names: list[str]) -> float:
    """1, 1000 or 0 for neither: the archive's units in a metre, by the rule above. A file that differs is refused when
    it is read, and so are all of an archive in neither."""
    medians = []
    for name in names[:: max(len(names) // 3, 1)][:3]:
        try:
            medians.append(median_depth(files.read_array(root / "depth" / f"{name}.npy")))
        except DataError:
            continue  # what is wrong with one file is said where it is read
    medians = sorted(median for median in medians if median)
    middle = medians[len(medians) // 2] if medians else 1.0
    return 1.0 if 0.4 <= middle < 100 else 1000.0 if middle >= 400 else 0.0


def median_depth(depth: np.ndarray) -> float:
    """Median of the positive finite values, 0 if there are none; a grid of one pixel in sixteen is enough."""
    sparse = depth[::4, ::4]
    positive = sparse[np.isfinite(sparse) & (sparse > 0)]
    return float(np.median(positive)) if positive.size else 0.0


def _semseg(archive: NyudArchive, path: Path, remarks: list | None) -> np.ndarray:
    return files.read_ids(path, highest=40) - np.uint8(1)  # 1..40 -> 0..39, and 0 wraps around to 255, ignore


def _depth(archive: NyudArchive, path: Path, remarks: list | None) -> np.ndarray:
    depth = files.read_array(path)
    if archive.per_metre == 0:
        words = f"{path}: the archive's depth, here {median_depth(depth):.3g} in the middle, fits a room neither in "
        raise DataError("range", words + "metres nor in millimetres; expected one of them")
    return files.clean_depth(depth, path, archive.per_metre or 1.0, remarks)


def _normals(archive: NyudArchive, path: Path, remarks: list | None) -> np.ndarray:
    png = path.suffix == ".png"
    raw = files.read_image(path, colour=False) if png else files.read_array(path, channels=3)
    return files.clean_normals(raw, path, remarks)


def _edge(archive: NyudArchive, path: Path, remarks: list | None) -> np.ndarray:
    raw = files.read_grey(path) if path.suffix == ".png" else files.read_array(path)
    return files.above_half(raw, path, "edge")


READERS = {"semseg": _semseg, "depth": _depth, "normals": _normals, "edge": _edge}

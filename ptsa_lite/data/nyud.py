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
deepest), and refused. Whole numbers, of which there are ten up to 10, are never metres. `describe()` says which.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import files
from .archive import PICTURES, Archive, look
from .files import DataError
from .pictures import read_grey, read_ids, read_picture

TASKS = ("semseg", "depth", "normals", "edge")
PUBLISHED = {"train": 795, "val": 654}

FOLDERS = {"image": "images", "semseg": "segmentation", "depth": "depth", "normals": "normals", "edge": "edge"}
READABLE = {
    "image": PICTURES,
    "semseg": (".png",),
    "depth": (".npy", ".png"),
    "normals": (".npy", ".png"),
    "edge": (".npy", ".png"),
}
UNITS = {1.0: "depth in metres", 1000.0: "depth in millimetres", 0.0: "depth in no known unit"}


@dataclass(frozen=True)
class NyudArchive(Archive):
    """An archive that was looked at: which files it holds, and in which unit its depth is."""

    kinds: dict[str, tuple[str, ...]]  # the suffixes of each key that has files, the one that its frames have first
    per_metre: float | None = None  # 1 or 1000; 0 for neither; None without depth

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have files."""
        return tuple(task for task in TASKS if task in self.kinds)

    def describe(self) -> str:
        found = ", ".join(f"{key} as {kinds[0]}" for key, kinds in self.kinds.items())
        return f"NYUD-v2, {UNITS.get(self.per_metre, 'no depth')}, {found}"

    def list_path(self, split: str) -> Path:
        return self.root / "gt_sets" / f"{split}.txt"

    def why_not(self, task: str) -> str:
        """In words, why a task cannot be read."""
        return self.lack(FOLDERS[task], READABLE[task])

    def files(self, name: str, tasks) -> dict[str, str]:
        """The files of a frame, by column, relative to the root."""
        return {key: self.find(FOLDERS[key], name, self.kinds[key]) for key in ("image", *tasks)}

    def label(self, task: str, paths: dict[str, str], size: tuple[int, int] | None, remarks=None) -> np.ndarray:
        """A task's label of the frame whose files are `paths`, at its picture's size (H, W) where that is given."""
        path = self.root / paths[task]
        return files.fit(READERS[task](self, path, remarks), size, path, remarks)


def open_archive(root: str | Path) -> NyudArchive:
    """Looks at the folders of an archive. Raises DataError where it is none, or layout A."""
    root = Path(root)
    archive = NyudArchive(root, look(root, FOLDERS.values()), {})
    if archive.holds("segmentation", (".mat",)) and not archive.holds("segmentation", (".png",)):
        raise DataError(
            "unreadable",
            f"{root} is NYUD layout A (segmentation as .mat with 41 classes, not .png with 0..40; depth as .mat, "
            "normals as .jpg); bring layout B (.png and .npy) or C (.png and depth as .npy)",
        )
    expected = "images/, segmentation/, depth/, normals/, edge/, gt_sets/"
    lists = archive.check("NYUD", "images", PUBLISHED, expected)
    names = files.parse_list(files.read_text(lists[0]))[0]
    kinds = {}
    for key, folder in FOLDERS.items():
        there = [kind for kind in READABLE[key] if archive.holds(folder, [kind])]
        listed = archive.folders.get(folder, {}).get(names[0], {}) if names else {}
        if there:  # where a folder holds two kinds, first the one that the split list's frames come in
            kinds[key] = tuple(sorted(there, key=lambda kind, listed=listed: kind not in listed))
    unit = _depth_unit(archive, names, kinds["depth"]) if "depth" in kinds else None
    return replace(archive, kinds=kinds, per_metre=unit)


def _depth_unit(archive: NyudArchive, names: list[str], kinds: tuple[str, ...]) -> float:
    """1, 1000 or 0 for neither: the archive's units in a metre, by the rule above. A file that differs is refused when
    it is read, and so are all of an archive in neither."""
    depths = archive.of_a_few(names, lambda name: _numbers(archive.root / archive.find("depth", name, kinds)))
    whole = any(depth.dtype.kind in "ui" for depth in depths)
    medians = sorted(filter(None, map(median_depth, depths))) or [1000.0 if whole else 1.0]
    middle = medians[len(medians) // 2]
    return 1000.0 if 600 <= middle <= 10_000 else 1.0 if 0.6 <= middle <= 10 and not whole else 0.0


def median_depth(depth: np.ndarray) -> float:
    """Median of the positive finite values, 0 if there are none; a grid of one pixel in sixteen is enough."""
    sparse = depth[::4, ::4]
    positive = sparse[np.isfinite(sparse) & (sparse > 0)]
    return float(np.median(positive)) if positive.size else 0.0


def _numbers(path: Path) -> np.ndarray:
    return read_grey(path) if path.suffix.lower() == ".png" else files.read_array(path)


def _depth(archive: NyudArchive, path: Path, remarks: list | None) -> np.ndarray:
    depth = _numbers(path)
    if archive.per_metre == 0:
        words = f"{path}: the archive's depth, here {median_depth(depth):.3g} in the middle, fits a room neither in "
        raise DataError("range", words + "metres nor in millimetres; write it in one of them")
    return files.clean_depth(depth, path, archive.per_metre or 1.0, remarks)


def _normals(archive: NyudArchive, path: Path, remarks: list | None) -> np.ndarray:
    png = path.suffix.lower() == ".png"
    raw = read_picture(path, turn=False, colour=False) if png else files.read_array(path, channels=3)
    return files.clean_normals(raw, path, remarks)


READERS = {
    # 1..40 -> 0..39, and 0 wraps around to 255, ignore
    "semseg": lambda archive, path, remarks: read_ids(path, highest=40) - np.uint8(1),
    "depth": _depth,
    "normals": _normals,
    "edge": lambda archive, path, remarks: files.above_half(_numbers(path), path, "edge"),
}

"""What every archive is: folders of files, one file a frame and label, and lists of the frames of each split.

Suffixes count without regard to case, so 0001.JPG and 0001.jpeg are the picture that a layout calls 0001.jpg.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import files
from .files import DataError
from .frames import Frame
from .pictures import read_picture

PICTURES = (".jpg", ".jpeg", ".png")

Folder = dict[str, dict[str, str]]  # {"0001": {".jpg": "0001.JPG"}, ...}: of each frame's name, its files by suffix


@dataclass(frozen=True)
class Archive:
    """An archive that was looked at. Its layout says which `tasks` it has, where `files` and lists lie, and what a
    `label` is."""

    root: Path
    folders: dict[str, Folder]  # what lies in each folder that is there

    def __getstate__(self) -> dict:
        """Who gets a copy, such as a loader's worker, reads files whose paths it is given: it needs no index."""
        return self.__dict__ | {"folders": {}}

    def names(self, split: str) -> list[str]:
        """The names of a split's frames. Raises DataError naming the list and what is wrong in it."""
        return files.read_list(self.list_path(split))

    def find(self, folder: str, name: str, kinds: Iterable[str]) -> str:
        """The path, relative to the root, of a frame's file of the first of these suffixes that it has.

        Where it has none, the path of the one that is expected.
        """
        kinds, there = tuple(kinds), self.folders.get(folder, {}).get(name, {})
        return f"{folder}/{next((there[kind] for kind in kinds if kind in there), name + kinds[0])}"

    def holds(self, folder: str, kinds: Iterable[str]) -> bool:
        """Whether there is a file of one of these suffixes in the folder."""
        return any(kind in found for found in self.folders.get(folder, {}).values() for kind in kinds)

    def lack(self, folder: str, kinds: Iterable[str]) -> str:
        """In words, why a folder serves nothing: what was found, and what is read."""
        if folder not in self.folders:
            return f"there is no folder {folder}"
        found = Counter(suffix for there in self.folders[folder].values() for suffix in there)
        held = ", ".join(f"{n} {suffix or 'without a suffix'}" for suffix, n in found.most_common(3)) or "nothing"
        return f"folder {folder} holds {held}, and is read from {' or '.join(kinds)}"

    def check(self, kind: str, images: str, splits: Iterable[str], expected: str) -> list[Path]:
        """The split lists that are there. Raises DataError where there is none, or no picture in that folder."""
        lists = [self.list_path(split) for split in splits]
        lacking = [] if self.holds(images, PICTURES) else [self.lack(images, PICTURES)]
        if not any(path.is_file() for path in lists):
            lacking.append(f"there is no {lists[0].relative_to(self.root).as_posix()}, nor {lists[1].name}")
        if lacking:
            words = f"{self.root} is no {kind} archive: {', and '.join(lacking)}; expected {expected}"
            raise DataError("missing", words)
        return [path for path in lists if path.is_file()]

    def of_a_few(self, names: list[str], read: Callable[[str], np.ndarray]) -> list[np.ndarray]:
        """What is read of three frames far apart. What is wrong with one of them is said where it is used."""
        found = []
        for name in names[:: max(len(names) // 3, 1)][:3]:
            with suppress(DataError):
                found.append(read(name))
        return found

    def frame(self, paths: dict[str, str], tasks: Iterable[str], remarks: list | None = None) -> Frame:
        """The frame whose files are `paths`. Raises DataError naming the file and what is wrong with it."""
        image = self.image(paths, remarks)
        labels = {task: self.label(task, paths, image.shape[:2], remarks) for task in tasks}
        return {"image": image, **{task: label for task, label in labels.items() if label is not None}}

    def image(self, paths: dict[str, str], remarks: list | None = None) -> np.ndarray:
        """(H, W, 3) uint8. Labels lie on the stored pixels, so no rotation is applied."""
        return read_picture(self.root / paths["image"], remarks, turn=False)


def look(root: Path, folders: Iterable[str]) -> dict[str, Folder]:
    """What lies in each of these folders, of those that are there. Raises DataError where one cannot be read."""
    return {folder: _index(root / folder) for folder in folders if (root / folder).is_dir()}


def _index(folder: Path) -> Folder:
    index: Folder = {}
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):  # what file managers leave
                index.setdefault(path.stem, {}).setdefault(path.suffix.lower(), path.name)
    except OSError as error:
        raise DataError("unreadable", f"{folder} cannot be read ({error.strerror}); expected files") from None
    return index

"""What every archive is: folders of files, one file a frame and label, and lists of the frames of each split.

What sets one kind apart from another is its `Layout`: `nyud` and `pascal` describe one each. Suffixes count without
regard to case, so 0001.JPG and 0001.jpeg are the picture that a layout calls 0001.jpg.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from . import files, frames
from .files import DataError
from .pictures import read_picture

PICTURES = (".jpg", ".jpeg", ".png")

Reader = Callable[[Path], np.ndarray | None]
read_stored = partial(read_picture, turn=False)  # labels lie on the stored pixels


@dataclass(frozen=True)
class Source:
    """Where the files of one label lie, and how one is read."""

    folders: tuple[str, ...]  # a frame's file is that of the first of them that has one
    suffixes: tuple[str, ...]  # of these, first the one that most of the listed frames have
    read: Reader
    optional: bool = False  # whether a frame without a file is one that nobody annotated
    only_where: str = ""  # the source of (H, W) bool: the pixels where this label counts


@dataclass(frozen=True)
class Layout:
    """One kind of archive, described."""

    name: str
    lists: str  # the path of a split's list, such as gt_sets/{}.txt
    published: Mapping[str, int]  # frames of each split as it was published
    sources: Mapping[str, Source]  # of the picture, "image", of each task, and of what these need besides
    survey: Callable[["Archive", list[str]], tuple[str, dict[str, Reader]]] | None = None
    """From the names of frames: what to call the archive, and readers that depend on what is seen in these frames."""

    @property
    def tasks(self) -> tuple[str, ...]:
        others = {"image", *(source.only_where for source in self.sources.values())}
        return tuple(key for key in self.sources if key not in others)

    def open(self, root: str | Path) -> "Archive":
        """Looks at the folders of an archive. Raises ValueError where it is none of this layout."""
        if not str(root):
            raise ValueError(f"data set {self.name!r} needs root=, the folder of the archive")
        root = Path(root)
        if not root.exists():
            raise DataError("missing", f"{root} is no folder; expected the root of the {self.name} archive")
        index = {key: _index(root, source) for key, source in self.sources.items()}
        archive = Archive(self, root, dict(self.sources), index, self.name)
        lists = [archive.list_path(split) for split in self.published]
        lacking = [] if index["image"] else [archive.lack("image")]
        if not any(path.is_file() for path in lists):
            lacking.append(f"there is no {lists[0].relative_to(root).as_posix()}, nor {lists[1].name}")
        if lacking:
            folders = dict.fromkeys(folder for source in self.sources.values() for folder in source.folders)
            expected = ", ".join(f"{folder}/" for folder in (*folders, Path(self.lists).parent.as_posix()))
            held = ", ".join(path.name for path in _listed(root)[:6]) or "nothing"
            found = "a file, which is to be unpacked" if root.is_file() else held
            words = f"{root} is no {self.name} archive: {', and '.join(lacking)}; expected {expected}; found {found}"
            raise DataError("missing", words)
        names = files.parse_list(next(path for path in lists if path.is_file()))[0]
        for key, source in self.sources.items():
            counts = Counter(kind for name in names for kind in index[key].get(name, ()))
            kinds = sorted(source.suffixes, key=counts.__getitem__, reverse=True)  # equal ones stay in order
            archive.sources[key] = replace(source, suffixes=tuple(kinds))
        if self.survey:
            described, readers = self.survey(archive, names)
            for task, read in readers.items():
                archive.sources[task] = replace(archive.sources[task], read=read)
            archive = replace(archive, described=described)
        return archive


@dataclass(frozen=True)
class Archive:
    """An archive that was looked at."""

    layout: Layout
    root: Path
    sources: dict[str, Source]  # the layout's, as this archive has them
    index: dict[str, dict[str, dict[str, str]]]  # by source, frame and suffix, the path of a file from the root
    described: str  # of which kind it is, and what was seen in it

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that can be read."""
        there = {key for key, found in self.index.items() if found}
        for key, source in self.sources.items():
            folder = self.root / source.folders[0]
            if source.optional and key not in there and folder.is_dir() and not _listed(folder):  # nobody annotated
                there.add(key)
        return tuple(task for task in self.layout.tasks if {task, self.sources[task].only_where or task} <= there)

    def need(self, tasks: Iterable[str]) -> None:
        """Raises DataError where there are no files for one of these tasks."""
        for task in tasks:
            if task not in self.tasks:
                words = f"{self.root} has no labels for {task!r}: {self.lack(task)}; add it, or choose among "
                raise DataError("missing", f"{words}tasks={self.tasks}")

    def list_path(self, split: str) -> Path:
        return self.root / self.layout.lists.format(split)

    def lack(self, key: str) -> str:
        """In words, why a task cannot be read: what was found, and what is read."""
        source = self.layout.sources[key]
        if source.only_where and self.index[key]:
            return self.lack(source.only_where)
        there = [folder for folder in source.folders if (self.root / folder).is_dir()]
        if not there:
            return f"there is no folder {' or '.join(source.folders)}"
        counts = Counter(path.suffix.lower() for path in _listed(self.root / there[0]))
        held = ", ".join(f"{n} {kind or 'without a suffix'}" for kind, n in counts.most_common(3)) or "nothing"
        return f"folder {there[0]} holds {held}, and is read from {' or '.join(source.suffixes)}"

    def files(self, name: str, tasks: Iterable[str]) -> dict[str, str]:
        """The files of a frame, by column, relative to the root.

        Where one is not there, the one that is expected; "" where none is a legitimate answer.
        """
        paths = {}
        for key in ("image", *tasks, *(mask for task in tasks if (mask := self.sources[task].only_where))):
            source, there = self.sources[key], self.index[key].get(name, {})
            expected = "" if source.optional else f"{source.folders[-1]}/{name}{source.suffixes[0]}"
            paths[key] = next((there[kind] for kind in source.suffixes if kind in there), expected)
        return paths

    def names(self, split: str) -> list[str]:
        """The names of a split's frames. Raises DataError naming the list and what is wrong in it."""
        return files.read_list(self.list_path(split))

    def stats(self, split: str, tasks: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Size and time of each file of a split. Raises DataError that counts the missing and names the first."""
        stats, missing = {}, []
        for path in (path for name in self.names(split) for path in self.files(name, tasks).values() if path):
            try:
                found = os.stat(self.root / path)
                stats[path] = (found.st_size, found.st_mtime_ns)
            except OSError:
                missing.append(path)
        if missing:
            words = f"{self.root} lacks {len(missing)} files of {split}, the first is {missing[0]}"
            command = f"`python -m ptsa_lite data verify {self.layout.name} ROOT` lists them all"
            raise DataError("missing", f"{words}; {command}")
        return stats

    def of_a_few(self, task: str, names: list[str], read: Reader) -> list[np.ndarray]:
        """What is read of three frames far apart. What is wrong with one of them is said where it is used."""
        found = []
        for name in names[:: max(len(names) // 3, 1)][:3]:
            with suppress(DataError):
                found.append(read(self.root / self.files(name, [task])[task]))
        return found

    def frame(self, name: str, tasks: Iterable[str]) -> frames.Frame:
        """A frame by its name. Raises DataError naming the file and what is wrong with it."""
        return frames.read(*self.readers(name, tasks))

    def readers(self, name: str, tasks: Iterable[str]) -> frames.Readers:
        """What reads the picture and each label of a frame."""
        paths = self.files(name, tasks)
        labels = {task: partial(self._label, task, paths) for task in tasks if paths[task]}
        return partial(self.sources["image"].read, self.root / paths["image"]), labels

    def _label(self, task: str, paths: Mapping[str, str], size: tuple[int, int] | None) -> np.ndarray | None:
        source, path = self.sources[task], self.root / paths[task]
        label = source.read(path)
        if label is not None:
            label = files.fit(label, size, path)
            if source.only_where:
                there = self._label(source.only_where, paths, label.shape[:2])
                label = np.where(there[..., None], label, np.float32(0))
        return label


def _index(root: Path, source: Source) -> dict[str, dict[str, str]]:
    index: dict[str, dict[str, str]] = {}
    for folder in reversed(source.folders):
        for path in reversed(_listed(root / folder)):  # of two files for one place the first counts: it is written last
            if (kind := path.suffix.lower()) in source.suffixes:
                index.setdefault(path.stem, {})[kind] = f"{folder}/{path.name}"
    return index


def _listed(folder: Path) -> list[Path]:
    """What lies in a folder, without what file managers leave; nothing where there is none."""
    try:
        there = folder.iterdir() if folder.is_dir() else ()
        return sorted(path for path in there if not path.name.startswith("."))
    except OSError as error:
        raise DataError("unreadable", f"{folder} cannot be read ({error.strerror}); expected files") from None

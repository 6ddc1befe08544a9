"""One split of an archive: which frames it lists, which of their files are there."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ptsa_lite.tasks import known, suite

from . import nyud, pascal
from .archive import Archive
from .files import DataError

ARCHIVES = {"nyud": nyud, "pascal": pascal}


@dataclass(frozen=True)
class Listing:
    """One split of an archive: its frames' names, and the tasks that were asked for."""

    name: str
    archive: Archive
    split: str
    frames: list[str]
    tasks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.split}: {self.archive.describe()}, {self.archive.root}"

    def rows(self, tasks: Iterable[str], n_frames: int | None = None) -> list[dict]:
        """Index, name and files of each frame, files relative to the root."""
        return [
            {"index": index, "name": name, **self.archive.files(name, tasks)}
            for index, name in enumerate(self.frames[:n_frames])
        ]

    def stats(self, tasks: Iterable[str], n_frames: int | None = None) -> dict[str, tuple[int, int]]:
        """Size and time of each file. Raises DataError that counts the missing ones and names the first."""
        stats, missing = {}, []
        paths = [v for row in self.rows(tasks, n_frames) for k, v in row.items() if k not in ("index", "name") and v]
        for path in paths:
            try:
                found = os.stat(self.archive.root / path)
                stats[path] = (found.st_size, found.st_mtime_ns)
            except OSError:
                missing.append(path)
        if missing:
            raise DataError(
                "missing",
                f"{self.archive.root} lacks {len(missing)} files of {self.split} ({', '.join(tasks)}), the first is "
                f"{missing[0]}; `python -m ptsa_lite data verify {self.name} ROOT` lists them all",
            )
        return stats


def open_archive(name: str, root: str | Path) -> Archive:
    """The archive in a folder. Raises ValueError where there is none."""
    if not str(root):
        raise ValueError(f"data set {name!r} needs root=, the folder of the archive")
    if not Path(root).is_dir():
        raise DataError("missing", f"{root} is no folder; expected the root of the {name} archive")
    return ARCHIVES[name].open_archive(root)


def list_archive(name: str, root: str | Path, split: str, tasks=None) -> Listing:
    """Opens an archive and reads its split list. Raises ValueError where the root or a task's files are missing."""
    archive = open_archive(name, root)
    chosen = ordered(suite(name) if tasks is None else tasks, ARCHIVES[name].TASKS)
    for task in chosen:
        if task not in archive.tasks:
            raise DataError(
                "missing",
                f"{root} has no labels for {task!r}: {archive.why_not(task)}; add it, or choose among "
                f"tasks={archive.tasks}",
            )
    return Listing(name, archive, split, archive.names(split), chosen)


def ordered(tasks: str | Iterable[str], choices: Iterable[str]) -> tuple[str, ...]:
    """The named tasks in the order of the choices. Raises ValueError for an unknown or repeated name, or for none."""
    names = [known(task, choices, "task") for task in ([tasks] if isinstance(tasks, str) else tasks)]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"tasks are {names}; name at least one, and each once")
    return tuple(task for task in choices if task in names)

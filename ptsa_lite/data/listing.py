"""The archives by name, and the tasks that are asked of them."""

from collections.abc import Iterable
from pathlib import Path

from ptsa_lite.tasks import default_tasks, select, suite

from . import nyud, pascal
from .archive import Archive
from .files import DataError

ARCHIVES = {layout.name: layout for layout in (nyud.LAYOUT, pascal.LAYOUT)}


def open_archive(name: str, root: str | Path) -> Archive:
    """The archive in a folder. Raises ValueError where there is none."""
    if not str(root):
        raise ValueError(f"data set {name!r} needs root=, the folder of the archive")
    if not Path(root).is_dir():
        raise DataError("missing", f"{root} is no folder; expected the root of the {name} archive")
    return ARCHIVES[name].open(root)


def readable(archive: Archive, tasks: Iterable[str]) -> None:
    """Raises DataError where an archive has no files for one of these tasks."""
    for task in tasks:
        if task not in archive.tasks:
            words = f"{archive.root} has no labels for {task!r}: {archive.lack(task)}; add it, or choose among "
            raise DataError("missing", f"{words}tasks={archive.tasks}")


def tasks_of(name: str, tasks: str | Iterable[str] | None) -> tuple[str, ...]:
    """The named tasks of an archive or of the scenes, by default the usual ones, in the order that all keep.

    Raises ValueError for an unknown or repeated name, or for none.
    """
    choices = ARCHIVES[name].tasks if name in ARCHIVES else suite(name)
    return tuple(select(dict.fromkeys(choices), default_tasks(name) if tasks is None else tasks))

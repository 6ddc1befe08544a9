"""The archives by name, opened with the tasks that are asked for."""

from collections.abc import Iterable
from pathlib import Path

from ptsa_lite.tasks import known, suite

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


def readable(archive: Archive, tasks: str | Iterable[str] | None) -> tuple[str, ...]:
    """`tasks_of` this archive. Raises DataError where it has no files for one of them."""
    chosen = tasks_of(archive.layout.name, tasks)
    for task in chosen:
        if task not in archive.tasks:
            words = f"{archive.root} has no labels for {task!r}: {archive.lack(task)}; add it, or choose among "
            raise DataError("missing", f"{words}tasks={archive.tasks}")
    return chosen


def tasks_of(name: str, tasks: str | Iterable[str] | None) -> tuple[str, ...]:
    """The named tasks of an archive, by default its suite's, as `ordered` has them."""
    return ordered(suite(name) if tasks is None else tasks, ARCHIVES[name].tasks)


def ordered(tasks: str | Iterable[str], choices: Iterable[str]) -> tuple[str, ...]:
    """The named tasks in the order of the choices. Raises ValueError for an unknown or repeated name, or for none."""
    names = [known(task, choices, "task") for task in ([tasks] if isinstance(tasks, str) else tasks)]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"tasks are {names}; name at least one, and each once")
    return tuple(task for task in choices if task in names)

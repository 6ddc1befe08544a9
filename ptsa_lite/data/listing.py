"""The archives by name, and the tasks that are asked of them."""

from collections.abc import Iterable

from ptsa_lite.tasks import default_tasks, select, suite

from . import nyud, pascal

ARCHIVES = {layout.name: layout for layout in (nyud.LAYOUT, pascal.LAYOUT)}


def tasks_of(name: str, tasks: str | Iterable[str] | None) -> tuple[str, ...]:
    """The named tasks of an archive or of the scenes, by default the usual ones, in the order that all keep.

    Raises ValueError for an unknown or repeated name, or for none.
    """
    choices = ARCHIVES[name].tasks if name in ARCHIVES else suite(name)
    return tuple(select(dict.fromkeys(choices), default_tasks(name) if tasks is None else tasks))

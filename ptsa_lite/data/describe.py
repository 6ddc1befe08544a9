"""Data and tasks of one's own as a few plain values, and one sentence for each that cannot be.

    data:
      path: my_pictures                        # or {train: ..., val: ...}, or a list of sets; see `own`
      columns: {image: photo, material: mask}  # the column of the picture, and of each task not named like its column
      augment: nyud                            # flip and zoom; pascal: flip, turn and scale; none
      mix: in turns                            # of several sets a frame each in turn; else they are concatenated
    tasks:
      material: {kind: segmentation, classes: 5, ignore: 255}
      reach: {kind: regression, unit: m, scale: 0.001, loss_weight: 2}  # stored in millimetres

The two suites of `ptsa_lite.tasks` are descriptions of the same sort, already made.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ptsa_lite.checks import FLAG, POSITIVE, SHARE, TEXT, check, known, number, whole
from ptsa_lite.metrics import make_meter
from ptsa_lite.tasks import IGNORE, KINDS, REAL, Task

from . import frames
from .transforms import RECIPES

RULES = {
    "kind": TEXT,
    "classes": (lambda v: whole(v) and 2 <= v <= IGNORE, f"a whole number from 2 to {IGNORE}"),
    "unit": TEXT, "metric": TEXT, "loss_weight": POSITIVE, "positive_weight": SHARE,
    "ignore": (number, "a number"), "scale": POSITIVE, "higher_is_better": FLAG, "foreground": FLAG,
}  # fmt: skip
SETTINGS = ("path", "columns", "augment", "mix")
AUGMENT = ("nyud", "pascal", "none")  # of RECIPES: the scenes' is nyud's
MIXES = ("concatenated", "in turns")
RESERVED = frames.columns(())  # what rows of frames have besides labels


@dataclass(frozen=True)
class Description:
    """Where data of one's own lie, which column is what, and what the tasks are."""

    sources: tuple  # each a path, a map of splits to paths, or what `own.tables` takes besides
    tasks: dict[str, Task]
    columns: dict[str, str]  # of "image" and of each task
    augment: str
    mix: str


def describe(
    data: Any, tasks: Mapping[str, Task | Mapping[str, Any]] | None, columns: Mapping[str, str] | None = None
) -> Description:
    """The description that plain values give: data is the map above, or its path alone.

    Raises ValueError in one sentence that names the task or the setting.
    """
    if isinstance(data, str) and data in RECIPES:
        raise ValueError(f"data set {data!r} has tasks of its own; name those that you want in a list")
    is_map = isinstance(data, Mapping) and not {"train", "val", "validation", "test"} & {*data}
    if is_map and columns and data.get("columns"):
        raise ValueError("columns are given twice, in the data and beside them; leave one out")
    data = {**data, "columns": data.get("columns") or columns} if is_map else {"path": data, "columns": columns}
    settings = {known(key, SETTINGS, "setting of data"): value for key, value in data.items()}
    path, named = settings.get("path"), settings.get("columns") or {}
    if path is None or (isinstance(path, str | list | tuple) and not path):
        raise ValueError("data says no path; give the folder or file of the pictures: data: {path: ..., columns: ...}")
    if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named.values()):
        raise ValueError("data.columns must map image and tasks to columns, such as {image: photo, material: mask}")
    if not isinstance(tasks, Mapping) or not tasks:
        raise ValueError("data of your own need tasks with their kinds: {material: {kind: segmentation, classes: 5}}")
    made = {name: task_of(name, task) for name, task in tasks.items()}
    for name in named:
        known(name, ("image", *made), "task in data.columns")
    several = isinstance(path, list | tuple) and not isinstance(path[0], Mapping)  # a list of rows is one set
    return Description(
        tuple(path) if several else (path,),
        made,
        {name: named.get(name, name) for name in ("image", *made)},
        known(settings.get("augment", "nyud"), AUGMENT, "augment of data"),
        known(settings.get("mix", MIXES[0]), MIXES, "mix of data"),
    )


def task_of(name: str, description: Task | Mapping[str, Any]) -> Task:
    """The task that plain values describe, or one that is made already, if it can be trained and measured."""
    try:
        task = _checked(name, description)
        make_meter(task)
    except ValueError as error:
        words = str(error)
        raise ValueError(words if words.startswith("task ") else f"task {name!r}: {words}") from None
    return task


def _checked(name: str, description: Task | Mapping[str, Any]) -> Task:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name):
        raise ValueError("its name must be a letter, then letters, digits and '_'")
    if name in RESERVED or hasattr(nn.ModuleDict, name):
        taken = "rows of frames have already" if name in RESERVED else "a module of PyTorch has"
        raise ValueError(f"its name is one that {taken}; name it otherwise, such as {name}_map")
    if isinstance(description, Task):
        return replace(description, name=name)
    if not isinstance(description, Mapping) or not isinstance(description.get("kind"), str):
        raise ValueError("say its kind, such as {kind: segmentation, classes: 5} or {kind: regression, unit: m}")
    settings = {known(key, RULES, "setting"): value for key, value in description.items()}
    check(RULES, settings)
    known(settings["kind"], KINDS, "kind")
    classes = settings.pop("classes", 0)
    if bool(classes) != (settings["kind"] == "segmentation"):
        raise ValueError("give its classes, such as classes: 5" if not classes else "only a segmentation has classes")
    if "scale" in settings and settings["kind"] not in REAL:
        raise ValueError("only a regression and depth have a scale")
    if settings.get("unit") and settings["kind"] != "regression":
        raise ValueError("only a regression has a unit to choose; depth is in metres")
    return Task(name, channels=classes, **settings)

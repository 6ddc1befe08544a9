"""The settings of a run as somebody wrote them: whether each can be, before a model or a data set is made of them."""

import reprlib
from collections.abc import Mapping, Sequence

from ptsa_lite.checks import COUNT, POSITIVE, SHARE, SIZE, TEXT, check
from ptsa_lite.data import SOURCES, count_frames
from ptsa_lite.methods import METHODS
from ptsa_lite.model import check_ranks, check_tree
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import known, select, suite
from ptsa_lite.tree import TaskTree, check_n_groups

N_STAGES = 4  # of every family of backbones here

RULES = {
    "method": TEXT, "data": TEXT, "root": TEXT, "backbone": TEXT, "weights": TEXT, "label": TEXT,
    "tasks": (
        lambda v: isinstance(v, list | tuple) and v and all(isinstance(task, str) for task in v),
        "a list of task names",
    ),
    "tree": (lambda v: v is None or isinstance(v, dict), "a tree"),
    "limit": SIZE, "seed": SIZE, "img_size": COUNT, "scale": POSITIVE, "dropout": SHARE, "drop_path": SHARE,
    "holdout": (lambda v: SIZE[0](v) and v != 1, "0, or a whole number of at least 2"),
    "config": (lambda v: isinstance(v, Mapping), "a map of training settings to values"),
}  # fmt: skip


def check_run(settings: Mapping, groups: Sequence[int] = ()) -> None:
    """Raises ValueError in one sentence for the first setting that cannot be; names are `run.Run`'s.

    groups: per stage, of a tree that is yet to be grown.
    """
    check(RULES, settings)
    method = known(settings.get("method", ""), METHODS, "method")
    tasks = select(suite(known(settings.get("data", "scenes"), SOURCES, "data set")), settings.get("tasks", ()))
    ranks = check_ranks(settings.get("rank", 1), N_STAGES)
    if (settings.get("tree") is not None or bool(groups)) != (method == "ptsa"):
        raise ValueError("method ptsa needs a tree" if method == "ptsa" else f"{method} takes no tree; leave it out")
    if groups and len(check_n_groups(groups, len(tasks))) != N_STAGES:
        raise ValueError(f"tree {reprlib.repr(list(groups))}: give {N_STAGES} numbers of groups, one a stage")
    if settings.get("tree") is not None:
        check_tree(TaskTree.from_dict(settings["tree"]), tasks, ranks)


def check_frames(run) -> None:
    """Raises ValueError where a batch of the run's training is larger than the frames that are listed for it."""
    size = TrainConfig.from_dict(run.config).batch_size
    n = count_frames(run.data, run.root, "train", run.limit or None)
    if n is not None and size > n:
        raise ValueError(f"batch_size {size} exceeds the {n} training frames; lower it")

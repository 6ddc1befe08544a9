"""Which tasks share a group at each stage: one immutable value that everything accepts, prints and saves."""

import itertools
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import TEXT, check, known
from .grouping import average_linkage, check_n_groups, check_similarity, nested_partitions

Group = tuple[str, ...]
Stage = tuple[Group, ...]

EXHAUSTIVE_UP_TO = 8  # tasks; beyond it average linkage stands in for the search over every tree


@dataclass(frozen=True)
class TaskTree:
    """Nested groups of tasks, one partition a stage, from coarse to fine.

    stages: for each stage a tuple of groups, each a tuple of task names. Every stage holds every task once, and each
    group lies inside one group of the stage before. Groups are kept in the order of their first task, tasks in the
    order in which the first stage names them.

    Raises ValueError naming the task or group at fault.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not _nested(self.stages, 3):
            words = "a tree is stages of groups of task names, at least one stage and no empty group"
            raise ValueError(f"{words}; got {reprlib.repr(self.stages)}")
        for number, stage in enumerate(self.stages, 1):
            _check_stage(number, stage, self.tasks)
        for number, (coarse, fine) in enumerate(itertools.pairwise(self.stages), 2):
            for group in fine:
                if not any(set(group) <= set(parent) for parent in coarse):
                    raise ValueError(
                        f"group {'+'.join(group)} of stage {number} joins tasks that stage {number - 1} had already "
                        f"parted ({_show(coarse)}); once parted, tasks stay parted"
                    )
        object.__setattr__(self, "stages", _in_order(self.stages, self.tasks))

    @property
    def tasks(self) -> Group:
        """Every task, group by group of the first stage."""
        return tuple(task for group in self.stages[0] for task in group)

    @property
    def n_groups(self) -> tuple[int, ...]:
        """Groups per stage: (1, 1, 2, 4) is the paper's first setting."""
        return tuple(len(stage) for stage in self.stages)

    def group_of(self, stage: int, task: str) -> int:
        """The number of the group that holds a task at a stage, both counted from 0."""
        known(task, self.tasks, "task")
        return next(i for i, group in enumerate(self.stages[stage]) if task in group)

    def parents(self, stage: int) -> tuple[int, ...]:
        """For each group of a stage the number of the group before it that it came from; all 0 at the first."""
        if stage == 0:
            return (0,) * len(self.stages[0])
        return tuple(self.group_of(stage - 1, group[0]) for group in self.stages[stage])

    def only(self, tasks: Iterable[str]) -> "TaskTree":
        """The tree of some of the tasks: groups that hold none of them are gone."""
        asked = [known(task, self.tasks, "task") for task in tasks]
        stages = [[[task for task in group if task in asked] for group in stage] for stage in self.stages]
        return TaskTree(_in_order([[group for group in stage if group] for stage in stages], self.tasks))

    # ---- making one ---------------------------------------------------------------------------------------------

    @classmethod
    def shared(cls, tasks: Sequence[str], n_stages: int = 4) -> "TaskTree":
        """All tasks in one group everywhere: plain multi-task LoRA."""
        return cls(((tuple(tasks),),) * n_stages)

    @classmethod
    def separate(cls, tasks: Sequence[str], n_stages: int = 4) -> "TaskTree":
        """Every task alone from the first stage on: one LoRA for each task."""
        return cls((tuple((task,) for task in tasks),) * n_stages)

    @classmethod
    def enumerate(cls, tasks: Sequence[str], n_groups: Sequence[int]) -> Iterator["TaskTree"]:
        """Every nested tree with these group counts: 7 of them for four tasks at (1, 1, 2, 4)."""
        tasks = tuple(tasks)
        for stages in nested_partitions(tasks, check_n_groups(n_groups, len(tasks))):
            yield cls(_in_order(stages, tasks))

    @classmethod
    def from_similarity(cls, similarity: Any, tasks: Sequence[str], n_groups: Sequence[int]) -> "TaskTree":
        """The nested tree with the highest mean similarity within groups (`tree_score`); ties: the first enumerated.

        similarity: (T, T), or (S, T, T) with one matrix a stage. Every tree is tried for up to eight tasks; beyond,
        average linkage (of the mean matrix), cut at each count, gives a good one.
        """
        tasks, n_groups = tuple(tasks), check_n_groups(n_groups, len(tasks))
        matrix = check_similarity(similarity, len(tasks), len(n_groups))
        if len(tasks) <= EXHAUSTIVE_UP_TO:
            return max(cls.enumerate(tasks, n_groups), key=lambda tree: tree_score(tree, matrix, tasks))
        levels = average_linkage(matrix.mean(0))
        stages = ([tuple(tasks[i] for i in group) for group in levels[n]] for n in n_groups)
        return cls(_in_order(stages, tasks))

    # ---- saving it ----------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        return {"stages": [[list(group) for group in stage] for stage in self.stages]}

    @classmethod
    def from_dict(cls, data: dict) -> "TaskTree":
        """The inverse of `to_dict`; raises ValueError on anything else."""
        if not isinstance(data, dict) or data.keys() != {"stages"}:
            raise ValueError(f"a tree is written as {{'stages': [[[task, ...], ...], ...]}}; got {reprlib.repr(data)}")
        return cls(data["stages"])

    def __str__(self) -> str:
        return " > ".join(_show(stage) for stage in self.stages)

    @classmethod
    def parse(cls, text: str) -> "TaskTree":
        """The inverse of `str`: "a+b+c > a+b | c" has two stages, and parts c from the others in the second."""
        check({"tree": TEXT}, {"tree": text})
        stages = [[group.split("+") for group in stage.split("|")] for stage in text.split(">")]
        return cls.from_dict({"stages": [[[task.strip() for task in group] for group in stage] for stage in stages]})


def tree_score(tree: TaskTree, similarity: Any, tasks: Sequence[str]) -> float:
    """Mean over stages of the mean similarity of the pairs t != t' that share a group there.

    A stage without such a pair (every task alone) says nothing and is left out; stages that all trees have in common
    shift every score alike.
    """
    tasks = tuple(tasks)
    matrix = check_similarity(similarity, len(tasks), len(tree.stages))
    scores = []
    for number, stage in enumerate(tree.stages):
        pairs = [pair for group in stage for pair in itertools.combinations(map(tasks.index, group), 2)]
        if pairs:
            scores.append(np.mean([matrix[number][pair] for pair in pairs]))
    return float(np.mean(scores)) if scores else 0.0


def _in_order(stages: Iterable[Iterable[Iterable[str]]], tasks: Group) -> tuple[Stage, ...]:
    """Tasks in the order given, groups in the order of their first task."""
    place = {task: i for i, task in enumerate(tasks)}
    inside = ([tuple(sorted(group, key=place.__getitem__)) for group in stage] for stage in stages)
    return tuple(tuple(sorted(stage, key=lambda group: place[group[0]])) for stage in inside)


def _check_stage(number: int, stage: Stage, tasks: Group) -> None:
    named = [known(task, tasks, f"task in stage {number}") for group in stage for task in group]
    for task in tasks:
        if named.count(task) != 1:
            held = "two groups" if task in named else "no group"
            raise ValueError(f"task {task!r} is in {held} of stage {number}: {stage}; it belongs in one")


def _nested(value: Any, depth: int) -> bool:
    """Whether a value is lists of lists, so deep, of names, none empty: never a name for a list of names."""
    kind: Any = list | tuple if depth else str
    return isinstance(value, kind) and bool(value) and (not depth or all(_nested(inner, depth - 1) for inner in value))


def _show(stage: Stage) -> str:
    return " | ".join("+".join(group) for group in stage)

"""Which tasks share a group at each stage: one immutable value that everything accepts, prints and saves."""

import itertools
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import TEXT, check, known
from .grouping import average_linkage, check_n_groups, check_similarity, check_stages, nested_partitions
from .tasks import select

Group = tuple[str, ...]
Stage = tuple[Group, ...]


@dataclass(frozen=True)
class TaskTree:
    """Nested groups of tasks, one partition P_s a stage, from coarse to fine: each g of P_{s+1} lies in one h of P_s.

    stages: for each stage a tuple of groups, each a tuple of task names. Every stage holds every task once. Groups are
    kept in the order of their first task, tasks in the order in which the first stage names them.

    Raises ValueError naming the task or group at fault.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        check_stages(self.stages)
        object.__setattr__(self, "stages", _in_order(self.stages, self.tasks))

    @property
    def tasks(self) -> Group:
        """Every task, group by group of the first stage."""
        return tuple(task for group in self.stages[0] for task in group)

    @property
    def n_groups(self) -> tuple[int, ...]:
        """Groups per stage: (1, 1, 2, 4) is the paper's first setting."""
        return tuple(map(len, self.stages))

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
        asked = select(dict.fromkeys(self.tasks), tasks)
        kept = [[[task for task in group if task in asked] for group in stage] for stage in self.stages]
        return self.from_dict({"stages": [list(filter(None, stage)) for stage in kept]})

    @classmethod
    def shared(cls, tasks: Sequence[str], n_stages: int = 4) -> "TaskTree":
        """All tasks in one group everywhere: plain multi-task LoRA."""
        return next(cls.enumerate(tasks, (1,) * n_stages))

    @classmethod
    def separate(cls, tasks: Sequence[str], n_stages: int = 4) -> "TaskTree":
        """Every task alone from the first stage on: one LoRA for each task."""
        return next(cls.enumerate(tasks, (len(tasks),) * n_stages))

    @classmethod
    def enumerate(cls, tasks: Sequence[str], n_groups: Sequence[int]) -> Iterator["TaskTree"]:
        """Every nested tree with these group counts: 7 of them for four tasks at (1, 1, 2, 4)."""
        if isinstance(tasks, str):
            raise ValueError(f"tasks are a list of names, not the text {tasks!r:.80}")
        counts = check_n_groups(n_groups, len(tasks))
        for stages in nested_partitions(tuple((task,) for task in tasks), counts):
            yield cls(_in_order(stages, tasks))

    @classmethod
    def from_similarity(cls, similarity: Any, tasks: Sequence[str], n_groups: Sequence[int]) -> "TaskTree":
        """The nested tree with the highest mean similarity within groups (`tree_score`); ties: the first enumerated.

        similarity: (T, T), or (S, T, T) with one matrix a stage. Every tree is tried for up to eight tasks; beyond,
        average linkage (of the mean matrix), cut at each count, gives a good one.
        """
        counts = check_n_groups(n_groups, len(tasks))
        matrix = check_similarity(similarity, len(tasks), len(counts))  # (S, T, T)
        if len(tasks) <= 8:
            return max(cls.enumerate(tasks, counts), key=lambda tree: tree_score(tree, matrix, tasks))
        levels, tasks = average_linkage(matrix.mean(0)), list(tasks)
        stages = [[[tasks[i] for i in group] for group in levels[n]] for n in counts]
        return cls(_in_order(stages, tasks))

    def to_dict(self) -> dict:
        return {"stages": [[list(group) for group in stage] for stage in self.stages]}

    @classmethod
    def from_dict(cls, data: dict) -> "TaskTree":
        """The inverse of `to_dict`; raises ValueError on anything else."""
        if not isinstance(data, dict) or data.keys() != {"stages"}:
            raise ValueError(f"a tree is written as {{'stages': [[[task, ...], ...], ...]}}; got {reprlib.repr(data)}")
        return cls(data["stages"])

    def __str__(self) -> str:
        return " > ".join(" | ".join(map("+".join, stage)) for stage in self.stages)

    @classmethod
    def parse(cls, text: str) -> "TaskTree":
        """The inverse of `str`: "a+b+c > a+b | c" has two stages, and parts c from the others in the second."""
        check({"tree": TEXT}, {"tree": text})
        stages = [[group.split("+") for group in stage.split("|")] for stage in text.split(">")]
        return cls.from_dict({"stages": [[[task.strip() for task in group] for group in stage] for stage in stages]})


def tree_score(tree: TaskTree, similarity: Any, tasks: Sequence[str]) -> float:
    """1/|S| sum_{s in S} 1/|P_s| sum_{{t, t'} in P_s} sim(t, t').

    P_s are the pairs of tasks that share a group at stage s, S the stages with any: where every task is alone there is
    nothing to say. Stages that all trees have in common shift every score alike. similarity as in `from_similarity`.
    """
    row = {task: i for i, task in enumerate(tasks)}
    matrix = check_similarity(similarity, len(tasks), len(tree.stages))
    means = []
    for sim, stage in zip(matrix, tree.stages, strict=True):
        pairs = [pair for group in stage for pair in itertools.combinations(group, 2)]
        if pairs:
            means.append(np.mean([sim[row[t], row[other]] for t, other in pairs]))
    return float(np.mean(means)) if means else 0.0


def _in_order(stages: Iterable[Iterable[Iterable[str]]], tasks: Iterable[str]) -> tuple[Stage, ...]:
    """Tasks in the order given, groups in the order of their first task."""
    place = {task: i for i, task in enumerate(tasks)}
    inside = [[tuple(sorted(group, key=place.__getitem__)) for group in stage] for stage in stages]
    return tuple(tuple(sorted(stage, key=lambda group: place[group[0]])) for stage in inside)

"""Which tasks share a group at each stage: one immutable value that everything accepts, prints and saves."""

import itertools
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from .tasks import known

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

    def __post_init__(self):
        if not _nested(self.stages, 3):
            raise ValueError(f"a tree is stages of groups of task names; got {reprlib.repr(self.stages)}")
        if not self.stages or not self.stages[0]:
            raise ValueError("a tree needs at least one stage with one group; got none")
        tasks = [task for group in self.stages[0] for task in group]
        place = {task: i for i, task in enumerate(tasks)}
        stages = []
        for number, stage in enumerate(self.stages, 1):
            named = [task for group in stage for task in group]
            for task in named:
                if named.count(task) > 1:
                    raise ValueError(f"task {task!r} is in two groups of stage {number}: {stage}; give it one")
                known(task, tasks, f"task in stage {number}")
            for task in tasks:
                if task not in named:
                    raise ValueError(f"task {task!r} is in no group of stage {number}; groups are {stage}")
            if not all(stage):
                raise ValueError(f"stage {number} has an empty group: {stage}; leave it out")
            groups = (tuple(sorted(group, key=place.__getitem__)) for group in stage)
            stages.append(tuple(sorted(groups, key=lambda group: place[group[0]])))
        for number, (coarse, fine) in enumerate(itertools.pairwise(stages), 1):
            for group in fine:
                if not any(set(group) <= set(parent) for parent in coarse):
                    raise ValueError(
                        f"group {'+'.join(group)} of stage {number + 1} joins tasks that stage {number} had already "
                        f"parted ({_show(coarse)}); once parted, tasks stay parted"
                    )
        object.__setattr__(self, "stages", tuple(stages))

    # ---- reading it -----------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> Group:
        """Every task, group by group of the first stage."""
        return tuple(task for group in self.stages[0] for task in group)

    @property
    def n_groups(self) -> tuple[int, ...]:
        """Groups per stage: (1, 1, 2, 4) is the paper's first setting."""
        return tuple(len(stage) for stage in self.stages)

    def group_of(self, stage: int, task: str) -> int:
        """The number of the group that holds a task at a stage (counted from 0)."""
        known(task, self.tasks, "task")
        return next(i for i, group in enumerate(self.stages[stage]) if task in group)

    def parents(self, stage: int) -> tuple[int, ...]:
        """For each group of a stage the number of the group before it that it came from; all 0 at the first."""
        if stage == 0:
            return (0,) * len(self.stages[0])
        return tuple(self.group_of(stage - 1, group[0]) for group in self.stages[stage])

    def leaf_order(self) -> Group:
        """Tasks in an order in which every group of every stage stands together: for drawing."""
        return tuple(sorted(self.tasks, key=lambda t: tuple(self.group_of(s, t) for s in range(len(self.stages)))))

    def __str__(self) -> str:
        return " > ".join(_show(stage) for stage in self.stages)

    # ---- making one -----------------------------------------------------------------------------------------------

    @classmethod
    def shared(cls, tasks: Sequence[str], n_stages: int = 4) -> "TaskTree":
        """All tasks in one group everywhere: plain multi-task LoRA."""
        return cls(((tuple(tasks),),) * n_stages)

    @classmethod
    def separate(cls, tasks: Sequence[str], n_stages: int = 4) -> "TaskTree":
        """Every task alone from the first stage on: one LoRA a task."""
        return cls((tuple((task,) for task in tasks),) * n_stages)

    @classmethod
    def enumerate(cls, tasks: Sequence[str], n_groups: Sequence[int]) -> Iterator["TaskTree"]:
        """Every nested tree with these group counts: 7 of them for four tasks at (1, 1, 2, 4)."""
        tasks, n_groups = tuple(tasks), check_n_groups(n_groups, len(tasks))

        def coarser(stage: Stage, counts: tuple[int, ...]) -> Iterator[tuple[Stage, ...]]:
            if not counts:
                yield ()
                return
            for blocks in partitions(stage, counts[-1]):
                merged = tuple(sum(block, ()) for block in blocks)
                for rest in coarser(merged, counts[:-1]):
                    yield (*rest, merged)

        for stages in coarser(tuple((task,) for task in tasks), n_groups):
            yield cls._in_order(stages, tasks)

    @classmethod
    def random(cls, tasks: Sequence[str], n_groups: Sequence[int], seed: int) -> "TaskTree":
        """A nested tree drawn by splitting random groups at random: every tree can come out, not all as often."""
        tasks, n_groups = tuple(tasks), check_n_groups(n_groups, len(tasks))
        rng = np.random.default_rng(seed)
        stage, stages = [list(tasks)], []
        for count in n_groups:
            while len(stage) < count:
                group = stage.pop(rng.choice([i for i, g in enumerate(stage) if len(g) > 1]))
                group = [group[i] for i in rng.permutation(len(group))]
                cut = rng.integers(1, len(group))
                stage += [group[:cut], group[cut:]]
            stages.append(tuple(tuple(group) for group in stage))
        return cls._in_order(stages, tasks)

    @classmethod
    def from_similarity(cls, similarity, tasks: Sequence[str], n_groups: Sequence[int]) -> "TaskTree":
        """The nested tree with the highest mean similarity within groups (`tree_score`); ties: the first enumerated.

        similarity: (T, T), or (S, T, T) with one matrix a stage. Every tree is tried for up to eight tasks; beyond,
        average linkage on 1 - similarity (of the mean matrix), cut at each count, gives a good one.
        """
        tasks, n_groups = tuple(tasks), check_n_groups(n_groups, len(tasks))
        similarity = check_similarity(similarity, len(tasks), len(n_groups))
        if len(tasks) <= EXHAUSTIVE_UP_TO:
            return max(cls.enumerate(tasks, n_groups), key=lambda tree: tree_score(tree, similarity, tasks))
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        distance = 1 - similarity.mean(0)
        np.fill_diagonal(distance, 0)
        clusters: dict[int, Group] = {i: (task,) for i, task in enumerate(tasks)}
        by_count = {len(tasks): tuple(clusters.values())}
        for number, (i, j, *_) in enumerate(linkage(squareform(distance, checks=False), "average"), len(tasks)):
            clusters[number] = clusters.pop(int(i)) + clusters.pop(int(j))
            by_count[len(clusters)] = tuple(clusters.values())
        stages = [by_count[count] for count in n_groups]
        return cls._in_order(stages, tasks)

    @classmethod
    def _in_order(cls, stages: Sequence[Stage], tasks: Group) -> "TaskTree":
        """Keeps the suite's order of tasks where a first stage of several groups would lose it."""
        place = {task: i for i, task in enumerate(tasks)}
        return cls(tuple(
            tuple(sorted((tuple(sorted(g, key=place.__getitem__)) for g in stage), key=lambda g: place[g[0]]))
            for stage in stages
        ))

    # ---- saving it ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        return {"stages": [[list(group) for group in stage] for stage in self.stages]}

    @classmethod
    def from_dict(cls, data: dict) -> "TaskTree":
        """The inverse of `to_dict`; raises ValueError on anything else."""
        if not isinstance(data, dict) or set(data) != {"stages"} or not _nested(data["stages"], 3):
            raise ValueError(f"a tree is written as {{'stages': [[[task, ...], ...], ...]}}; got {reprlib.repr(data)}")
        return cls(tuple(tuple(tuple(group) for group in stage) for stage in data["stages"]))

    @classmethod
    def parse(cls, text: str) -> "TaskTree":
        """The inverse of `str`: "a+b+c > a+b | c" has two stages, and parts c from the others in the second."""
        return cls(tuple(
            tuple(tuple(task.strip() for task in group.split("+")) for group in stage.split("|"))
            for stage in text.split(">")
        ))


def _nested(value, depth: int) -> bool:
    """Whether a value is lists of lists, so deep, of names: never a name where a list of names should stand."""
    if depth == 0:
        return isinstance(value, str) and bool(value)
    return isinstance(value, list | tuple) and all(_nested(inner, depth - 1) for inner in value)


def _show(stage: Stage) -> str:
    return " | ".join("+".join(group) for group in stage)


def check_n_groups(n_groups: Sequence[int], n_tasks: int) -> tuple[int, ...]:
    """Group counts that a tree can have: whole numbers from 1 to the number of tasks, never falling."""
    if not isinstance(n_groups, Iterable) or not all(isinstance(n, Integral) for n in n_groups):
        raise ValueError(f"groups per stage {reprlib.repr(n_groups)}: give whole numbers, one a stage")
    n_groups = tuple(int(n) for n in n_groups)
    if not n_groups or min(n_groups) < 1 or max(n_groups) > n_tasks or list(n_groups) != sorted(n_groups):
        raise ValueError(f"groups per stage {n_groups}: give counts from 1 to {n_tasks} (tasks) that never fall")
    return n_groups


def check_similarity(similarity, n_tasks: int, n_stages: int) -> np.ndarray:
    """(T, T) or (S, T, T) -> (S, T, T) float64, finite and symmetric; ValueError otherwise."""
    try:
        matrix = np.asarray(similarity, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"similarity holds no numbers in rows of one length: {reprlib.repr(similarity)}") from None
    if matrix.shape not in ((n_tasks, n_tasks), (n_stages, n_tasks, n_tasks)):
        raise ValueError(f"similarity is {matrix.shape}; expected {(n_tasks, n_tasks)} or one such matrix a stage")
    if not np.isfinite(matrix).all():
        raise ValueError("similarity holds values that are not finite; measure it again with more samples")
    if not np.allclose(matrix, np.swapaxes(matrix, -1, -2), atol=1e-6):
        raise ValueError("similarity is not symmetric; use the mean of it and its transpose")
    return np.broadcast_to(matrix, (n_stages, n_tasks, n_tasks))


def tree_score(tree: TaskTree, similarity, tasks: Sequence[str]) -> float:
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


def partitions(items: Sequence, n: int) -> Iterator[tuple[tuple, ...]]:
    """Every way to part the items into n non-empty blocks, each once: Stirling's S(len(items), n) of them."""
    items = tuple(items)
    if n == len(items):
        yield tuple((item,) for item in items)
    elif n == 1:
        yield (items,)
    elif 1 < n < len(items):
        first, rest = items[0], items[1:]
        for blocks in partitions(rest, n - 1):  # the first item alone
            yield ((first,), *blocks)
        for blocks in partitions(rest, n):  # or with one of the others' blocks
            for i, block in enumerate(blocks):
                yield ((first, *block), *blocks[:i], *blocks[i + 1 :])

"""Who can stay together: every way to part tasks into nested groups; what a tree and a similarity must be."""

import itertools
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .checks import known, whole


def partitions(items: Sequence, n: int) -> Iterator[tuple[tuple, ...]]:
    """Every way to part k items into n blocks, S(k, n) = S(k-1, n-1) + n S(k-1, n) of them (Stirling's number)."""
    if n == len(items) == 0:
        yield ()
    if not 1 <= n <= len(items):
        return
    first, rest = items[0], items[1:]
    for blocks in partitions(rest, n - 1):  # the first item alone
        yield ((first,), *blocks)
    for blocks in partitions(rest, n):  # or in one of the others' n blocks
        for i, block in enumerate(blocks):
            yield ((first, *block), *blocks[:i], *blocks[i + 1 :])


def nested_partitions(groups: tuple[tuple, ...], n_groups: Sequence[int]) -> Iterator[list[tuple]]:
    """Every chain of nested partitions with these group counts, prod_s S(G_{s+1}, G_s) of them, each coarse to fine.

    Built from the end: the last one parts the groups that are given, the one before parts the groups of the last.
    """
    if not n_groups:
        yield []
        return
    for blocks in partitions(groups, n_groups[-1]):
        last = tuple(sum(block, ()) for block in blocks)
        for before in nested_partitions(last, n_groups[:-1]):
            yield [*before, last]


def average_linkage(similarity: np.ndarray) -> dict[int, list[list[int]]]:
    """{number of groups: groups of indices}, joining the two groups of highest mean similarity again and again."""
    groups = [[i] for i in range(len(similarity))]
    kept = {len(groups): groups}
    while len(groups) > 1:
        pairs = itertools.combinations(groups, 2)
        a, b = max(pairs, key=lambda two: similarity[np.ix_(*two)].mean())
        groups = [group for group in groups if group not in (a, b)] + [a + b]
        kept[len(groups)] = groups
    return kept


def check_stages(stages: Any) -> None:
    """Lists of lists of names, every task once a stage, each group g in one group h of the stage before."""
    if not _lists(stages, 3):
        words = "a tree is stages of groups of task names, at least one stage and no empty group"
        raise ValueError(f"{words}; got {reprlib.repr(stages)}")
    tasks = [task for group in stages[0] for task in group]
    for number, (before, stage) in enumerate(zip([stages[0], *stages], stages, strict=False), 1):
        named = [known(task, tasks, f"task in stage {number}") for group in stage for task in group]
        for task in tasks:
            if (n := named.count(task)) != 1:
                raise ValueError(f"task {task!r} is in {n} groups of stage {number}: {stage}; it belongs in one")
        for g in stage:
            if not any(set(g) <= set(h) for h in before):
                parted = " | ".join(map("+".join, before))
                words = f"joins tasks that stage {number - 1} had already separated ({parted})"
                raise ValueError(f"group {'+'.join(g)} of stage {number} {words}; once separated, tasks stay separated")


def _lists(value: Any, depth: int) -> bool:
    """Whether a value is lists, so deep, of names, none empty: never a name for a list of names."""
    if depth == 0:
        return isinstance(value, str) and value != ""
    return isinstance(value, list | tuple) and len(value) > 0 and all(_lists(v, depth - 1) for v in value)


def check_n_groups(n_groups: Sequence[int], n_tasks: int) -> tuple[int, ...]:
    """Group counts that a tree can have: whole numbers from 1 to the number of tasks, never falling."""
    counts = n_groups if isinstance(n_groups, list | tuple) else ()
    fit = all(whole(n) and 1 <= n <= n_tasks for n in counts)
    if not counts or not fit or list(counts) != sorted(counts):
        words = f"give whole numbers that never fall, counts from 1 to {n_tasks} (tasks), one a stage"
        raise ValueError(f"groups per stage {reprlib.repr(n_groups)}: {words}")
    return tuple(counts)


def check_similarity(similarity: Any, n_tasks: int, n_stages: int) -> np.ndarray:
    """(T, T) or (S, T, T) -> (S, T, T) float64, finite off the diagonal and symmetric; ValueError otherwise."""
    one = (n_tasks, n_tasks)
    try:
        matrix = np.asarray(similarity, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"similarity holds no numbers in rows of one length: {reprlib.repr(similarity)}") from None
    if matrix.shape not in (one, (n_stages, *one)):
        raise ValueError(f"similarity is {matrix.shape}; expected {one} or one such matrix a stage")
    if not np.isfinite(matrix[..., ~np.eye(n_tasks, dtype=bool)]).all():
        raise ValueError("similarity holds values that are not finite; measure it again with more samples")
    if not np.allclose(matrix, matrix.swapaxes(-1, -2), atol=1e-6, equal_nan=True):
        raise ValueError("similarity is not symmetric; use the mean of it and its transpose")
    return np.broadcast_to(matrix, (n_stages, *one))

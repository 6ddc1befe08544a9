"""Who can stay together: every way to part tasks into nested groups, and the checks of what it is chosen by."""

import itertools
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .checks import whole


def nested_partitions(items: Sequence[str], n_groups: Sequence[int]) -> Iterator[list[tuple]]:
    """Every chain of nested partitions of the items with these group counts, coarse to fine.

    Built from the end: the finest stage is a partition of the items, each coarser one a partition of its groups.
    """

    def coarser(groups: tuple, counts: Sequence[int]) -> Iterator[list[tuple]]:
        if not counts:
            yield []
            return
        for blocks in partitions(groups, counts[-1]):
            merged = tuple(sum(block, ()) for block in blocks)
            for rest in coarser(merged, counts[:-1]):
                yield [*rest, merged]

    yield from coarser(tuple((item,) for item in items), n_groups)


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


def average_linkage(matrix: np.ndarray) -> dict[int, list[list[int]]]:
    """{number of groups: groups of indices}, joining the two groups of highest mean similarity again and again."""
    groups = [[i] for i in range(len(matrix))]
    levels = {len(groups): groups}
    while len(groups) > 1:
        pairs = itertools.combinations(groups, 2)
        one, other = max(pairs, key=lambda pair: matrix[np.ix_(*pair)].mean())
        groups = [g for g in groups if g not in (one, other)] + [one + other]
        levels[len(groups)] = groups
    return levels


def check_n_groups(n_groups: Sequence[int], n_tasks: int) -> tuple[int, ...]:
    """Group counts that a tree can have: whole numbers from 1 to the number of tasks, never falling."""
    counts = n_groups if isinstance(n_groups, list | tuple) else ()
    if not counts or not all(whole(n) and 1 <= n <= n_tasks for n in counts) or list(counts) != sorted(counts):
        words = f"give whole numbers that never fall, counts from 1 to {n_tasks} (tasks), one a stage"
        raise ValueError(f"groups per stage {reprlib.repr(n_groups)}: {words}")
    return tuple(counts)


def check_similarity(similarity: Any, n_tasks: int, n_stages: int) -> np.ndarray:
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

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptsa_lite.grouping import partitions
from ptsa_lite.tree import TaskTree, tree_score

FOUR = ("a", "b", "c", "d")


def random_similarity(n, seed=0):
    m = np.random.default_rng(seed).normal(size=(n, n))
    return (m + m.T) / 2


@pytest.mark.parametrize(
    ("n_groups", "count"),
    [((1, 1, 2, 4), 7), ((1, 2, 2, 4), 7), ((1, 2, 3, 4), 18), ((1, 1, 1, 1), 1), ((4, 4, 4, 4), 1)],
)
def test_every_tree_is_enumerated_once(n_groups, count):
    trees = list(TaskTree.enumerate(FOUR, n_groups))
    assert len(trees) == len(set(trees)) == count
    assert all(tree.n_groups == n_groups for tree in trees)


@pytest.mark.parametrize(("n", "k", "count"), [(4, 2, 7), (5, 3, 25), (6, 3, 90), (8, 4, 1701)])
def test_partitions_are_as_many_as_stirling_says(n, k, count):
    found = [frozenset(map(frozenset, blocks)) for blocks in partitions(range(n), k)]
    assert len(found) == len(set(found)) == count


AB, A, B = (("a", "b"),), ("a",), ("b",)


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ((), "at least one stage"),
        (((("a", "b"), A),), "'a' is in 2 groups of stage 1"),
        ((AB, (A,)), "'b' is in 0 groups of stage 2"),
        ((AB, (A, ("b", "x"))), "unknown task in stage 2 'x'"),
        (((A, B), AB), "already separated"),
        ((AB, (A, B, ())), "empty group"),
    ],
)
def test_a_tree_that_is_none_is_refused_with_the_reason(stages, says):
    with pytest.raises(ValueError, match=says):
        TaskTree(stages)


def test_parents_follow_the_nesting():
    tree = TaskTree(((FOUR,), (("a", "d"), ("b", "c")), (("a",), ("b",), ("c",), ("d",))))
    assert tree.n_groups == (1, 2, 4)
    assert [tree.parents(s) for s in range(3)] == [(0,), (0, 0), (0, 1, 1, 0)]
    assert str(tree) == "a+b+c+d > a+d | b+c > a | b | c | d"


def test_similarity_tree_is_the_best_of_all():
    similarity = random_similarity(4)
    best = TaskTree.from_similarity(similarity, FOUR, (1, 1, 2, 4))
    scores = {tree: tree_score(tree, similarity, FOUR) for tree in TaskTree.enumerate(FOUR, (1, 1, 2, 4))}
    assert scores[best] == max(scores.values())


def test_obvious_pairs_are_found():
    similarity = np.full((4, 4), 0.1)
    similarity[0, 2] = similarity[2, 0] = similarity[1, 3] = similarity[3, 1] = 0.9
    assert TaskTree.from_similarity(similarity, FOUR, (1, 1, 2, 4)).stages[2] == (("a", "c"), ("b", "d"))


@pytest.mark.parametrize("order", itertools.islice(itertools.permutations(range(4)), 1, 24, 5))
def test_permuting_tasks_permutes_the_tree(order):
    similarity = random_similarity(4, 3)
    straight = TaskTree.from_similarity(similarity, FOUR, (1, 2, 2, 4))
    permuted = TaskTree.from_similarity(similarity[np.ix_(order, order)], [FOUR[i] for i in order], (1, 2, 2, 4))
    as_sets = lambda tree: [set(map(frozenset, stage)) for stage in tree.stages]  # noqa: E731
    assert as_sets(straight) == as_sets(permuted)


def test_average_linkage_beyond_eight_tasks_finds_blocks_and_nests():
    names = [f"t{i}" for i in range(12)]
    block = np.kron(np.eye(3), np.ones((4, 4)))
    tree = TaskTree.from_similarity(0.8 * block + 0.2 * np.eye(12), names, (1, 3, 6, 12))
    assert tree.n_groups == (1, 3, 6, 12)
    assert set(map(frozenset, tree.stages[1])) == {frozenset(names[i : i + 4]) for i in (0, 4, 8)}


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_what_is_no_text_is_not_read_as_a_tree(text):
    with pytest.raises(ValueError, match="tree must be a text, not"):
        TaskTree.parse(text)


def test_similarity_of_a_wrong_kind_is_refused():
    with pytest.raises(ValueError, match="expected"):
        TaskTree.from_similarity(np.eye(3), FOUR, (1, 1, 2, 4))
    with pytest.raises(ValueError, match="not finite"):
        TaskTree.from_similarity(np.full((4, 4), np.nan), FOUR, (1, 1, 2, 4))
    with pytest.raises(ValueError, match="not symmetric"):
        TaskTree.from_similarity(np.arange(16.0).reshape(4, 4), FOUR, (1, 1, 2, 4))


@pytest.mark.parametrize("n_groups", [(2, 1, 2, 4), (1, 1, 2, 5), (0, 1, 2, 4), ()])
def test_impossible_group_counts_are_refused(n_groups):
    with pytest.raises(ValueError, match="never fall"):
        list(TaskTree.enumerate(FOUR, n_groups))


@given(st.integers(1, 6), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 20))
def test_trees_are_valid_survive_saving_and_can_be_pruned(n_tasks, counts, number):
    names, counts = [f"t{i}" for i in range(n_tasks)], sorted(min(c, n_tasks) for c in counts)
    tree = next(itertools.islice(TaskTree.enumerate(names, counts), number, None), TaskTree.shared(names, 1))
    assert tree.n_groups in (tuple(counts), (1,))
    assert TaskTree.from_dict(tree.to_dict()) == tree
    some = names[::2]
    pruned = tree.only(some)
    for stage, groups in enumerate(pruned.stages):
        for group in groups:
            assert len({tree.group_of(stage, task) for task in group}) == 1
    assert set(pruned.tasks) == set(some)


def test_a_printed_tree_is_read_back():
    for tree in TaskTree.enumerate(("a", "b", "c", "d"), (1, 2, 4)):
        assert TaskTree.parse(str(tree)) == tree


@pytest.mark.parametrize(
    "make", [TaskTree.shared, TaskTree.separate, lambda text: list(TaskTree.enumerate(text, (1, 2)))]
)
def test_a_text_is_no_list_of_tasks(make):
    with pytest.raises(ValueError, match="a list of names, not the text 'depth'"):
        make("depth")
    assert TaskTree.shared(FOUR).only("a").tasks == ("a",)


def test_a_tree_grows_from_a_map_of_any_number_of_tasks():
    tasks = {f"task{i}": None for i in range(10)}
    assert TaskTree.from_similarity(np.eye(10), tasks, (1, 2)) == TaskTree.from_similarity(np.eye(10), [*tasks], (1, 2))

"""Idea figures: a box per group, an hourglass per group, paths lit as gradients flow."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon

from ptsa_lite.figures.layer import draw_block, draw_layer, draw_sharing
from ptsa_lite.figures.parts import leaves
from ptsa_lite.figures.style import task_colour, task_ink
from ptsa_lite.figures.tree import (
    SCHEMES,
    draw_adaptation,
    draw_capacities,
    draw_schemes,
    draw_training,
    draw_tree,
    draw_tree_beside,
)
from ptsa_lite.tasks import PASCAL
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "human_parts", "saliency", "normals")
IMAGE = np.zeros((2, 2, 3), np.uint8)
TREES = [next(TaskTree.enumerate(TASKS, (1, 1, 2, 4))), TaskTree.shared(TASKS), TaskTree.separate(TASKS)]
CROSSED = TaskTree((
    (TASKS,), (TASKS,), (("semseg", "saliency"), ("human_parts", "normals")), tuple((name,) for name in TASKS),
))  # fmt: skip


def outlines(figure):
    """The hourglasses of a figure: their outlines are the polygons without a filling."""
    return [
        patch
        for axes in figure.axes
        for patch in axes.patches
        if isinstance(patch, Polygon) and patch.get_facecolor()[3] == 0
    ]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_tree_has_a_box_per_group_and_a_strand_per_task_in_its_colour():
    figure = draw_tree(CROSSED)
    kinds = [type(patch).__name__ for patch in figure.axes[0].patches]
    assert kinds.count("FancyBboxPatch") == 1 + 1 + 2 + 4 and kinds.count("PathPatch") == 4
    labels = {text.get_text(): text for text in figure.axes[0].texts}
    heights = [labels[name].get_position()[1] for name in ("semseg", "saliency", "human_parts", "normals")]
    assert heights == sorted(heights, reverse=True), "in leaf order no group is split"
    assert labels["saliency"].get_color() == task_ink("saliency")
    assert "stage 3\n2 groups" in labels


def test_beside_the_tree_each_row_of_the_matrix_meets_its_leaf():
    matrix = [[1, 0.1, 0.2, 0.3], [0.1, 1, 0.4, 0.5], [0.2, 0.4, 1, 0.6], [0.3, 0.5, 0.6, 1]]
    figure = draw_tree_beside(CROSSED, matrix, [[0.05] * 4] * 4, TASKS, "a tree")
    tree, cells = figure.axes
    assert cells.images[0].get_array()[0].tolist() == [1, 0.2, 0.1, 0.3]
    assert list(leaves(CROSSED, 1.0)) == ["semseg", "saliency", "human_parts", "normals"]
    for i, name in enumerate(leaves(CROSSED, 1.0)):
        y = next(text for text in tree.texts if text.get_text() == name).get_position()[1]
        heights = tree.transData.transform((0, y))[1], cells.transData.transform((0, i))[1]
        assert heights[0] == pytest.approx(heights[1], abs=3), f"{name}, in pixels"


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_every_group_of_every_stage_has_one_hourglass(tree):
    figure = draw_adaptation(tree, IMAGE)
    assert len(outlines(figure)) == sum(tree.n_groups)
    counts = [int(text.split()[0]) for text in texts(figure) if "adapter" in text]
    assert tuple(counts) == tree.n_groups


@pytest.mark.parametrize("task", TASKS)
def test_a_lit_path_is_the_groups_that_hold_the_task(task):
    tree = TREES[0]
    lit = [patch for patch in outlines(draw_adaptation(tree, IMAGE, highlight=[task])) if patch.get_alpha() == 1]
    assert len(lit) == len(tree.stages), "one group a stage"
    stages = {round(float(patch.get_xy()[:, 0].mean()), 1) for patch in lit}
    assert len(stages) == len(tree.stages), "each in another stage"


def test_an_adapter_is_striped_by_exactly_the_tasks_that_share_it():
    figure = draw_block((("semseg", "normals"), ("saliency",)))
    filled = [to_hex(p.get_facecolor()) for p in figure.axes[0].patches if isinstance(p, Polygon)]
    for task, times in (("semseg", 4), ("normals", 4), ("saliency", 4), ("human_parts", 0)):
        assert filled.count(task_colour(task).lower()) == times, f"{task}: on qkv, proj, fc1 and fc2"


def test_the_four_schemes_stand_side_by_side_with_their_notes():
    figure = draw_schemes(TREES[0], {"own": "a note"})
    assert len(figure.axes) == 4
    assert set(SCHEMES.values()) | {"a note"} <= set(texts(figure))
    hourglasses = [len([p for p in outlines(figure) if p.axes is axes]) for axes in figure.axes]
    assert hourglasses == [0, 4, 16, 8]


def test_the_layer_shows_one_frozen_matrix_and_two_pairs():
    figure = draw_layer((TASKS[:2], TASKS[2:]))
    words = " ".join(texts(figure))
    assert words.count("frozen") == 1 and all(f"${name}_{i}$" in words for name in "xhAB" for i in (1, 2))


def test_sharing_shows_a_frozen_matrix_per_panel_and_an_hourglass_per_group():
    singles = tuple((name,) for name in TASKS)
    figure = draw_sharing({"all": (TASKS,), "two": (TASKS[:2], TASKS[2:]), "each": singles})
    assert len(outlines(figure)) == 1 + 2 + 4
    assert [texts(figure).count(words) for words in ("W, frozen", "two", *TASKS)] == [3, 1, 1, 1, 1, 1]


def test_training_weighs_the_loss_behind_each_head():
    figure = draw_training(CROSSED, PASCAL)
    assert {f"{task.loss_weight:g} × loss of {name}" for name, task in PASCAL.items()} | {"sum"} <= set(texts(figure))
    assert len(outlines(figure)) == sum(CROSSED.n_groups)


def test_capacities_are_as_high_as_the_groups_times_the_rank_and_striped_by_their_tasks():
    figure = draw_capacities([("one", CROSSED, (8, 8, 8, 8)), ("cut", TaskTree.shared(TASKS), (2, 4, 8, 235))])
    tops = [max(bar.get_y() + bar.get_height() for bar in axes.patches) for axes in figure.axes]
    assert tops == pytest.approx([4 * 8, 44])
    assert texts(figure) == ["1 × 8", "1 × 8", "2 × 8", "4 × 8", "1 × 2", "1 × 4", "1 × 8", "1 × 235"]

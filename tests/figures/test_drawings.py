"""Idea figures: an hourglass per group, paths lit as gradients flow, windows that see what the mask lets through."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon

from ptsa_lite.figures import drawings
from ptsa_lite.figures import layer as drawings_layer
from ptsa_lite.figures import swin as drawings_swin
from ptsa_lite.figures.style import task_colour
from ptsa_lite.figures.swin import _seen, _tint, pooled
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "human_parts", "saliency", "normals")
TREES = list(TaskTree.enumerate(TASKS, (1, 1, 2, 4))) + [TaskTree.shared(TASKS), TaskTree.separate(TASKS)]


def outlines(figure):
    """The hourglasses of a figure: their outlines are the polygons without a filling."""
    return [patch for axes in figure.axes for patch in axes.patches
            if isinstance(patch, Polygon) and patch.get_facecolor()[3] == 0]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_every_group_of_every_stage_has_one_hourglass(tree):
    figure = drawings.draw_adaptation(tree)
    assert len(outlines(figure)) == sum(tree.n_groups)
    counts = [int(text.split()[0]) for text in texts(figure) if "adapter" in text]
    assert tuple(counts) == tree.n_groups


@pytest.mark.parametrize("task", TASKS)
def test_a_lit_path_is_the_groups_that_hold_the_task(task):
    tree = TREES[0]
    lit = [patch for patch in outlines(drawings.draw_adaptation(tree, highlight=[task])) if patch.get_alpha() == 1]
    assert len(lit) == len(tree.stages), "one group a stage"
    stages = {round(float(patch.get_xy()[:, 0].mean()), 1) for patch in lit}
    assert len(stages) == len(tree.stages), "each in another stage"


def test_an_adapter_is_striped_by_exactly_the_tasks_that_share_it():
    figure = drawings_layer.draw_block((("semseg", "normals"), ("saliency",)))
    filled = [to_hex(p.get_facecolor()) for p in figure.axes[0].patches if isinstance(p, Polygon)]
    for task, times in (("semseg", 4), ("normals", 4), ("saliency", 4), ("human_parts", 0)):
        assert filled.count(task_colour(task).lower()) == times, f"{task}: on qkv, proj, fc1 and fc2"


def test_the_four_schemes_stand_side_by_side_with_their_notes():
    figure = drawings.draw_schemes(TASKS, TREES[0], {"own": "a note"})
    assert len(figure.axes) == 4
    assert set(drawings.SCHEMES.values()) | {"a note"} <= set(texts(figure))
    hourglasses = [len([p for p in outlines(figure) if p.axes is axes]) for axes in figure.axes]
    assert hourglasses == [0, 4, 16, 8]


def test_the_layer_shows_one_frozen_matrix_and_two_pairs():
    figure = drawings_layer.draw_layer()
    words = " ".join(texts(figure))
    assert words.count("frozen") == 1 and all(f"${name}_{i}$" in words for name in "xhAB" for i in (1, 2))


def test_sharing_shows_a_frozen_matrix_per_panel_and_an_hourglass_per_group():
    singles = tuple((name,) for name in TASKS)
    figure = drawings_layer.draw_sharing({"all": (TASKS,), "two": (TASKS[:2], TASKS[2:]), "each": singles})
    assert len(outlines(figure)) == 1 + 2 + 4
    assert [texts(figure).count(words) for words in ("W, frozen", "two", *TASKS)] == [3, 1, 1, 1, 1, 1]


def test_no_drawing_is_kept_by_pyplot():
    before = plt.get_fignums()
    black = np.zeros((8, 8, 3), np.uint8)
    drawings.draw_adaptation(TREES[0], black, dict.fromkeys(TASKS, black))
    drawings_layer.draw_layer()
    drawings_swin.draw_pyramid(np.zeros((32, 32, 3), np.uint8), (8, 4), (16, 32), ("a", "b"))
    assert plt.get_fignums() == before


# ---- how a Swin sees


def regions(grid, window, shift):
    place = np.arange(grid)
    strip = (place >= grid - window).astype(int) + (place >= grid - shift)
    return 3 * strip[:, None] + strip


@pytest.mark.parametrize("grid, window, shift", [(16, 4, 2), (8, 4, 2), (14, 7, 3), (4, 4, 0)])
def test_a_token_is_shown_to_see_what_the_mask_lets_it_see(grid, window, shift):
    region = regions(grid, window, shift) if shift else np.zeros((grid, grid), int)
    number = np.arange(grid * grid).reshape(grid, grid)
    rolled = np.roll(number, (-shift, -shift), (0, 1))
    for token in number.ravel():
        r, c = np.argwhere(rolled == token)[0]
        top, left = r // window * window, c // window * window
        here = np.s_[top : top + window, left : left + window]
        expected = rolled[here][region[here] == region[r, c]]
        rows, columns = _seen(divmod(int(token), grid), grid, window, shift)
        assert set(number[rows, columns]) == set(expected)


def test_only_windows_with_several_regions_are_tinted():
    tinted = _tint(regions(16, 4, 2), 4)[..., 3] > 0
    expected = np.zeros((16, 16), bool)
    expected[-4:], expected[:, -4:] = True, True
    assert np.array_equal(tinted, expected)


def test_the_fronts_of_the_pyramid_are_means():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert np.array_equal(pooled(image, 8), image)
    assert np.allclose(pooled(image, 2)[1, 0], image[4:, :4].mean((0, 1)), atol=0.5)


def test_a_heat_map_row_stands_under_every_frame_and_the_asking_token_is_marked():
    maps = {"one": np.zeros((2, 4, 4)), "two": np.zeros((2, 4, 4))}
    figure = drawings_swin.draw_likeness(np.zeros((2, 3, 8, 8), np.uint8), maps, (1, 0.5, 0.5))
    marked = [bool(axes.lines) for axes in figure.axes]
    assert marked == [False, True] * 3

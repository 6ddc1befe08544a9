"""Figures of a similarity: every pair of tasks is there with its own colours, at the height that was measured."""

import numpy as np
import pytest

from ptsa_lite.figures import similarity as plots_similarity
from ptsa_lite.figures.style import task_colour
from ptsa_lite.similarity import Similarity

TASKS = ("semseg", "depth", "normals")
COUPLES = [(0, 1), (0, 2), (1, 2)]


@pytest.fixture(scope="module")
def similarity():
    """Twelve draws of two stages and the whole, symmetric, of size one at most."""
    rng = np.random.default_rng(0)
    draws = rng.uniform(-0.4, 0.6, (12, 3, 3, 3))
    draws = (draws + draws.swapaxes(-1, -2)) / 2
    return Similarity(TASKS, {("plain", "same"): draws, ("plain", "different"): 0.1 * draws[1:]})


def first_draws(similarity, n):
    return Similarity(TASKS, {(r, p): draws[: n - (p == "different")] for (r, p), draws in similarity.draws.items()})


def test_gradients_and_their_losses_wear_each_tasks_colour():
    left, right = plots_similarity.draw_gradients(TASKS).axes
    for axes, words in ((left, "loss of {}"), (right, "{}")):
        shown = {text.get_text(): text.get_color() for text in axes.texts}
        assert all(shown[words.format(name)] == task_colour(name) for name in TASKS)


def test_an_angle_is_the_one_that_the_cosine_says():
    matrix = np.array([[1, 0.5, 0], [0.5, 1, -0.5], [0, -0.5, 1]])
    titles = [axes.get_title() for axes in plots_similarity.draw_angles(matrix, TASKS).axes]
    assert titles == ["60°\nsemseg\ndepth", "90°\nsemseg\nnormals", "120°\ndepth\nnormals"]


def test_estimates_show_every_pair_and_each_task_with_itself_with_two_errors(similarity):
    matrix, error = similarity.matrix("plain", "same"), similarity.error("plain", "same")
    (axes,) = plots_similarity.draw_estimates({"one": (matrix, error), "other": (matrix, error)}, TASKS).axes
    for container in axes.containers:
        points, _, (bars,) = container
        assert np.allclose(points.get_ydata().astype(float), [matrix[c] for c in (*COUPLES, (0, 0), (1, 1), (2, 2))])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        assert np.allclose(ends[:3, 1] - ends[:3, 0], [4 * error[c] for c in COUPLES])


def test_more_frames_are_further_right_and_the_last_is_the_whole_measurement(similarity):
    figure = plots_similarity.draw_how_sure({n: first_draws(similarity, n) for n in (4, 8, 12)}, ("left", "right"))
    left, right = figure.axes
    ends = sorted(container[0].get_ydata()[-1] for container in left.containers)
    assert np.allclose(ends, sorted(similarity.matrix("plain", "same")[c] for c in COUPLES))
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["same frame", "different frames"]


def test_a_pair_wears_both_tasks_colours_over_the_stages_and_is_named_once(similarity):
    (axes,) = plots_similarity.draw_stages(similarity, "plain", "same").axes
    lines = [container[0] for container in axes.containers if len(container[0].get_ydata()) == 2]
    colours = {(line.get_color(), line.get_markeredgecolor()) for line in lines}
    assert colours == {(task_colour(TASKS[i]), task_colour(TASKS[j])) for i, j in COUPLES}
    assert sorted(text.get_text() for text in axes.texts) == sorted(f"{TASKS[i]} with {TASKS[j]}" for i, j in COUPLES)

"""Figures of a similarity: every pair of tasks is there with its own colours, at the height that was measured."""

import numpy as np
import pytest

from ptsa_lite.figures.similarity import (
    draw_angles,
    draw_estimates,
    draw_gradients,
    draw_how_sure,
    draw_similarities,
    draw_similarity,
    draw_stages,
)
from ptsa_lite.figures.style import task_colour, task_ink
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


def test_similarity_prints_each_number_and_colours_by_sign_on_one_scale():
    matrix = np.array([[1.0, -0.2], [-0.2, 1.0]])
    figure = draw_similarity(matrix, ["semseg", "depth"], error=np.full((2, 2), 0.03))
    assert {"1.00", "−0.20\n±0.03"} <= {text.get_text() for text in figure.axes[0].texts}
    image = figure.axes[0].images[0]
    assert image.norm.vmax == -image.norm.vmin == 0.2
    red, blue = image.cmap(image.norm(-0.2)), image.cmap(image.norm(0.2))
    assert red[0] > red[2] and blue[2] > blue[0]
    pale = draw_similarities({"strong": (matrix, None), "weak": (0.1 * matrix, None)}, ["semseg", "depth"]).axes[1]
    assert pale.get_title(loc="left") == "weak" or pale.get_title() == "weak"
    assert pale.images[0].norm.vmax == 0.2, "what is weak looks weak"


def test_gradients_and_their_losses_wear_each_tasks_colour():
    left, right = draw_gradients(TASKS).axes
    for axes, words in ((left, "loss of {}"), (right, "{}")):
        shown = {text.get_text(): text.get_color() for text in axes.texts}
        assert all(shown[words.format(name)] == task_ink(name) for name in TASKS)


def test_an_angle_is_the_one_that_the_cosine_says():
    matrix = np.array([[1, 0.5, 0], [0.5, 1, -0.5], [0, -0.5, 1]])
    titles = [axes.get_title() for axes in draw_angles(matrix, TASKS).axes]
    assert titles == ["60°\nsemseg\ndepth", "90°\nsemseg\nnormals", "120°\ndepth\nnormals"]


def test_estimates_show_every_pair_and_each_task_with_itself_with_two_errors(similarity):
    matrix, error = similarity.matrix("plain", "same"), similarity.error("plain", "same")
    (axes,) = draw_estimates({"one": (matrix, error), "other": (matrix, error)}, TASKS, itself=True).axes
    for container in axes.containers:
        points, _, (bars,) = container
        assert np.allclose(points.get_ydata().astype(float), [matrix[c] for c in (*COUPLES, (0, 0), (1, 1), (2, 2))])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        assert np.allclose(ends[:3, 1] - ends[:3, 0], [4 * error[c] for c in COUPLES])


def test_more_frames_are_further_right_and_the_last_is_the_whole_measurement(similarity):
    figure = draw_how_sure({n: first_draws(similarity, n) for n in (4, 8, 12)}, ("left", "right"))
    left, right = figure.axes
    ends = sorted(container[0].get_ydata()[-1] for container in left.containers)
    assert np.allclose(ends, sorted(similarity.matrix("plain", "same")[c] for c in COUPLES))
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["same frame", "different frames"]


def test_a_pair_wears_both_tasks_colours_over_the_stages_and_is_named_once(similarity):
    (axes,) = draw_stages(similarity, "plain", "same").axes
    lines = [container[0] for container in axes.containers]
    colours = [(line.get_color(), line.get_markeredgecolor()) for line in lines]
    assert colours == [(task_colour(TASKS[i]), task_colour(TASKS[j])) for i, j in COUPLES]
    for line, couple in zip(lines, COUPLES, strict=True):
        first, second, whole = (similarity.matrix("plain", "same", s)[couple] for s in (0, 1, None))
        assert line.get_ydata().tolist() == pytest.approx([first, second, np.nan, whole], nan_ok=True)
    assert sorted(text.get_text() for text in axes.texts) == sorted(f"{TASKS[i]} with {TASKS[j]}" for i, j in COUPLES)

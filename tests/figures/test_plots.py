"""Figures: colours that mean what they should, order that is kept, files that do not change by themselves."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ptsa_lite.figures.pictures import (
    HATCH,
    colour_labels,
    draw_pca,
    draw_predictions,
    main_directions,
    palette,
    picture_of,
)
from ptsa_lite.figures.plots import draw_curves, draw_similarity, draw_tradeoff, draw_tree
from ptsa_lite.figures.style import save_figure, spread, task_colour, task_title, use_style
from ptsa_lite.tasks import IGNORE, NYUD, PASCAL, SCENES, SUITES
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "human_parts", "saliency", "normals")
TREE = TaskTree(((TASKS,), (TASKS,), (("semseg", "saliency"), ("human_parts", "normals")), tuple((n,) for n in TASKS)))
HATCHES = {tuple(grey) for grey in HATCH.tolist()}


def luminance(colour):
    return np.asarray(colour, float) @ [0.2126, 0.7152, 0.0722]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title, axes.xaxis.label)]


@pytest.mark.parametrize("suite", SUITES)
def test_ignored_pixels_are_hatched_and_only_they(suite):
    rng = np.random.default_rng(0)
    for task in SUITES[suite].values():
        channels = 3 if task.kind == "normals" else 1
        label = rng.random((channels, 8, 8)).astype(np.float32)
        if task.kind == "segmentation":
            label = rng.integers(0, task.channels, (8, 8))
        label[..., :4, :] = IGNORE
        picture = colour_labels(task, torch.as_tensor(label))
        assert picture.shape == (8, 8, 3) and picture.dtype == np.uint8
        hatched = np.array([[tuple(pixel) in HATCHES for pixel in row] for row in picture.tolist()])
        assert hatched[:4].all() and not hatched[4:].any(), task.name


def test_a_prediction_is_read_by_its_task_and_agrees_with_the_label_it_means():
    classes = np.arange(12).reshape(3, 4) % 7
    logits = np.eye(7)[classes].transpose(2, 0, 1)
    task = PASCAL["human_parts"]
    assert np.array_equal(colour_labels(task, logits, predicted=True), colour_labels(task, classes))
    up = np.zeros((3, 2, 2))
    up[1] = -1
    long = colour_labels(PASCAL["normals"], 7.5 * up, predicted=True)
    assert np.array_equal(long, colour_labels(PASCAL["normals"], up))


def test_normals_look_green_upward_blue_toward_the_viewer_red_to_the_right():
    vectors = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float).T.reshape(3, 1, 3)  # (3, H=1, W=3)
    picture = colour_labels(NYUD["normals"], vectors)[0]
    assert picture.argmax(-1).tolist() == [1, 2, 0]


def test_near_is_lighter_than_far_and_limits_are_shared():
    depth = np.array([[[1.0, 2.0, 4.0]]])
    light = luminance(colour_labels(NYUD["depth"], depth)[0])
    assert light[0] > light[1] > light[2]
    shared = colour_labels(NYUD["depth"], depth[..., 1:2], predicted=True, limits=(1.0, 4.0))
    assert np.array_equal(shared[0, 0], colour_labels(NYUD["depth"], depth)[0, 1])


def test_a_confident_logit_is_darker_than_a_doubtful_one():
    light = luminance(colour_labels(PASCAL["saliency"], np.array([[[-4.0, 0.0, 4.0]]]), predicted=True)[0])
    assert light[0] > light[1] > light[2]


def test_a_label_of_the_wrong_shape_is_refused_by_task():
    with pytest.raises(ValueError, match="semseg: label of shape"):
        colour_labels(PASCAL["semseg"], np.zeros((1, 4, 4)))


@pytest.mark.parametrize("classes", [14, 21, 40])
def test_classes_have_different_colours_and_neighbours_differ_in_grey(classes):
    colours = palette(classes)
    assert len({tuple(colour) for colour in colours.tolist()}) == classes
    assert np.abs(np.diff(luminance(colours[1:]))).min() > 15


def test_similarity_prints_each_number_and_colours_by_sign():
    matrix = np.array([[1.0, -0.2], [-0.2, 1.0]])
    figure = draw_similarity(matrix, ["semseg", "depth"], error=np.full((2, 2), 0.03))
    assert {"1.00", "−0.20\n±0.03"} <= set(texts(figure))
    image = figure.axes[0].images[0]
    assert image.norm.vmin == -image.norm.vmax
    red, blue = image.cmap(image.norm(-0.2)), image.cmap(image.norm(0.2))
    assert red[0] > red[2] and blue[2] > blue[0]


def test_the_tree_has_a_box_per_group_and_a_strand_per_task_in_its_colour():
    figure = draw_tree(TREE)
    kinds = [type(patch).__name__ for patch in figure.axes[0].patches]
    assert kinds.count("FancyBboxPatch") == 1 + 1 + 2 + 4 and kinds.count("PathPatch") == 4
    labels = {text.get_text(): text for text in figure.axes[0].texts}
    heights = [labels[name].get_position()[1] for name in TREE.leaf_order()]
    assert heights == sorted(heights, reverse=True)
    assert labels["saliency"].get_color() == task_colour("saliency")
    assert "stage 3\n2 groups" in labels


def test_predictions_show_a_band_per_frame_with_label_and_prediction_of_each_task():
    tasks = {name: SCENES[name] for name in ("semseg", "depth", "edge")}
    targets = {"semseg": torch.zeros(2, 8, 8, dtype=torch.int64), "depth": torch.ones(2, 1, 8, 8),
               "edge": torch.zeros(2, 1, 8, 8)}
    predictions = {name: torch.zeros(2, task.channels, 8, 8) for name, task in tasks.items()}
    figure = draw_predictions(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), targets, predictions, tasks)
    assert len(figure.axes) == 2 * (1 + 2 * 3)
    assert [text for text in texts(figure) if text] == ["image", "semseg", "depth", "edge"]


def test_a_normalised_image_is_shown_in_its_own_colours():
    image = torch.full((3, 2, 2), 0.5)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    assert np.abs(picture_of((image - mean) / std).astype(int) - 128).max() <= 1


def test_curves_start_at_one_and_carry_the_tasks_colour():
    figure = draw_curves({"depth": [4.0, 2.0], "normals": [0.5, 0.1]})
    lines = figure.axes[0].lines
    assert [line.get_ydata()[0] for line in lines] == [1.0, 1.0] and lines[0].get_ydata()[1] == 0.5
    assert [line.get_color() for line in lines] == [task_colour("depth"), task_colour("normals")]


def test_published_points_look_unlike_ours_and_rows_without_numbers_are_left_out():
    rows = [dict(label="ours", delta_m=1.0, trainable=2e6),
            dict(label="theirs", delta_m=2.0, trainable=3e6, published=True),
            dict(label="unknown", delta_m=None, trainable=1e6)]
    axes = draw_tradeoff(rows).axes[0]
    ours, theirs = (line for line in axes.lines if line.get_marker() in ("o", "D"))
    assert ours.get_marker() != theirs.get_marker() and ours.get_xdata()[0] == 2.0
    assert [text.get_text() for text in axes.texts] == ["ours", "theirs"]
    with pytest.raises(ValueError, match="neither 'trainable' nor 'gmacs'"):
        draw_tradeoff(rows, x="seconds")


def test_spread_leaves_the_gap_and_moves_nothing_that_has_room():
    moved = spread([0.0, 0.1, 5.0, 0.05], 1.0)
    assert moved[2] == 5.0 and np.diff(sorted(moved)).min() > 0.999
    assert np.argsort(moved).tolist() == [0, 3, 1, 2]


def test_main_directions_part_two_kinds_of_feature_and_do_not_flip_with_the_frames_order():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 5, 6, 6)) * 0.05
    maps[:, 3, :, :3] += 1.0
    picture = main_directions(maps)
    assert picture.shape == (2, 6, 6, 3)
    assert picture[..., :3, 0].min() > picture[..., 3:, 0].max()
    assert np.array_equal(main_directions(maps[::-1]), picture[::-1])
    assert isinstance(draw_pca({"stage 1": maps}, np.zeros((2, 3, 6, 6), np.uint8)), Figure)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        with matplotlib.rc_context():  # the style is that of this process, and other tests have their own
            use_style()
            path = save_figure(draw_tree(TREE, title="A tree"), "04_tree", tmp_path / folder)
        assert path == tmp_path / folder / "figures" / "04_tree.svg"
    for name in ("04_tree.svg", "04_tree.png"):
        first, second = ((tmp_path / folder / "figures" / name).read_bytes() for folder in ("a", "b"))
        assert first == second and len(first) > 1000


def test_a_figure_without_its_notebooks_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'tree' must be named after its notebook's number"):
        save_figure(Figure(), "tree", tmp_path)


def test_figures_pile_up_nowhere():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    draw_curves({"depth": [2.0, 1.0]})
    assert plt.get_fignums() == before


def test_a_suites_task_keeps_its_colour_and_title_and_a_readers_own_gets_one_that_no_other_has():
    assert (task_colour("depth"), task_title(PASCAL["human_parts"])) == ("#D55E00", "Human parts")
    assert task_title("shading_of_light") == "Shading of light"
    own = [task_colour(name) for name in ("albedo", "shading", "albedo")]
    assert own[0] == own[2] != own[1] and not set(own) & {task_colour(task) for task in (*SCENES, *NYUD)}

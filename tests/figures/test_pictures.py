"""Labels, predictions and features as pictures: colours say what the numbers say."""

import numpy as np
import pytest
import torch

from ptsa_lite.backbones import IMAGENET_MEAN, IMAGENET_STD
from ptsa_lite.figures.pictures import (
    HATCH,
    colour_labels,
    draw_frames,
    draw_pca,
    draw_predictions,
    draw_progress,
    main_directions,
    palette,
    picture_of,
)
from ptsa_lite.figures.style import task_ink
from ptsa_lite.tasks import IGNORE, NYUD, PASCAL, SCENES, SUITES, Task

HATCHES = {tuple(grey) for grey in HATCH.tolist()}


def luminance(colour):
    return np.asarray(colour, float) @ [0.2126, 0.7152, 0.0722]


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


def test_a_readers_own_body_parts_may_be_more_than_ours():
    own = Task("human_parts", "segmentation", 9, 1.0, "mIoU", True)
    assert len({tuple(pixel) for pixel in colour_labels(own, np.arange(9)[None])[0].tolist()}) == 9


def test_normals_look_green_upward_blue_toward_the_viewer_red_to_the_right():
    vectors = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float).T.reshape(3, 1, 3)  # (3, H=1, W=3)
    assert colour_labels(NYUD["normals"], vectors)[0].argmax(-1).tolist() == [1, 2, 0]


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


def test_a_normalised_image_is_shown_in_its_own_colours():
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    assert np.abs(picture_of((torch.full((3, 2, 2), 0.5) - mean) / std).astype(int) - 128).max() <= 1


def sample(batch):
    """Labels and predictions of three tasks for a few frames of 8 x 8 pixels."""
    tasks = {name: SCENES[name] for name in ("semseg", "depth", "edge")}
    labels = {"semseg": torch.zeros(batch, 8, 8, dtype=torch.int64), "depth": torch.ones(batch, 1, 8, 8),
              "edge": torch.zeros(batch, 1, 8, 8)}  # fmt: skip
    return tasks, labels, {name: torch.zeros(batch, task.channels, 8, 8) for name, task in tasks.items()}


def titles(figure):
    return [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center") if axes.get_title(loc)]


def test_predictions_show_two_rows_per_frame_with_label_and_prediction_of_each_task():
    tasks, labels, predictions = sample(2)
    figure = draw_predictions(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), labels, predictions, tasks)
    assert len(figure.axes) == 2 * 2 * (1 + 3)
    assert sorted(titles(figure)) == ["depth", "edge", "image", "semseg"]


def test_progress_has_a_row_per_task_in_its_colour_and_a_column_per_moment():
    tasks, labels, predictions = sample(1)
    label, said = ({name: of[name][0] for name in tasks} for of in (labels, predictions))
    figure = draw_progress(label, {"before": said, "after": said}, tasks)
    assert titles(figure) == ["label", "before", "after"]
    assert [axes.yaxis.label.get_color() for axes in figure.axes[::3]] == [task_ink(name) for name in tasks]


def test_every_label_stands_beside_its_frame():
    tasks, labels, _ = sample(1)
    batch = labels | {"image": np.zeros((1, 3, 8, 8), np.uint8)}
    assert sorted(titles(draw_frames(batch, tasks))) == ["depth", "edge", "image", "semseg"]


def test_main_directions_part_two_kinds_of_feature_and_do_not_flip_with_the_frames_order():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 5, 6, 6)) * 0.05
    maps[:, 3, :, :3] += 1.0
    picture = main_directions(maps)
    assert picture.shape == (2, 6, 6, 3)
    assert picture[..., :3, 0].min() > picture[..., 3:, 0].max()
    assert np.array_equal(main_directions(maps[::-1]), picture[::-1])
    figure = draw_pca({"stage 1": maps}, np.zeros((2, 3, 6, 6), np.uint8))
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(6, 6, 3)] * 4

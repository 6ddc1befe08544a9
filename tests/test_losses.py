import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ptsa_lite.losses import resize, task_loss, total_loss
from ptsa_lite.tasks import IGNORE, NYUD, PASCAL, SCENES

SEMSEG, PARTS, SALIENCY = PASCAL["semseg"], PASCAL["human_parts"], PASCAL["saliency"]
DEPTH, NORMALS, EDGE = NYUD["depth"], NYUD["normals"], NYUD["edge"]


def make_target(task, batch=2, size=8, generator=None, ignored=0.2):
    """Random labels in the task's layout, a share of the pixels ignored."""
    shape = (batch, 1, size, size)
    if task.kind == "segmentation":
        labels = torch.randint(0, task.channels, shape, generator=generator)
    elif task.kind == "binary":
        labels = torch.randint(0, 2, shape, generator=generator).float()
    elif task.kind == "depth":
        labels = 10 * torch.rand(shape, generator=generator)
    else:
        labels = F.normalize(torch.randn(batch, 3, size, size, generator=generator), dim=1)
    labels = torch.where(torch.rand(shape, generator=generator) < ignored, IGNORE, labels)
    return labels[:, 0] if task.kind == "segmentation" else labels


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("task", SCENES.values(), ids=SCENES)
@pytest.mark.parametrize("low_resolution", [False, True])
def test_a_batch_without_a_valid_pixel_gives_exactly_zero_and_zero_gradients(task, low_resolution, generator):
    target = make_target(task, ignored=2.0, generator=generator)
    size = 4 if low_resolution else 8
    prediction = torch.randn(2, task.channels, size, size, generator=generator, requires_grad=True)
    loss = task_loss(task, prediction, target)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


@pytest.mark.parametrize("task", SCENES.values(), ids=SCENES)
def test_ignored_pixels_change_neither_loss_nor_receive_gradient(task, generator):
    target = make_target(task, generator=generator)
    prediction = torch.randn(2, task.channels, 8, 8, generator=generator)
    ignored = (target == IGNORE) if task.kind != "segmentation" else (target == IGNORE)[:, None]
    changed = torch.where(ignored.expand_as(prediction), 7.0, prediction).requires_grad_()
    loss = task_loss(task, changed, target)
    loss.backward()
    assert loss.item() == pytest.approx(task_loss(task, prediction, target).item(), rel=1e-6)
    assert not changed.grad[ignored.expand_as(prediction)].any()
    assert changed.grad.any()


def test_cross_entropy_equals_numpy_over_valid_pixels(generator):
    target = make_target(SEMSEG, generator=generator)
    prediction = torch.randn(2, 21, 8, 8, generator=generator)
    x, y = prediction.double().numpy(), target.numpy()
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    picked = [-log_p[b, y[b, i, j], i, j] for b, i, j in np.argwhere(y != IGNORE)]
    assert task_loss(SEMSEG, prediction, target).item() == pytest.approx(np.mean(picked), rel=1e-6)


def test_the_mean_is_over_the_batch_and_not_over_images():
    prediction = torch.zeros(2, 7, 1, 2)
    prediction[0, 0] = 100.0  # the first image is answered perfectly on its two pixels
    target = torch.tensor([[[0, 0]], [[3, IGNORE]]])
    assert task_loss(PARTS, prediction, target).item() == pytest.approx(math.log(7) / 3, rel=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [16, 64])
def test_image_by_image_cross_entropy_equals_torchs_own_with_its_gradient(layout, size, generator):
    target = make_target(SEMSEG, batch=3, size=64, generator=generator)
    plain = torch.randn(3, 21, size, size, generator=generator, requires_grad=True)
    ours = plain.detach().contiguous(memory_format=layout).requires_grad_()
    full = F.interpolate(plain, size=(64, 64), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(full, target, ignore_index=IGNORE)
    loss = task_loss(SEMSEG, ours, target)
    expected.backward()
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-4, atol=1e-9)


def test_saliency_weighs_positives_by_the_share_of_negatives_by_hand():
    target = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])  # 3 of 4 are negative
    prediction = torch.tensor([[[[0.0, 2.0], [-1.0, 0.0]]]])
    expected = (0.75 * math.log(2) + 0.25 * (math.log1p(math.exp(2)) + math.log1p(math.exp(-1)) + math.log(2))) / 4
    assert task_loss(SALIENCY, prediction, target).item() == pytest.approx(expected, rel=1e-6)


def test_the_share_of_negatives_is_that_of_the_batch_and_of_valid_pixels():
    target = torch.tensor([[[[1.0, 1.0]]], [[[0.0, IGNORE]]]])  # 1 of 3 valid ones is negative
    loss = task_loss(SALIENCY, torch.zeros(2, 1, 1, 2), target)
    assert loss.item() == pytest.approx(math.log(2) * (2 * 1 / 3 + 1 * 2 / 3) / 3, rel=1e-6)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_saliency_of_one_kind_of_pixels_only_has_zero_loss(label):
    """The recipe's balance: with no negatives the positives weigh 0, and the other way round."""
    assert task_loss(SALIENCY, torch.randn(1, 1, 4, 4), torch.full((1, 1, 4, 4), label)).item() == 0


def test_edges_weigh_positives_by_a_fixed_weight_by_hand():
    target = torch.tensor([[[[1.0, 0.0], [0.0, IGNORE]]]])
    prediction = torch.tensor([[[[0.0, 2.0], [-1.0, 5.0]]]])
    expected = (0.95 * math.log(2) + 0.05 * (math.log1p(math.exp(2)) + math.log1p(math.exp(-1)))) / 3
    assert task_loss(EDGE, prediction, target).item() == pytest.approx(expected, rel=1e-6)


def test_binary_losses_survive_extreme_logits():
    target = torch.tensor([[[[1.0, 0.0]]]])
    assert task_loss(EDGE, torch.tensor([[[[-1e4, 1e4]]]]), target).item() == pytest.approx(5000, rel=1e-6)


def test_normals_compare_directions_by_hand():
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).repeat(1, 1, 1, 2)
    prediction = torch.tensor([[0.0, 3.0], [0.0, 0.0], [5.0, 4.0]]).view(1, 3, 1, 2)  # (0, 0, 5) and (3, 0, 4)
    expected = (0 + 0.6 + 0.2) / 6
    assert task_loss(NORMALS, prediction, target).item() == pytest.approx(expected, rel=1e-6)
    assert task_loss(NORMALS, 10 * prediction, target).item() == pytest.approx(expected, rel=1e-6)


def test_a_zero_prediction_of_normals_has_a_finite_gradient():
    prediction = torch.zeros(1, 3, 2, 2, requires_grad=True)
    task_loss(NORMALS, prediction, F.normalize(torch.ones(1, 3, 2, 2), dim=1)).backward()
    assert prediction.grad.isfinite().all()


def test_depth_is_the_mean_absolute_error_by_hand():
    target = torch.tensor([[[[1.0, IGNORE], [3.0, 2.0]]]])
    prediction = torch.tensor([[[[1.5, 9.0], [3.0, 0.0]]]])
    assert task_loss(DEPTH, prediction, target).item() == pytest.approx(2.5 / 3, rel=1e-6)


@pytest.mark.parametrize("task", SCENES.values(), ids=SCENES)
def test_a_smaller_prediction_is_resized_bilinearly(task, generator):
    target = make_target(task, size=16, generator=generator)
    small = torch.randn(2, task.channels, 4, 4, generator=generator)
    full = F.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    assert task_loss(task, small, target).item() == pytest.approx(task_loss(task, full, target).item(), rel=1e-5)
    assert resize(full, (16, 16)) is full


@pytest.mark.parametrize("task", SCENES.values(), ids=SCENES)
def test_half_precision_predictions_are_computed_in_float32(task, generator):
    target = make_target(task, generator=generator)
    prediction = torch.randn(2, task.channels, 8, 8, generator=generator).bfloat16()
    loss = task_loss(task, prediction, target)
    assert loss.dtype == torch.float32
    assert loss.item() == task_loss(task, prediction.float(), target).item()


@pytest.mark.parametrize("task", SCENES.values(), ids=SCENES)
def test_one_graph_without_breaks(task, generator):
    target = make_target(task, size=8, generator=generator)
    prediction = torch.randn(2, task.channels, 4, 4, generator=generator)
    compiled = torch.compile(task_loss, backend="eager", fullgraph=True)
    assert compiled(task, prediction, target).item() == pytest.approx(task_loss(task, prediction, target).item(), 1e-5)


def test_the_total_is_the_weighted_sum(generator):
    batch = {name: make_target(task, generator=generator) for name, task in SCENES.items()}
    predictions = {name: torch.randn(2, task.channels, 8, 8, generator=generator) for name, task in SCENES.items()}
    total, losses = total_loss(SCENES, predictions, batch)
    weights = {"semseg": 1, "human_parts": 2, "saliency": 5, "depth": 1, "normals": 10, "edge": 50}
    assert list(losses) == list(SCENES)
    assert total.item() == pytest.approx(sum(weights[name] * loss.item() for name, loss in losses.items()), rel=1e-6)


def test_what_is_missing_is_named():
    tasks = {"depth": DEPTH}
    with pytest.raises(ValueError, match="task 'depth' is asked for, but the model predicts only: edge"):
        total_loss(tasks, {"edge": torch.zeros(1, 1, 2, 2)}, {"depth": torch.zeros(1, 1, 2, 2)})
    with pytest.raises(ValueError, match="task 'depth' is asked for, but the batch holds only: image"):
        total_loss(tasks, {"depth": torch.zeros(1, 1, 2, 2)}, {"image": torch.zeros(1, 3, 2, 2)})


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="task 'semseg'.*expected .*21, H, W"):
        task_loss(SEMSEG, torch.zeros(1, 40, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="task 'depth'"):
        task_loss(DEPTH, torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="task 'normals'"):
        task_loss(NORMALS, torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize("task, types", [
    (PASCAL["semseg"], (torch.uint8, torch.int32)), (PASCAL["saliency"], (torch.bool, torch.uint8, torch.float64)),
], ids=["semseg", "saliency"])  # fmt: skip
def test_labels_of_another_type_of_numbers_have_the_same_loss(task, types):
    target = make_target(task, 2, 8, torch.Generator().manual_seed(0))
    target = target.where(target != IGNORE, 0)
    prediction = torch.randn(2, task.channels, 8, 8)
    for dtype in types:
        torch.testing.assert_close(task_loss(task, prediction, target.to(dtype)), task_loss(task, prediction, target))

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix, jaccard_score
from test_losses import make_target

from ptsa_lite.losses import task_loss
from ptsa_lite.metrics import delta_m, make_meter, measured_by
from ptsa_lite.tasks import IGNORE, NYUD, PASCAL, SCENES, SUITES, Task

SEMSEG, PARTS, SALIENCY = PASCAL["semseg"], PASCAL["human_parts"], PASCAL["saliency"]
DEPTH, NORMALS, EDGE = NYUD["depth"], NYUD["normals"], NYUD["edge"]
EVERY = SCENES | {"odsF": measured_by(EDGE, "odsF")}  # every metric there is


def measure(task, prediction, target):
    meter = make_meter(task)
    meter.update(prediction, target)
    return meter.compute()


def random_set(task, batch=6, size=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = make_target(task, batch, size, generator)
    return torch.randn(batch, task.channels, size, size, generator=generator), target


def one_hot(ids, classes):
    return F.one_hot(ids, classes).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_parts_merged_in_any_order_equal_one_pass_exactly(task):
    prediction, target = random_set(task)
    whole = make_meter(task)
    whole.update(prediction, target)
    parts = []
    for share in ([4, 1], [0], [5, 2, 3]):
        part = make_meter(task)
        for image in share:
            part.update(prediction[image : image + 1], target[image : image + 1])
        parts.append(pickle.loads(pickle.dumps(part)))  # as processes exchange them
    merged = make_meter(task)
    for k in (2, 0, 1):
        merged.merge(parts[k])
    assert merged.compute() == whole.compute()
    assert not math.isnan(whole.compute())


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_rows_of_a_batch_are_those_of_its_images(task):
    prediction, target = random_set(task)
    target[2] = IGNORE
    meter = make_meter(task)
    together = meter._rows(prediction, target)
    one_by_one = torch.cat([meter._rows(x, y) for x, y in zip(prediction.split(1), target.split(1), strict=True)])
    assert together.shape[0] == len(target)
    assert torch.allclose(together, one_by_one, rtol=1e-6, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_a_gpu_measures_what_the_processor_measures(task):
    prediction, target = random_set(task, size=24)
    small, expected = prediction[:, :, ::2, ::2], make_meter(task)
    expected.update(small, target)
    for held in (1, 2**28):  # image by image, and the whole batch at once
        meter = make_meter(task)
        meter.HELD = held
        meter.update(small.cuda(), target.cuda())
        assert meter.compute() == pytest.approx(expected.compute(), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("task", [task for task in EVERY.values() if task.metric != "odsF"], ids=lambda task: task.name)
def test_the_rows_of_a_batch_are_made_without_waiting_for_the_gpu(task):
    prediction, target = (tensor.cuda() for tensor in random_set(task))
    meter = make_meter(task)
    torch.cuda.set_sync_debug_mode("error")
    try:
        meter._rows(prediction, target)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_a_set_without_a_valid_pixel_has_no_metric(task):
    assert math.isnan(make_meter(task).compute())
    prediction, target = random_set(task)
    assert math.isnan(measure(task, prediction, torch.full_like(target, IGNORE)))


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_an_image_without_a_valid_pixel_changes_nothing(task):
    prediction, target = random_set(task)
    target[2] = IGNORE
    kept = [0, 1, 3, 4, 5]
    assert measure(task, prediction, target) == measure(task, prediction[kept], target[kept])


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_predictions_at_ignored_pixels_do_not_count(task):
    prediction, target = random_set(task)
    ignored = (target == IGNORE)[:, None] if task.kind == "segmentation" else (target == IGNORE)
    changed = torch.where(ignored.expand_as(prediction), 50.0, prediction)
    assert measure(task, changed, target) == measure(task, prediction, target)


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_a_smaller_prediction_is_resized_and_inference_mode_is_fine(task):
    prediction, target = random_set(task)
    small = prediction[:, :, ::3, ::3]
    full = F.interpolate(small, size=target.shape[-2:], mode="bilinear", align_corners=False)
    meter = make_meter(task)
    with torch.inference_mode():
        meter.update(small[:3], target[:3])
    meter.update(small[3:], target[3:])
    assert meter.compute() == pytest.approx(measure(task, full, target), rel=1e-5)


def test_miou_equals_scikit_learn_over_the_whole_set():
    prediction, target = random_set(SEMSEG)
    meter = make_meter(SEMSEG)
    meter.update(prediction[:4], target[:4])
    meter.update(prediction[4:], target[4:])
    valid = target != IGNORE
    labels, chosen = target[valid].numpy(), prediction.argmax(1)[valid].numpy()
    (counts,) = meter.rows
    assert np.array_equal(counts.view(21, 21).numpy(), confusion_matrix(labels, chosen, labels=range(21)))
    expected = 100 * jaccard_score(labels, chosen, average="macro", labels=range(21))
    assert meter.compute() == pytest.approx(expected, rel=1e-12)


def test_miou_is_of_the_set_and_not_a_mean_over_images():
    target = torch.tensor([[[0, 0, 0, 0]], [[0, 1, 1, 1]]])
    chosen = torch.tensor([[[0, 0, 0, 1]], [[0, 1, 1, 0]]])
    # class 0: 4 hits of 6; class 1: 2 hits of 4
    assert measure(PARTS, one_hot(chosen, 7), target) == pytest.approx(100 * (4 / 6 + 2 / 4) / 2)


def test_an_absent_class_does_not_count_but_a_wrongly_predicted_one_does():
    target = torch.zeros(1, 1, 4, dtype=torch.int64)
    meter = make_meter(PARTS)
    meter.update(one_hot(torch.tensor([[[0, 0, 0, 0]]]), 7), target)
    assert meter.compute() == 100
    meter.update(one_hot(torch.tensor([[[0, 0, 0, 5]]]), 7), target)
    assert meter.compute() == pytest.approx(100 * (7 / 8 + 0) / 2)


@pytest.mark.parametrize("wrong", [7, -1, 254])
def test_a_label_outside_the_classes_is_refused(wrong):
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    target[0, 0, 0] = wrong
    with pytest.raises(ValueError, match="task 'human_parts': labels run from .* expected ids 0..6"):
        measure(PARTS, torch.zeros(1, 7, 2, 2), target)


def test_saliency_equals_scikit_learn_per_image_and_threshold():
    prediction, target = random_set(SALIENCY)
    probability = torch.sigmoid(prediction)
    scores = np.zeros((len(target), 15))
    for i in range(len(target)):
        valid = target[i] != IGNORE
        for j, threshold in enumerate(np.linspace(0.2, 0.9, 15)):
            scores[i, j] = jaccard_score(target[i][valid].numpy() > 0.5, (probability[i][valid] > threshold).numpy())
    assert measure(SALIENCY, prediction, target) == pytest.approx(100 * scores.mean(0).max(), rel=1e-12)


def test_saliency_empty_on_empty_counts_one():
    prediction, target = torch.full((2, 1, 1, 4), -9.0), torch.zeros(2, 1, 1, 4)
    assert measure(SALIENCY, prediction, target) == 100
    target[1] = 1  # and nothing found where there is something counts 0
    assert measure(SALIENCY, prediction, target) == 50


def test_saliency_takes_one_threshold_for_the_set():
    p = torch.tensor([[[[0.3, 0.1]]], [[[0.8, 0.6]]]])
    target = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
    # below 0.3 the first image is perfect and the second scores 1/2; above 0.6 the second is perfect, the first 0
    assert measure(SALIENCY, torch.logit(p), target) == pytest.approx(75)


@pytest.mark.parametrize(("called", "left"), [(0.92, 0.88), (0.22, 0.18), (0.57, 0.53)])
def test_saliency_thresholds_run_from_02_to_09_in_steps_of_005(called, left):
    target = torch.tensor([[[[1.0, 0.0]]]])
    assert measure(SALIENCY, torch.logit(torch.tensor([[[[called, left]]]])), target) == 100
    middle = torch.logit(torch.tensor([[[[called, called - 0.01]]]]))  # no threshold lies between these two
    assert measure(SALIENCY, middle, target) == 50


def test_mean_angle_by_hand_and_whatever_the_length():
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).repeat(1, 1, 1, 4)
    prediction = torch.tensor([[0, 0, 4], [1, 0, 1], [5, 0, 0], [0, 0, -3]]).float().T.reshape(1, 3, 1, 4)
    assert measure(NORMALS, prediction, target) == pytest.approx((0 + 45 + 90 + 180) / 4, rel=1e-6)
    target[..., 3] = IGNORE
    assert measure(NORMALS, prediction, target) == pytest.approx(45, rel=1e-6)


def test_small_angles_keep_their_digits():
    angle = 1e-3  # degrees; the arc cosine of a float32 product would give 0 or 0.02
    vector = torch.tensor([math.sin(math.radians(angle)), 0, math.cos(math.radians(angle))]).view(1, 3, 1, 1)
    assert measure(NORMALS, vector, torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)) == pytest.approx(angle, rel=1e-3)


def test_mean_angle_equals_numpy():
    prediction, target = random_set(NORMALS)
    a = prediction.double().numpy() / np.linalg.norm(prediction.double().numpy(), axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((a * target.numpy()).sum(1), -1, 1)))
    valid = (target != IGNORE).all(1).numpy()
    assert measure(NORMALS, prediction, target) == pytest.approx(angle[valid].mean(), rel=1e-5)


def test_rmse_is_over_all_pixels_and_not_a_mean_over_images():
    target = torch.tensor([[[[1.0, 1.0]]], [[[2.0, IGNORE]]]])
    prediction = torch.tensor([[[[1.0, 1.0]]], [[[5.0, 0.0]]]])
    assert measure(DEPTH, prediction, target) == pytest.approx(math.sqrt(9 / 3))


def test_edge_metric_is_the_training_loss_over_the_set():
    prediction, target = random_set(EDGE)
    assert measure(EDGE, prediction, target) == pytest.approx(task_loss(EDGE, prediction, target).item(), rel=1e-6)


def test_shapes_and_the_name_of_the_metric_are_checked():
    with pytest.raises(ValueError, match="meter of task 'depth'"):
        measure(DEPTH, torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match="unknown metric 'mIou'; did you mean 'mIoU'"):
        make_meter(replace(SEMSEG, metric="mIou"))


def test_a_task_measured_otherwise_has_the_direction_of_its_new_metric():
    assert measured_by(EDGE, "odsF") == replace(EDGE, metric="odsF", higher_is_better=True)
    assert all(measured_by(task, task.metric) == task for suite in SUITES.values() for task in suite.values())
    with pytest.raises(ValueError, match="unknown metric 'odsf'; did you mean 'odsF'"):
        measured_by(EDGE, "odsf")


def test_delta_m_by_hand():
    tasks = {"semseg": SEMSEG, "normals": NORMALS}
    assert delta_m({"semseg": 55.0, "normals": 18.0}, {"semseg": 50.0, "normals": 20.0}, tasks) == pytest.approx(10)
    assert delta_m({"semseg": 50.0, "normals": 25.0}, {"semseg": 50.0, "normals": 20.0}, tasks) == pytest.approx(-12.5)


def test_delta_m_names_what_is_missing():
    with pytest.raises(ValueError, match="delta_m needs a task"):
        delta_m({}, {}, {})
    tasks = {"semseg": SEMSEG, "normals": NORMALS}
    with pytest.raises(ValueError, match="needs a result for task 'normals'"):
        delta_m({"semseg": 1.0}, {"semseg": 1.0, "normals": 1.0}, tasks)
    with pytest.raises(ValueError, match="needs a single-task reference for task 'semseg'"):
        delta_m({"semseg": 1.0, "normals": 1.0}, {"normals": 1.0}, tasks)
    with pytest.raises(ValueError, match="that of task 'semseg' is 0"):
        delta_m({"semseg": 1.0, "normals": 1.0}, {"semseg": 0.0, "normals": 1.0}, tasks)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_class_ids_of_any_whole_type_are_counted_alike(dtype):
    target = torch.arange(40).repeat(2, 8, 1)
    assert measure(NYUD["semseg"], one_hot(target, 40), target.to(dtype)) == 100


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_a_prediction_that_holds_nan_has_no_metric(task):
    prediction, target = random_set(task)
    whole, part = make_meter(task), make_meter(task)
    whole.update(prediction, target)
    prediction[0, 0, 0, 0] = math.nan
    part.update(prediction, target)
    assert math.isfinite(whole.compute()) and math.isnan(part.compute())
    whole.merge(part)
    assert math.isnan(whole.compute())


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_a_target_of_another_shape_is_refused_by_every_meter(task):
    prediction, target = random_set(task)
    wrong = target[:, None] if task.kind == "segmentation" else target[:, 0]
    with pytest.raises(ValueError, match=f"meter of task '{task.name}': prediction .* and target .* do not fit"):
        make_meter(task).update(prediction, wrong)


def test_whether_more_is_better_is_not_guessed():
    task = {"x": Task("x", "binary", metric="AP")}
    with pytest.raises(ValueError, match="task 'x': is more of 'AP' better"):
        delta_m({"x": 60.0}, {"x": 50.0}, task)
    assert delta_m({"x": 60.0}, {"x": 50.0}, {"x": replace(task["x"], higher_is_better=True)}) == pytest.approx(20)

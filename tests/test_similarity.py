import dataclasses

import numpy as np
import pytest
import torch
from tiny import tiny_backbone, tiny_family

from ptsa_lite import fast
from ptsa_lite import similarity as measuring
from ptsa_lite.fast import sample_gradients
from ptsa_lite.losses import task_loss
from ptsa_lite.methods import build_model
from ptsa_lite.model import MultiTaskModel
from ptsa_lite.similarity import READINGS, compared_weights, cosines, gradient_similarity, task_gradients
from ptsa_lite.tasks import SCENES, select
from ptsa_lite.tree import TaskTree

TASKS = select(SCENES, ["semseg", "saliency", "normals", "depth"])


def make_samples(n=5, size=32):
    g = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(n, 3, size, size, generator=g), dim=1)
    data = {
        "image": torch.randn(n, 3, size, size, generator=g),
        "semseg": torch.randint(0, 14, (n, size, size), generator=g),
        "saliency": (torch.rand(n, 1, size, size, generator=g) > 0.7).float(),
        "normals": normals,
        "depth": torch.rand(n, 1, size, size, generator=g) * 5,
    }
    return [{key: value[i : i + 1] for key, value in data.items()} for i in range(n)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("decoders_only", tiny_backbone(32), TASKS)


@pytest.fixture(scope="module")
def similarity(model):
    return gradient_similarity(model, make_samples(), TASKS)


def test_every_matrix_is_symmetric_and_within_one(similarity):
    for draws in similarity.draws.values():
        np.testing.assert_allclose(draws, draws.swapaxes(2, 3), atol=1e-6)
        assert np.abs(draws).max() <= 1 + 1e-5
    assert [len(similarity.draws["plain", pairs]) for pairs in ("different", "same")] == [4, 5]


def test_it_agrees_with_a_direct_computation(model, similarity):
    """From the definition: whole gradients of every sample kept, cosines pair by pair."""
    samples, weights = make_samples(), [w for stage in compared_weights(model) for w in stage]
    for w in weights:
        w.requires_grad_(True)
    gradients = {}
    for i, sample in enumerate(samples):
        for name, task in TASKS.items():
            loss = task.loss_weight * task_loss(task, model.eval()(sample["image"])[name], sample[name])
            gradients[i, name] = np.concatenate([g.flatten().numpy() for g in torch.autograd.grad(loss, weights)])
    for w in weights:
        w.requires_grad_(False)

    def cosine(g, h, reading):
        if reading == "elementwise":
            total = np.abs(g) + np.abs(h)
            g, h = (np.divide(v, total, out=np.zeros_like(v), where=total > 0) for v in (g, h))
        else:
            g, h = g / (np.linalg.norm(g) + np.linalg.norm(h)), h / (np.linalg.norm(g) + np.linalg.norm(h))
        return g @ h / (np.linalg.norm(g) * np.linalg.norm(h))

    for reading in READINGS:
        for a, one in enumerate(TASKS):
            for b, other in enumerate(TASKS):
                same = np.mean([cosine(gradients[i, one], gradients[i, other], reading) for i in range(5)])
                pairs = [(i, i + 1) for i in range(4)] + [(i + 1, i) for i in range(4)]
                different = np.mean([cosine(gradients[i, one], gradients[j, other], reading) for i, j in pairs])
                assert similarity.matrix(reading, "same")[a, b] == pytest.approx(same, abs=1e-5)
                assert similarity.matrix(reading, "different")[a, b] == pytest.approx(different, abs=1e-5)


def test_permuting_tasks_permutes_the_matrix_exactly(model, similarity):
    order = [2, 0, 3, 1]
    tasks = {name: TASKS[name] for name in np.array(list(TASKS))[order]}
    permuted = gradient_similarity(model, make_samples(), tasks, readings=("plain",))
    for pairs in ("same", "different"):
        expected = similarity.matrix("plain", pairs)[np.ix_(order, order)]
        np.testing.assert_allclose(permuted.matrix("plain", pairs), expected, atol=1e-6)


def test_scaling_one_loss_leaves_the_plain_reading_and_moves_the_elementwise_one(model, similarity):
    heavy = dict(TASKS, depth=dataclasses.replace(TASKS["depth"], loss_weight=10.0))
    scaled = gradient_similarity(model, make_samples(), heavy)
    np.testing.assert_allclose(scaled.matrix("plain"), similarity.matrix("plain"), atol=1e-5)
    assert np.abs(scaled.matrix("elementwise", "same") - similarity.matrix("elementwise", "same")).max() > 1e-2


@pytest.mark.parametrize("reading", READINGS)
def test_a_tasks_own_copy_is_the_highest_entry_of_its_row(model, reading):
    tasks = dict(TASKS, copy=dataclasses.replace(TASKS["depth"], name="copy"))
    twin = build_model("decoders_only", tiny_backbone(32), TASKS)
    twin.load_state_dict(model.state_dict())
    tasks = {name: twin.tasks[name] for name in TASKS} | {"copy": tasks["copy"]}
    twin = MultiTaskModel(twin.backbone, tasks)
    twin.heads.load_state_dict(model.heads.state_dict(), strict=False)
    twin.heads["copy"].load_state_dict(model.heads["depth"].state_dict())
    samples = [dict(s, copy=s["depth"]) for s in make_samples()]
    found = gradient_similarity(twin, samples, tasks, readings=(reading,)).matrix(reading, "same")
    row = np.delete(found[4], 4)
    assert row.argmax() == list(TASKS).index("depth")
    assert row.max() == pytest.approx(1, abs=1e-5)


def test_a_vector_norm_in_the_fraction_is_plain_cosine():
    g, h = torch.randn(3, 50), torch.randn(3, 50)
    for i in range(3):
        for j in range(3):
            total = g[i].norm() + h[j].norm()
            expected = torch.nn.functional.cosine_similarity(g[i] / total, h[j] / total, dim=0)
            assert cosines(g, h, "plain")[i, j] == pytest.approx(expected.item(), abs=1e-6)


def test_errors_shrink_as_draws_are_added():
    model = build_model("decoders_only", tiny_backbone(32), TASKS)
    few = gradient_similarity(model, make_samples(4), TASKS, readings=("plain",))
    many = gradient_similarity(model, make_samples(24), TASKS, readings=("plain",))
    off = ~np.eye(4, dtype=bool)
    assert many.error("plain", "same")[off].mean() < few.error("plain", "same")[off].mean()


def test_the_model_is_left_as_it_was(model):
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    model.train()
    gradient_similarity(model, make_samples(2), TASKS, readings=("plain",))
    assert model.training and before == {name: p.requires_grad for name, p in model.named_parameters()}
    model.eval()  # as other tests find it: in training mode its batch norms would move


def test_gradients_are_taken_where_the_adapters_will_sit(model):
    weights = [w for stage in compared_weights(model) for w in stage]
    assert len(weights) == 4 * 5
    for w in weights:
        w.requires_grad_(True)
    assert task_gradients(model, make_samples(1)[0], TASKS, weights).shape == (4, sum(w.numel() for w in weights))
    for w in weights:
        w.requires_grad_(False)


@pytest.mark.parametrize("family", ["swin", "pvt", "convnext", "dinov2"])
def test_samples_in_one_pass_have_the_gradients_that_they_have_alone(family):
    """Groups' gradients add up in the frozen weight that they share."""
    torch.manual_seed(0)
    tree = next(TaskTree.enumerate(tuple(TASKS), (1, 1, 2, 4)))
    model, samples = build_model("ptsa", tiny_family(family)[1], TASKS, tree, rank=2).double(), make_samples(3, 64)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    samples[1]["depth"] = torch.full_like(samples[1]["depth"], 255.0)  # no label: a gradient of zero
    samples = [{k: v.double() if v.is_floating_point() else v for k, v in sample.items()} for sample in samples]
    stages = compared_weights(model.eval())
    for weight in sum(stages, []):
        weight.requires_grad_(True)
    alone = torch.stack([task_gradients(model, sample, TASKS, sum(stages, [])) for sample in samples])
    together = torch.stack(list(sample_gradients(model, iter(samples), TASKS, stages)))
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=1e-9)
    assert alone.any(2).tolist() == [[not (i == 1 and name == "depth") for name in TASKS] for i in range(3)]


def test_how_much_is_computed_at_once_changes_nothing(model, monkeypatch):
    together = gradient_similarity(model, make_samples(), TASKS)
    monkeypatch.setattr(fast, "HELD", (1, 1))
    monkeypatch.setattr(measuring, "CHUNK", (1000, 1000))
    alone = gradient_similarity(model, make_samples(), TASKS)
    for choice, draws in together.draws.items():
        np.testing.assert_allclose(alone.draws[choice], draws, atol=2e-4)


def test_a_frame_counts_for_the_tasks_that_it_is_labelled_for(model):
    """Six frames, two of them without depth: its cosines are those of the other four, the others' those of all six."""
    samples = make_samples(6)
    blank = [dict(s, depth=torch.full_like(s["depth"], 255.0)) if i in (1, 4) else s for i, s in enumerate(samples)]
    whole, part = (gradient_similarity(model, s, TASKS, readings=("plain",)) for s in (samples, blank))
    four = gradient_similarity(model, [samples[i] for i in (0, 2, 3, 5)], TASKS, readings=("plain",))
    depth = np.array([[("depth" in (a, b)) for b in TASKS] for a in TASKS])
    expected = np.where(depth, four.matrix("plain", "same"), whole.matrix("plain", "same"))
    np.testing.assert_allclose(part.matrix("plain", "same"), expected, atol=1e-6)
    error = four.error("plain", "same") * np.sqrt(3 / 5 * 6 / 4)  # n - 1 in place of n, in samples of 4 and of 6
    np.testing.assert_allclose(part.error("plain", "same")[depth], error[depth], atol=1e-6)


def test_tasks_that_no_frame_is_labelled_for_together_have_no_similarity_on_the_same_frame(model):
    lacking = zip(make_samples(4), ["depth", "semseg"] * 2, strict=True)
    samples = [sample | {name: torch.full_like(sample[name], 255)} for sample, name in lacking]
    found = gradient_similarity(model, samples, TASKS, readings=("plain",))
    missing = np.isnan(found.matrix("plain", "same"))
    assert missing.sum() == 2 and not np.isnan(found.matrix("plain", "different"))[missing].any()
    written = found.to_dict()["readings"]["plain, same"]["matrix"]
    assert [[value is None for value in row] for row in written] == missing.tolist()


def test_a_single_reading_is_one_and_one_that_is_none_is_refused(model):
    found = gradient_similarity(model, make_samples(), TASKS, readings="plain")
    assert {reading for reading, _ in found.draws} == {"plain"}
    with pytest.raises(ValueError, match="unknown reading 'plian'; did you mean 'plain'"):
        gradient_similarity(model, make_samples(), TASKS, readings=["plian"])


def test_too_few_samples_and_a_task_without_labels_are_refused(model):
    with pytest.raises(ValueError, match="at least two samples"):
        gradient_similarity(model, make_samples(1), TASKS)
    blank = [dict(s, depth=torch.full_like(s["depth"], 255.0)) for s in make_samples(2)]
    with pytest.raises(ValueError, match="'depth' had a zero gradient"):
        gradient_similarity(model, blank, TASKS, readings=("plain",))


def test_a_model_of_quick_layers_is_compared_as_its_equation():
    same = {}
    for name, options in (("plain", {}), ("quick", fast.fast())):
        model = build_model("lora_shared", tiny_backbone(32), TASKS, rank=2, **options)
        model.heads.load_state_dict(same.setdefault("heads", model.heads.state_dict()))
        same[name] = gradient_similarity(model, make_samples(), TASKS).matrix()
    np.testing.assert_allclose(same["quick"], same["plain"], atol=1e-5)


def test_what_cannot_be_compared_is_refused_in_one_sentence(model, similarity):
    with pytest.raises(ValueError, match="similarity reads linear layers and LoRA's, not MTLoRALinear"):
        gradient_similarity(build_model("mtlora", tiny_backbone(32), TASKS, rank=2), make_samples(), TASKS)
    two = {key: torch.cat([value] * 2) for key, value in make_samples(1)[0].items()}
    with pytest.raises(ValueError, match="similarity compares single images; give batches of one"):
        gradient_similarity(model, [two, two], TASKS)
    lacking = [{key: value for key, value in sample.items() if key != "depth"} for sample in make_samples()]
    with pytest.raises(ValueError, match="task 'depth' is asked for, but the batch holds only"):
        gradient_similarity(model, lacking, TASKS)
    with pytest.raises(ValueError, match="unknown reading 'plian'; did you mean 'plain'"):
        similarity.stages("plian")
    with pytest.raises(IndexError):
        similarity.matrix(stage=4)  # stages are counted from 0, and the whole backbone is None

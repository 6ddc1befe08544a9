"""The model against slow twins: a plain loop over tasks, the peft library, timm itself."""

import copy
import math

import pytest
import torch
from tiny import tiny_backbone
from torch import nn
from torch.nn import functional as F

from ptsa_lite.backbones import load_backbone
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.model import MultiTaskModel, freeze, role_of
from ptsa_lite.tasks import PASCAL, Task
from ptsa_lite.tree import TaskTree

NAMES = tuple(PASCAL)
TREES = [
    TaskTree.shared(NAMES),
    TaskTree.separate(NAMES),
    *TaskTree.enumerate(NAMES, (1, 1, 2, 4)),
    *TaskTree.enumerate(NAMES, (1, 2, 2, 4)),
    TaskTree.from_similarity(torch.eye(4), NAMES, (1, 2, 3, 3)),
]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(weights="random", img_size=64)


def grouped(backbone, tree, rank=3, seed=1):
    model = MultiTaskModel(copy.deepcopy(backbone), PASCAL, tree, rank).eval()
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    return model


def one_task_alone(model, task):
    """The slow clear way: a model of one task whose every adapter is that task's group's."""
    tree = TaskTree.shared((task,))
    alone = MultiTaskModel(_without_adapters(model), {task: PASCAL[task]}, tree, model.ranks).eval()
    alone.to(next(model.parameters()).dtype)
    ours, theirs = model.backbone.adapted_linears(), alone.backbone.adapted_linears()
    for (stage, _, _, source), (_, _, _, target) in zip(ours, theirs, strict=True):
        g = model.tree.group_of(stage, task)
        target.lora_A.data.copy_(source.lora_A[g : g + 1])
        target.lora_B.data.copy_(source.lora_B[g : g + 1])
    alone.heads[task].load_state_dict(model.heads[task].state_dict())
    return alone


def _without_adapters(model):
    backbone = copy.deepcopy(model.backbone)
    for _, parent, name, layer in list(backbone.adapted_linears()):
        setattr(parent, name, layer.base)
    return backbone


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_zero_init_leaves_backbone_features_unchanged(backbone, tree):
    images = torch.randn(2, 3, 64, 64)
    model = MultiTaskModel(copy.deepcopy(backbone), PASCAL, tree, rank=4).eval()
    expected = backbone(images)
    for maps in model.features(images).values():
        for ours, theirs in zip(maps, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("tree", TREES[::3], ids=str)
def test_outputs_and_every_gradient_equal_a_plain_loop_over_tasks(backbone, tree):
    """In float64: in float32 a last digit can push a value across a ReLU's kink, and its gradient jumps."""
    model, images = grouped(backbone, tree).double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    alone = {task: one_task_alone(model, task) for task in NAMES}
    fast, slow = model(images), {task: alone[task](images)[task] for task in NAMES}
    weights = {task: torch.randn_like(fast[task]) / 64 for task in NAMES}
    for task in NAMES:
        torch.testing.assert_close(fast[task], slow[task], atol=1e-9, rtol=1e-9)
        (slow[task] * weights[task]).sum().backward()
    sum((fast[task] * weights[task]).sum() for task in NAMES).backward()

    for task in NAMES:
        for (key, ours), (_, theirs) in zip(
            model.heads[task].named_parameters(), alone[task].heads[task].named_parameters(), strict=True
        ):
            assert close(ours.grad, theirs.grad), key
    singles = {task: dict(alone[task].backbone.named_parameters()) for task in NAMES}
    for key, parameter in model.backbone.named_parameters():
        if "lora_" not in key:  # shared by all: gradients add up over tasks
            assert close(parameter.grad, sum(singles[task][key].grad for task in NAMES)), key
    for i, (stage, _, _, layer) in enumerate(model.backbone.adapted_linears()):
        expected = {which: torch.zeros_like(getattr(layer, which)) for which in ("lora_A", "lora_B")}
        for task in NAMES:
            single = list(alone[task].backbone.adapted_linears())[i][3]
            for which, total in expected.items():
                total[tree.group_of(stage, task)] += getattr(single, which).grad[0]
        assert all(close(getattr(layer, which).grad, total) for which, total in expected.items())


def close(a, b):
    return (a - b).abs().max() <= 1e-9 * max(1.0, b.abs().max())


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_outputs_equal_a_plain_loop_over_tasks_in_float32(backbone, tree):
    model, images = grouped(backbone, tree), torch.randn(2, 3, 64, 64)
    for task, prediction in model(images).items():
        torch.testing.assert_close(prediction, one_task_alone(model, task)(images)[task], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tree", TREES[2:4] + TREES[9:10], ids=str)
@pytest.mark.parametrize("task", NAMES)
def test_a_tasks_loss_gives_zero_gradient_to_every_other_groups_adapter(backbone, tree, task):
    model = grouped(backbone, tree)
    model(torch.randn(1, 3, 64, 64))[task].square().mean().backward()
    for stage, _, _, layer in model.backbone.adapted_linears():
        for g in range(layer.n_groups):
            touched = bool(layer.lora_B.grad[g].any())
            assert touched == (g == tree.group_of(stage, task))


def test_an_all_shared_tree_equals_peft(backbone):
    peft = pytest.importorskip("peft")
    model = grouped(backbone, TaskTree.shared(NAMES), rank=4)
    linears = ["qkv", "proj", "fc1", "fc2"]
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=linears, exclude_modules=r"patch_embed\.proj")
    theirs = peft.get_peft_model(copy.deepcopy(backbone), config).eval()
    modules = dict(theirs.base_model.model.named_modules())
    for name, layer in model.backbone.named_modules():
        if isinstance(layer, GroupedLoRALinear):
            modules[name].lora_A["default"].weight.data.copy_(layer.lora_A[0])
            modules[name].lora_B["default"].weight.data.copy_(layer.lora_B[0])
    images = torch.randn(2, 3, 64, 64)
    for ours, other in zip(model.features(images)[NAMES[0]], theirs(images), strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tree", TREES[:4] + TREES[9:10], ids=str)
def test_merging_leaves_predictions_as_they_were(backbone, tree):
    model, images = grouped(backbone, tree), torch.randn(2, 3, 64, 64)
    merged = model.merge()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    for task, prediction in model(images).items():
        torch.testing.assert_close(merged(images)[task], prediction, atol=2e-5, rtol=1e-4)


def test_a_merged_shared_model_is_a_plain_timm_backbone(backbone):
    merged = grouped(backbone, TaskTree.shared(NAMES)).merge()
    assert set(merged.backbone.state_dict()) == set(backbone.state_dict())


@pytest.mark.parametrize("asked", [["normals"], ["saliency", "semseg"], list(NAMES)])
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("tree", TREES[1:4], ids=str)
def test_a_model_of_some_tasks_predicts_what_the_whole_one_does(backbone, tree, merge, asked):
    model, images = grouped(backbone, tree), torch.randn(2, 3, 64, 64)
    model = model.merge() if merge else model
    everything, some = model(images), model.only(asked)(images)
    assert set(some) == set(asked)
    for task in asked:
        torch.testing.assert_close(some[task], everything[task], atol=1e-5, rtol=1e-5)


def test_a_model_first_used_for_inference_can_be_trained(backbone):
    model, images = grouped(backbone, TREES[3]), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        model(images)
    sum(p.square().mean() for p in model(images).values()).backward()


def test_a_model_of_some_tasks_runs_their_groups_alone(backbone):
    model, seen = grouped(backbone, TREES[3]), []
    for one in (model.only(["normals"]), model):
        for block in one.backbone.blocks(3):
            block.norm2.register_forward_hook(lambda module, args, out: seen.append(len(out)))
        one(torch.randn(2, 3, 64, 64))
    assert seen == [2, 2, 8, 8]


def test_checkpointing_changes_memory_not_gradients(backbone):
    plain = grouped(backbone, TREES[3]).train()
    kept = copy.deepcopy(plain)
    kept.set_grad_checkpointing()
    images = torch.randn(2, 3, 64, 64)
    for model in (plain, kept):
        sum(p.square().mean() for p in model(images).values()).backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), kept.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_predicts_every_task_and_trains_something(backbone, method):
    tree = TREES[3] if method == "ptsa" else None
    model = build_model(method, backbone, PASCAL, tree, rank=4)
    predictions = model(torch.randn(2, 3, 64, 64))
    assert {name: p.shape for name, p in predictions.items()} == {n: (2, t.channels, 64, 64) for n, t in PASCAL.items()}
    sum(p.square().mean() for p in predictions.values()).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    # B = 0 stops A's gradient at the start; everything else that is to train receives one
    assert sum(bool(p.grad is not None and p.grad.any()) for p in trained) >= len(trained) // 2


def test_mtlora_adds_a_tasks_term_to_the_shared_streams_product(backbone):
    """Against the definition: with the tasks' B at zero a task sees W on the shared stream, without its low rank."""
    model, images = build_model("mtlora", backbone, PASCAL, rank=2).eval(), torch.randn(2, 3, 64, 64)
    torch.manual_seed(0)
    for layer in model.modules():
        if hasattr(layer, "task_B"):
            nn.init.normal_(layer.task_B, std=0.05)
            nn.init.normal_(layer.shared.lora_B, std=0.05)
    layer = model.backbone.blocks(0)[-1].mlp.fc1
    x = torch.randn(5, 2, 7, 32)  # shared stream and four tasks
    out, shared = layer.streams(list(x)), layer.shared
    frozen = F.linear(x[0], shared.base.weight, shared.base.bias)
    torch.testing.assert_close(out[0], shared(x[0]))
    for t in range(4):
        expected = frozen + shared.scale * x[t + 1] @ layer.task_A[t].T @ layer.task_B[t].T
        torch.testing.assert_close(out[t + 1], expected, atol=1e-5, rtol=1e-5)
    before = model(images)
    layer.task_B.data[2] += 1.0
    changed = [task for task, p in model(images).items() if not torch.equal(p, before[task])]
    assert changed == ["saliency"]


def test_mtlora_whose_tasks_have_the_shared_pairs_is_shared_lora(backbone):
    """Then every task's stream is the shared one; a gradient is the sum over the streams."""
    torch.manual_seed(0)
    shared = build_model("lora_shared", backbone, PASCAL, rank=4).double()
    streams = build_model("mtlora", backbone, PASCAL, rank=4, task_rank=4).double()
    for name, parameter in shared.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    plain = {name: name.replace("shared.", "").replace("task_", "lora_") for name in streams.state_dict()}
    values = shared.state_dict()
    streams.load_state_dict({n: values[plain[n]].expand_as(value) for n, value in streams.state_dict().items()})
    images, gradients = torch.randn(2, 3, 64, 64).double(), []
    for model in (streams, shared):
        predictions = model.train()(images, resize=False)
        sum(p.square().mean() for p in predictions.values()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[1].items():
        parts = [g.reshape(-1, *gradient.shape).sum(0) for n, g in gradients[0].items() if plain[n] == name]
        torch.testing.assert_close(sum(parts), gradient, atol=1e-12, rtol=1e-9, msg=name)


def test_mtloras_dropout_acts_on_the_shared_stream_alone(backbone):
    """As in the authors' code; where the streams begin, that is one mask for all of them."""
    model = build_model("mtlora", backbone, PASCAL, rank=2, task_rank=2, dropout=0.5).train()
    block, x = model.backbone.blocks(0)[-1], torch.randn(2, 7, 32)
    for layer in (block.attn.proj, block.mlp.fc1):
        nn.init.normal_(layer.shared.lora_B)
        layer.task_B.data[:] = layer.shared.lora_B
        layer.task_A.data[:] = layer.shared.lora_A
    once, twice = (block.mlp.fc1.streams([x, *torch.stack([x] * 4)]) for _ in range(2))
    assert [torch.equal(a, b) for a, b in zip(once, twice, strict=True)] == [False, True, True, True, True]
    first, *others = block.attn.proj(x).chunk(5)
    assert all(torch.equal(first, other) for other in others) and not torch.equal(first, block.attn.proj(x)[:2])


def test_what_cannot_be_built_is_refused_with_the_reason(backbone):
    with pytest.raises(ValueError, match="did you mean 'ptsa'"):
        build_model("ptsb", backbone, PASCAL)
    with pytest.raises(ValueError, match="needs a tree"):
        build_model("ptsa", backbone, PASCAL)
    with pytest.raises(ValueError, match="leave out"):
        build_model("mtlora", backbone, PASCAL, TREES[3])
    with pytest.raises(ValueError, match="without adapters they are all the same"):
        build_model("ptsa", backbone, PASCAL, TREES[3], rank=(4, 4, 0, 4))
    with pytest.raises(ValueError, match="or 4 of them"):
        build_model("ptsa", backbone, PASCAL, TREES[3], rank=(4, 4))
    with pytest.raises(ValueError, match="the tree is over"):
        build_model("ptsa", backbone, PASCAL, TaskTree.shared(("a", "b")), rank=2)
    for names, told in ((["normal"], "did you mean 'normals'"), (["normals"] * 2, "each once"), ([], "at least one")):
        with pytest.raises(ValueError, match=told):
            build_model("decoders_only", backbone, PASCAL).only(names)
    assert list(build_model("decoders_only", backbone, PASCAL).only("normals").tasks) == ["normals"]
    with pytest.raises(ValueError, match="tree must be a TaskTree, such as TaskTree.parse reads, not {}"):
        build_model("ptsa", backbone, PASCAL, {}, rank=2)
    for tasks in ({}, ["depth"], {"depth": "depth"}):
        with pytest.raises(ValueError, match="tasks must be a map of names to tasks, at least one"):
            build_model("decoders_only", backbone, tasks)
    with pytest.raises(ValueError, match="backbone must be a backbone, as load_backbone returns it, not 'swin"):
        build_model("decoders_only", "swin_small_distilled", PASCAL)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("option", [{"scale": math.nan}, {"scale": "4"}, {"dropout": 1.0}, {"dropout": math.nan}])
def test_an_option_that_cannot_be_is_refused_by_every_method(method, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be a number .*, not "):
        build_model(method, tiny_backbone(), PASCAL, TREES[3] if method == "ptsa" else None, rank=4, **option)


@pytest.mark.parametrize("task", [("a", "segmentation"), ("a", "segmentation", -3), (3, "binary"),
                                  ("a", "binary", 1, math.nan), ("a", "depth", 1.5), ("a", "depth", 1, 1.0, 3),
                                  ("a", "binary", 1, 1.0, "loss", "no"), ("a", "binary", 1, 1.0, "", None, 2.0),
                                  ("a", "depth", 1, 1.0, "", None, None, None, None, 0)], ids=str)  # fmt: skip
def test_a_task_that_cannot_be_is_refused(task):
    names = "channels|name|loss_weight|metric|higher_is_better|positive_weight|scale"
    with pytest.raises(ValueError, match=f"({names}) must be"):
        Task(*task)


@pytest.mark.parametrize("method, merged", [
    ("ptsa", False), ("ptsa", True), ("dora_separate", False), ("dora_separate", True), ("adapter", False),
    ("single_task_lora", False), ("single_task_lora", True),
])  # fmt: skip
def test_a_model_of_some_tasks_is_as_trained_or_frozen_as_the_whole_and_draws_nothing(backbone, method, merged):
    tree = TREES[3] if method == "ptsa" else None
    model = build_model(method, backbone, PASCAL, tree, rank=4, dropout=0.5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "adapter" in name:
            nn.init.normal_(parameter, std=0.05)
    model = (model.merge() if merged else model).eval()
    before, images = torch.get_rng_state(), torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    some = model.only(["normals"])
    assert torch.equal(torch.get_rng_state(), before)
    assert not some.training and not any(module.training for module in some.modules())
    torch.testing.assert_close(some(images)["normals"], model(images)["normals"], atol=1e-4, rtol=1e-4)
    assert any(p.requires_grad for p in some.parameters()) == (not merged)
    assert model.train().only(["normals"]).training
    assert not any(p.requires_grad for p in model.requires_grad_(False).only(["normals"]).parameters())


def test_a_layer_that_cannot_be_parted_is_not_taken_for_one_of_all_groups(backbone):
    class Grouped(nn.Module):
        def __init__(self, base, *options):
            super().__init__()
            self.base = base

    model = MultiTaskModel(copy.deepcopy(backbone), PASCAL, TREES[3], 3, layer=Grouped)
    with pytest.raises(AttributeError, match="'Grouped' object has no attribute 'only'"):
        model.only(["normals"])


def test_a_role_that_there_is_not_is_refused(backbone):
    model = MultiTaskModel(copy.deepcopy(backbone), PASCAL, TREES[3], 3)
    with pytest.raises(ValueError, match="unknown role 'head'; did you mean 'heads'"):
        freeze(model, ["head", "adapters"])
    assert {role_of(name) for name in freeze(model, "heads")} == {"heads"}


@pytest.mark.parametrize("name", ["a.b", "keys", "type", "backbone"])
def test_a_task_called_as_parts_of_the_model_are_is_refused(backbone, name):
    with pytest.raises(ValueError, match=f"task '{name}' cannot be called so"):
        build_model("decoders_only", backbone, {name: Task(name, "depth")})

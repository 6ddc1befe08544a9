"""Every family of backbones against timm's own forward, and trees over each against one model a task."""

import copy

import pytest
import timm
import torch
from tiny import FAMILIES, executed_macs, tiny_family
from torch import nn

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.tasks import PASCAL
from ptsa_lite.tree import TaskTree

NAMES = tuple(PASCAL)
TREE = TaskTree(((NAMES,), (NAMES[:2], NAMES[2:]), (NAMES[:2], NAMES[2:]), tuple((n,) for n in NAMES)))
FULL = [
    "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224",
    "swinv2_tiny_window8_256", "pvt_v2_b0", "pvt_v2_b1", "pvt_v2_b2", "convnext_tiny", "vit_small_patch14_dinov2",
    "vit_small_patch16_dinov3",
]  # fmt: skip

families = pytest.mark.parametrize("family", FAMILIES)


def random_weights(model):
    """Everything that starts at zero or one gets values, so that nothing is equal by chance."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias") or "lora_B" in name:
                nn.init.normal_(p, std=0.05)
    return model.eval()


def features_of_timm(family, model, images):
    """timm's features per stage, channel-last, after the merging that it keeps at the start of the next stage."""
    if family.startswith("dino"):
        depth = len(model.blocks)
        maps = model.forward_intermediates(images, indices=[(s + 1) * depth // 4 - 1 for s in range(4)], norm=False,
                                           intermediates_only=True)  # fmt: skip
        fine = nn.functional.interpolate(maps[0], scale_factor=2, mode="bilinear")
        maps = [fine, maps[1], *(nn.functional.avg_pool2d(m, 2) for m in maps[2:])]
        return [m.permute(0, 2, 3, 1) for m in maps]
    if family == "convnext":
        maps = model.forward_intermediates(images, intermediates_only=True, norm=False)
        after = [model.stages[i + 1].downsample(m) for i, m in enumerate(maps[:3])]
        return [m.permute(0, 2, 3, 1) for m in (*after, maps[3])]
    x, features = model.patch_embed(images), []
    stages = model.stages if family == "pvt" else model.layers
    for i, stage in enumerate(stages):
        x = stage(x)
        last = i + 1 == len(stages)
        after = x if last else stages[i + 1].downsample(x)
        features.append(after.permute(0, 2, 3, 1) if family == "pvt" and last else after)
    return features


@families
@pytest.mark.parametrize("img_size", [64, 96])
def test_features_are_timms_whether_adapters_are_absent_or_zero(family, img_size):
    model, backbone = tiny_family(family, img_size)
    images = torch.randn(2, 3, img_size, img_size)
    expected = features_of_timm(family, random_weights(model), images)
    plain = backbone.eval()(images)
    adapted = build_model("ptsa", backbone, PASCAL, TREE, rank=2).eval()
    for maps in adapted.features(images).values():
        for ours, alone, theirs in zip(maps, plain, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(alone, theirs, atol=1e-5, rtol=1e-5)  # processors differ in the sums' order
    assert tuple(m.shape[-1] for m in plain) == backbone.channels
    assert [m.shape[1] for m in plain] == [img_size // stride for stride in (8, 16, 32, 32)]


@families
@pytest.mark.parametrize("merge", [False, True])
def test_a_tree_computes_what_one_model_a_task_computes(family, merge):
    """The slow path: for each task a model of its own, whose single group has the weights of the task's groups."""
    _, backbone = tiny_family(family)
    model = random_weights(build_model("ptsa", backbone, PASCAL, TREE, rank=2))
    images = torch.randn(2, 3, 64, 64)
    together = (model.merge() if merge else model)(images)
    for name, task in PASCAL.items():
        alone = build_model("lora_shared", backbone, {name: task}, rank=2)
        alone.load_state_dict(
            {
                key: value[[TREE.group_of(stage_of(backbone, key), name)]] if "lora_" in key else value
                for key, value in model.state_dict().items()
                if "heads." not in key or f"heads.{name}." in key
            }
        )
        torch.testing.assert_close(alone.eval()(images)[name], together[name], atol=1e-5, rtol=1e-5)


def stage_of(backbone, key):
    number = int(key.split(".")[2])
    if key.startswith("backbone.blocks."):  # a ViT's, in four runs
        depth = len(backbone._modules["blocks"])
        return next(s for s in range(4) if number < (s + 1) * depth // 4)
    return number


@families
def test_every_linear_layer_of_attention_and_mlp_takes_an_adapter(family):
    _, backbone = tiny_family(family)
    model = build_model("ptsa", backbone, PASCAL, TREE, rank=2)
    bare = [name for name, m in model.backbone.named_modules()
            if isinstance(m, nn.Linear) and not name.endswith("base")]  # fmt: skip
    assert all("downsample" in name or "cpb_mlp" in name for name in bare), bare
    layers = [m for m in model.modules() if isinstance(m, GroupedLoRALinear)]
    per_block = {"pvt": 5, "convnext": 2}.get(family, 4)
    assert len(layers) == 5 * per_block


@families
def test_training_reaches_adapters_norms_and_positions_and_nothing_frozen(family):
    _, backbone = tiny_family(family)
    model = random_weights(build_model("ptsa", backbone, PASCAL, TREE, rank=2)).train()
    sum(p.square().mean() for p in model(torch.randn(2, 3, 64, 64)).values()).backward()
    counts = count_parameters(model)
    assert counts["norms"] and bool(counts["positions"]) == family.startswith("swin")
    assert bool(counts["merging"]) != family.startswith("dino")
    for name, p in model.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name


@families
def test_counted_work_is_executed_work(family):
    """The convention's count against torch's counter of what the model runs for one image, resizing included."""
    _, backbone = tiny_family(family, 96)
    tasks = {name: PASCAL[name] for name in NAMES[:1]}
    for rank in (0, 2):
        model = build_model("lora_shared" if rank else "decoders_only", backbone, tasks, rank=rank or 1)
        counted = count_macs(model, convention="all")
        small = sum(p.numel() for n, p in model.named_parameters() if p.ndim == 1)  # norms, biases: no products
        executed = executed_macs(model)
        assert 0.95 * executed < counted < 1.25 * executed + 2000 * small, (counted, executed)


@pytest.mark.parametrize("name", FULL)
def test_full_size_backbones_are_built_and_counted(name):
    with torch.device("meta"):
        backbone = load_backbone(name, "random", 448)
        model = build_model("ptsa", backbone, PASCAL, TREE, rank=16)
        timms = timm.create_model(name, num_classes=0)
    last_norm = getattr(timms, "norm", None) or getattr(timms.head, "norm", nn.Identity())
    left_out = sum(p.numel() for p in last_norm.parameters())
    positions = 0 if name != "vit_small_patch14_dinov2" else 384 * ((518 // 14) ** 2 - (448 // 14) ** 2)
    theirs = sum(p.numel() for p in timms.parameters()) - left_out - positions
    assert sum(p.numel() for p in backbone.parameters()) == theirs
    one = build_model("decoders_only", backbone, PASCAL)
    assert count_macs(one) < count_macs(model) < 4 * count_macs(one)


@pytest.mark.parametrize("name", ["pvt_v2_b2_li", "swinv2_cr_tiny_224", "pvt_v2_b"])
def test_a_backbone_of_no_known_family_is_refused(name):
    with pytest.raises(ValueError, match="unknown backbone"):
        load_backbone(name, "random", 64)


def test_weights_of_pvt_are_read_from_a_file(tmp_path):
    from safetensors.torch import save_file

    theirs = timm.create_model("pvt_v2_b0", pretrained=False)
    save_file(theirs.state_dict(), tmp_path / "pvt.safetensors")
    ours = load_backbone("pvt_v2_b0", tmp_path / "pvt.safetensors", 64)
    assert torch.equal(ours.stages[3].norm.weight, theirs.stages[3].norm.weight) and ours.name == "pvt_v2_b0"


def test_mtlora_is_not_for_the_second_swin_whose_blocks_are_built_otherwise():
    with pytest.raises(ValueError, match="defined for the first Swin"):
        build_model("mtlora", tiny_family("swinv2")[1], PASCAL, rank=2)


@pytest.mark.parametrize("family", ["pvt", "convnext", "dinov3"])
@pytest.mark.parametrize("method", METHODS)
def test_methods_work_on_other_families(family, method):
    _, backbone = tiny_family(family)
    if method in ("mtlora", "ditask", "tadformer", "vpt_shallow", "vpt_deep", "relative_bias"):
        with pytest.raises(ValueError, match="defined for (a|the first) Swin"):
            build_model(method, backbone, PASCAL, rank=4)
        return
    model = build_model(method, copy.deepcopy(backbone), PASCAL, TREE if method == "ptsa" else None, rank=4)
    assert model(torch.randn(1, 3, 64, 64))["normals"].shape == (1, 3, 64, 64)


@families
def test_the_forward_compiles_in_one_piece(family):
    model = build_model("ptsa", tiny_family(family)[1], PASCAL, TREE, rank=2, dropout=0.1).train()
    model.set_grad_checkpointing()
    images = torch.randn(2, 3, 64, 64)
    torch._dynamo.reset()
    torch.manual_seed(0)
    expected = model(images, resize=False)
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # an error where the graph breaks
    torch.manual_seed(0)
    for name, out in compiled(images, resize=False).items():
        torch.testing.assert_close(out, expected[name], atol=1e-5, rtol=1e-5)


def test_a_family_member_whose_layers_are_convolutions_is_refused_by_name():
    """ConvNeXt's smallest have 1x1 convolutions where the others have linear layers."""
    backbone = load_backbone("convnext_atto", "random", 64)
    with pytest.raises(ValueError, match="convnext_atto: fc1 is a Conv2d; adapters need linear ones"):
        build_model("lora_shared", backbone, PASCAL, rank=2)

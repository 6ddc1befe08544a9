"""Rivals against their own definitions, computed another way, and against what every method must keep."""

import copy

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.signal import correlate2d
from tiny import executed_macs, tiny_family
from torch import nn
from torch.nn import functional as F

from ptsa_lite.backbones import load_backbone
from ptsa_lite.baselines.ditask import SpectralLinear
from ptsa_lite.baselines.dora import DoRALinear
from ptsa_lite.baselines.monotone import flow
from ptsa_lite.baselines.prompted_swin import PromptedAttention
from ptsa_lite.baselines.task_block import FilteredLinear
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.fast import FastHRNetHead
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.model import role_of
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import PASCAL, select
from ptsa_lite.training.sameness import description
from ptsa_lite.training.step import Stepper, parameter_groups

RIVALS = [method for method, row in METHODS.items() if row.rival]
HOULSBY = {"heads", "adapters", "norms"}
LINE = {"heads", "adapters", "patch_embed", "positions", "norms", "merging"}
TRAINS = {
    "adapter": HOULSBY, "compacter": HOULSBY, "hyperformer": HOULSBY, "hyperformer_plus": HOULSBY,
    "polyhistor": HOULSBY, "polyhistor_lite": HOULSBY, "vpt_shallow": {"heads", "adapters"},
    "vpt_deep": {"heads", "adapters"}, "relative_bias": {"heads", "positions"}, "dora_shared": LINE,
    "dora_separate": LINE, "mtlora": LINE, "ditask": LINE, "tadformer": LINE - {"merging"},
}  # fmt: skip
OPTIONS = [
    ("hyperformer", "embedding", 8), ("hyperformer_plus", "embedding", 8), ("polyhistor", "factor", 2),
    ("polyhistor", "embedding", 8), ("polyhistor_lite", "factor", 2), ("polyhistor_lite", "embedding", 8),
    ("compacter", "kronecker", 2), ("compacter", "factor", 1), ("mtlora", "task_rank", 2), ("ditask", "task_rank", 2),
]  # fmt: skip
UNREAD = {"mtlora": ("mlp.fc2",), "ditask": ("attn.proj", "mlp.fc1", "mlp.fc2")}
"""Of the last block, where nothing reads the shared stream any more: layers whose shared parameters train in vain."""
TWO = select(PASCAL, ["human_parts", "normals"])
STREAMS = ("mtlora", "ditask", "tadformer")
PROMPTED = ("vpt_shallow", "vpt_deep", "tadformer")
NO_SCALE = {"vpt_shallow", "vpt_deep", "relative_bias"}
rivals = pytest.mark.parametrize("method", RIVALS)


def rival(method, tasks=TWO, seed=0, rank=4, **options):
    torch.manual_seed(seed)
    return build_model(method, tiny_family("swin")[1], tasks, rank=rank, **options)


def woken(model, seed=1):
    """Nothing that was put in is at its start any more."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if role_of(name) == "adapters":
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def backward(model):
    torch.manual_seed(3)
    sum(p.square().mean() for p in model(torch.randn(2, 3, 64, 64), resize=False).values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@rivals
def test_a_gradient_reaches_what_trains_and_nothing_else(method):
    model = woken(rival(method))
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {role_of(name) for name in trains} == TRAINS[method]
    moved = {name for name, gradient in backward(model).items() if gradient.any()}
    unread = {name for name in trains for part in UNREAD.get(method, ()) if f"layers.3.blocks.0.{part}.shared" in name}
    assert moved == trains - unread and bool(unread) == hasattr(model, "leaves_unused")


@rivals
def test_a_fresh_model_is_the_backbone_but_for_prompts(method):
    model, images = rival(method).eval(), torch.randn(1, 3, 64, 64)
    plain = rival("decoders_only").eval()
    plain.heads.load_state_dict(model.heads.state_dict())
    same = all(torch.allclose(p, plain(images)[name], atol=1e-5) for name, p in model(images).items())
    assert same == (method not in PROMPTED)
    if method != "relative_bias":
        assert not torch.allclose(woken(model)(images)["normals"], plain(images)["normals"], atol=1e-5)


@pytest.fixture(scope="module")
def swin_t():
    with torch.device("meta"):
        return load_backbone("swin_tiny_patch4_window7_224", "random", 448)


@pytest.mark.parametrize(("method", "rank", "trained"), [
    ("adapter", (24, 48, 96, 192), 8_693_376), ("vpt_shallow", 50, 19_200), ("vpt_deep", 50, 883_200),
    ("compacter", (24, 48, 96, 192), 244_096), ("relative_bias", 4, 23_322), ("dora_shared", 16, 2_769_786),
    ("dora_separate", 16, 6_280_506), ("hyperformer", (12, 24, 48, 96), 70_226_560),
    ("hyperformer_plus", (12, 24, 48, 96), 13_006_720), ("polyhistor", (12, 24, 48, 96), 6_422_080),
    ("polyhistor_lite", (12, 24, 48, 96), 202_216), ("ditask", 64, 1_602_714),
    ("tadformer", 64, 7_373_310 - 1_946_624), ("tadformer", 32, 4_770_174 - 1_946_624),
    ("tadformer", 16, 3_551_550 - 1_946_624),
])  # fmt: skip
def test_trained_parameters_besides_heads_are_those_of_the_file_s_head(swin_t, method, rank, trained):
    with torch.device("meta"):
        counts = count_parameters(build_model(method, swin_t, PASCAL, rank=rank))
    assert counts["trainable"] - counts["heads"] == trained


@rivals
def test_multiply_adds(method):
    """By modules, adapters are not counted; streams and prompts are, and everything is by the other convention."""
    shared, separate = (count_macs(rival(m)) for m in ("lora_shared", "lora_separate"))
    model = rival(method)
    paper, everything = count_macs(model), count_macs(model, "all")
    if method in STREAMS:
        assert shared < paper
    elif method.startswith("vpt"):
        assert paper > separate
    else:
        assert paper == (shared if method in ("dora_shared", "relative_bias") else separate)
    assert paper < everything and 0 < executed_macs(model) < 1.01 * everything


@rivals
def test_what_is_linear_merges_and_what_is_not_says_so(method):
    model, images = woken(rival(method)).eval(), torch.randn(1, 3, 64, 64)
    if method not in ("dora_shared", "dora_separate", "relative_bias"):
        with pytest.raises(ValueError, match="cannot be merged away"):
            model.merge()
        return
    merged = model.merge()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    for name, p in merged(images).items():
        torch.testing.assert_close(p, model(images)[name], atol=1e-4, rtol=1e-4)


@rivals
def test_a_part_of_the_tasks_is_predicted_alone(method):
    model, images = woken(rival(method, PASCAL)).eval(), torch.randn(1, 3, 64, 64)
    if method in STREAMS:
        with pytest.raises(ValueError, match="streams are made together"):
            model.only(["saliency"])
        return
    fewer = model.only(["normals", "human_parts"])
    assert fewer.only(["normals"]).tasks.keys() == {"normals"}
    for part in (fewer, fewer.only(["normals"])):
        for name, p in part(images).items():
            torch.testing.assert_close(p, model(images)[name], atol=1e-5, rtol=1e-5)


@rivals
def test_checkpointing_gives_the_same_gradients(method):
    plain = woken(rival(method, dropout=0.2)).train()
    kept = copy.deepcopy(plain)
    kept.set_grad_checkpointing()
    ours, theirs = backward(plain), backward(kept)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-6, rtol=1e-4, msg=name)


@rivals
def test_every_common_option_acts(method):
    images = torch.randn(1, 3, 64, 64)
    model = woken(rival(method, dropout=0.5)).eval().requires_grad_(False)
    with torch.no_grad():
        still = model(images)["normals"]
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        assert torch.equal(model(images)["normals"], still) == (method == "relative_bias")
        other = woken(rival(method, scale=1.0)).eval()
        assert torch.equal(other(images)["normals"], still) == (method in NO_SCALE)
    assert (description(other)["scale"] is None) == (method in NO_SCALE)
    assert isinstance(rival(method, head=FastHRNetHead).heads["normals"], FastHRNetHead)


@pytest.mark.parametrize(("method", "option", "value"), OPTIONS)
def test_every_option_of_its_own_acts_and_is_described(method, option, value):
    model, other = rival(method), rival(method, **{option: value})
    assert description(other)[option] == value != description(model)[option]
    assert count_parameters(other)["adapters"] != count_parameters(model)["adapters"]


def test_descriptions_tell_one_function_from_another():
    said = {method: description(rival(method)) for method in RIVALS}
    for a in RIVALS:
        assert [b for b in RIVALS if said[a] == said[b]] == [a]


@pytest.mark.parametrize("amp", ["float32", "bfloat16"])
@rivals
def test_a_step_moves_what_trains_and_nothing_else(method, amp):
    model = woken(rival(method)).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    config = TrainConfig(epochs=1, batch_size=2, warmup_epochs=0, amp=amp)
    stepper = Stepper(model, TWO, config, parameter_groups(model, 0.05))
    batch = {"image": torch.randn(2, 3, 64, 64), "human_parts": torch.randint(0, 7, (2, 64, 64)),
             "normals": F.normalize(torch.randn(2, 3, 64, 64), dim=1)}  # fmt: skip
    assert np.isfinite(list(stepper(batch, 1e-3).values())).all()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in model.named_parameters() if p.grad is not None and p.requires_grad}
    assert not {name for name, p in model.named_parameters() if not p.requires_grad} & moved


# ---- each layer against its definition, computed another way --------------------------------------------------------


def layers_of(model):
    return [layer for _, _, _, layer in model.backbone.adapted_linears()]


@pytest.mark.parametrize("method", [method for method in RIVALS if TRAINS[method] == HOULSBY])
def test_an_adapter_is_a_bottleneck_on_its_sublayer_s_output(method):
    model = woken(rival(method)).eval()
    assert description(model)["adapted"] == ["fc2", "proj"]
    layer = layers_of(model)[2]
    x = torch.randn(2, 5, layer.base.in_features)
    down, up = layer.weights()
    for t in range(2):
        y = layer.base(x[t])
        low = F.gelu(F.linear(y, down[t], layer.adapter_down_bias[t, 0]))
        expected = y + layer.scale * F.linear(low, up[t], layer.adapter_up_bias[t, 0])
        torch.testing.assert_close(layer(x)[t], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["hyperformer", "hyperformer_plus"])
def test_hyperformer_makes_weights_that_are_linear_in_an_embedding(method):
    model = woken(rival(method))
    layers, about = layers_of(model), model.adapter_embedding
    plus = method == "hyperformer_plus"
    assert len(model.adapter_networks) == (4 if plus else len(layers)) and len(layers) == 10
    number, t = 7, 1  # the MLP's of the fourth block, the second of stage three
    z = torch.cat([about.z[t], about.where[0][3], about.where[1][1]]) if plus else about.z[t]
    first, _, second = about.mlp
    hidden = (first.weight @ z + first.bias).clamp(min=0)
    embedded = second.weight @ hidden + second.bias
    embedded = (embedded - embedded.mean()) / (embedded.var(unbiased=False) + about.norm.eps).sqrt()
    embedded = about.norm.weight * embedded + about.norm.bias
    network = model.adapter_networks[2 if plus else number]
    down = torch.einsum("nk,k->n", network.down.weight, embedded) + network.down.bias
    up = torch.einsum("nk,k->n", network.up.weight, embedded) + network.up.bias
    made_down, made_up = layers[number].weights()
    torch.testing.assert_close(made_down[t], down.view(4, 32), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made_up[t], up.view(32, 4), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["polyhistor", "polyhistor_lite"])
def test_polyhistor_multiplies_what_small_networks_make(method):
    model = woken(rival(method, rank=(2, 2, 4, 4)))
    layers, t, number = layers_of(model), 1, 9
    lite = method == "polyhistor_lite"
    network = model.adapter_networks[1 if lite else number]
    assert len(model.adapter_networks) == (2 if lite else 10)
    z = model.adapter_z[t].detach().numpy()
    made = [maker.weight.detach().numpy() @ z for maker in network.makers]
    p, q, p_up, q_up = (factor.reshape(shape) for factor, shape in zip(made, network.shapes, strict=True))
    down, up = p @ q, p_up @ q_up
    if lite:
        scaling = [s.detach().numpy() for s in layers[number].adapter_scaling]
        assert [s.shape for s in scaling] == [(2, 8), (8, 2)]
        down, up = np.kron(scaling[0], down), np.kron(scaling[1], up)
    made_down, made_up = layers[number].weights()
    np.testing.assert_allclose(made_down[t].detach(), down, atol=1e-5)
    np.testing.assert_allclose(made_up[t].detach(), up, atol=1e-5)


def test_compacter_sums_kronecker_products():
    model = woken(rival("compacter"))
    layer, t = layers_of(model)[3], 1
    parts = (layer.adapter_down_p, layer.adapter_down_q, layer.adapter_up_p, layer.adapter_up_q)
    a, down_p, down_q, up_p, up_q = (x[t].detach().numpy() for x in (model.adapter_a, *parts))
    down, up = layer.weights()
    np.testing.assert_allclose(down[t].detach(), sum(np.kron(a[i], down_p[i] @ down_q[i]) for i in range(4)), atol=1e-5)
    np.testing.assert_allclose(up[t].detach(), sum(np.kron(a[i], up_p[i] @ up_q[i]) for i in range(4)), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_dora_s_weight_has_the_trained_magnitudes_and_lora_s_direction(bias):
    torch.manual_seed(0)
    base, x = nn.Linear(6, 5, bias), torch.randn(2, 3, 6)
    layer = DoRALinear(base, 2, 3, 2.0)
    torch.testing.assert_close(layer(x), base(x))
    for parameter in (layer.lora_B, *layer.lora_magnitude):
        parameter.data.add_(torch.randn_like(parameter))
    for g in range(2):
        direction = base.weight + 2.0 * layer.lora_B[g] @ layer.lora_A[g]
        rows = zip(layer.lora_magnitude[g], direction, strict=True)
        weight = torch.stack([m * row / row.square().sum().sqrt() for m, row in rows])
        torch.testing.assert_close(layer(x)[g], F.linear(x[g], weight, base.bias), atol=1e-5, rtol=1e-5)


def test_ditask_keeps_singular_vectors_and_the_order_of_singular_values():
    torch.manual_seed(0)
    layer = SpectralLinear(nn.Linear(12, 9).double(), 1, 6, scale=1.5)
    velocity = layer.adapter_velocity.data.normal_(std=0.1)[0]
    u, s, vt = np.linalg.svd(layer.base.weight.detach().numpy(), full_matrices=False)
    knots = np.linspace(0, 1, 7)
    field = np.concatenate([[0], 1.5 * velocity.numpy(), [0]])
    start = np.linspace(0, 1, 9)
    places = solve_ivp(lambda _, x: np.interp(x, knots, field), (0, 1), start, rtol=1e-9, atol=1e-10).y[:, -1]
    assert np.all(np.diff(places) > 0) and places[0] == 0 and places[-1] == 1
    moved = np.interp(places, start, s)
    ours = layer.weight(velocity).detach().numpy()
    np.testing.assert_allclose(ours, u * moved @ vt, atol=1e-3)
    assert np.abs(ours - layer.base.weight.detach().numpy()).max() > 0.005
    off_diagonal = u.T @ ours @ vt.T
    np.testing.assert_allclose(off_diagonal, np.diag(np.diag(off_diagonal)), atol=1e-6)
    assert np.all(np.diff(np.diag(off_diagonal)) <= 0)
    np.testing.assert_allclose(flow(1.5 * velocity, 9).detach(), places, atol=1e-3)


def test_ditask_maps_q_k_and_v_each():
    torch.manual_seed(0)
    layer = SpectralLinear(nn.Linear(4, 12), 1, 5)
    velocity = torch.tensor([0.1, -0.1, 0.2, 0.1])
    whole = layer.weight(velocity)
    for part, ours in zip(layer.base.weight.chunk(3), whole.chunk(3), strict=True):
        alone = nn.Linear(4, 4)
        alone.weight.data.copy_(part)
        torch.testing.assert_close(SpectralLinear(alone, 1, 5).weight(velocity), ours, atol=1e-5, rtol=1e-5)


def test_every_window_sees_the_prompts_and_prompts_see_every_window():
    """Window by window and head by head, with the mask of a shifted block."""
    attention = copy.deepcopy(tiny_family("swin")[1].blocks(2)[1].attn).eval()
    attention.__class__ = PromptedAttention
    windows, images, n, c = 4, 2, 3, 32
    x, prompts = torch.randn(images * windows, 16, c), torch.randn(images, n, c)
    mask = torch.where(torch.rand(windows, 16, 16) < 0.3, -100.0, 0.0)
    attention.prompts = prompts
    out = attention(x, mask)
    table, heads, got = attention._get_rel_pos_bias()[0], attention.num_heads, torch.zeros(images, n, c)
    for i in range(images * windows):
        tokens = torch.cat([prompts[i // windows], x[i]])
        q, k, v = attention.qkv(tokens).view(n + 16, 3, heads, c // heads).unbind(1)
        mixed = []
        for h in range(heads):
            scores = q[:, h] @ k[:, h].T / (c // heads) ** 0.5
            scores[n:, n:] += table[h] + mask[i % windows]
            mixed.append(scores.softmax(1) @ v[:, h])
        expected = attention.proj(torch.cat(mixed, dim=1))
        torch.testing.assert_close(out[i], expected[n:], atol=1e-5, rtol=1e-4)
        got[i // windows] += expected[:n] / windows
    torch.testing.assert_close(attention.prompts, got, atol=1e-5, rtol=1e-4)


def test_tadformer_filters_each_channel_of_each_map_by_a_kernel_made_of_the_map_s_mean():
    torch.manual_seed(0)
    layer = FilteredLinear(GroupedLoRALinear(nn.Linear(6, 5), 1, 3, 2.0)).requires_grad_(False)
    pair, about = layer.shared, layer.adapter_filter
    pair.lora_B.normal_()
    streams = list(torch.randn(3, 2, 4, 5, 6))  # the shared one and two tasks', two images
    out, frozen = layer.streams(streams), pair.base(streams[0])
    torch.testing.assert_close(out[0], pair(streams[0]))
    for x, h in zip(streams[1:], out[1:], strict=True):
        filtered = torch.zeros(2, 4, 5, 3)
        for i in range(2):
            y = (x[i] @ pair.lora_A[0].T).numpy()  # (4, 5, 3)
            made = about.make.weight.numpy() @ y.mean((0, 1)) + about.make.bias.numpy()
            for c in range(3):
                nine = slice(9 * c, 9 * c + 9)
                kernel = (made[nine] - made[nine].mean()) / made[nine].std(ddof=1)
                kernel = about.gain[nine].numpy() * kernel + about.shift[nine].numpy()
                filtered[i, ..., c] = torch.tensor(correlate2d(y[..., c], kernel.reshape(3, 3), "same"))
        torch.testing.assert_close(h, frozen + 2.0 * filtered @ pair.lora_B[0].T, atol=1e-4, rtol=1e-4)


def test_tadformer_s_prompts_pick_from_the_tokens_head_by_head():
    torch.manual_seed(0)
    block = woken(rival("tadformer")).eval().requires_grad_(False).backbone.blocks(2)[1]
    attention, windows, c = block.attn, 4, 32
    x, prompts = torch.randn(windows, 16, c), torch.randn(1, 2, c)  # the windows of one image
    attention.prompts = prompts
    h_0, *rest = attention(x).split(windows)
    plain = copy.copy(attention)
    plain.__class__, plain.prompts = PromptedAttention, prompts
    torch.testing.assert_close(plain(x), h_0, atol=1e-5, rtol=1e-4)  # the shared stream knows nothing of tasks
    torch.testing.assert_close(plain.prompts, attention.prompts, atol=1e-5, rtol=1e-4)
    mixed = {}
    attention.proj.register_forward_hook(lambda _, inputs, out: mixed.update(x=inputs[0]))
    attention.prompts = prompts
    plain.proj, plain.prompts = attention.proj, prompts
    plain(x)
    q, k, _ = attention.qkv(torch.cat([prompts.expand(windows, -1, -1), x], 1)).unflatten(2, (3, c)).unbind(2)
    tokens, size = mixed["x"][:, 2:], c // attention.num_heads
    for t in range(2):
        picked = torch.zeros(windows, 16, c)
        for w in range(windows):
            for place in range(16):
                for channel in range(c):
                    head = slice(channel // size * size, channel // size * size + size)
                    affinity = F.gelu(q[w, t, head] @ k[w, 2 + place, head])
                    picked[w, place, channel] = affinity * tokens[w, place, channel]
        torch.testing.assert_close(rest[2 + t], picked, atol=1e-5, rtol=1e-4)
        start = F.layer_norm(tokens + picked, (c,), attention.adapter_norm.weight, attention.adapter_norm.bias)
        grids = [tokens.unflatten(1, (4, 4)), start.unflatten(1, (4, 4))]
        torch.testing.assert_close(rest[t], attention.proj.streams(grids)[1].flatten(1, 2), atol=1e-5, rtol=1e-4)


def test_tadformer_s_heads_read_between_what_was_picked_and_what_was_made():
    model, images = woken(rival("tadformer")).eval().requires_grad_(False), torch.randn(2, 3, 64, 64)
    swin, blocks = model.backbone, {}
    for stage in range(4):
        swin.blocks(stage)[-1].register_forward_hook(lambda _, __, out, stage=stage: blocks.update({stage: out}))
    maps = model.features(images)
    for stage in range(4):
        (x, *made), prompts, picked = blocks[stage]
        gate = 1 / (1 + np.exp(-swin.adapter_gate[stage].item()))
        for t, task in enumerate(model.tasks):
            expected = swin.end(stage, gate * picked[t] + (1 - gate) * made[t])
            torch.testing.assert_close(maps[task][stage], expected, atol=1e-5, rtol=1e-4)
        if stage < 3:  # the shared stream and the prompts go on
            inputs = swin.end(stage, x), prompts @ swin.adapter_widen[stage].weight.T
            torch.testing.assert_close(swin.stage(stage + 1, inputs)[0][1], maps["human_parts"][stage + 1])


def test_deep_prompts_enter_every_block_and_shallow_ones_the_first():
    shallow, deep = rival("vpt_shallow"), rival("vpt_deep")
    assert [p.shape for p in shallow.backbone.adapter_prompts] == [(2, 4, 8)]
    widths = [p.shape[2] for p in deep.backbone.adapter_prompts]
    assert widths == [8, 16, 32, 32, 64] and deep.backbone.adapter_prompts[4].shape[:2] == (2, 4)
    images = torch.randn(1, 3, 64, 64)
    before = deep.eval()(images)
    deep.backbone.adapter_prompts[4].data[0] += 1.0
    assert [name for name, p in deep(images).items() if not torch.equal(p, before[name])] == ["human_parts"]


@pytest.mark.parametrize(("method", "options", "said"), [
    ("adapter", {"rank": 9}, "rank 9 does not fit an adapter of 8 channels"),
    ("hyperformer", {"rank": (0, 4, 4, 4), "tasks": select(PASCAL, ["normals"])}, "at least 1 in every stage"),
    ("compacter", {"rank": 6}, "no multiple of the 4 Kronecker terms"),
    ("polyhistor_lite", {"rank": (4, 4, 6, 8)}, "no multiple of the first stage's 4"),
    ("vpt_shallow", {"rank": (4, 4, 2, 4)}, "one number of prompts"),
    ("ditask", {"rank": 1}, "at least 2 cells"), ("dora_separate", {"rank": 0}, "without adapters"),
    ("tadformer", {"rank": (0, 4, 4, 4)}, "at least 1 in every stage"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(method, options, said):
    with pytest.raises(ValueError, match=said):
        rival(method, **options)


@rivals
@pytest.mark.parametrize("assign", [False, True])
def test_a_state_dict_is_all_that_a_model_computes_with(method, assign):
    """Also into a model over other frozen weights, whose singular vectors are others."""
    one, images = woken(rival(method)).eval(), torch.randn(2, 3, 64, 64)
    other = build_model(method, tiny_family("swin", seed=5)[1], TWO, rank=4).eval()
    other.load_state_dict(one.state_dict(), assign=assign)
    for name, value in one(images).items():
        torch.testing.assert_close(other(images)[name], value, atol=1e-5, rtol=1e-5)

"""What the bench compares is the same function; and work that is counted, not timed, grows as it should."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bench.rivals import LoopOverGroups, LoopOverTasks, MTLoRAInTurn, Peft, random_batch, without_adapters
from tiny import tiny_family
from torch import nn

from ptsa_lite.costs import macs_of
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.losses import total_loss
from ptsa_lite.methods import build_model
from ptsa_lite.tasks import PASCAL
from ptsa_lite.tree import TaskTree

NAMES = tuple(PASCAL)


def adapted(groups=(1, 2, 2, 4), tasks=PASCAL, method="ptsa", **options):
    tree = next(TaskTree.enumerate(tuple(tasks), groups)) if method == "ptsa" else None
    model = build_model(method, tiny_family("swin")[1], tasks, tree, rank=2, **options)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "_B" in name:
            nn.init.normal_(parameter, std=0.05)
    return model


@pytest.mark.parametrize(
    ("rival", "groups"),
    [(LoopOverTasks, (1, 2, 2, 4)), (LoopOverGroups, (1, 2, 2, 4)), (Peft, (1, 1, 1, 1)), (MTLoRAInTurn, (1, 1, 1, 1))],
)
def test_what_the_bench_races_against_computes_and_trains_the_same(rival, groups):
    if rival is Peft:
        pytest.importorskip("peft")
    model = adapted(groups, method="mtlora" if rival is MTLoRAInTurn else "ptsa").double()
    other, batch = rival(model).double(), random_batch(PASCAL, 64, 2)
    images = batch["image"].double()
    results = []
    for one in (model, other):
        predictions = one(images, resize=False)
        total_loss(PASCAL, predictions, batch)[0].backward()
        results.append(predictions)
    for name in NAMES:
        torch.testing.assert_close(results[0][name], results[1][name])
    for kind in ("lora_A", "lora_B", "patch_embed", "norm", "heads."):
        squares = [
            sum(p.grad.square().sum() for name, p in one.named_parameters() if kind in name and p.grad is not None)
            for one in (model, other)
        ]
        assert squares[0] > 0
        torch.testing.assert_close(*squares)
    trained = [sum(p.numel() for p in one.parameters() if p.requires_grad) for one in (model, other)]
    assert trained[0] == trained[1]


def test_frozen_groups_hold_nothing_of_low_rank_and_run_as_many_groups():
    model = adapted()
    frozen = without_adapters(model).eval()
    assert not any("lora_" in name for name, _ in frozen.named_parameters())
    maps = frozen.features(torch.randn(2, 3, 64, 64))
    for name, ours in adapted().eval().features(torch.randn(2, 3, 64, 64)).items():
        assert [m.shape for m in maps[name]] == [m.shape for m in ours]


def work(n_tasks, groups, backward=False):
    """Multiply-adds of everything but the heads, for one image."""
    kinds = list(PASCAL.values())
    model = adapted(groups, {f"{kinds[i % 4].name} {i}": kinds[i % 4] for i in range(n_tasks)}, dropout=0.1)

    def run():
        maps = model.features(torch.randn(1, 3, 64, 64))
        if backward:
            sum(m.sum() for task in maps.values() for m in task).backward()

    return macs_of(run)


@pytest.mark.parametrize("backward", [False, True])
def test_work_grows_with_groups_and_not_with_tasks(backward):
    of_two, of_four, of_sixteen = (work(n, (1, 2, 2, 2), backward) for n in (2, 4, 16))
    assert of_two == of_four == of_sixteen
    more = [work(16, (1, 1, 1, g), backward) for g in (1, 2, 4, 8)]
    per_group = {(b - a) / n for a, b, n in zip(more, more[1:], (1, 2, 4), strict=False)}
    assert len(per_group) == 1 and per_group.pop() > 0


def test_in_bfloat16_predictions_and_gradients_agree_within_that_formats_error():
    """Against the loop over tasks in single precision."""
    model, batch = adapted(), random_batch(PASCAL, 64, 2)
    slow = LoopOverTasks(model)
    with torch.autocast("cpu", torch.bfloat16):
        fast = model(batch["image"], resize=False)
    exact = slow(batch["image"])
    for name in NAMES:
        assert (fast[name] - exact[name]).norm() < 0.03 * exact[name].norm()
    for predictions in (fast, exact):
        sum((p.float() * torch.linspace(-1, 1, p.shape[-1])).mean() for p in predictions.values()).backward()
    errors = []
    for kind in ("lora_A", "lora_B"):
        for number, layer in enumerate(layer for _, _, _, layer in model.backbone.adapted_linears()):
            twin = list(slow.backbone.adapted_linears())[number][3]
            expected = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in getattr(twin, kind)])
            errors.append(float((getattr(layer, kind).grad - expected).norm() / expected.norm()))
    # A single pair may be far off, whatever the form: the outputs' means leave it a small gradient.
    assert sum(errors) / len(errors) < 0.06 and max(errors) < 0.25


def test_the_layers_gradient_compiles_too():
    """With aot_eager, which traces the backward pass as well and needs no C++ compiler."""
    layer = GroupedLoRALinear(nn.Linear(12, 20), n_groups=3, rank=4, dropout=0.3).train()
    nn.init.normal_(layer.lora_B)
    x = torch.randn(6, 5, 12, requires_grad=True)
    gradients = []
    for one in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(0)
        gradients.append(torch.autograd.grad(one(x).square().sum(), [x, layer.lora_A, layer.lora_B]))
    for eager, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(eager, compiled, atol=1e-4, rtol=1e-5)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's /proc")
def test_peak_memory_is_the_process_s_own_not_its_parent_s():
    """A child of a process that once was large."""
    ballast = b"1" * 600_000_000
    code = "import step_memory; print(step_memory.peak_mb())"
    folder = Path(__file__).parent / "bench"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert 1 < float(printed.stdout) < len(ballast) / 1e6 / 2

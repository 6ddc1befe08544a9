"""A step in parts, in other number formats, compiled: the same step."""

import copy

import pytest
import torch
from timm.layers import DropPath
from tiny import tiny_backbone, tiny_family
from tiny_training import CONFIG, TASKS, TinyData, TinyModel, assert_same, run, tiny  # noqa: F401
from torch._dynamo.backends.debugging import aot_eager

from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.model import MultiTaskModel
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import PASCAL, select
from ptsa_lite.training.compiling import SharedDropPath, Trial, compile_regions
from ptsa_lite.training.step import Stepper, autocast, parameter_groups
from ptsa_lite.tree import TaskTree


def changed(**settings):
    return TrainConfig(**{**CONFIG.to_dict(), **settings})


def calm_model():
    """Without what looks at a part of the batch alone: batch norm's own statistics, and dropout."""
    model = TinyModel()
    model.drop.p = 0.0
    model.norm.eval()
    model.norm.train = lambda mode=True: model.norm
    return model


def batch_of(frames):
    return torch.utils.data.default_collate([TinyData()[i] for i in frames])


@pytest.mark.parametrize("parts", [2, 4])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(parts):
    """Although the parts have other numbers of labelled pixels than the whole."""
    whole, cut = calm_model(), calm_model()
    batch = batch_of(range(4))
    batch["semseg"][0, :5] = 255
    batch["edge"][3] = 255
    losses = []
    for model, config in ((whole, CONFIG), (cut, changed(accumulate=parts))):
        stepper = Stepper(model.train(), TASKS, config, parameter_groups(model, 0.05))
        losses.append([stepper(batch, 1e-2) for _ in range(3)])
        assert all(group["fused"] for group in stepper.optimizer.param_groups)
    for a, b in zip(*losses, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    for (name, p), q in zip(whole.named_parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5, msg=name)


def test_float16_trains_close_to_float32_and_resumes_bit_for_bit(tmp_path):
    config = changed(amp="float16")
    whole, records = run(tmp_path / "whole", config=config)
    run(tmp_path / "parts", stop_after=2, config=config)
    parts, _ = run(tmp_path / "parts", config=config, model=TinyModel())
    assert_same(parts.state_dict(), whole.state_dict())
    assert records[-1]["loss"] == pytest.approx(run()[1][-1]["loss"], rel=0.25)  # two of eight steps overflow
    saved = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert saved["optimizer"]["scaler"]["scale"] > 0


def test_an_overflow_in_float16_skips_the_step_and_lowers_the_scale():
    model = calm_model()
    stepper = Stepper(model.train(), TASKS, changed(amp="float16"), parameter_groups(model, 0.05))
    before = copy.deepcopy(model.state_dict())
    scale = stepper.scaler.get_scale()
    model.heads["depth"].bias.register_hook(lambda gradient: gradient * float("inf"))
    stepper(batch_of(range(4)), 1e-2)
    assert_same(model.state_dict(), before)
    assert stepper.scaler.get_scale() < scale


@pytest.fixture
def graphs(monkeypatch):
    """What torch.compile traced. Its back end derives as the real ones do, and needs no C compiler."""
    compiled, traced = torch.compile, []

    def backend(graph, inputs):
        traced.append(graph)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(torch, "compile", lambda code, **options: compiled(code, backend=backend, **options))
    torch._dynamo.reset()
    return traced


def labelled(tasks, n=2, size=64):
    generator = torch.Generator().manual_seed(0)
    batch = {"image": torch.randn(n, 3, size, size, generator=generator)}
    for name, task in tasks.items():
        labels = torch.rand(n, task.channels, size, size, generator=generator)
        if task.kind == "segmentation":
            batch[name] = labels.argmax(1)
        else:
            batch[name] = labels.round() if task.kind == "binary" else labels + 0.1
    return batch


TWO = select(PASCAL, ["human_parts", "normals"])
PARTED = TaskTree(((("human_parts", "normals"),),) * 2 + ((("human_parts",), ("normals",)),) * 2)


@pytest.mark.parametrize(("method", "family", "amp"), [
    ("ptsa", "swin", "float32"), ("ptsa", "pvt", "bfloat16"), ("mtlora", "swin", "bfloat16"),
])  # fmt: skip
def test_a_compiled_step_is_the_step_and_so_is_its_evaluation(graphs, method, family, amp):
    backbone, batch = tiny_family(family)[1], labelled(TWO)
    torch.manual_seed(0)
    plain = build_model(method, backbone, TWO, PARTED if method == "ptsa" else None, rank=2)
    for name, parameter in plain.named_parameters():
        if "_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    seen = []
    for model, compiled in ((plain, False), (copy.deepcopy(plain), True)):
        config = changed(amp=amp, compile=compiled, batch_size=2)
        stepper = Stepper(model.eval(), TWO, config, parameter_groups(model, 0.05))
        with torch.inference_mode(), autocast(stepper.device, amp):
            outputs = model(batch["image"])
        model.train()
        losses = stepper(batch, 1e-3)
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        seen.append((losses, outputs, gradients))
        # at least a block of each stage, two heads, for both modes, and the loss
        assert len(graphs) >= 13 if compiled else not graphs
    (losses, outputs, gradients), (theirs, their_outputs, their_gradients) = seen
    near = 1e-5 if amp == "float32" else 2e-2
    assert losses == pytest.approx(theirs, rel=near)
    for name, y in outputs.items():
        torch.testing.assert_close(y, their_outputs[name], rtol=near, atol=near * float(y.abs().max()))
    largest = max(float(g.abs().max()) for g in gradients.values())
    assert gradients.keys() == their_gradients.keys()
    for name, g in gradients.items():
        torch.testing.assert_close(g, their_gradients[name], rtol=near, atol=near * largest, msg=name)


def test_blocks_that_differ_in_their_drop_path_alone_share_compiled_code(graphs):
    counts = []
    for rate in (0.0, 0.3):
        backbone = tiny_family("swin", drop_path_rate=rate)[1]
        model = build_model("full_finetune", backbone, TWO)
        stepper = Stepper(model.train(), TWO, changed(compile=True, batch_size=2), parameter_groups(model, 0.05))
        torch._dynamo.reset()
        graphs.clear()
        stepper(labelled(TWO), 1e-3)
        counts.append(len(graphs))
    assert counts[0] == counts[1]


def test_the_shared_drop_path_keeps_a_share_and_the_mean():
    module = torch.nn.Sequential(DropPath(0.25))
    module[0].__class__ = SharedDropPath
    module[0].register_buffer("rate", torch.tensor(0.25), persistent=False)
    torch.manual_seed(0)
    y = module(torch.ones(4000, 2, 3))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3]) and (y == y[:, :1, :1]).all()
    assert y.mean() == pytest.approx(1, abs=0.03) and torch.equal(module.eval()(y), y)


@pytest.mark.parametrize("method", METHODS)
def test_every_block_and_head_of_every_method_is_compiled_and_a_copy_is_plain(method):
    model = build_model(method, tiny_backbone(), TWO, PARTED if method == "ptsa" else None, rank=4)
    compile_regions(model)
    compiled = [name for name, module in model.named_modules() if module._compiled_call_impl]
    inner = [m for m in model.modules() if isinstance(m, MultiTaskModel)]
    assert len(compiled) == sum(5 + len(m.heads) for m in inner)  # the tiny backbone has five blocks
    assert not any(module._compiled_call_impl for module in copy.deepcopy(model).modules())


def as_on_a_gpu(monkeypatch, left=10_000, **settings):
    """A stepper that takes its processor for a GPU and any time for long enough, and its model."""
    monkeypatch.setattr(Trial, "SECONDS", 0)
    monkeypatch.setattr(Trial, "STEPS", 2)
    torch.manual_seed(0)
    model = build_model("ptsa", tiny_family("swin")[1], TWO, PARTED, rank=2).train()
    config = changed(batch_size=2, cuda_graph=False, **settings)
    stepper = Stepper(model, TWO, config, parameter_groups(model, 0.05))
    stepper.on_one_gpu = True
    stepper.expect(left)
    return stepper, model


def is_compiled(model) -> bool:
    return any(module._compiled_call_impl for module in model.modules())


@pytest.mark.parametrize("quicker", [True, False])
def test_a_training_in_which_compiling_is_tried_is_the_training(graphs, monkeypatch, quicker):
    seen = []
    for compiled in (False, "auto"):
        stepper, model = as_on_a_gpu(monkeypatch, compile=compiled)
        answers = iter([1.0, 0.5 if quicker else 2.0])  # plain, then compiled
        monkeypatch.setattr("statistics.median", lambda times, answers=answers: next(answers))
        losses = []
        for step in range(6):
            losses.append(stepper(labelled(TWO), 1e-3)["loss"])
            assert is_compiled(model) == (compiled == "auto" and step >= 1 and (quicker or step < 3))
        assert bool(graphs) == (compiled == "auto") and stepper.trial is None
        seen.append(losses)
    assert seen[1] == pytest.approx(seen[0], rel=1e-4) and len(set(seen[0])) == 6


def test_where_nothing_compiles_the_training_is_the_plain_one_to_the_bit(monkeypatch, capsys):
    def fails(*inputs, **options):
        raise RuntimeError("no compiler")

    seen = []
    for compiled in (False, "auto"):
        stepper, model = as_on_a_gpu(monkeypatch, compile=compiled)
        monkeypatch.setattr(torch, "compile", lambda code, **options: fails)
        seen.append([stepper(labelled(TWO), 1e-3) for _ in range(5)])
        assert not is_compiled(model) and stepper.trial is None
    assert seen[0] == seen[1]
    assert "cannot be had here (RuntimeError): the training goes on without it" in capsys.readouterr().out


def test_compiling_is_tried_on_one_gpu_alone_and_where_a_training_need_not_repeat_to_the_bit(monkeypatch):
    stepper, _ = as_on_a_gpu(monkeypatch)
    assert stepper.config.compile == "auto" and stepper.trial.left == 10_000
    assert as_on_a_gpu(monkeypatch, compile=False)[0].trial is None
    torch.use_deterministic_algorithms(True)
    try:
        assert as_on_a_gpu(monkeypatch)[0].trial is None
    finally:
        torch.use_deterministic_algorithms(False)
    stepper.trial, stepper.on_one_gpu = None, False
    stepper.expect(10_000)
    assert stepper.trial is None


@pytest.mark.gpu
def test_on_a_gpu_compiling_is_tried_and_the_training_goes_on(monkeypatch, capsys):
    losses = []
    for compiled in (False, "auto"):
        monkeypatch.setattr(Trial, "SECONDS", 0)
        torch.manual_seed(0)
        model = build_model("ptsa", tiny_family("swin")[1], TWO, PARTED, rank=2).cuda().train()
        config = changed(amp="bfloat16", batch_size=2, compile=compiled)
        stepper = Stepper(model, TWO, config, parameter_groups(model, 0.05))
        stepper.expect(10_000)
        losses.append([stepper(labelled(TWO), 1e-3)["loss"] for _ in range(20)])
        assert stepper.trial is None
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
    assert "a step takes" in capsys.readouterr().out  # not that it cannot be had


@pytest.mark.gpu
def test_on_a_gpu_the_same_seed_gives_the_same_training_bit_for_bit():
    """Nothing in the step is drawn or summed in an order that changes, and torch itself finds nothing either."""
    states = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            torch.manual_seed(0)
            model = build_model("ptsa", tiny_family("swin")[1], TWO, PARTED, rank=2, dropout=0.1).cuda().train()
            config = changed(amp="bfloat16", batch_size=2)
            stepper = Stepper(model, TWO, config, parameter_groups(model, 0.05))
            for _ in range(8):  # of which five are replayed
                stepper(labelled(TWO), 1e-3)
            states.append(copy.deepcopy(model.state_dict()))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same(*states)


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}], ids=str)
@pytest.mark.parametrize("method", ["ptsa", "single_task", "mtlora", "full_finetune"])
def test_a_recorded_step_is_the_step_bit_for_bit(method, settings):
    """Dropout and stochastic depth draw the same numbers, and a batch of another size is recorded anew."""
    losses, batches = [], [labelled(TWO, 2)] * 7 + [labelled(TWO, 4)] * 2 + [labelled(TWO, 2)]
    for recorded in (False, True):
        torch.manual_seed(0)
        backbone = tiny_family("swin")[1]
        model = build_model(method, backbone, TWO, PARTED if method == "ptsa" else None, rank=2, dropout=0.1)
        model = model.cuda().train()
        config = changed(amp="bfloat16", batch_size=2, cuda_graph=recorded, **settings)
        stepper = Stepper(model, TWO, config, parameter_groups(model, 0.05))
        losses.append([stepper(batch, 1e-3) for batch in batches])
        assert bool(stepper.recorded and stepper.recorded.graph) == recorded
    assert losses[0] == losses[1]


@pytest.mark.gpu
def test_a_recorded_step_that_is_not_finite_is_not_taken():
    model = build_model("ptsa", tiny_family("swin")[1], TWO, PARTED, rank=2).cuda().train()
    stepper = Stepper(model, TWO, changed(amp="float32", batch_size=2), parameter_groups(model, 0.05))
    for _ in range(5):
        stepper(labelled(TWO), 1e-3)
    before, batch = copy.deepcopy(dict(model.named_parameters())), labelled(TWO)
    batch["image"][0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError):
        stepper(batch, 1e-3)
    assert_same(dict(model.named_parameters()), before)


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["float32", "bfloat16"])
def test_a_step_on_a_gpu_is_that_of_the_processor_within_the_format(amp):
    losses = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = build_model("ptsa", tiny_family("swin")[1], TWO, PARTED, rank=2).to(device).train()
        stepper = Stepper(model, TWO, changed(amp=amp, batch_size=2), parameter_groups(model, 0.05))
        losses.append([stepper(labelled(TWO), 1e-3) for _ in range(3)])
    for a, b in zip(*losses, strict=True):
        assert a == pytest.approx(b, rel=1e-4 if amp == "float32" else 2e-2)


def test_a_batch_that_its_parts_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="make it a multiple of their product"):
        run(config=changed(accumulate=3))

"""A step in parts, in other number formats, compiled: the same step."""

import copy

import pytest
import torch
from tiny_training import CONFIG, TASKS, TinyData, TinyModel, assert_same, run, tiny  # noqa: F401

from ptsa_lite.recipe import TrainConfig
from ptsa_lite.training.loop import parameter_groups
from ptsa_lite.training.step import Stepper


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


def test_a_compiled_step_is_the_step(monkeypatch):
    """With torch's plain back end, which traces as the real ones do and needs no C compiler."""
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compiled(model, backend="eager", fullgraph=True))
    models = [calm_model(), calm_model()]
    for model, config in zip(models, (CONFIG, changed(compile=True)), strict=True):
        stepper = Stepper(model.train(), TASKS, config, parameter_groups(model, 0.05))
        stepper(batch_of(range(4)), 1e-2)
    for (name, p), q in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6, msg=name)


def test_auto_is_bfloat16_on_a_gpu_and_float32_elsewhere():
    config = TrainConfig()
    assert config.on(torch.device("cuda")).amp == "bfloat16" and config.on(torch.device("cpu")).amp == "float32"
    assert changed(amp="float16").on(torch.device("cpu")).amp == "float16"


def test_a_batch_that_its_parts_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="make it a multiple of their product"):
        run(config=changed(accumulate=3))

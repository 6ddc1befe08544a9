import copy

import pytest
import torch
from tiny import tiny_backbone
from tiny_training import CONFIG, TASKS, TinyData, TinyModel, assert_same, run, timeless, tiny, tiny_loader  # noqa: F401
from torch import nn
from torch.utils.data import TensorDataset

from ptsa_lite.data import open_dataset
from ptsa_lite.losses import total_loss
from ptsa_lite.methods import build_model
from ptsa_lite.metrics import make_meter
from ptsa_lite.recipe import TrainConfig, learning_rate
from ptsa_lite.tasks import IGNORE, SCENES, select
from ptsa_lite.training import loop as training
from ptsa_lite.training.loop import describe, evaluate, train, train_epochs
from ptsa_lite.training.step import parameter_groups


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, stop_after):
    whole, records = run(tmp_path / "whole")
    _, first = run(tmp_path / "parts", stop_after)
    torch.rand(7)  # the caller draws in between
    parts, second = run(tmp_path / "parts", model=TinyModel())
    assert_same(parts.state_dict(), whole.state_dict())
    assert [timeless(r) for r in first + second] == [timeless(r) for r in records]
    a, b = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("parts", "whole"))
    assert_same(a["model"], b["model"])
    for index, state in b["optimizer"]["state"].items():
        assert_same(a["optimizer"]["state"][index], state)


def test_a_training_tells_its_steps_how_many_are_to_come_also_when_it_goes_on(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(training.Stepper, "expect", lambda stepper, steps: told.append(steps))
    for stop_after in (1, 4, 4):
        run(tmp_path, stop_after)
    assert told == [4 * 2, 3 * 2]  # two steps an epoch; a finished training makes none


def test_writing_checkpoints_changes_nothing_and_the_same_seed_gives_the_same_run(tmp_path):
    with_files, without, other = run(tmp_path)[0], run()[0], run(config=training.TrainConfig(**{
        **CONFIG.to_dict(), "seed": 1}))[0]  # fmt: skip
    assert_same(with_files.state_dict(), without.state_dict())
    assert not torch.equal(other.heads["depth"].weight, without.heads["depth"].weight)


def test_a_finished_run_is_restored_and_not_repeated(tmp_path, monkeypatch):
    model, records = run(tmp_path)
    monkeypatch.setattr(training, "_one_epoch", lambda *_: pytest.fail("an epoch was run"))
    again = TinyModel()
    lines = []
    record = train(again, TinyData(), TinyData(5, seed=1), TASKS, CONFIG, tmp_path, lines.append)
    assert record == records[-1] and not lines
    assert_same(again.state_dict(), model.state_dict())
    assert not again.training


def test_the_callers_randomness_is_not_disturbed():
    state = torch.get_rng_state()
    run(stop_after=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_records_hold_what_they_promise():
    model, records = run()
    assert [r["epoch"] for r in records] == [1, 2, 3, 4] and {r["epochs"] for r in records} == {4}
    assert [r["metrics"] is not None for r in records] == [False, False, True, True]  # every third, and the last
    assert records[-1]["metrics"] == evaluate(model, TinyData(5, seed=1), TASKS, batch_size=4)
    weights = {"semseg": 1, "depth": 1, "edge": 50}
    for r in records:
        assert r["loss"] == pytest.approx(sum(weights[name] * value for name, value in r["losses"].items()), rel=1e-5)
        assert r["seconds"] > 0 and (r["seconds_left"] > 0) == (r["epoch"] < 4)
    assert records[-1]["lr"] == learning_rate(4 * 2 - 1, CONFIG, 2)


def test_training_lowers_every_loss_and_only_changes_what_is_trainable():
    start = TinyModel()
    config = TrainConfig(epochs=30, batch_size=5, lr=3e-2, warmup_epochs=1)
    model, records = run(config=config, model=copy.deepcopy(start))
    assert all(records[-1]["losses"][name] < 0.7 * records[0]["losses"][name] for name in TASKS)
    assert torch.equal(model.stem.weight, start.stem.weight)
    assert not torch.equal(model.norm.running_mean, start.norm.running_mean)


def test_steps_equal_those_written_out_by_hand():
    """Clip, decay only where it belongs, rate by step, last partial batch dropped: against torch's unfused AdamW."""
    config = TrainConfig(epochs=1, batch_size=4, lr=1e-2, warmup_epochs=0, clip_norm=0.5)
    data, model = TinyData(11), TinyModel()
    model.drop.p = 0.0
    by_hand = copy.deepcopy(model).train()
    trained = [p for p in by_hand.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if (p.ndim > 1) == decays], "weight_decay": 0.05 * decays}
              for decays in (True, False)]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, foreach=False)
    loader = tiny_loader(data, 4, seed=0, epoch=0)
    for batch, rate in zip(loader, (1e-2, (1e-2 + 1e-4) / 2), strict=False):
        optimizer.zero_grad()
        total_loss(TASKS, by_hand(batch["image"], resize=False), batch)[0].backward()
        norm = torch.cat([p.grad.flatten() for p in trained]).norm()
        assert norm > 0.5
        for p in trained:
            p.grad *= 0.5 / (norm + 1e-6)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    run(config=config, model=model, data=data)
    for (name, p), q in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=2e-6, msg=name)


def test_a_non_finite_loss_stops_before_the_step_and_names_task_epoch_step_and_frames(tmp_path):
    run(tmp_path, stop_after=2)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    model = TinyModel()
    data = TinyData(spoil=6)  # a label went bad after two good epochs
    order = [b["index"].tolist() for b in tiny_loader(data, 4, seed=0, epoch=2, drop_last=True)]
    step = next(i for i, frames in enumerate(order) if 6 in frames)
    with pytest.raises(FloatingPointError) as error:
        run(tmp_path, model=model, data=data)
    message = str(error.value)
    assert message.startswith(f"the loss of depth is not finite in epoch 3, step {step + 1}, frames {order[step]};")
    assert "semseg" not in message and str(tmp_path / "checkpoint.pt") in message
    assert all(p.isfinite().all() for p in model.parameters())
    assert_same(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"], saved["model"])
    model, records = run(tmp_path, model=TinyModel())  # with the label mended it goes on
    assert [r["epoch"] for r in records] == [3, 4]


def test_a_non_finite_gradient_of_finite_losses_stops_too():
    class Endless(TinyModel):
        def forward(self, images, resize=True):
            out = super().forward(images, resize)
            return {**out, "depth": out["depth"] + (self.heads["depth"].bias[0] * 0).abs().sqrt()}  # d sqrt(0) = inf

    with pytest.raises(FloatingPointError, match="the gradient .of finite losses. is not finite in epoch 1, step 1"):
        run(model=Endless())


def test_a_set_whose_labels_are_all_ignored_trains_nothing_and_breaks_nothing():
    class Blank(TinyData):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {key: v if key in ("image", "index") else torch.full_like(v, IGNORE) for key, v in sample.items()}

    model, records = run(data=Blank())
    assert [r["loss"] for r in records] == [0, 0, 0, 0]
    assert all(p.isfinite().all() for p in model.parameters())


class Pair(nn.Module):
    """Two models in one module, as the single-task methods are."""

    def __init__(self, names):
        super().__init__()
        self.models = nn.ModuleDict({name: TinyModel(tasks={name: TASKS[name]}) for name in names})
        for model in self.models.values():
            model.drop.p = 0.0

    def forward(self, images, resize=True):
        return {name: model(images, resize)[name] for name, model in self.models.items()}

    def clip_groups(self):
        return [[p for p in model.parameters() if p.requires_grad] for model in self.models.values()]


def test_models_with_their_own_clip_groups_train_as_if_alone():
    config = TrainConfig(epochs=3, batch_size=4, lr=1e-2, warmup_epochs=0, clip_norm=0.1)
    both, alone = Pair(["depth", "edge"]), Pair(["depth"])
    for model in (both, alone):
        tasks = {name: TASKS[name] for name in model.models}
        list(train_epochs(model, TinyData(), None, tasks, config))
    assert_same(both.models["depth"].state_dict(), alone.models["depth"].state_dict())


def test_weight_decay_spares_norms_biases_and_relative_position_tables():
    model = TinyModel()
    model.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
    model.group_bias = nn.Parameter(torch.zeros(2, 8))  # one bias per group is still a bias
    model.lora_a = nn.Parameter(torch.zeros(2, 4, 8))
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, spared = parameter_groups(model, 0.05)
    assert decayed["weight_decay"] == 0.05 and spared["weight_decay"] == 0
    assert {names[id(p)] for p in decayed["params"]} == {"lora_a", *(f"heads.{task}.weight" for task in TASKS)}
    assert {names[id(p)] for p in spared["params"]} == {
        "norm.weight", "norm.bias", "relative_position_bias_table", "group_bias",
        *(f"heads.{task}.bias" for task in TASKS),
    }  # fmt: skip


def test_evaluation_is_that_of_the_meters_whatever_the_batch_size_and_leaves_the_model_as_it_was():
    model, data = TinyModel().train(), TinyData(7)
    before = copy.deepcopy(model.state_dict())
    results = [evaluate(model, data, TASKS, size) for size in (1, 3, 7)]
    assert model.training
    assert_same(model.state_dict(), before)
    model.eval()
    for name, task in TASKS.items():
        meter = make_meter(task)
        for i in range(7):
            meter.update(model(data[i]["image"][None], resize=False)[name], torch.as_tensor(data[i][name])[None])
        assert [r[name] for r in results] == pytest.approx([meter.compute()] * 3, rel=1e-6)


def test_bfloat16_trains_close_to_float32():
    _, full = run()
    _, half = run(config=TrainConfig(**{**CONFIG.to_dict(), "amp": "bfloat16"}))
    assert half[-1]["loss"] == pytest.approx(full[-1]["loss"], rel=0.05)
    assert half[-1]["loss"] != full[-1]["loss"]


def test_train_reports_a_line_per_epoch_and_returns_the_last_record(capsys):
    record = train(TinyModel(), TinyData(), TinyData(5), TASKS, CONFIG)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and record["epoch"] == 4
    assert lines[0].startswith("epoch 1/4  loss ") and " left" in lines[0] and "mIoU" not in lines[0]
    assert f"semseg mIoU {record['metrics']['semseg']:.2f}" in lines[3]
    assert lines[3] == describe(record, TASKS)


def test_without_a_validation_set_nothing_is_evaluated():
    records = list(train_epochs(TinyModel(), TinyData(), None, TASKS, CONFIG))
    assert all(record["metrics"] is None for record in records)


def test_faults_are_told_before_the_first_epoch(tmp_path):
    with pytest.raises(ValueError, match="batch_size 4 exceeds the 3 training frames"):
        train_epochs(TinyModel(), TinyData(3), None, TASKS, CONFIG)
    with pytest.raises(ValueError, match="no trainable parameter"):
        train_epochs(TinyModel().requires_grad_(False), TinyData(), None, TASKS, CONFIG)
    checkpointing = TrainConfig(gradient_checkpointing=True)
    with pytest.raises(ValueError, match="gradient_checkpointing needs a model with set_grad_checkpointing"):
        train_epochs(TinyModel(), TinyData(32), None, TASKS, checkpointing)


def test_a_task_that_the_model_does_not_predict_is_named():
    model = TinyModel(tasks={"depth": TASKS["depth"]})
    with pytest.raises(ValueError, match="task 'semseg' is asked for, but the model predicts only: depth"):
        evaluate(model, TinyData(), TASKS, 2)
    with pytest.raises(ValueError, match="task 'semseg' is asked for, but the model predicts only: depth"):
        train(model, TinyData(), None, TASKS, CONFIG)


def test_what_was_frozen_by_itself_stays_so_after_an_evaluation():
    model = TinyModel().train()
    part = next(module for module in model.modules() if module is not model)
    part.eval()
    evaluate(model, TinyData(5, seed=1), TASKS, 2)
    assert model.training and not part.training


def test_a_record_that_is_changed_changes_no_history(tmp_path):
    for record in train_epochs(TinyModel(), TinyData(), TinyData(5, seed=1), TASKS, CONFIG, tmp_path):
        record["loss"], record["losses"]["depth"] = "changed", "changed"
    assert "changed" not in (tmp_path / "history.json").read_text(encoding="utf-8")


def test_what_a_training_cannot_take_is_told_in_one_sentence():
    for tasks, config in (([*TASKS], CONFIG), (TASKS, CONFIG.to_dict())):
        with pytest.raises(ValueError, match="give tasks as a map .*, and config as TrainConfig"):
            next(train_epochs(TinyModel(), TinyData(), None, tasks, config))
    with pytest.raises(ValueError, match="a sample of the training set must map image and tasks to tensors"):
        next(train_epochs(TinyModel(), TensorDataset(torch.zeros(8, 3, 8, 8)), None, TASKS, CONFIG))
    model = build_model("decoders_only", tiny_backbone(64), select(SCENES, ["depth"]))
    frames = open_dataset("scenes", n_frames=8, img_size=32, tasks=["depth"])
    with pytest.raises(ValueError, match=r"the training frames are \(32, 32\) and the model is made for \(64, 64\)"):
        next(train_epochs(model, frames, None, select(SCENES, ["depth"]), CONFIG))

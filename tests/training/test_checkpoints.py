import csv
import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from tiny_training import CONFIG, TASKS, TinyData, TinyModel, assert_same, run, tiny  # noqa: F401

from ptsa_lite.data import open_dataset
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.training.checkpoints import Checkpoint, fingerprint, read_history
from ptsa_lite.training.loop import train_epochs


def changed(**settings):
    return TrainConfig(**{**CONFIG.to_dict(), **settings})


def test_a_checkpoint_holds_what_training_changes_and_not_the_frozen_weights(tmp_path):
    model, records = run(tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    everything = model.state_dict()
    assert set(everything) - set(saved["model"]) == {"stem.weight", "stem.bias"}
    assert_same(saved["model"], {name: everything[name] for name in saved["model"]})
    assert saved["history"] == records == read_history(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pt", "history.csv", "history.json"]


@pytest.mark.parametrize(
    ("config", "difference"),
    [
        (changed(lr=2e-2), "lr is 0.01 there and 0.02 here"),
        (changed(seed=5, clip_norm=1.0), "clip_norm is 5.0 there and 1.0 here, seed is 0 there and 5 here"),
        (changed(epochs=9), "epochs is 4 there and 9 here"),
    ],
)
def test_other_settings_are_refused_with_the_difference(tmp_path, config, difference):
    run(tmp_path, stop_after=1)
    with pytest.raises(ValueError, match=f"another training: {difference}.*; set it back .*, or give another folder"):
        run(tmp_path, config=config)


def test_settings_that_do_not_touch_the_weights_may_change(tmp_path):
    run(tmp_path / "a", stop_after=1)
    model, records = run(tmp_path / "a", config=changed(eval_every=1, workers=1))
    assert [r["epoch"] for r in records] == [2, 3, 4]
    assert_same(model.state_dict(), run(tmp_path / "b")[0].state_dict())


@pytest.mark.parametrize("formats", [("float32", "bfloat16"), ("float32", "float16"), ("float16", "float32")])
def test_the_number_format_may_change_as_it_does_between_a_processor_and_a_gpu(tmp_path, formats):
    first, then = (changed(amp=amp) for amp in formats)
    run(tmp_path, stop_after=2, config=first)
    assert [r["epoch"] for r in run(tmp_path, config=then)[1]] == [3, 4]


@pytest.mark.gpu
@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu")])
def test_what_was_begun_on_one_device_goes_on_on_another(tmp_path, devices):
    first, then = (TinyModel().to(device) for device in devices)
    run(tmp_path, stop_after=2, model=first)
    model, records = run(tmp_path, model=then)
    assert [r["epoch"] for r in records] == [3, 4] and next(model.parameters()).device.type == devices[1]


def test_another_model_other_tasks_or_other_data_are_refused(tmp_path):
    run(tmp_path, stop_after=1)

    def refused(words, **other):
        with pytest.raises(ValueError, match=f"another training: {words}"):
            run(tmp_path, **other)

    frozen_differently, less_trained, calmer, scaled = (TinyModel() for _ in range(4))
    frozen_differently.stem.weight.data[0, 0, 0, 0] += 1e-6
    refused("frozen weights differ", model=frozen_differently)
    less_trained.norm.requires_grad_(False)
    refused(r"trained parameters.norm.weight is \[8\] there and not set here", model=less_trained)
    calmer.drop.p = 0.5
    refused(r"dropout is \[0.1\] there and \[0.5\] here", model=calmer)
    scaled.own = {"scale": 1.0}
    refused("model.scale is not set there and 1.0 here", model=scaled)
    refused("training frames is 10 there and 12 here", data=TinyData(12))
    heavier = TASKS | {"depth": replace(TASKS["depth"], loss_weight=3.0)}
    with pytest.raises(ValueError, match="another training: tasks.depth.loss_weight is 1.0 there and 3.0 here"):
        train_epochs(TinyModel(), TinyData(), None, heavier, CONFIG, tmp_path)


def test_the_history_is_also_a_table(tmp_path):
    _, records = run(tmp_path)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["losses depth"]) for row in rows] == [r["losses"]["depth"] for r in records]
    assert rows[0]["metrics depth"] == "" and float(rows[3]["metrics depth"]) == records[3]["metrics"]["depth"]


def test_a_truncated_checkpoint_is_named(tmp_path):
    run(tmp_path, stop_after=1)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="checkpoint.pt cannot be read as a checkpoint .*delete it to start again"):
        run(tmp_path)


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path):
    model, _ = run(tmp_path, stop_after=1)
    path = tmp_path / "checkpoint.pt"
    content, weight = bytearray(path.read_bytes()), model.heads["depth"].weight.detach().numpy().tobytes()
    content[content.index(weight) + 3] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True), "torch itself does not see it"
    with pytest.raises(ValueError, match="checkpoint.pt cannot be read as a checkpoint"):
        run(tmp_path)


@pytest.mark.parametrize("change", [
    {"history": []}, {"history": [{"epoch": 2}]}, {"optimizer": {}}, {"model": {}}, {"model": 3},
], ids=str)  # fmt: skip
def test_a_checkpoint_that_does_not_hold_what_it_says_is_refused(tmp_path, change):
    run(tmp_path, stop_after=1)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(state | change, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint.pt .*delete it"):
        run(tmp_path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    class Foreign:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "it ran"),)

    (tmp_path / "checkpoint.pt").write_bytes(pickle.dumps(Foreign()))
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        run(tmp_path)
    torch.save({"fingerprint": Foreign()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        run(tmp_path)
    assert not (tmp_path / "it ran").exists()


def test_a_kill_while_writing_leaves_the_last_whole_checkpoint(tmp_path):
    run(tmp_path, stop_after=2)
    (tmp_path / ".checkpoint.pt.part").write_bytes(b"half a file")
    (tmp_path / "history.json").unlink()  # killed between the two files
    model, records = run(tmp_path)
    assert [r["epoch"] for r in records] == [3, 4]
    assert [r["epoch"] for r in read_history(tmp_path)] == [1, 2, 3, 4]
    assert_same(model.state_dict(), run()[0].state_dict())
    assert not (tmp_path / ".checkpoint.pt.part").exists()
    (tmp_path / "history.json").unlink()  # the same kill after the last epoch
    assert run(tmp_path)[1] == []
    assert [r["epoch"] for r in read_history(tmp_path)] == [1, 2, 3, 4]


def test_a_failed_write_keeps_the_old_checkpoint_and_leaves_no_rest(tmp_path, monkeypatch):
    run(tmp_path, stop_after=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        run(tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pt", "history.csv", "history.json"]


def test_a_scale_of_labels_is_told_where_there_is_one_and_older_checkpoints_go_on():
    told = fingerprint(TinyModel(), TinyData(), TASKS, CONFIG.to_dict())["tasks"]
    name = next(iter(TASKS))
    scaled = TASKS | {name: replace(TASKS[name], scale=0.001)}
    now = fingerprint(TinyModel(), TinyData(), scaled, CONFIG.to_dict())["tasks"]
    assert "scale" not in told[name] and now[name] == told[name] | {"scale": 0.001}


def test_a_fingerprint_is_plain_and_survives_the_file(tmp_path):
    mark = fingerprint(TinyModel(), TinyData(), TASKS, CONFIG.to_dict())
    assert json.loads(json.dumps(mark)) == mark
    half = TinyModel().bfloat16()
    half.scale = torch.nn.Parameter(torch.tensor(2.0), requires_grad=False)  # a scalar has bytes too
    other = fingerprint(half, TinyData(), TASKS, CONFIG.to_dict())
    assert other["frozen weights"] != mark["frozen weights"]
    optimizer = torch.optim.SGD(TinyModel().parameters())
    assert Checkpoint(tmp_path / "new" / "folder", mark).restore(TinyModel(), optimizer) == []


def test_frames_that_are_augmented_otherwise_are_another_training():
    def of(**options):
        frames = open_dataset("scenes", n_frames=4, img_size=32, tasks=["depth"], **options)
        return fingerprint(TinyModel(), frames, TASKS, CONFIG.to_dict())["augmentation"]

    assert (of(), of(augment=False)) == ("scenes", "none")
    assert fingerprint(TinyModel(), TinyData(), TASKS, CONFIG.to_dict())["augmentation"] == "its own"


def test_a_checkpoint_that_knows_nothing_of_augmentation_goes_on(tmp_path):
    run(tmp_path, stop_after=1)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del saved["fingerprint"]["augmentation"]
    torch.save(saved, tmp_path / "checkpoint.pt")
    assert [record["epoch"] for record in run(tmp_path)[1]] == [2, 3, 4]

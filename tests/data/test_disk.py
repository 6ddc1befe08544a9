"""A disk that is full and a folder that cannot be written: told with path and space, and what was good stays good."""

import multiprocessing
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from archives import write_nyud
from tiny import tiny_backbone

from ptsa_lite.data.disk import alone, make_folder, read_json, write_json, write_whole
from ptsa_lite.data.prepared import prepare_archive
from ptsa_lite.experiments.results import collect
from ptsa_lite.experiments.run import Run
from ptsa_lite.methods import build_model
from ptsa_lite.tasks import PASCAL
from ptsa_lite.training.adapters import save_adapters
from ptsa_lite.training.checkpoints import Checkpoint

if "fork" not in multiprocessing.get_all_start_methods():
    pytest.skip("limits are set in a process of its own, which this system cannot fork", allow_module_level=True)
FORK = multiprocessing.get_context("fork")
NOBODY = 65534


def message_of(action, limit=None) -> str:
    """What an action raises in a process whose files may have `limit` bytes, or that only a nobody runs."""

    def run():
        torch.set_num_threads(1)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        elif os.geteuid() == 0:
            os.seteuid(NOBODY)
        try:
            action()
        except BaseException as error:
            there.send((isinstance(error, OSError), str(error)))
        else:
            there.send((False, "nothing was raised"))

    here, there = FORK.Pipe()
    process = FORK.Process(target=run)
    process.start()
    is_disk, message = here.recv() if here.poll(60) else (False, "no answer")
    process.join(10)
    assert is_disk, message
    assert "\n" not in message and " GB free" in message
    return message


@pytest.fixture
def closed():
    """A folder that may be read and not be written."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def model():
    return build_model("decoders_only", tiny_backbone(), PASCAL)


def test_a_full_disk_is_told_and_the_last_good_checkpoint_stays(tmp_path):
    trained = model()
    optimizer = torch.optim.AdamW(p for p in trained.parameters() if p.requires_grad)
    checkpoint = Checkpoint(tmp_path, {"seed": 0})
    checkpoint.save(trained, optimizer, [{"epoch": 1}])
    before = checkpoint.path.read_bytes()
    said = message_of(lambda: checkpoint.save(trained, optimizer, [{"epoch": 1}, {"epoch": 2}]), limit=100_000)
    assert str(checkpoint.path) in said
    assert checkpoint.path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pt", "history.csv", "history.json"]
    assert checkpoint.restore(model(), optimizer) == [{"epoch": 1}]


def test_a_full_disk_is_told_for_results_and_adapters_and_leaves_the_old_ones(tmp_path):
    write_json(tmp_path / "result.json", {"metrics": 1})
    said = message_of(lambda: write_json(tmp_path / "result.json", ["x" * 1000]), limit=100)
    assert str(tmp_path / "result.json") in said and "File too large" in said
    assert read_json(tmp_path / "result.json") == {"metrics": 1}
    said = message_of(lambda: save_adapters(model(), tmp_path / "a.safetensors"), limit=100)
    assert "a.safetensors" in said and os.listdir(tmp_path) == ["result.json"]


def test_a_full_disk_stops_a_preparation_which_goes_on_later(tmp_path):
    root, out = write_nyud(tmp_path / "archive", train=2, val=1), tmp_path / "out"

    def prepare():
        prepare_archive("nyud", root, out, img_size=32, report=lambda line: None)

    assert str(out) in message_of(prepare, limit=5_000)
    assert not (out / "prepared.json").exists() and not list(out.glob("*/*.arrow"))
    prepare()
    assert (out / "prepared.json").is_file() and len(list(out.glob("*/*.arrow"))) == 2


@pytest.mark.parametrize("action", [
    lambda folder: make_folder(folder / "run"),
    lambda folder: alone(folder).__enter__(),
    lambda folder: write_json(folder / "result.json", {}),
    lambda folder: write_whole(folder / "x", lambda path: torch.save({"a": 1}, path)),
    lambda folder: Checkpoint(folder / "run", {}),
], ids=["folder", "claim", "json", "torch", "checkpoint"])  # fmt: skip
def test_a_folder_that_may_not_be_written_is_named(closed, action):
    assert str(closed) in message_of(lambda: action(closed))


def test_a_preparation_names_the_folder_that_may_not_be_written(closed):
    root = write_nyud(Path(tempfile.mkdtemp()) / "archive", train=1, val=1)
    root.parent.chmod(0o755)
    said = message_of(lambda: prepare_archive("nyud", root, closed / "out", img_size=32, report=lambda line: None))
    assert "Permission denied" in said and str(closed / "out") in said
    shutil.rmtree(root.parent)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"a": ' * 3000, "\xff"])
def test_a_file_that_is_no_json_of_ours_is_named_with_what_to_do(text, tmp_path):
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"run\.json .*; delete it to start again") as error:
        read_json(tmp_path / "run.json")
    assert "\n" not in str(error.value)


def test_a_full_disk_is_told_by_a_study_and_its_results_stay(tmp_path):
    run, study = Run("bitfit", ("semseg",)), tmp_path / "study"
    result = {"name": run.name(), "run": {}, "metrics": {}, "frames": [4, 4], "padding": "." * 10_000}
    write_json(make_folder(study) / f"{run.name()}.json", result)
    collected = tmp_path / "collected" / "study.json"
    assert collect([run], study, collected, "command") == 0
    before = collected.read_bytes()
    said = message_of(lambda: collect([run], study, collected, "command"), limit=5_000)
    assert str(collected) in said
    assert collected.read_bytes() == before and not list(collected.parent.glob("*.part"))

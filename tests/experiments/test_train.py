"""Runs as YAML files and as folders; one that is killed again and again; two processes on one."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from ptsa_lite.__main__ import main
from ptsa_lite.experiments import grow, train
from ptsa_lite.experiments import run as one_run
from ptsa_lite.experiments.settings import read_run
from ptsa_lite.experiments.train import evaluate_run, keep_best, load_run, run_of, train_run
from ptsa_lite.training import distributed
from ptsa_lite.training.adapters import read_metadata
from ptsa_lite.training.checkpoints import read_history

SMALL = {
    "data": "scenes", "n_frames": 16, "img_size": 64, "rank": 2, "method": "lora_shared", "weights": "random",
    "config": {"epochs": 4, "batch_size": 8, "lr": 2e-3, "warmup_epochs": 1, "eval_every": 2},
    "similarity": {"epochs": 1, "frames": 4, "batch_size": 8},
}  # fmt: skip


def small(folder, **changes):
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return read_run(path, changes=changes)


def train_quietly(run, folder):
    torch.set_num_threads(1)
    return train_run(run, folder, report=lambda line: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train_quietly(small(folder), folder / "run")
    return folder / "run"


@pytest.mark.parametrize("theirs", train.LEFT)
def test_what_somebody_else_left_in_a_folder_is_not_written_over(tmp_path, theirs):
    (tmp_path / theirs).write_text("mine")
    with pytest.raises(ValueError, match=f"holds {theirs}, which no training left there; give another --out"):
        train_quietly(small(tmp_path), tmp_path)
    left = {path.name: path.read_text() for path in tmp_path.iterdir() if path.name not in (".lock", "small.yaml")}
    assert left == {theirs: "mine"}


def test_a_killed_training_ends_with_the_same_weights(whole, tmp_path):
    """SIGKILL at three random moments, wherever they fall: in an epoch, an evaluation, or the writing of a file."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ptsa_lite.experiments.train"])
    run, folder, draw = small(tmp_path), tmp_path / "run", random.Random(7)
    killed = 0
    while not (folder / "result.json").is_file():
        process = processes.Process(target=train_quietly, args=(run, folder))
        process.start()
        if killed < 3:
            before = sorted(path.stat().st_mtime_ns for path in folder.glob("*"))
            while process.is_alive() and sorted(p.stat().st_mtime_ns for p in folder.glob("[!.]*")) == before:
                time.sleep(0.005)  # until it has written something
            time.sleep(draw.uniform(0, 0.8))
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        assert killed <= 3 and (process.exitcode in (0, -signal.SIGKILL))
    for name in ("last", "best"):
        ours, theirs = (load_file(run / f"{name}.safetensors") for run in (folder, whole))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name
    assert [r["losses"] for r in read_history(folder)] == [r["losses"] for r in read_history(whole)]


def test_a_run_leaves_its_result_and_is_measured_again_with_the_same_metrics(whole):
    result = json.loads((whole / "result.json").read_text())
    again = evaluate_run(whole)
    assert again["metrics"] == result["metrics"] and again["frames"] == 16
    assert result["name"] == run_of(whole).name() == again["run"]
    best = read_metadata(whole / "best.safetensors")["about"]
    assert "not a fair result" in best["picked"]
    assert evaluate_run(whole, "best")["metrics"] == best["metrics"]
    run, model = load_run(whole)
    assert not model.training and run.method == "lora_shared"


def test_the_best_is_the_best_and_the_last_is_the_last(whole, tmp_path):
    run, model = load_run(whole)
    tasks, folder = model.tasks, tmp_path
    good, bad = ({name: value * (1 + k * (1 if tasks[name].higher_is_better else -1)) for name in tasks
                  for value in (20.0,)} for k in (0.1, -0.1))  # fmt: skip
    first = dict.fromkeys(tasks, 20.0)
    history = []
    for epoch, metrics in enumerate((first, None, good, bad), 1):
        history.append({"epoch": epoch, "metrics": metrics})
        (folder / "history.json").write_text(json.dumps(history))
        keep_best(model, tasks, folder)
    assert read_metadata(folder / "best.safetensors")["about"]["epoch"] == 3


def test_a_tree_given_by_its_groups_is_grown_once_and_kept(tmp_path, monkeypatch):
    run = small(tmp_path, **{"method": "ptsa", "tree": [1, 1, 2, 4], "config.epochs": 2})
    assert run.groups == (1, 1, 2, 4) and run.tree is None
    said = []
    result = train_run(run, tmp_path / "run", said.append)
    assert any(line.startswith("tree (1, 1, 2, 4): ") for line in said)
    tree = run_of(tmp_path / "run").tree
    assert result["run"]["tree"] == tree and result["name"] == run.name() == run_of(tmp_path / "run").name()
    monkeypatch.setattr(grow, "gradient_similarity", lambda *_, **__: pytest.fail("measured again"))
    train_quietly(run, tmp_path / "run")
    assert run_of(tmp_path / "run").tree == tree


def test_weights_are_loaded_once_and_the_model_is_built_once(tmp_path, monkeypatch):
    loaded, built = [], []
    load, build = one_run.load_backbone, one_run.build_model
    monkeypatch.setattr(one_run, "load_backbone", lambda *a, **k: loaded.append(a) or load(*a, **k))
    monkeypatch.setattr(one_run, "build_model", lambda *a, **k: built.append(a) or build(*a, **k))
    train_quietly(small(tmp_path, **{"config.epochs": 2, "n_frames": 8}), tmp_path / "run")
    assert len(loaded) == len(built) == 1


def test_what_cannot_change_the_result_may_change_and_what_may_not_is_named_with_both_values(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    result = json.loads((whole / "result.json").read_text())
    free = {"config.workers": 1, "config.eval_every": 3, "config.gradient_checkpointing": True, "label": "ours"}
    again = train_quietly(small(tmp_path, **free), tmp_path / "run")
    assert again["metrics"] == result["metrics"] and again["name"] == result["name"]
    assert run_of(tmp_path / "run").label == "ours"
    for change, words in (({"config.lr": 0.5}, "config.lr is 0.002 there and 0.5 here"),
                          ({"rank": 3}, "rank is 2 there and 3 here"), ({"seed": 1}, "seed is 0 there and 1 here"),
                          ({"method": "bitfit"}, "method is 'lora_shared' there and 'bitfit' here")):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(words)) as error:
            train_quietly(small(tmp_path, **change), tmp_path / "run")
        assert "holds another run" in str(error.value) and "give another --out" in str(error.value)
        assert not re.search(r"[0-9a-f]{8}", str(error.value).replace(str(tmp_path), "")), "a hash is no reason"


def test_the_command_runs_under_torchrun(tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
               "ptsa_lite", "train", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "run"), "--set",
               "config.epochs=2", "--set", "method=ptsa", "--set", "tree=[1,1,2,4]"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch 2/2") == 1, "one process speaks for all"
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert evaluate_run(tmp_path / "run")["metrics"] == result["metrics"]


def test_train_and_evaluate_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**SMALL, "rows": {"all": {}, "some": {"tasks": ["normals"]}}}))
    config, out = str(tmp_path / "small.yaml"), str(tmp_path / "run")
    assert main(["train", config]) == 2
    assert "name one of: all, some" in capsys.readouterr().err
    assert main(["train", config, "some", "--set", "config.epochs=2", "--out", out]) == 0
    assert "MB in" in capsys.readouterr().out
    assert main(["evaluate", out]) == 0
    assert "normals mean angle" in capsys.readouterr().out
    assert main(["evaluate", out, "--root", "other"]) == 2
    assert "the scenes are drawn, not read from other" in capsys.readouterr().err
    found = json.loads((tmp_path / "run" / "evaluation-last.json").read_text())
    with monkeypatch.context() as there:
        there.setattr(train, "evaluate_run", lambda *_: found | {"frames": 1})
        assert main(["evaluate", out, "--root", "there/other"]) == 0
    for name, frames in (("evaluation-last.json", 16), ("evaluation-last-other.json", 1)):
        assert json.loads((tmp_path / "run" / name).read_text())["frames"] == frames
    for words, sentence in (
        (["train", "nowhere.yaml"], "no settings at nowhere.yaml; give a YAML file, or one of nyud, nyuv2_13"),
        (["train", config, "sme"], "did you mean 'some'"),
        (["train", config, "all", "--set", "ranks=3"], "did you mean 'rank'"),
        (["train", config, "all", "--set", "config.epoch=3"], "did you mean 'epochs'"),
        (["train", config, "all", "--set", "rank"], "write --set KEY=VALUE"),
        (["evaluate", str(tmp_path)], "has no run.json"),
        (["evaluate", out, "--weights", "first"], "unknown weights 'first'"),
    ):  # fmt: skip
        assert main(words) == 2
        assert sentence in capsys.readouterr().err


def test_a_picture_is_predicted_from_the_command_line(whole, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)).save(tmp_path / "photo.png")
    assert main(["predict", str(whole), str(tmp_path / "photo.png"), "--out", str(tmp_path / "maps")]) == 0
    assert "maps of 1 of 1 pictures" in capsys.readouterr().out
    for name in ("semseg", "human_parts", "saliency", "normals"):
        assert np.load(tmp_path / "maps" / f"photo.{name}.npy").shape[:2] == (30, 50)
        assert Image.open(tmp_path / "maps" / f"photo.{name}.png").size == (50, 30)


def test_one_process_is_its_own_company():
    assert (distributed.rank(), distributed.size()) == (0, 1)
    assert distributed.broadcast(3) == 3 and distributed.gather(3) == [3]

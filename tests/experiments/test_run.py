"""One training as plain values: its name, its result, its frames."""

import json
import subprocess
from dataclasses import asdict, replace

import pytest
from archives import write_nyud
from PIL import Image
from tiny import tiny_backbone

from ptsa_lite.experiments import run as runs
from ptsa_lite.experiments.run import Run, open_sets, versions
from ptsa_lite.experiments.train import train_run
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "normals")
TREE = TaskTree(((TASKS,), (TASKS,), (TASKS,), (("semseg",), ("normals",)))).to_dict()
CONFIG = {"epochs": 3, "batch_size": 4, "lr": 1e-3, "warmup_epochs": 1}
SMALL = dict(tasks=TASKS, rank=1, n_frames=4, img_size=64, config=CONFIG)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(runs, "load_backbone", lambda name, weights, img_size, **_: tiny_backbone(img_size))


def test_runs_that_differ_in_anything_that_counts_have_different_names():
    run = Run("ptsa", tree=TREE, **SMALL)
    others = [
        Run("lora_shared", **SMALL), Run("ptsa", tree=TREE, **SMALL | {"rank": 2}),
        Run("ptsa", tree=TREE, seed=1, **SMALL), Run("ptsa", tree=TREE, **SMALL | {"config": CONFIG | {"lr": 2e-3}}),
        Run("ptsa", tree=TaskTree.separate(TASKS).to_dict(), **SMALL),
    ]  # fmt: skip
    assert len({one.name() for one in (run, *others)}) == 6
    assert Run("ptsa", tree=TREE, root="elsewhere", label="ours", **SMALL).name() == run.name()


def test_a_name_is_of_what_decides_the_result_however_it_is_written():
    run = Run("bitfit", **SMALL)
    same = [{"workers": 2}, {"eval_every": 1}, {"gradient_checkpointing": True}, {"warmup_epochs": 1.0},
            {"weight_decay": 0.05}]  # fmt: skip
    assert {Run("bitfit", **SMALL | {"config": CONFIG | other}).name() for other in same} == {run.name()}
    assert Run("bitfit", **SMALL | {"config": CONFIG | {"amp": "bfloat16"}}).name() != run.name()
    assert Run("bitfit", **SMALL | {"rank": [2] * 4}) == Run("bitfit", **SMALL | {"rank": 2})


def test_a_grown_tree_has_the_name_of_its_groups():
    asked = Run("ptsa", groups=(1, 1, 1, 2), **SMALL)
    assert replace(asked, tree=TREE).name() == asked.name() != Run("ptsa", tree=TREE, **SMALL).name()
    assert replace(asked, similarity={"frames": 9}).name() != asked.name()


def test_results_of_scenes_are_of_the_scenes_version(monkeypatch):
    scenes, frames = Run("bitfit", **SMALL), Run("bitfit", data="nyud", **SMALL)
    before = scenes.name(), frames.name()
    monkeypatch.setattr(runs, "SCENES_VERSION", runs.SCENES_VERSION + 1)
    assert scenes.name() != before[0] and frames.name() == before[1]


def test_other_weights_under_the_same_path_make_another_run(tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    first.write_bytes(b"some weights")
    second.write_bytes(b"some weights")
    names = [Run("bitfit", weights=str(path), **SMALL).name() for path in (first, second)]
    second.write_bytes(b"other weights")
    assert names[0] == names[1] != Run("bitfit", weights=str(second), **SMALL).name()
    assert names[0] != Run("bitfit", weights="random", **SMALL).name() != Run("bitfit", **SMALL).name()


def test_a_run_survives_json():
    run = Run("ptsa", tree=TREE, **SMALL | {"rank": (1, 1, 2, 4)})
    again = Run.from_dict(json.loads(json.dumps(asdict(run))))
    assert again == run and again.name() == run.name()


@pytest.mark.parametrize("settings, words", [
    ({"method": "lora_share"}, "did you mean 'lora_shared'"),
    ({"method": "bitfit", "ranks": 4}, "setting of a run 'ranks'; did you mean 'rank'"),
    ({"method": "bitfit", "config": {"epoch": 3}}, "did you mean 'epochs'"),
])  # fmt: skip
def test_an_unknown_method_or_setting_names_the_nearest(settings, words):
    with pytest.raises(ValueError, match=words):
        Run.from_dict({"tasks": TASKS} | settings)


def test_a_result_holds_what_a_table_needs_and_no_path_of_this_machine(tiny, tmp_path):
    lines = []
    result = train_run(Run("ptsa", tree=TREE, **SMALL), tmp_path / "run", report=lines.append)
    assert set(result["metrics"]) == set(result["losses"]) == set(TASKS)
    assert sum(line.startswith("epoch") for line in lines) == 3
    assert result["frames"] == [4, 4] and result["gmacs"] > 0 and result["seconds"] > 0
    assert 0 < result["parameters"]["trainable"] < result["parameters"]["total"]
    root = write_nyud(tmp_path / "archive", train=4, val=4)
    moved = Run("decoders_only", **SMALL | {"data": "nyud", "tasks": ("depth",), "root": str(root)})
    assert train_run(moved, tmp_path / "moved", report=lines.append)["run"]["root"] == "archive"


def test_versions_are_told_without_git(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(runs.subprocess, "run", missing)
    assert versions()["git"] == "not a clone"


def test_the_commit_of_a_project_in_which_the_package_is_installed_is_not_ours(tmp_path, monkeypatch):
    """Its environment often lies in its clone."""
    place = tmp_path / "venv" / "site-packages" / "ptsa_lite" / "experiments"
    place.mkdir(parents=True)
    as_somebody = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run([*as_somebody, "init", "-q"], check=True)
    subprocess.run([*as_somebody, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setattr(runs, "__file__", str(place / "run.py"))
    assert versions()["git"] == "not a clone"


def test_held_out_frames_are_not_trained_on_and_do_not_change_other_names():
    kept, measured = open_sets(Run("bitfit", holdout=4, **SMALL | {"n_frames": 10}))
    assert measured[:]["index"] == [0, 4, 8] and kept[:]["index"] == [1, 2, 3, 5, 6, 7, 9]
    assert Run("bitfit", holdout=4, **SMALL).name() != Run("bitfit", **SMALL).name()


def test_data_in_memory_are_refused_for_a_run_whose_name_is_made_of_its_files():
    run = Run("decoders_only", {"wet": {"kind": "binary"}}, data={"path": [{"image": 1, "wet": 2}]})
    with pytest.raises(ValueError, match="a run's data lie in files, which its name is made of, not in a int"):
        run.name()


def test_a_run_keeps_its_settings_whatever_becomes_of_the_callers():
    config, made = {"epochs": 1, "warmup_epochs": 0.0}, []
    for lr in (1e-4, 1e-3):
        config["lr"] = lr
        made.append(Run("bitfit", ("depth",), config=config))
    assert [run.config["lr"] for run in made] == [1e-4, 1e-3] and made[0].name() != made[1].name()


def test_no_frame_is_trained_on_and_measured_on_when_sets_are_mixed_in_turns(tmp_path):
    paths = []
    for name, n in (("a", 6), ("b", 2)):
        (tmp_path / name).mkdir()
        for i in range(n):
            Image.new("RGB", (32, 32), (i, i, i)).save(tmp_path / name / f"{i}.png")
            Image.new("L", (32, 32), i % 2).save(tmp_path / name / f"m{i}.png")
        rows = "\n".join(json.dumps({"image": f"{i}.png", "wet": f"m{i}.png"}) for i in range(n))
        (tmp_path / name / f"{name}.jsonl").write_text(rows)
        paths.append(str(tmp_path / name / f"{name}.jsonl"))
    run = Run("bitfit", {"wet": {"kind": "binary"}}, data={"path": paths, "mix": "in turns"}, img_size=32, holdout=3)
    trained, measured = ([*part.with_format(None)["index"]] for part in open_sets(run))
    assert sorted(measured) == [0, 3, 6] and {*trained} == {1, 2, 4, 5, 7} and len(trained) > 5

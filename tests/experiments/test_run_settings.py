"""Settings of a run that cannot be are told in one sentence, before an archive is decoded or a similarity measured."""

import pytest
import yaml
from archives import write_nyud

from ptsa_lite.__main__ import main
from ptsa_lite.experiments import plans
from ptsa_lite.experiments.grid import read_grid
from ptsa_lite.experiments.plans import read_plan, train_plan
from ptsa_lite.tree import TaskTree

GOOD = {"data": "scenes", "limit": 16, "img_size": 64, "rank": 2, "method": "ptsa", "weights": "random",
        "tree": [1, 1, 2, 4], "config": {"epochs": 4, "batch_size": 8, "warmup_epochs": 1}}  # fmt: skip
PARTED = "semseg | human_parts+saliency+normals > semseg+human_parts+saliency+normals > semseg > semseg"

BAD = [
    ({"ranks": 3}, "did you mean 'rank'"),
    ({"rank": -1}, "rank -1: give one whole number, 0 or more"),
    ({"rank": [4, 4]}, r"rank \[4, 4\]: give one whole number, 0 or more, or 4 of them"),
    ({"rank": [4, 4, 4, 1.5]}, "rank"), ({"rank": True}, "rank True"), ({"rank": "4"}, "rank '4'"),
    ({"tree": [1, 1, 2]}, "give 4 numbers of groups"), ({"tree": [2, 1, 2, 4]}, "never fall"),
    ({"tree": [1, 1, 2, 5]}, r"counts from 1 to 4 \(tasks\)"), ({"tree": [1, 1, 2, "4"]}, "give whole numbers"),
    ({"tree": PARTED}, "already parted|no group"), ({"tree": "semseg > semseg > semseg > semseg"}, "the tree is over"),
    ({"tree": None}, "ptsa needs a tree"), ({"method": "bitfit"}, "bitfit takes no tree"),
    ({"method": "pstb"}, "unknown method 'pstb'"), ({"method": 3}, "method must be a text, not 3"),
    ({"tasks": "semseg"}, "tasks must be a list of task names"), ({"tasks": ["deph"]}, "did you mean 'depth'"),
    ({"tasks": ["semseg", "semseg"]}, "named twice"), ({"tasks": []}, "tasks must be a list"),
    ({"data": "nyu"}, "unknown data set 'nyu'; did you mean 'nyud'"),
    ({"img_size": 0}, "img_size must be a whole number of at least 1"), ({"limit": -1}, "limit must be"),
    ({"dropout": 1.0}, "dropout must be a number from 0 to below 1"), ({"scale": "4"}, "scale must be a number above"),
    ({"holdout": 1}, "holdout must be 0, or a whole number of at least 2"), ({"seed": -1}, "seed must be"),
    ({"config": 3}, "config must map"), ({"config": {"epoch": 3}}, "did you mean 'epochs'"),
    ({"similarity": {"frame": 3}}, "did you mean 'frames'"), ({"similarity": {"lr": 0}}, "lr must be a number above 0"),
    ({"include": "none.yaml"}, "includes none.yaml, which is no file"), ({"rows": {"a": 3}}, "a row maps settings"),
    ({"include": "run.yaml"}, "includes run.yaml, which includes it"),
]  # fmt: skip


def write(folder, changes):
    (folder / "run.yaml").write_text(yaml.safe_dump(GOOD | changes))
    return folder / "run.yaml"


@pytest.mark.parametrize("changes, words", BAD, ids=[str(changes)[:60] for changes, _ in BAD])
def test_a_setting_that_cannot_be_is_refused_when_the_file_is_read(changes, words, tmp_path):
    path = write(tmp_path, changes)
    with pytest.raises(ValueError, match=words) as error:
        read_plan(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes, words", [
    ({"rank": 5000}, "rank 5000 does not fit a layer"), ({"img_size": 50}, "img_size 50 does not fit"),
    ({"config": GOOD["config"] | {"batch_size": 17}}, "batch_size 17 exceeds the 16 training frames"),
    ({"backbone": "swin_smal"}, "unknown backbone"), ({"weights": "none.safetensors"}, "no weights at none"),
    ({"data": "nyud"}, "needs root="), ({"data": "nyud", "root": "nowhere"}, "nowhere is no folder"),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_what_the_file_alone_does_not_tell_is_refused_before_anything_heavy(changes, words, tmp_path, monkeypatch):
    for heavy in ("grow", "open_sets"):
        monkeypatch.setattr(plans, heavy, lambda *_, **__: pytest.fail("it began"))
    plan = read_plan(write(tmp_path, changes))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        train_plan(plan, tmp_path / "run", lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_an_archive_is_told_before_a_frame_is_read(tmp_path, monkeypatch):
    root = write_nyud(tmp_path / "archive")
    monkeypatch.setattr(plans, "open_sets", lambda run: pytest.fail("it began"))
    plan = read_plan(write(tmp_path, {"data": "nyud", "root": str(root), "limit": 0}))
    with pytest.raises(ValueError, match="batch_size 8 exceeds the 3 training frames"):
        train_plan(plan, tmp_path / "run", lambda line: None)


@pytest.mark.parametrize("text, words", [
    ("grid: {seed: 3}", "grid must map settings to lists"), ("grid: {method: ptsa}", "grid must map"),
    ("runs: {method: ptsa}", "runs must be a list of settings"), ("name: ../x", "name '../x' names files"),
    ("base: 4", "base must map settings"), ("runs: [{method: bitfit, config: 3}]", "config must map"),
    ("runs: [{method: bitfit, img_size: big}]", "img_size must be a whole number"),
    ("runs: [{method: ptsa, tree: {every: [1, 1, 2]}}]", "the tree has 3 stages, the backbone 4"),
    ("runs: [{method: lora_shared, tree: 'semseg'}]", "takes no tree"), ("- 1", "must map settings"),
    ("runs: [{method: bitfit}]\nruns: [{method: mtlora}]", "'runs' stands twice"),
])  # fmt: skip
def test_a_grid_that_cannot_be_is_refused_when_it_is_read(text, words, tmp_path):
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_grid(tmp_path / "g.yaml")


@pytest.mark.parametrize("data", [
    {"stages": "ab"}, {"stages": ["ab"]}, {"stages": [["ab"]]}, {"stages": [[["a", ["b"]]]]}, {"stages": 3}, [], None,
    {"stages": [[["a", 1]]]}, {"stages": [[["a", ""]]]},
], ids=str)  # fmt: skip
def test_a_text_where_a_list_of_names_should_stand_is_no_tree(data):
    with pytest.raises(ValueError, match="a tree is written as"):
        TaskTree.from_dict(data)


def test_a_run_json_that_was_changed_by_hand_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    for text, words in (("{", "cannot be read as JSON"), ('{"method": "bitfit", "rank": -1}', "rank -1")):
        (tmp_path / "run.json").write_text(text)
        assert main(["evaluate", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert f"{tmp_path / 'run.json'}" in said and words in said and said.count("\n") == 1

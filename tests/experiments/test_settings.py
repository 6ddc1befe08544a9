"""One language of settings; what cannot be is told in one sentence, before an archive is decoded or a model trained."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from archives import write_nyud

from ptsa_lite.__main__ import main
from ptsa_lite.experiments import queue, train
from ptsa_lite.experiments import run as one_run
from ptsa_lite.experiments.settings import changes_of, read_plan, read_run, read_runs, rows_of
from ptsa_lite.experiments.train import train_run
from ptsa_lite.tree import TaskTree

GRIDS = Path(__file__).resolve().parents[2] / "figures" / "grids"
GOOD = {"data": "scenes", "n_frames": 16, "img_size": 64, "rank": 2, "method": "ptsa", "weights": "random",
        "tree": [1, 1, 2, 4], "config": {"epochs": 4, "batch_size": 8, "warmup_epochs": 1}}  # fmt: skip
PARTED = "semseg | human_parts+saliency+normals > semseg+human_parts+saliency+normals > semseg > semseg"

BAD = [
    ({"ranks": 3}, "did you mean 'rank'"),
    ({"rank": -1}, "rank -1: give a whole number, 0 or more"),
    ({"rank": [4, 4]}, r"rank \[4, 4\]: give a whole number, 0 or more, or 4 of them"),
    ({"rank": [4, 4, 4, 1.5]}, "rank"), ({"rank": True}, "rank True"), ({"rank": "4"}, "rank '4'"),
    ({"tree": [1, 1, 2]}, "give 4 numbers of groups"), ({"tree": [2, 1, 2, 4]}, "never fall"),
    ({"tree": [1, 1, 2, 5]}, r"counts from 1 to 4 \(tasks\)"), ({"tree": [1, 1, 2, "4"]}, "give whole numbers"),
    ({"tree": PARTED}, "separated|0 groups"), ({"tree": "semseg > semseg > semseg > semseg"}, "the tree is over"),
    ({"tree": None}, "ptsa needs a tree"), ({"tree": {"every": 4}}, "groups per stage 4"),
    ({"tree": {"all": [1]}}, "a tree is written as"), ({"tree": []}, "ptsa needs a tree"),
    ({"method": "bitfit"}, "bitfit takes no tree"),
    ({"method": "pstb"}, "unknown method 'pstb'"), ({"method": 3}, "method must be a text, not 3"),
    ({"tasks": "semseg"}, "tasks must be a list of task names"), ({"tasks": ["deph"]}, "did you mean 'depth'"),
    ({"tasks": ["semseg", "semseg"]}, "each once"), ({"tasks": []}, "tasks must be a list"),
    ({"data": "nyu"}, "unknown data set 'nyu'; did you mean 'nyud'"),
    ({"img_size": 0}, "img_size must be a whole number of at least 1"),
    ({"n_frames": 0}, "n_frames must be a whole number of at least 1, or null"),
    ({"limit": 5}, "unknown setting of a run 'limit'"),
    ({"dropout": 1.0}, "dropout must be a number from 0 to below 1"), ({"scale": "4"}, "scale must be a number above"),
    ({"holdout": 1}, "holdout must be 0, or a whole number of at least 2"), ({"seed": -1}, "seed must be"),
    ({"config": 3}, "config must map"), ({"config": {"epoch": 3}}, "did you mean 'epochs'"),
    ({"config": {"seed": 1}}, "config.seed is 1, and seed 0; give seed alone"),
    ({"similarity": {"frame": 3}}, "did you mean 'frames'"), ({"similarity": {"lr": 0}}, "lr must be a number above 0"),
    ({"metrics": {"semseg": 3}}, "metrics must be a map of tasks to metrics"),
    ({"include": "none.yaml"}, "includes none.yaml, which is no file"),
    ({"rows": {"a": 3}}, "rows must be a map of names to settings"),
    ({"include": "run.yaml"}, "includes run.yaml, which includes it"),
    ({"plan": {"others": [["a", "b"]]}}, r"plan must be a map that names primary: \[LABEL, LABEL\]"),
    ({"plan": 3}, "plan must be a map"), ({"plan": {"primary": ["a"]}}, "primary must be two different labels"),
    ({"plan": {"primary": ["a", "a"]}}, "primary must be two different labels"),
    ({"plan": {"primary": ["a", "b"], "others": ["a", "b"]}}, "others must be a list of pairs"),
    ({"plan": {"primary": ["a", "b"], "margin": 0}}, "margin must be a number above 0"),
    ({"plan": {"primary": ["a", "b"], "margins": 1}}, "unknown part of a plan 'margins'; did you mean 'margin'"),
    ({"plan": {"primary": ["a", "b"], "remark": 1}}, "remark must be a text"),
]  # fmt: skip


def write(folder, changes):
    (folder / "run.yaml").write_text(yaml.safe_dump(GOOD | changes))
    return folder / "run.yaml"


@pytest.mark.parametrize("changes, words", BAD, ids=[str(changes)[:60] for changes, _ in BAD])
def test_a_setting_that_cannot_be_is_refused_when_the_file_is_read(changes, words, tmp_path):
    path = write(tmp_path, changes)
    for read in (read_run, read_runs):
        with pytest.raises(ValueError, match=words) as error:
            read(path)
        assert "\n" not in str(error.value) and "run.yaml" in str(error.value)


@pytest.mark.parametrize("changes, words", [
    ({"rank": 5000}, "rank 5000 does not fit a layer"), ({"img_size": 50}, "img_size 50 does not fit"),
    ({"config": GOOD["config"] | {"batch_size": 17}}, "batch_size 17 exceeds the 16 training frames"),
    ({"backbone": "swin_smal"}, "unknown backbone"), ({"weights": "none.safetensors"}, "no weights at none"),
    ({"data": "nyud"}, "needs root="), ({"data": "nyud", "root": "nowhere"}, "nowhere is no folder"),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_what_the_file_alone_does_not_tell_is_refused_before_anything_heavy(changes, words, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "grow", lambda *_, **__: pytest.fail("it began"))
    monkeypatch.setattr(one_run, "open_sets", lambda *_, **__: pytest.fail("it began"))
    run = read_run(write(tmp_path, changes))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        train_run(run, tmp_path / "run", lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_an_archive_is_told_before_a_frame_is_read(tmp_path, monkeypatch):
    root = write_nyud(tmp_path / "archive")
    monkeypatch.setattr(one_run, "open_sets", lambda *_: pytest.fail("it began"))
    run = read_run(write(tmp_path, {"data": "nyud", "root": str(root), "n_frames": None}))
    with pytest.raises(ValueError, match="batch_size 8 exceeds the 3 training frames"):
        train_run(run, tmp_path / "run", lambda line: None)


@pytest.mark.parametrize("text, words", [
    ("grid: {seed: 3}", "grid must be a map of settings to lists"), ("grid: {method: ptsa}", "grid must be a map"),
    ("grid: {seed: []}", "grid must be a map"), ("runs: {method: ptsa}", "runs must be a list of settings"),
    ("runs: []", "runs must be a list"), ("method: bitfit\nruns: [{config: 3}]", "row 1: config must map"),
    ("bass: {}", "unknown setting of a run 'bass'"), ("runs: [{method: ptsb}]", "row 1: unknown method 'ptsb'"),
    ("runs: [{metod: ptsa}]", "did you mean 'method'"),
    ("runs: [{method: bitfit, img_size: big}]", "img_size must be a whole number"),
    ("runs: [{method: ptsa, tree: {every: [1, 1, 2]}}]", "the tree has 3 stages, the backbone 4"),
    ("runs: [{method: lora_shared, tree: 'semseg'}]", "takes no tree"), ("- 1", "must map settings"),
    ("runs: [{method: bitfit}]\nruns: [{method: mtlora}]", "'runs' stands twice"),
])  # fmt: skip
def test_a_grid_that_cannot_be_is_refused_when_it_is_read(text, words, tmp_path):
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_runs(tmp_path / "g.yaml")


def test_a_grid_is_multiplied_out_and_joined_with_its_rows(tmp_path):
    (tmp_path / "g.yaml").write_text(
        "img_size: 64\nconfig: {epochs: 3, warmup_epochs: 1}\ngrid: {seed: [0, 1], config.lr: [0.1]}\n"
        "rows: {small: {method: mtlora, rank: 2}}\nruns: [{method: bitfit, config: {batch_size: 4}}]"
    )
    runs = read_runs(tmp_path / "g.yaml")
    assert [(r.seed, r.method, r.rank) for r in runs] == [
        (0, "mtlora", 2), (0, "bitfit", 16), (1, "mtlora", 2), (1, "bitfit", 16),
    ]  # fmt: skip
    assert runs[1].config == {"epochs": 3, "warmup_epochs": 1, "lr": 0.1, "batch_size": 4} and runs[1].img_size == 64
    assert len({r.name() for r in runs}) == 4 and all(len(r.tasks) == 4 for r in runs)
    assert [r.seed for r in read_runs(tmp_path / "g.yaml", {"seed": 5})] == [5, 5]  # --set goes over the grid


def test_train_takes_one_run_of_a_grid_and_says_how_where_there_are_several(tmp_path):
    (tmp_path / "g.yaml").write_text("grid: {seed: [0, 1]}\nrows: {a: {method: bitfit}}\nruns: [{method: mtlora}]")
    assert rows_of(tmp_path / "g.yaml") == ["a", "1"]
    assert read_run(tmp_path / "g.yaml", "1", {"seed": 1}).method == "mtlora"
    with pytest.raises(ValueError, match=r"g.yaml a describes 2 runs; choose one by --set seed=VALUE"):
        read_run(tmp_path / "g.yaml", "a")
    with pytest.raises(ValueError, match="holds several rows; name one of: a, 1"):
        read_run(tmp_path / "g.yaml")


def test_rows_overlay_files_that_overlay_files(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(GOOD))
    top = {"include": "base.yaml", "config": {"epochs": 9}, "rows": {"one": {"rank": 5, "config": {"lr": 0.3}}}}
    (tmp_path / "top.yaml").write_text(yaml.safe_dump(top))
    run = read_run(tmp_path / "top.yaml", "one", {"config.eval_every": 4})
    assert run.rank == 5 and run.config == GOOD["config"] | {"epochs": 9, "lr": 0.3, "eval_every": 4}
    assert rows_of(tmp_path / "top.yaml") == ["one"] and rows_of(tmp_path / "base.yaml") == []


def test_a_plan_names_conditions_by_their_labels_and_changes_no_run(tmp_path):
    path = tmp_path / "g.yaml"
    text = "runs: [{method: bitfit}, {method: bitfit, rank: 2, label: mine}, {method: mtlora}]\n"
    path.write_text(text)
    runs = read_runs(path)
    with pytest.raises(ValueError, match="g.yaml holds no plan"):
        read_plan(path)
    path.write_text(text + "plan: {primary: [mine, BitFit], others: [[MTLoRA, mine]], margin: 1}")
    assert read_runs(path) == runs
    plan = {"primary": ["mine", "BitFit"], "others": [["MTLoRA", "mine"]], "margin": 1}
    assert read_plan(path) == plan | {"remark": ""}
    path.write_text(text + "plan: {primary: [mine, MTLora]}")
    with pytest.raises(ValueError, match="unknown label in the plan of .*g.yaml 'MTLora'; did you mean 'MTLoRA'"):
        read_plan(path)


def test_a_tree_is_written_as_printed_or_as_groups_or_as_every_one_for_train_and_study_alike(tmp_path):
    tree = "semseg+human_parts+saliency+normals > semseg | human_parts+saliency+normals"
    tree += " > semseg | human_parts+saliency+normals" * 2
    printed, grown = (read_run(write(tmp_path, {"tree": one})) for one in (tree, [1, 1, 2, 4]))
    assert printed.tree["stages"][1] == [["semseg"], ["human_parts", "saliency", "normals"]] and not printed.groups
    assert grown.groups == (1, 1, 2, 4) and grown.tree is None and read_runs(tmp_path / "run.yaml") == [grown]
    every = read_runs(write(tmp_path, {"tree": {"every": [1, 1, 2, 4]}}))
    assert len({run.name() for run in every}) == 7 and all(run.tree and not run.groups for run in every)
    with pytest.raises(ValueError, match="describes 7 runs; choose one by --set tree=VALUE"):
        read_run(tmp_path / "run.yaml")
    assert read_run(tmp_path / "run.yaml", changes={"tree": str(TaskTree.from_dict(every[3].tree))}) == every[3]


def test_a_value_on_the_command_line_is_read_as_in_a_file():
    assert changes_of(["a.b=[1, 2]", "c=x"]) == {"a.b": [1, 2], "c": "x"}
    with pytest.raises(ValueError, match=r"the value in --set a=\[1 is no YAML"):
        changes_of(["a=[1"])


def test_the_settings_that_come_with_the_project_are_readable():
    grids = sorted(GRIDS.glob("*.yaml"))
    assert grids and all(len(read_runs(grid)) > 1 for grid in grids)
    assert all(read_plan(grid)["primary"] for grid in grids if "\nplan:" in grid.read_text(encoding="utf-8"))
    assert all(len(read_runs(name)) == len(rows_of(name)) > 9 for name in ("pascal", "nyud"))


def test_a_study_of_some_of_a_files_rows(monkeypatch, tmp_path):
    named = ["mtlora_r64", "single_task"]
    assert [run.label for run in read_runs("nyud", names=named)] == ["MTLoRA r64", "Single task"]
    with pytest.raises(ValueError, match="unknown row of nyud.yaml 'mtlora_r46'; did you mean 'mtlora_r64'"):
        read_runs("nyud", names=["mtlora_r46"])
    monkeypatch.chdir(tmp_path)
    begun, given = (
        [],
        ["--rows", "mtlora_r64,single_task", "--set", "backbone=swin_small_distilled", "--set", "rank=[4, 8, 8, 8]"],
    )

    def run_study(runs, *_):
        begun.extend(run.method for run in runs)
        begun.append(json.loads(Path("figures/results/nyud.json").read_text())["command"])

    monkeypatch.setattr(queue, "run_study", run_study)
    assert main(["study", "nyud", *given]) == 0
    command = "python -m ptsa_lite study nyud --rows mtlora_r64,single_task --set backbone=swin_small_distilled"
    assert begun == ["mtlora", "single_task", f"{command} --set 'rank=[4, 8, 8, 8]'"]
    assert not [*Path("figures/results").iterdir()], "nothing is left of a study that came to nothing"
    shutil.rmtree("figures/results")
    begun.clear()
    Path("figures/results").touch()  # what cannot be written is told before anything is trained
    assert main(["study", "nyud", "--set", "backbone=swin_small_distilled"]) == 1 and not begun


def test_a_part_of_a_grid_or_a_changed_one_takes_no_result_out_of_the_grids_file(tmp_path, monkeypatch, capsys):
    """Neither when it is refused. The file's command is that of what it holds."""
    monkeypatch.chdir(tmp_path)
    tiny = {
        "tasks": ["semseg"],
        "n_frames": 4,
        "img_size": 32,
        "config": {"epochs": 1, "batch_size": 4, "warmup_epochs": 0},
    }
    rows = {"a": {"method": "bitfit"}, "b": {"method": "decoders_only"}}
    Path("g.yaml").write_text(yaml.safe_dump(tiny | {"rows": rows, "grid": {"seed": [0]}}))
    path = Path("figures/results/g.json")
    assert main(["study", "g.yaml", "--rows", "b"]) == 0
    assert json.loads(path.read_text())["command"] == "python -m ptsa_lite study g.yaml --rows b"
    assert main(["study", "g.yaml"]) == 0
    whole = json.loads(path.read_text())
    assert whole["command"] == "python -m ptsa_lite study g.yaml" and len(whole["runs"]) == 2
    assert main(["study", "g.yaml", "--rows", "a"]) == 0 and json.loads(path.read_text()) == whole
    capsys.readouterr()
    assert main(["study", "g.yaml", "--set", "config.batch_size=400"]) == 2
    assert "g.json holds 2 results of the grid as it stands, which --set would put aside" in capsys.readouterr().err
    assert json.loads(path.read_text()) == whole
    Path("h.yaml").write_text(yaml.safe_dump(tiny | {"rows": rows, "grid": {"seed": [0]}, "n_frames": 3}))
    assert main(["study", "h.yaml"]) == 2
    assert "run bitfit-r16-s0" in (said := capsys.readouterr().err) and "batch_size 4 exceeds the 3 training" in said
    assert not [*Path("runs/study/h").iterdir()] and not Path("figures/results/h.json").exists()


def test_what_the_grid_varies_no_row_may_fix(tmp_path):
    for settings, key in (({"rank": 2}, "rank"), ({"config": {"lr": 0.1}}, "config.lr")):
        grid = {"rows": {"a": {"method": "bitfit"} | settings}, "grid": {key: [1, 2], "seed": [0]}}
        (tmp_path / "g.yaml").write_text(yaml.safe_dump(grid))
        with pytest.raises(ValueError, match=f"g.yaml, row a: it sets {key}, which the grid varies"):
            read_runs(tmp_path / "g.yaml")


@pytest.mark.parametrize(("settings", "words"), [
    ({"tree": {"by_seed": []}}, "by_seed must be a list of trees"),
    ({"tree": {"by_seed": 3}}, "by_seed must be a list of trees"),
    ({"tree": {"by_seed": ["a"]}, "seed": "b"}, "seed must be a whole number"),
    ({"metrics": {"semseg": "odsF"}}, "task 'semseg': odsF measures binary, not segmentation"),
])  # fmt: skip
def test_more_that_cannot_be_is_refused_with_its_file(settings, words, tmp_path):
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"method": "bitfit"} | settings))
    with pytest.raises(ValueError, match=f"one.yaml: {words}"):
        read_run(tmp_path / "one.yaml")


@pytest.mark.parametrize("data", [
    {"stages": "ab"}, {"stages": ["ab"]}, {"stages": [["ab"]]}, {"stages": [[["a", ["b"]]]]}, {"stages": 3}, [], None,
    {"stages": [[["a", 1]]]}, {"stages": [[["a", ""]]]},
], ids=str)  # fmt: skip
def test_a_text_where_a_list_of_names_should_stand_is_no_tree(data):
    with pytest.raises(ValueError, match="a tree is (written as|stages of groups)"):
        TaskTree.from_dict(data)


def test_a_run_json_that_was_changed_by_hand_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    wrong = '{"method": "bitfit", "tasks": ["depth"], "rank": -1}'
    for text, words in (("{", "cannot be read as JSON"), (wrong, "rank -1")):
        (tmp_path / "run.json").write_text(text)
        assert main(["evaluate", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert f"{tmp_path / 'run.json'}" in said and words in said and said.count("\n") == 1


def test_data_that_differ_only_in_their_folder_are_not_taken_for_one_run(tmp_path):
    rows = {name: {"data": {"path": f"{name}/rows.jsonl"}} for name in ("first", "second")}
    grid = {"method": "bitfit", "tasks": {"wet": {"kind": "binary"}}, "rows": rows}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(grid))
    with pytest.raises(
        ValueError, match="g.yaml, row second: its data and those of another run differ only in the folder"
    ):
        read_runs(tmp_path / "g.yaml")

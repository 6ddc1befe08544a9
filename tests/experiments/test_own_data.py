"""Tasks and data of one's own by a YAML file: trained, grown, resumed, moved, tabled; refused in one sentence."""

import shutil

import datasets
import numpy as np
import pytest
import torch
import yaml
from archives import random_frame, save

from ptsa_lite.__main__ import main
from ptsa_lite.data.disk import read_json
from ptsa_lite.experiments.run import Run, open_sets, run_tasks
from ptsa_lite.experiments.settings import read_run, read_runs
from ptsa_lite.experiments.tables import table_of_methods
from ptsa_lite.tasks import IGNORE

SETTINGS = {
    "data": {"path": "set", "columns": {"material": "mask"}},
    "tasks": {"material": {"kind": "segmentation", "classes": 20}, "reach": {"kind": "regression", "unit": "px"},
              "wet": {"kind": "binary", "loss_weight": 5}},
    "method": "ptsa", "tree": [1, 1, 2, 3], "img_size": 32, "rank": 2, "weights": "random", "holdout": 3,
    "similarity": {"epochs": 1, "frames": 4, "batch_size": 2},
    "config": {"epochs": 1, "batch_size": 2, "warmup_epochs": 0.0},
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with data (two kinds of masks and numbers in a csv) and the settings of a training on them."""
    monkeypatch.chdir(tmp_path)
    lines = ["file_name,mask_file_name,wet_file_name,reach"]
    for i in range(6):
        made = random_frame(i)
        save(tmp_path / f"set/{i}.jpg", made["image"])
        save(tmp_path / f"set/{i}_mask.png", made["semseg"])
        save(tmp_path / f"set/{i}_wet.png", made["edge"] * np.uint8(255))
        save(tmp_path / f"set/{i}.npy", made["depth"] * 30)
        lines.append(f"{i}.jpg,{i}_mask.png,{i}_wet.png,{i}.npy")
    (tmp_path / "set/metadata.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def write(place, changes=(), name="own.yaml"):
    (place / name).write_text(yaml.safe_dump(SETTINGS | dict(changes)))
    return str(place / name)


def test_a_yaml_file_trains_tasks_of_one_s_own_from_the_similarity_to_the_table(place, capsys):
    path = write(place)
    assert main(["data", "verify", path]) == 0
    said = capsys.readouterr().out
    assert "Ready" in said and "no split val" not in said  # a third of the training frames is held out
    assert main(["train", path, "--out", "run"]) == 0
    result = read_json(place / "run/result.json")
    assert result["metrics"].keys() == SETTINGS["tasks"].keys() and result["frames"] == [4, 2]
    row = table_of_methods([result])[0]
    assert row["tree"] == "(1, 1, 2, 3)" and str(place) not in str(result)
    assert main(["evaluate", "run"]) == 0 and "reach RMSE (px)" in capsys.readouterr().out
    shutil.move(place / "set", place / "elsewhere")
    assert main(["evaluate", "run"]) == 2 and "there is no set; give the folder" in capsys.readouterr().err
    (place / "other").mkdir()
    shutil.move(place / "elsewhere", place / "other/set")
    assert main(["evaluate", "run", "--root", "other"]) == 0


def test_a_tree_is_grown_for_tasks_that_no_frame_is_labelled_for_together(place, capsys):
    table = place / "set/metadata.csv"
    first, *rows = [line.split(",") for line in table.read_text().split()]
    for i, row in enumerate(rows):
        row[1 + i % 2] = ""  # no mask, or no wet
    table.write_text("\n".join(map(",".join, [first, *rows])) + "\n")
    path = write(place, {"similarity": {"epochs": 1, "frames": 4, "batch_size": 4}})
    assert main(["train", path, "--out", "run"]) == 0
    assert "labelled on no frame together, so similarity is that of different frames" in capsys.readouterr().out
    same = np.array(read_json(place / "run/similarity.json")["readings"]["plain, same"]["matrix"], float)
    assert np.argwhere(np.isnan(same)).tolist() == [[0, 2], [2, 0]]
    assert main(["train", write(place, {"holdout": 2}), "--out", "half"]) == 2 and not (place / "half").exists()
    assert "holdout 2 leaves no frame with a label of task 'material' to measure on" in capsys.readouterr().err


def test_a_run_s_name_depends_on_what_is_trained_and_not_on_where_it_lies(place):
    run = read_run(write(place))
    assert Run.from_dict(run.__dict__) == run and run_tasks(run)["wet"].loss_weight == 5
    assert read_run(write(place, {"data": SETTINGS["data"] | {"path": "/far/away/set"}})).name() == run.name()
    changed = [{"data": SETTINGS["data"] | {"path": "set2"}}, {"data": SETTINGS["data"] | {"augment": "none"}},
               {"tasks": SETTINGS["tasks"] | {"wet": {"kind": "binary", "loss_weight": 6}}}]  # fmt: skip
    assert len({run.name(), *(read_run(write(place, one)).name() for one in changed)}) == 4
    few = read_run(write(place), changes={"tasks.reach": {"kind": "regression", "loss_weight": 2}})
    assert run_tasks(few)["reach"].loss_weight == 2 and list(run_tasks(few)) == list(SETTINGS["tasks"])


def test_a_grid_may_leave_tasks_out(place):
    described = SETTINGS["data"] | {"tasks": SETTINGS["tasks"]}
    runs = read_runs(write(place, {"data": described, "tree": None, "method": "bitfit", "tasks": ["wet"],
                                   "grid": {"tasks": [["wet"], ["reach", "material"]]}}))  # fmt: skip
    assert [list(run_tasks(run)) for run in runs] == [["wet"], ["material", "reach"]]


BAD = [
    ({"tasks": ["wet"]}, "tasks with their kinds"), ({"data": "scenes"}, "data 'scenes' has tasks of its own"),
    ({"tasks": {"wet": {"kind": "binry"}}}, "task 'wet': unknown kind 'binry'; did you mean 'binary'"),
    ({"data": {"columns": {}}}, "data says no path"), ({"data": 3}, "data must be a text, or a map"),
    ({"tasks": {"index": {"kind": "binary"}}}, "one that rows of frames have already"),
    ({"data": {"path": "set", "columns": {"wetness": "mask"}}}, "unknown task in data.columns 'wetness'"),
]  # fmt: skip


@pytest.mark.parametrize("changes, words", BAD, ids=[words[:40] for _, words in BAD])
def test_settings_that_cannot_be_are_refused_when_they_are_read(place, changes, words):
    with pytest.raises(ValueError, match=words) as error:
        read_run(write(place, {"method": "bitfit", "tree": None} | changes))
    assert "own.yaml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("changes, words", [
    ({"data": {"path": "set", "columns": {"material": "maks"}}}, "unknown column for task 'material': 'maks'; did you"),
    ({"data": {"path": "sett"}}, "there is no sett; give the folder"), ({"holdout": 0}, "holdout: 5"),
    ({"tasks": {"material": {"kind": "segmentation", "classes": 3}}, "method": "bitfit", "tree": None}, "holds class"),
])  # fmt: skip
def test_what_cannot_be_trained_is_told_before_a_training_and_leaves_nothing(place, changes, words, capsys):
    assert main(["train", write(place, changes), "--out", "run"]) == 2
    assert words in capsys.readouterr().err and not (place / "run").exists()


def write_hub(root, n=6):
    """Parquet as tanganke/nyuv2 has it on the hub, by the library's own writer."""
    size, rng = (24, 32), np.random.default_rng(0)
    shapes = {"image": (3, *size), "segmentation": size, "depth": (1, *size), "normal": (3, *size)}
    kinds = {key: (datasets.Array2D if len(shape) == 2 else datasets.Array3D)(shape, "float32" if len(shape) > 2
             else "int64") for key, shape in shapes.items()}  # fmt: skip
    rows = {"image": rng.integers(0, 256, (n, *shapes["image"])) / 255, "depth": rng.uniform(0.7, 9, (n, 1, *size)),
            "segmentation": rng.integers(-1, 13, (n, *size)), "normal": rng.normal(size=(n, 3, *size))}  # fmt: skip
    rows["normal"] /= np.linalg.norm(rows["normal"], axis=1, keepdims=True)
    rows["depth"][:, :, -4:] = rows["normal"][:, :, :4] = 0
    (root / "data").mkdir(parents=True)
    for split in ("train", "val"):
        table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
        table.to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")
    return rows


def test_the_hub_s_nyuv2_with_13_classes_is_read_by_its_settings_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PTSA_CACHE", str(tmp_path / "cache"))
    rows = write_hub(tmp_path / "nyuv2")
    small = {"data.path": str(tmp_path / "nyuv2"), "img_size": 32, "backbone": "swin_small_distilled"}
    run = read_run("nyuv2_13", "ptsa_1123", small)
    assert run.data["path"] != read_run("nyuv2_13", "ptsa_1123").data["path"] == "hf://datasets/tanganke/nyuv2"
    assert {name: task.metric for name, task in run_tasks(run).items()} == {
        "semseg": "mIoU", "depth": "RMSE (m)", "normals": "mean angle (°)"}  # fmt: skip
    columns = (np.arange(32) * 2 + 1) * 24 // 64  # rows of the file under the square's rows
    for sample, ids, depth in zip(open_sets(run)[1], rows["segmentation"], rows["depth"], strict=True):
        ids, depth = ids[columns], depth[0][columns].astype(np.float32)
        assert torch.equal(sample["semseg"], torch.from_numpy(np.where(ids < 0, IGNORE, ids)))
        np.testing.assert_array_equal(sample["depth"][0], np.where(depth == 0, np.float32(IGNORE), depth))
        assert (sample["normals"][:, :2, :2] == IGNORE).all()

"""Data of one's own: whatever `datasets` loads becomes the same frames, and what is wrong is told before a training."""

import os
from io import BytesIO

import datasets
import numpy as np
import pytest
import torch
from archives import random_frame, save
from PIL import Image

from ptsa_lite.data import count_frames, make_loader, open_dataset
from ptsa_lite.data.describe import describe, task_of
from ptsa_lite.data.own import order
from ptsa_lite.data.transforms import Warp, to_sample
from ptsa_lite.data.verify import verify_own
from ptsa_lite.tasks import IGNORE, SUITES, Task

TASKS = {
    "material": {"kind": "segmentation", "classes": 20},
    "wet": {"kind": "binary", "loss_weight": 5},
    "reach": {"kind": "regression", "unit": "px"},
    "depth": {"kind": "depth"},
    "normals": {"kind": "normals"},
}
COLUMNS = {"image": "image", "material": "semseg", "wet": "edge", "reach": "reach", "depth": "depth",
           "normals": "normals"}  # fmt: skip


def frame(i):
    made = random_frame(i)
    some = {key: made[key] for key in ("image", "semseg", "edge", "depth", "normals")}
    return some | {"reach": made["depth"] * 50 - 99}


def rows(n=4):
    return [frame(i) for i in range(n)]


def png(array):
    Image.fromarray(array).save(file := BytesIO(), format="png")
    return file.getvalue()


def write_folder(root, splits=(("train", 3), ("test", 2))):
    """A folder of pictures with metadata.csv: masks as pictures, numbers as .npy, some of either lacking."""
    for split, n in splits:
        lines = ["file_name,semseg_file_name,reach"]
        for i in range(n):
            made = frame(i)
            save(root / split / f"{i}.png", made["image"])
            save(root / split / f"masks/{i}.png", made["semseg"])
            save(root / split / f"masks/{i}.npy", made["reach"])
            place = "masks" if split == "train" else f"{split}/masks"  # from the csv's folder, or from the set's
            lines.append(f"{i}.png,masks/{i}.png," + (f"{place}/{i}.npy" if i else ""))
        (root / split / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def test_rows_parquet_and_a_folder_give_the_same_samples(tmp_path):
    few = {name: TASKS[name] for name in ("material", "reach")}
    options = dict(tasks=few, columns={"material": "semseg"}, img_size=16)
    listed = open_dataset(rows(3), **options)
    packed = [{"image": {"bytes": png(row["image"]), "path": None}, "semseg": png(row["semseg"]), "reach": row["reach"]}
              for row in rows(3)]  # fmt: skip
    datasets.Dataset.from_list(packed).cast_column("image", datasets.Image()).to_parquet(tmp_path / "frames.parquet")
    stored = open_dataset(tmp_path / "frames.parquet", **options)
    folder = open_dataset(write_folder(tmp_path / "folder"), **options)
    held = open_dataset(datasets.load_dataset(str(tmp_path / "folder")), root=tmp_path / "folder", **options)
    assert len(listed) == len(stored) == len(folder) == len(held) == 3
    for i in range(1, 3):  # the folder's frame 0 lacks a label
        for other in (stored, folder, held):
            for key in ("image", "material", "reach"):
                assert torch.equal(listed[i][key], other[i][key]), (i, key)
    assert (folder[0]["reach"] == IGNORE).all() and (folder[0]["material"] != IGNORE).any()
    batch = next(iter(make_loader(folder, 2, seed=0)))
    assert batch["reach"].shape == (2, 1, 16, 16) and batch["material"].dtype == torch.int64


def test_a_file_or_a_folder_is_for_training_and_one_named_for_a_split_is_for_that(tmp_path):
    write_folder(tmp_path / "set")
    rows = datasets.Dataset.from_list([{"image": png(frame(1)["image"]), "semseg": png(frame(1)["semseg"])}])
    rows.to_parquet(tmp_path / "one.parquet")
    options = dict(tasks={"material": TASKS["material"]}, columns={"material": "semseg"}, img_size=16, root=tmp_path)
    for path in ("one.parquet", "set/train"):
        assert len(open_dataset(path, **options)) == len(open_dataset({"val": path}, split="val", **options))
        with pytest.raises(ValueError, match="has no split val, only train; give each a path, .* holdout: 5"):
            open_dataset(path, split="val", **options)


def test_arrays_may_have_their_channels_first():
    few = {name: TASKS[name] for name in ("depth", "normals")}
    first = [{"image": row["image"].transpose(2, 0, 1), "depth": row["depth"][None],
              "normals": row["normals"].transpose(2, 0, 1)} for row in rows()]  # fmt: skip
    for one, other in zip(*(open_dataset(some, tasks=few, img_size=16) for some in (rows(), first)), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in ("image", *few))


def test_labels_are_those_of_the_suites_kinds():
    own = open_dataset(rows(2), tasks=TASKS, columns=COLUMNS, img_size=24, work_size=24, augment=False)[1]
    kinds = {"semseg": "segmentation", "edge": "binary", "depth": "depth", "normals": "normals"}
    small = {"material": "semseg", "wet": "edge", "depth": "depth", "normals": "normals"}
    expected = to_sample(frame(1), 24, kinds)
    for name, label in small.items():
        assert torch.allclose(own[name].float(), expected[label].float(), atol=2e-3), name  # 16 bits


def test_a_mask_drawn_on_a_picture_as_exif_turns_it_is_refused_and_told_where_it_must_lie():
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(frame(1)["image"]).save(file := BytesIO(), format="jpeg", exif=exif)
    turned = [{"image": file.getvalue(), "material": np.zeros((32, 24), np.uint8)}]
    with pytest.raises(ValueError, match="another shape.*EXIF turns the picture.* pixels as they are stored, unturned"):
        open_dataset(turned, tasks={"material": TASKS["material"]})


def test_a_regression_stays_under_a_zoom_where_depth_is_divided():
    six = np.full((24, 32), 6, np.float32)
    made = {"image": frame(1)["image"], "depth": six, "reach": six}
    seen = to_sample(made, 16, {"depth": "depth", "reach": "regression"}, Warp(True, 0.0, 1.5))
    assert (seen["depth"] == 4).all() and (seen["reach"] == 6).all()


def test_a_regression_may_hold_any_number_also_the_mark_of_no_label():
    values = np.full((24, 32), 255.0, np.float32)
    values[:12], values[12:14] = -3e6, np.nan
    sample = open_dataset([{"image": frame(1)["image"], "reach": values}], tasks={"reach": TASKS["reach"]}, img_size=24,
                          work_size=24, augment=False)[0]["reach"]  # fmt: skip
    assert (sample[:, :12] == -3e6).all() and (sample[:, 12:14] == IGNORE).all()
    assert (sample[:, 14:] != IGNORE).all() and (sample[:, 14:] - 255).abs().max() < 2e-5


def test_a_scale_brings_what_is_stored_into_the_task_s_unit():
    """Millimetres as 16-bit pictures of depth cameras hold them, 0 where they saw nothing, and a task named height."""
    stored = np.full((24, 32), 2345, np.uint16)
    stored[:12] = 0
    row = {"image": frame(1)["image"], "height": png(stored), "depth": stored}
    tasks = {"height": {"kind": "regression", "unit": "m", "scale": 0.001}, "depth": {"kind": "depth", "scale": 0.001}}
    sample = open_dataset([row], tasks=tasks, img_size=24, work_size=24, augment=False)[0]
    assert (sample["height"][:, :12] == 0).all() and (sample["depth"][:, :12] == IGNORE).all()
    assert all((sample[name][:, 12:] - 2.345).abs().max() < 1e-6 for name in tasks)
    found = [verify_own(describe([row], {"depth": depth})) for depth in (tasks["depth"], {"kind": "depth"})]
    assert ["values reach 2345, and a head begins near 0" in str(report) for report in found] == [False, True]
    with pytest.raises(ValueError, match="task 'wet': only a regression and depth have a scale"):
        task_of("wet", {"kind": "binary", "scale": 2})


def test_the_ignored_value_is_the_task_s():
    some = [{"image": frame(1)["image"], "semseg": frame(1)["semseg"]}]
    options = dict(columns={"material": "semseg"}, img_size=24, work_size=24, augment=False)
    zero = {"material": {"kind": "segmentation", "classes": 20, "ignore": 0}}
    sample = open_dataset(some, tasks=zero, **options)[0]["material"]
    plain = open_dataset(some, tasks={"material": TASKS["material"]}, **options)
    assert torch.equal(sample == IGNORE, plain[0]["material"] == 0)


def test_sets_with_other_labels_are_joined_or_take_turns():
    assert order([2, 1], "concatenated") == [(0, 0), (0, 1), (1, 0)]
    assert order([1, 3], "in turns") == [(0, 0), (1, 0), (0, 0), (1, 1), (0, 0), (1, 2)]
    one = [{"image": row["image"], "semseg": row["semseg"]} for row in rows(3)]
    two = [{"image": row["image"], "depth": row["depth"]} for row in rows(1)]
    tasks = {"material": TASKS["material"], "depth": TASKS["depth"]}
    data = {"path": [one, two], "columns": {"material": "semseg"}, "mix": "in turns"}
    turns = open_dataset(data, tasks=tasks, img_size=16, augment=False)
    assert len(turns) == count_frames(data, "", "train", tasks=tasks) == 6
    has = [[name for name in tasks if (sample[name] != IGNORE).any()] for sample in turns]
    assert has == [["material"], ["depth"]] * 3
    assert [sample["index"] for sample in turns] == [0, 3, 1, 3, 2, 3]
    joined = open_dataset(data | {"mix": "concatenated"}, tasks=tasks, img_size=16, n_frames=4)
    assert [sample["index"] for sample in joined] == [0, 1, 2, 3]


def test_data_in_files_are_decoded_once_and_again_when_a_file_changes(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "folder")
    options = dict(tasks={"reach": TASKS["reach"]}, img_size=16, augment=False)
    monkeypatch.setenv("PTSA_CACHE", str(tmp_path / "cache"))
    before = open_dataset(root, **options)[1]["reach"]
    assert len(list((tmp_path / "cache").glob("own-train-16-*"))) == 1
    np.save(root / "train/masks/1.npy", np.full((24, 32), 7, np.float32))
    after = open_dataset(root, **options)[1]["reach"]
    assert not torch.equal(before, after) and (after == 7).all()


def test_a_path_beside_one_picture_is_not_taken_for_that_of_another(tmp_path):
    lines = ["file_name,reach"]
    for k, place in enumerate("ab"):
        save(tmp_path / f"{place}/0.png", frame(k)["image"])
        save(tmp_path / f"{place}/0.npy", np.full((24, 32), k + 1, np.float32))
        lines.append(f"{place}/0.png,0.npy")
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n")
    made = open_dataset(tmp_path, tasks={"reach": TASKS["reach"]}, img_size=16, augment=False)
    assert [float(sample["reach"].unique()) for sample in made] == [1, 2]


def test_paths_that_were_written_on_windows_lead_to_their_files(tmp_path):
    save(tmp_path / "photos" / "0.png", frame(0)["image"])
    save(tmp_path / "maps" / "0.npy", np.full((24, 32), 3, np.float32))
    (tmp_path / "rows.csv").write_text("image,reach\nphotos\\0.png,maps\\0.npy\n")
    for reach in (3, 4):
        save(tmp_path / "maps" / "0.npy", np.full((24, 32), reach, np.float32))
        os.utime(tmp_path / "maps" / "0.npy", (reach, reach))
        made = open_dataset(tmp_path / "rows.csv", tasks={"reach": TASKS["reach"]}, img_size=16, augment=False)
        assert float(made[0]["reach"].unique()) == reach, "a file that changed is read again"


def test_a_folder_where_one_stands_is_not_taken_for_a_data_set_of_the_hub(tmp_path, monkeypatch):
    (tmp_path / "owner" / "rooms").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="hf://datasets/owner/rooms: owner/rooms lies where you stand, too"):
        open_dataset("hf://datasets/owner/rooms", tasks={"reach": TASKS["reach"]})


BAD_TASKS = [
    ("image", {"kind": "binary"}, "one that rows of frames have already"),
    ("index", {"kind": "regression"}, "name it otherwise, such as index_map"),
    ("half", {"kind": "binary"}, "a module of PyTorch has"),
    ("a b", {"kind": "binary"}, "must be a letter, then"),
    ("material", {"kind": "segmentatoin", "classes": 3}, "did you mean 'segmentation'"),
    ("material", {"kind": "segmentation"}, "give its classes"),
    ("material", {"kind": "segmentation", "classes": 256}, "classes must be a whole number from 2 to 255"),
    ("wet", {"kind": "binary", "classes": 2}, "only a segmentation has classes"),
    ("wet", {"kind": "binary", "metric": "RMSE"}, "RMSE measures regression or depth, not binary"),
    ("wet", {"kind": "binary", "metric": "accuracy"}, "unknown metric 'accuracy'"),
    ("wet", {"kind": "binary", "los_weight": 2}, "did you mean 'loss_weight'"),
    ("wet", {"kind": "binary", "loss_weight": 0}, "loss_weight must be a number above 0"),
    ("depth", {"kind": "depth", "unit": "mm"}, "depth is in metres"),
    ("wet", {}, "say its kind"), ("wet", "binary", "say its kind"),
]  # fmt: skip


@pytest.mark.parametrize("name, task, words", BAD_TASKS, ids=[f"{name} {task}" for name, task, _ in BAD_TASKS])
def test_a_task_that_cannot_be_is_refused_by_name(name, task, words):
    with pytest.raises(ValueError, match=words) as error:
        task_of(name, task)
    assert str(error.value).startswith(f"task {name!r}: ")


GREY = np.zeros((24, 32), np.uint8)
BAD_CELLS = [
    ("material", GREY + 20, r"row 0, column 'material': it holds classes \[20\]; task 'material' has 0..19, and 255"),
    ("material", GREY + 0.5, r"it holds classes \[0.5\]"),
    ("material", np.zeros((24, 24), np.uint8), "the label is 24x24, its picture 32x24: another shape"),
    ("material", np.zeros((24, 32, 3), np.uint8), r"shape \(24, 32, 3\); expected numbers \(H, W\)"),
    ("material", [[1, 2], [3]], "rows differ in length"),
    ("material", 3, r"it holds 3, one number; expected one for each pixel, \(H, W\)"),
    ("material", "masks/none.png", "masks/none.png is missing"),
    ("material", Image.new("RGB", (32, 24)), "has mode RGB; expected a label picture of one integer channel"),
    ("material", b"no picture", "cannot be decoded as a picture"),
    ("wet", GREY + 2, "it reaches 2; task 'wet' is binary"),
    ("normals", np.ones((24, 32, 3)), "it holds normals of length"),
    ("reach", np.full((24, 32), np.nan), "none of the 1 frames has a label for task 'reach'"),
    ("reach", None, "none of the 1 frames has a label for task 'reach'"),
]


@pytest.mark.parametrize("name, cell, words", BAD_CELLS, ids=[words[:40] for *_, words in BAD_CELLS])
def test_a_cell_that_cannot_be_is_refused_with_row_and_column(name, cell, words):
    with pytest.raises(ValueError, match=words) as error:
        open_dataset([{"image": frame(1)["image"], name: cell}], tasks={name: TASKS[name]})
    assert "\n" not in str(error.value)


def test_what_lacks_is_refused_before_a_picture_is_read(tmp_path):
    root, one = write_folder(tmp_path), {"material": TASKS["material"]}
    for words, call in {
        "unknown column for task 'material': 'semsge'; did you mean 'semseg'": dict(columns={"material": "semsge"}),
        "unknown column of .* 'photo'": dict(columns={"image": "photo", "material": "semseg"}),
        "unknown task in data.columns 'materail'; did you mean 'material'": dict(columns={"materail": "semseg"}),
        "tasks with their kinds": dict(tasks={}),
    }.items():
        with pytest.raises(ValueError, match=words):
            count_frames({"path": root} | {k: v for k, v in call.items() if k == "columns"}, "", "train",
                         tasks=call.get("tasks", one))  # fmt: skip
    for k in range(3):
        save(tmp_path / f"plain/{k}.png", frame(1)["image"])
    (tmp_path / "plain/labels.csv").write_text("photo\n")
    with pytest.raises(ValueError, match=r"of plain \(to read labels.csv, give path: .*\) 'photo'. Choose from: im"):
        open_dataset(tmp_path / "plain", tasks=one, columns={"image": "photo"})
    for source, words in ((tmp_path / "none", "there is no .*none; give the folder"), (3, "cannot be read from int"),
                          ("nyud", "tasks of its own"), ("", "says no path"), ([], "says no path")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            open_dataset(source, tasks=one)
    with pytest.raises(ValueError, match="has no split val, only train; give each a path"):
        open_dataset({"train": root / "train"}, split="val", tasks=one, columns={"material": "semseg"})
    for settings, words in (({"mix": "shuffled"}, "unknown mix of data"), ({"augment": "nyu"}, "did you mean 'nyud'"),
                            ({"colums": {}}, "did you mean 'columns'"), ({"columns": [""]}, "must map")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            describe({"path": "x"} | settings, one)


def test_verify_counts_what_is_wrong_in_data_of_one_s_own(tmp_path):
    root = write_folder(tmp_path)
    save(root / "train/masks/1.png", np.full((24, 32), 77, np.uint8))
    (root / "train/masks/2.npy").unlink()
    described = describe({"path": str(root), "columns": {"material": "semseg"}},
                         {name: TASKS[name] for name in ("material", "reach")})  # fmt: skip
    report = verify_own(described)
    found = {(row.split, row.label): {kind: len(faults) for kind, faults in row.faults.items() if faults}
             for row in report.rows}  # fmt: skip
    assert found == {("train", "image"): {}, ("train", "material"): {"range": 1}, ("train", "reach"): {"missing": 1},
                     ("val", "image"): {}, ("val", "material"): {}, ("val", "reach"): {}}  # fmt: skip
    assert not report.ok and "it holds classes [77]" in str(report) and "Ready" not in str(report)
    assert "train reach: not annotated (1 frames); nothing to do, a frame may lack a label" in str(report)


def test_verify_reads_arrays_too():
    report = verify_own(describe({"path": rows(2), "columns": COLUMNS}, TASKS))
    assert report.ok and all(row.sizes.total() == 2 for row in report.rows)


def test_verify_tells_a_task_without_labels_and_passes_over_a_split_that_is_held_out(tmp_path):
    root = write_folder(tmp_path, splits=(("train", 1),))
    tasks = {name: TASKS[name] for name in ("material", "reach")}
    report = verify_own(describe({"path": root, "columns": {"material": "semseg"}}, tasks))
    assert not report.ok and "train: no frame has a label for task 'reach'" in str(report)
    report = verify_own(describe({"path": root, "columns": {"material": "semseg"}}, {"material": tasks["material"]}))
    assert report.ok and "has no split val" in str(report) and "Ready" in str(report)


def test_the_suites_are_descriptions_like_any_other():
    for tasks in SUITES.values():
        for name, task in tasks.items():
            assert task_of(name, task) == task
            words = {"kind": task.kind, "loss_weight": task.loss_weight, "metric": task.metric}
            words |= {"classes": task.channels} if task.kind == "segmentation" else {}
            words |= {"foreground": True} if task.foreground else {}
            words |= {"positive_weight": task.positive_weight} if task.positive_weight else {}
            assert task_of(name, words) == task


def test_a_task_takes_what_its_kind_usually_has():
    assert Task("reach", "regression", unit="px") == Task("reach", "regression", 1, 1.0, "RMSE (px)", False, unit="px")
    assert Task("wet", "binary", metric="odsF").higher_is_better
    assert not Task("wet", "binary", metric="loss").higher_is_better
    with pytest.raises(ValueError, match="unknown kind of task 'x'"):
        Task("x", "regresion")


def test_a_transform_of_the_data_set_is_told_and_not_left_out():
    kept = datasets.Dataset.from_list([{"image": Image.new("RGB", (32, 32)), "mask": Image.new("L", (32, 32), 3)}])
    tasks = {"mask": {"kind": "segmentation", "classes": 5}}
    assert open_dataset(kept, tasks=tasks, img_size=32)[0]["mask"].unique().tolist() == [3]
    with pytest.raises(ValueError, match=r"the datasets.Dataset has a transform, .*apply it by .map\(\)"):
        open_dataset(kept.with_transform(lambda batch: batch), tasks=tasks, img_size=32)
    with pytest.raises(ValueError, match="the data set: there is no frame in it"):
        open_dataset(kept.select([]), tasks=tasks, img_size=32)


def test_frames_in_turns_repeat_only_where_they_are_trained_on():
    large, small = ([{"image": frame(i)["image"], "depth": frame(i)["depth"]} for i in range(n)] for n in (5, 1))
    mixed, tasks = {"path": [large, small], "mix": "in turns"}, {"depth": TASKS["depth"]}
    opened = {split: open_dataset(mixed, tasks=tasks, split=split, img_size=32) for split in ("train", "val")}
    seen = {split: frames.with_format(None)["index"] for split, frames in opened.items()}
    assert len([*seen["train"]]) == 10 and sorted(seen["val"]) == [0, 1, 2, 3, 4, 5]
    assert count_frames(mixed, "", "val", tasks=tasks) == 6


def test_the_same_names_below_another_root_are_other_frames(tmp_path):
    for value in (1, 2):
        (tmp_path / str(value)).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / str(value) / "i.png")
        np.save(tmp_path / str(value) / "m.npy", np.full((32, 32), value, np.uint8))
        for path in (tmp_path / str(value)).iterdir():
            os.utime(path, (1e9, 1e9))  # as unpacked from one archive
    named = datasets.Dataset.from_list([{"image": "i.png", "m": "m.npy"}])
    for value in (1, 2):
        kept = open_dataset(
            named, tmp_path / str(value), tasks={"m": {"kind": "segmentation", "classes": 4}}, img_size=32
        )
        assert kept[0]["m"].unique().tolist() == [value]


def one_cell(cell, task, **columns):
    row = {"image": Image.new("RGB", (32, 32)), "m": cell} | columns
    return open_dataset([row], tasks={"m": task}, img_size=32, augment=False)[0]["m"]


def test_a_binary_mask_of_which_255_may_be_void_is_not_guessed():
    mask = np.zeros((32, 32), np.uint8)
    mask[:8], mask[8:16] = 1, 255
    with pytest.raises(ValueError, match="it holds 1 and 255, .* say ignore: 255"):
        one_cell(mask, {"kind": "binary"})
    assert one_cell(mask, {"kind": "binary", "ignore": 255}).unique().tolist() == [0, 1, IGNORE]
    assert one_cell(np.where(mask == 1, 0, mask), {"kind": "binary"}).unique().tolist() == [0, 1]


def test_depth_of_255_is_depth_and_an_ignored_float_is_found_in_lists_too():
    assert (one_cell(np.full((32, 32), 255, np.uint8), {"kind": "depth"}) != IGNORE).all()
    values = np.full((32, 32), 0.1, np.float32)
    values[:16] = 2
    as_lists = datasets.Dataset.from_list([{"image": Image.new("RGB", (32, 32)), "m": values.tolist()}])
    as_lists = as_lists.cast_column("m", datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
    opened = open_dataset(as_lists, tasks={"m": {"kind": "regression", "ignore": 0.1}}, img_size=32, augment=False)
    assert opened[0]["m"].unique().tolist() == [2, IGNORE]


def test_a_null_of_an_array_column_is_a_missing_label():
    features = datasets.Features({"image": datasets.Image(), "m": datasets.Array2D((32, 32), "uint8")})
    rows = [{"image": Image.new("RGB", (32, 32)), "m": cell} for cell in (np.ones((32, 32), np.uint8).tolist(), None)]
    tasks = {"m": {"kind": "segmentation", "classes": 4}}
    opened = open_dataset(datasets.Dataset.from_list(rows, features=features), tasks=tasks, img_size=32, augment=False)
    assert [sample["m"].unique().tolist() for sample in (opened[0], opened[1])] == [[1], [IGNORE]]


def test_an_opened_picture_is_read_as_often_as_one_likes(tmp_path):
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(np.arange(32 * 48 * 3, dtype=np.uint8).reshape(32, 48, 3)).save(tmp_path / "t.tif", exif=turned)
    picture, mask = Image.open(tmp_path / "t.tif"), np.ones((32, 48), np.uint8)
    rows, tasks = [{"image": picture, "m": mask}], {"m": {"kind": "segmentation", "classes": 4}}
    first, second = (open_dataset(rows, tasks=tasks, img_size=32, augment=False)[0]["image"] for _ in range(2))
    assert torch.equal(first, second)


def test_what_would_be_left_out_in_silence_is_refused():
    row, task = {"image": Image.new("RGB", (32, 32)), "photo": Image.new("RGB", (32, 32), "white"),
                 "m": np.ones((32, 32), np.uint8)}, {"m": {"kind": "binary"}}  # fmt: skip
    white = open_dataset({"path": [row], "augment": "none"}, tasks=task, img_size=32, columns={"image": "photo"})
    assert white[0]["image"].min() > 1
    with pytest.raises(ValueError, match="columns are given twice"):
        open_dataset({"path": [row], "columns": {"image": "photo"}}, tasks=task, columns={"image": "photo"})
    with pytest.raises(ValueError, match="data set 'scenes' has no columns to name"):
        open_dataset("scenes", columns={"image": "photo"})
    with pytest.raises(
        ValueError, match="task 'depth' of scenes: its scale is 1.0, not 100.0; name the tasks in a list"
    ):
        open_dataset("scenes", tasks={"depth": {"kind": "depth", "scale": 100.0}}, n_frames=1)
    with pytest.raises(ValueError, match="foreground must be of a segmentation alone"):
        open_dataset([row], tasks={"m": {"kind": "depth", "foreground": True}})

"""Predictions at a picture's own size, the files that hold them, and the exported program."""

import json
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_backbone, tiny_family
from torch import nn
from torch.nn import functional as F

from ptsa_lite.methods import build_model
from ptsa_lite.predict import export, find_pictures, paint, predict, predict_files, strips, write_program
from ptsa_lite.tasks import NYUD, PASCAL, select
from ptsa_lite.tree import TaskTree

NAMES = tuple(PASCAL)
TREE = TaskTree(((NAMES,), (NAMES,), (NAMES[:2], NAMES[2:]), tuple((n,) for n in NAMES)))


def model_of(family="swin", tasks=PASCAL, method="ptsa", tree=TREE):
    torch.manual_seed(0)
    model = build_model(method, tiny_family(family)[1], tasks, tree if method == "ptsa" else None, rank=2).eval()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(p, std=0.05)
    return model


def photo(height, width, mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


@pytest.fixture(scope="module")
def small():
    return model_of(tasks=select(NYUD, ["semseg", "depth"]), method="lora_shared")


@pytest.mark.parametrize("size", [(64, 64), (37, 91), (700, 48), (1, 1)])
@pytest.mark.parametrize("tasks", [PASCAL, NYUD], ids=["pascal", "nyud"])
def test_every_task_answers_at_the_pictures_size(size, tasks):
    names = tuple(tasks)
    tree = TaskTree(((names,), (names,), (names[:2], names[2:]), tuple((n,) for n in names)))
    maps = predict(model_of(tasks=tasks, tree=tree), photo(*size))
    assert list(maps) == list(tasks)
    for name, task in tasks.items():
        assert maps[name].shape == size + ((3,) if task.kind == "normals" else ())
        assert paint(task, maps[name]).shape == (*size, 3)
    assert maps["semseg"].dtype == np.uint8
    np.testing.assert_allclose(np.linalg.norm(maps["normals"], axis=-1), 1, atol=1e-4)
    for name in ("saliency", "edge"):
        assert name not in maps or (maps[name].min() >= 0 and maps[name].max() <= 1)


def test_a_path_a_picture_an_array_and_a_list_of_them_are_answered_alike(small, tmp_path):
    picture, path = photo(30, 40), tmp_path / "a.png"
    picture.save(path)
    answers = [predict(small, picture), predict(small, np.asarray(picture)), *predict(small, [path, str(path)])]
    for other in answers[1:]:
        assert all(np.array_equal(answers[0][name], other[name]) for name in ("semseg", "depth"))
    assert list(predict(small.only(["depth"]), picture)) == ["depth"]


def test_a_large_map_painted_in_strips_has_one_scale(small):
    depth = np.linspace(1, 9, 600 * 4, dtype=np.float32).reshape(600, 4)
    painted = paint(small.tasks["depth"], depth).astype(int)
    assert len(np.unique(painted.reshape(-1, 3), axis=0)) > 200 and np.abs(np.diff(painted, axis=0)).max() < 9


@pytest.mark.parametrize("size", [(600, 300), (5, 7), (8, 8), (513, 9)])
def test_rows_at_a_time_are_torchs_bilinear_resize(size):
    maps = torch.randn(1, 3, 8, 8)
    expected = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(torch.cat(list(strips(maps, size)), 2), expected, atol=1e-5, rtol=1e-5)


# ---- files


@pytest.fixture
def pictures(tmp_path):
    """Two folders whose pictures are called alike, and two that cannot be read."""
    for number, name in enumerate(("one/a.png", "one/A.JPG", "one/b.png", "two/b.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo(20 + number, 30, seed=number).save(tmp_path / name)
    (tmp_path / "two" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "two" / "phone.HEIC").write_bytes(b"a format that Pillow does not read by itself")
    (tmp_path / "two" / "notes.txt").write_text("words")
    (tmp_path / "two" / "._b.png").write_bytes(b"what a Mac leaves beside b.png")
    (tmp_path / "two" / "round.jfif").symlink_to("round.jfif")
    return tmp_path


def test_a_folder_means_its_pictures_and_a_place_without_any_is_named(pictures):
    found = find_pictures([pictures / "one", pictures / "two", pictures / "one" / "b.png"])
    assert [path.name for path in found] == ["A.JPG", "a.png", "b.png", "b.png", "broken.jpg", "phone.HEIC",
                                             "round.jfif"]  # fmt: skip
    (pictures / "three").mkdir()
    for place in ("three", "nowhere.png"):
        with pytest.raises(FileNotFoundError, match=f"no picture at .*{place}"):
            find_pictures([pictures / place])


def test_no_picture_replaces_anothers_maps_and_a_broken_one_is_told_and_the_rest_done(small, pictures):
    said, out = [], pictures / "out"
    failed = predict_files(small, find_pictures([pictures / "one", pictures / "two"]), out, said.append)
    assert failed == [pictures / "two" / name for name in ("broken.jpg", "phone.HEIC", "round.jfif")]
    assert len(said) == 7 and all(path.name in line for path, line in zip(failed, said[4:], strict=True))
    names = {path.name for path in out.glob("*.npy")}
    assert names == {f"{name}.{task}.npy" for name in ("A.JPG", "a.png", "b.png", "two_b.png")
                     for task in ("semseg", "depth")}  # fmt: skip
    assert Image.open(out / "two_b.png.depth.png").size == (30, 23)
    assert np.array_equal(np.load(out / "a.png.depth.npy"), predict(small, pictures / "one" / "a.png")["depth"])


def test_nor_does_it_from_call_to_call_and_the_same_picture_keeps_its_name(small, pictures):
    out = pictures / "out"
    for folder in ("one", "two", "one"):
        predict_files(small, [pictures / folder / "b.png"], out, lambda line: None)
    assert sorted(path.name for path in out.glob("*.npy")) == ["b.depth.npy", "b.png.depth.npy", "b.png.semseg.npy",
                                                               "b.semseg.npy"]  # fmt: skip
    assert np.load(out / "b.depth.npy").shape == (22, 30) and np.load(out / "b.png.depth.npy").shape == (23, 30)
    assert set(json.loads((out / "pictures.json").read_text())) == {"b", "b.png"}


def test_maps_beside_the_pictures_replace_none_of_them_and_of_long_names_a_part_is_kept(small, tmp_path):
    names = [f"{'ü' * 110}.png", "a.depth.png", "a.png", "u\u0308.png", "ü.png", f"{'n' * 250}.png"]
    for number, name in enumerate(names):
        photo(20 + number, 30, seed=number).save(tmp_path / name, "png")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for _ in range(2):
        assert predict_files(small, found := find_pictures([tmp_path]), tmp_path, lambda line: None) == []
        assert {path.name for path in found} == {*names}, "maps are no pictures"
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    rows = sorted(len(np.load(path)) for path in tmp_path.glob("*.depth.npy"))
    assert rows == [20, 21, 22, 23, 24, 25] and (tmp_path / "a.png.depth.png").is_file()


def test_a_picture_that_has_an_array_beside_it_is_a_picture_the_second_time_too(small, tmp_path):
    photo(20, 30, seed=0).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.zeros((20, 30)))
    (tmp_path / "folder.png").mkdir()
    for _ in range(2):
        assert find_pictures([tmp_path]) == [tmp_path / "a.png"]
        assert predict_files(small, [tmp_path / "a.png"], tmp_path, lambda line: None) == []


def test_a_list_of_pictures_that_is_somebody_elses_stays(small, pictures):
    (pictures / "pictures.json").write_text(theirs := '{"a.png": {"taken": 2020}}')
    with pytest.raises(ValueError, match="pictures.json is somebody else's; give another --out"):
        predict_files(small, [pictures / "one" / "b.png"], pictures)
    assert (pictures / "pictures.json").read_text() == theirs


def test_a_folder_holds_the_maps_of_one_run(small, pictures):
    for by, fits in (("one, last weights", True), ("one, last weights", True), ("two, last weights", False)):
        told = pytest.raises(ValueError, match="holds maps by one, last weights; give another --out for those by two")
        with nullcontext() if fits else told:
            predict_files(small, [pictures / "one" / "b.png"], pictures / "out", lambda line: None, by)


# ---- the program


@pytest.fixture
def onnx():
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    return pytest.importorskip("onnx", reason="the extra `onnx` is not installed")


def test_an_onnx_program_of_some_tasks_answers_batches_of_any_size_as_the_model_does(onnx, tmp_path):
    model = model_of()
    assert write_program(model, tmp_path / "made/some.onnx", NAMES[1:3]) < 1e-5
    program = onnx.load(tmp_path / "made/some.onnx")
    onnx.checker.check_model(program)
    assert [one.name for one in program.graph.input] == ["image"]
    assert [one.name for one in program.graph.output] == list(NAMES[1:3])
    assert program.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["some.onnx"]


def test_a_program_that_cannot_be_written_is_refused(small, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="unknown kind of program '.pth'"):
        write_program(small, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="unknown task 'dpeth'; did you mean 'depth'"):
        write_program(small, tmp_path / "model.pt2", ["dpeth"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"model.onnx needs onnx\w+; python -m pip install 'ptsa-lite\[onnx\]'"):
        write_program(small, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_program_that_says_other_than_the_model_is_told(small, tmp_path, monkeypatch):
    program = SimpleNamespace(module=lambda: lambda images: {name: torch.zeros(1) for name in small.tasks})
    monkeypatch.setattr(torch.export, "load", lambda file: program)
    with pytest.raises(ValueError, match="says other than the model, by 1 of its largest number"):
        write_program(small, tmp_path / "model.pt2")


@pytest.mark.parametrize(("family", "method", "tasks"), [
    ("swin", "ptsa", PASCAL), ("swinv2", "ptsa", PASCAL), ("pvt", "ptsa", PASCAL), ("dinov2", "ptsa", PASCAL),
    *(("swin", method, select(PASCAL, NAMES[:2]))
      for method in ("single_task_lora", "mtlora", "tadformer", "vpt_deep", "adapter")),
])  # fmt: skip
def test_the_exported_program_equals_the_model_for_any_batch_and_survives_saving(family, method, tasks, tmp_path):
    model = model_of(family, tasks, method)
    assert write_program(model, tmp_path / "made" / "model.pt2") < 1e-5
    program = torch.export.load(tmp_path / "made" / "model.pt2")
    merged = method not in ("mtlora", "tadformer")
    assert program.state_dict and merged != any("lora" in name for name in program.state_dict)
    program = program.module()
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, 64, 64)
        with torch.no_grad():
            out, expected = program(images), model(images)
        assert list(out) == list(tasks)
        for name in tasks:
            torch.testing.assert_close(out[name], expected[name], atol=1e-5, rtol=1e-5)


def test_exporting_a_model_that_cannot_be_merged_leaves_it_in_training():
    model = build_model("mtlora", tiny_backbone(), PASCAL, rank=2).train()
    export(model)
    assert model.training and all(module.training for module in model.modules())


def test_writing_a_program_leaves_a_model_in_training_and_one_picture_is_a_picture(tmp_path):
    model = build_model("decoders_only", tiny_backbone(), PASCAL).train()
    write_program(model, tmp_path / "p.pt2")
    assert model.training and all(module.training for module in model.modules())
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    assert find_pictures(str(tmp_path / "a.png")) == [tmp_path / "a.png"]
    predict_files(model, str(tmp_path / "a.png"), tmp_path / "maps")
    assert (tmp_path / "maps" / "a.semseg.png").is_file()

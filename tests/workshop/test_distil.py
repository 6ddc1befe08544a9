import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from ptsa_lite.__main__ import main
from ptsa_lite.backbones import load_backbone
from ptsa_lite.workshop.distil import (
    DistilConfig,
    Student,
    channels_of,
    configured,
    distil,
    jitter,
    split_photographs,
    unexplained,
)
from ptsa_lite.workshop.teacher import (
    list_photographs,
    load_teacher,
    make_views,
    random_crop,
    student_targets,
    teacher_maps,
)

CONFIG = DistilConfig(minutes=0.02, size=64, views=2, batch_size=4, held_out=3)


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=10).eval()


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(13):
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(folder / f"{i}.jpg")
    return folder


def test_the_teachers_maps_lie_on_the_students_grids(teacher):
    fine, middle, coarse, scores = teacher_maps(teacher, torch.randint(0, 255, (2, 3, 128, 128), dtype=torch.uint8))
    assert [tuple(m.shape) for m in (fine, middle, coarse, scores)] == [
        (2, 64, 16, 16), (2, 112, 8, 8), (2, 320, 4, 4), (2, 10),
    ]  # fmt: skip
    targets = student_targets([fine, middle, coarse])
    student = Student(load_backbone(weights="random", img_size=64), channels_of(targets), 10)
    maps, answer = student(torch.randn(2, 3, 64, 64))
    assert [m.shape for m in maps] == [torch.cat(ts, 1).shape for ts in targets] and answer.shape == (2, 10)


def test_what_is_kept_is_what_the_teacher_said(teacher, photographs, tmp_path):
    paths = list_photographs(photographs)
    views = make_views(paths, teacher, tmp_path / "v", 0, 64, seed=3)
    again = make_views(paths, teacher, tmp_path / "v", 0, 64, seed=3)
    images, targets, _ = views.batch(np.arange(13))
    assert len(again) == 13 and images.shape == (13, 3, 64, 64) and images.min() >= 0 and images.max() <= 1
    values = torch.cat([t.flatten() for t in targets[0]])
    assert abs(values.mean()) < 0.3 and 0.6 < values.std() < 1.4  # standardised per channel


def test_a_view_cut_short_is_made_anew(teacher, photographs, tmp_path):
    paths = list_photographs(photographs)
    (tmp_path / "v" / "view_0.part").mkdir(parents=True)
    (tmp_path / "v" / "view_0.part" / "image.npy").write_bytes(b"half")
    assert len(make_views(paths, teacher, tmp_path / "v", 0, 64, seed=3)) == 13
    assert not (tmp_path / "v" / "view_0.part").exists()


def test_only_training_photographs_of_an_archive_are_used(tmp_path):
    for split, images in (("gt_sets/train.txt", "images"), ("ImageSets/Context/train.txt", "JPEGImages")):
        root = tmp_path / images
        (root / split).parent.mkdir(parents=True)
        (root / images).mkdir()
        (root / split).write_text("a\nb\n")
        for name in "abc":
            (root / images / f"{name}.jpg").touch()
        assert [p.stem for p in list_photographs(root)] == ["a", "b"]
    with pytest.raises(FileNotFoundError, match="no .jpg"):
        list_photographs(tmp_path / "nothing")


def test_held_out_photographs_are_never_trained_on():
    paths = [f"{i}" for i in range(40)]
    kept, held = split_photographs(paths, replace(CONFIG, held_out=8))
    assert len(held) == 8 and not set(kept) & set(held) and set(kept) | set(held) == set(paths)
    with pytest.raises(ValueError, match="3 photographs are too few; give at least 4"):
        split_photographs(list("abc"), CONFIG)


def test_crops_lie_inside_the_photograph():
    image = Image.fromarray(np.full((50, 70, 3), 200, np.uint8))
    rng = np.random.default_rng(0)
    for _ in range(50):
        crop = random_crop(image, 32, rng)
        assert crop.shape == (64, 64, 3) and crop.min() >= 199  # nothing black from outside


def test_the_loss_is_the_share_of_variance_that_is_missed():
    target = torch.randn(4, 8, 16, 16)
    assert unexplained([target], [[target]]).item() == 0
    assert unexplained([torch.zeros_like(target)], [[target]]).item() == pytest.approx(1, abs=0.1)


def test_targets_of_a_stage_count_alike():
    few, many = torch.randn(4, 2, 16, 16), torch.randn(4, 38, 16, 16)
    answers = torch.cat([torch.zeros_like(few), many], 1)  # nothing of the first, all of the second
    assert unexplained([answers], [[few, many]]).item() == pytest.approx(0.5, abs=0.05)


def test_jitter_changes_colours_within_range():
    images = torch.rand(4, 3, 8, 8)
    out = jitter(images, torch.Generator().manual_seed(0))
    assert out.min() >= 0 and out.max() <= 1 and not torch.equal(out, images)


def test_a_run_writes_a_backbone_that_loads_and_resumes_where_it_stopped(teacher, photographs, tmp_path):
    out = tmp_path / "out"
    first = distil([photographs], teacher, out, CONFIG, report=lambda line: None)
    assert first["steps"] >= 1 and len(first["explained"]) == 4
    load_backbone(weights=out / "backbone.safetensors", img_size=64)
    assert len(json.loads((out / "history.json").read_text())) == len(first["history"])
    lines = []
    again = distil([photographs], teacher, out, CONFIG, report=lines.append)
    assert again["steps"] == first["steps"] and not lines
    with pytest.raises(ValueError, match="another training: lr is 0.005 there and 1.0 here"):
        distil([photographs], teacher, out, replace(CONFIG, lr=1.0))
    (photographs / "0.jpg").rename(photographs / "IMG.JPG")
    with pytest.raises(ValueError, match="another training: photographs differ"):
        distil([photographs], teacher, out, CONFIG)


SWIN_T = "swin_tiny_patch4_window7_224"


def test_the_student_is_any_swin_by_name_and_its_file_is_given_back_by_it(teacher, photographs, tmp_path):
    config = replace(CONFIG, minutes=1e-9, backbone=SWIN_T)  # over before its first step
    distil([photographs], teacher, tmp_path, config, report=lambda line: None)
    assert load_backbone(SWIN_T, tmp_path / "backbone.safetensors", 96).widths == (96, 192, 384, 768)
    with pytest.raises(ValueError, match="pvt_v2_b0 is no Swin"):
        distil([photographs], teacher, tmp_path / "no", replace(config, backbone="pvt_v2_b0"))
    assert not (tmp_path / "no").exists()


def test_the_command_makes_weights_and_goes_on_where_it_stopped(photographs, tmp_path, capsys):
    weights, out = tmp_path / "teacher.pth", tmp_path / "out"
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), weights)
    words = ["distil", str(photographs), "--teacher", str(weights), "--out", str(out)]
    few = [part for key in ("minutes=0.02", "size=64", "views=1", "batch_size=4") for part in ("--set", key)]
    assert main([*words, *few]) == 0
    said = capsys.readouterr().out
    assert "pass   1, step" in said and f"weights: {out / 'backbone.safetensors'}" in said
    assert main([*words, *few]) == 0 and "pass" not in capsys.readouterr().out  # the minutes are over
    assert main([*words, "--set", "size=32"]) == 2 and "another training" in capsys.readouterr().err
    assert main([*words, "--set", "views=0"]) == 2 and "views must be a whole number" in capsys.readouterr().err
    assert main([*words, "--set", "minute=1"]) == 2 and "did you mean 'minutes'" in capsys.readouterr().err


def test_weights_of_another_network_are_no_teacher(tmp_path):
    torch.save({"conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="other.pth has no bn1.weight; give a file of the weights of tf_eff"):
        load_teacher(tmp_path / "other.pth")


def test_crops_that_are_cut_side_by_side_are_those_of_one_after_the_other(teacher, photographs, tmp_path):
    paths, rng = list_photographs(photographs), np.random.default_rng([3, 0])
    images, _, _ = make_views(paths, teacher, tmp_path / "v", 0, 64, seed=3).batch(np.arange(13))
    for path, image in zip(paths, images, strict=True):
        crop = torch.from_numpy(random_crop(Image.open(path), 64, rng).copy()).permute(2, 0, 1)
        assert torch.equal(torch.nn.functional.avg_pool2d(crop.float(), 2).round() / 255, image)


def test_settings_of_a_distillation_are_checked():
    assert configured({"size": 64, "amp": "bfloat16"}) == DistilConfig(size=64, amp="bfloat16")
    with pytest.raises(ValueError, match="unknown amp 'float16'"):
        configured({"amp": "float16"})

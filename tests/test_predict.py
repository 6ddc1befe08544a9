"""Predictions at a picture's own size, and the exported program."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_family
from torch import nn
from torch.nn import functional as F

from ptsa_lite.methods import build_model
from ptsa_lite.predict import export, predict, strips
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


def photo(height, width, mode="RGB"):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


@pytest.mark.parametrize("size", [(64, 64), (37, 91), (700, 48), (1, 1)])
@pytest.mark.parametrize("tasks", [PASCAL, NYUD], ids=["pascal", "nyud"])
def test_every_task_answers_at_the_pictures_size(size, tasks):
    names = tuple(tasks)
    tree = TaskTree(((names,), (names,), (names[:2], names[2:]), tuple((n,) for n in names)))
    maps = predict(model_of(tasks=tasks, tree=tree), photo(*size))
    assert list(maps) == list(tasks)
    for name, task in tasks.items():
        assert maps[name].shape == size + ((3,) if task.kind == "normals" else ())
    assert maps["semseg"].dtype == np.uint8
    np.testing.assert_allclose(np.linalg.norm(maps["normals"], axis=-1), 1, atol=1e-4)
    for name in ("saliency", "edge"):
        assert name not in maps or (maps[name].min() >= 0 and maps[name].max() <= 1)


def test_a_picture_is_read_from_a_file_whatever_its_mode_and_a_wrong_file_is_named(tmp_path):
    model = model_of()
    for mode, name in (("RGB", "a.png"), ("L", "b.png"), ("P", "c.png"), ("RGBA", "d.png"), ("CMYK", "e.jpg")):
        photo(30, 40, mode).save(tmp_path / name)
        assert predict(model, tmp_path / name, tasks=["saliency"])["saliency"].shape == (30, 40)
    same, other = predict(model, photo(30, 40)), predict(model, str(tmp_path / "a.png"))
    assert all(np.array_equal(same[name], other[name]) for name in same)
    (tmp_path / "f.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="f.jpg cannot be decoded as a picture"):
        predict(model, tmp_path / "f.jpg")
    with pytest.raises(ValueError, match="g.jpg is missing"):
        predict(model, tmp_path / "g.jpg")


@pytest.mark.parametrize("size", [(600, 300), (5, 7), (8, 8), (513, 9)])
def test_rows_at_a_time_are_torchs_bilinear_resize(size):
    maps = torch.randn(1, 3, 8, 8)
    expected = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(torch.cat(list(strips(maps, size)), 2), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("family", "method", "tasks"), [
    ("swin", "ptsa", PASCAL), ("swinv2", "ptsa", PASCAL), ("pvt", "ptsa", PASCAL),
    ("swin", "single_task_lora", select(PASCAL, NAMES[:2])),
])  # fmt: skip
def test_the_exported_program_equals_the_model_and_survives_saving(family, method, tasks, tmp_path):
    model = model_of(family, tasks, method)
    program = export(model)
    torch.export.save(program, tmp_path / "model.pt2")
    images = torch.randn(1, 3, 64, 64)
    again = torch.export.load(tmp_path / "model.pt2").module()
    assert not any("lora" in name for name in program.state_dict)
    with torch.no_grad():
        expected = model(images)
        for out in (program.module()(images), again(images)):
            for name in tasks:
                torch.testing.assert_close(out[name], expected[name], atol=1e-5, rtol=1e-5)

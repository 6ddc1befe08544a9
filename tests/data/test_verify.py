"""The check of an archive finds every fault in one pass and says what to do."""

import numpy as np
import pytest
from archives import SHARED, needs_shared, random_frame, save, truncate, write_nyud, write_pascal

from ptsa_lite.data.verify import verify


def row(report, split, label):
    return next(row for row in report.rows if (row.split, row.label) == (split, label))


@pytest.mark.parametrize("name, write", [("nyud", write_nyud), ("pascal", write_pascal)])
def test_a_sound_archive_is_ready(tmp_path, name, write):
    report = verify(name, write(tmp_path))
    assert report.ok and "Ready: open_dataset" in str(report)
    assert all(row.sizes.total() + row.remarks["not annotated"] == row.expected for row in report.rows)
    assert row(report, "train", "image").cells()[2:4] == ["3", "3"]
    assert "train lists 3 frames, the published split" in str(report)


def test_every_fault_is_found_in_one_pass(tmp_path):
    root = write_nyud(tmp_path, train=12, val=2)
    (root / "images/0001.jpg").unlink()
    truncate(root / "images/0002.jpg")
    (root / "segmentation/0003.png").write_bytes(b"")
    save(root / "segmentation/0004.png", np.full((24, 32), 200, np.uint8))
    save(root / "depth/0005.npy", random_frame(5)["depth"] * 1000)
    save(root / "depth/0006.npy", random_frame(6)["depth"].T.copy())
    save(root / "depth/0007.npy", np.full((24, 32), np.nan, np.float32))
    save(root / "normals/0008.npy", random_frame(8)["normals"] * 3)
    (root / "normals/0013.npy").unlink()
    save(root / "edge/0009.npy", np.full((24, 32), -1.0))
    save(root / "images/0010.jpg", random_frame(10)["image"][..., 0])
    with open(root / "gt_sets/train.txt", "a") as file:
        file.write("0001\n../0002\n")
    report = verify("nyud", root)
    counts = {(r.split, r.label): [len(r.faults[kind]) for kind in r.faults] for r in report.rows if r.n_faults}
    assert counts == {
        ("train", "image"): [1, 1, 0, 0],  # missing, unreadable, out of range, wrong size
        ("train", "semseg"): [0, 1, 1, 0],
        ("train", "depth"): [0, 0, 1, 1],
        ("train", "normals"): [0, 0, 1, 0],
        ("train", "edge"): [0, 0, 1, 0],
        ("val", "normals"): [1, 0, 0, 0],
    }
    assert len(report.faults) == 2 and not report.ok
    depth = row(report, "train", "depth")
    assert depth.remarks["depth not finite or negative, ignored"] == 1 and depth.remarks["no labelled pixel"] == 1
    assert row(report, "train", "image").remarks["mode L, turned into RGB"] == 1
    text = str(report)
    for name in ("images/0001.jpg", "images/0002.jpg", "0003.png", "0004.png", "depth/0005.npy", "depth/0006.npy"):
        assert name in text
    assert "line 13: '0001' stands in line 1 already" in text and "Ready" not in text


def test_a_folder_of_other_files_is_told_by_what_it_holds_and_what_is_read(tmp_path):
    root = write_pascal(tmp_path)
    for path in (root / "sal_distill").iterdir():
        path.rename(path.with_suffix(".tif"))
    words = "saliency: folder sal_distill holds 5 .tif, and is read from .png. Add it, or leave the task out"
    assert str(verify("pascal", root)).count(words) == 1


def test_kinds_of_files_and_the_unit_are_told(tmp_path):
    metres = str(verify("nyud", write_nyud(tmp_path / "c", "C")))
    assert "depth in metres, image as .png, semseg as .png, depth as .npy, normals as .png" in metres
    assert "depth in millimetres, image as .jpg" in str(verify("nyud", write_nyud(tmp_path / "b", per_metre=1000)))


def test_a_missing_folder_is_told_once_with_the_tasks_that_remain(tmp_path):
    root = write_pascal(tmp_path)
    (root / "normals_distill").rename(tmp_path / "away")
    report = verify("pascal", root)
    assert not report.ok and row(report, "val", "normals").unread
    words = "normals: there is no folder normals_distill. Add it, or leave the task out: tasks=('semseg', "
    assert str(report).count(words) == 1 and "Ready" in str(report)


def test_what_is_no_archive_gets_one_sentence(tmp_path):
    report = verify("nyud", tmp_path)
    assert not report.ok and not report.rows and "there is no folder images" in str(report)
    with pytest.raises(ValueError, match="unknown archive 'scenes'"):
        verify("scenes", tmp_path)


def test_an_absent_split_list_does_not_hide_the_other_split(tmp_path):
    root = write_nyud(tmp_path)
    (root / "gt_sets/val.txt").unlink()
    report = verify("nyud", root)
    assert "val.txt is missing" in str(report) and row(report, "train", "depth").sizes.total() == 3


def test_a_frame_in_both_lists_and_a_label_of_one_value_are_told(tmp_path):
    root = write_nyud(tmp_path, train=3, val=2)
    (root / "gt_sets/val.txt").write_text("0003\n0004\n")
    for path in (root / "edge").iterdir():
        save(path, np.zeros((24, 32)))
    text = str(verify("nyud", root))
    assert "1 frames, such as '0003', stand in both lists, so they measure nothing" in text
    assert "train edge: all labelled pixels of the split have one value, so there is nothing to learn (3" in text


def test_a_unit_that_fits_no_room_does_not_hide_other_faults(tmp_path):
    root = write_nyud(tmp_path, per_metre=50)
    truncate(root / "images/0001.jpg")
    report = verify("nyud", root)
    assert len(row(report, "train", "depth").faults["range"]) == 3
    assert len(row(report, "train", "image").faults["unreadable"]) == 1


@needs_shared
def test_the_real_pascal_sample_is_told_by_what_it_lacks():
    report = verify("pascal", SHARED / "data/pascal")
    assert {row.label for row in report.rows if row.unread} == {"saliency", "normals", "edge"}
    assert not any(row.n_faults for row in report.rows)
    parts = [row(report, split, "human_parts") for split in ("train", "val")]
    assert sum(row.found for row in parts) == 17 and sum(row.expected for row in parts) == 277

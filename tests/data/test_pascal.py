"""PASCAL_MT archives: parts, masks and normals as the files say, and one sentence for each lack."""

import numpy as np
import pytest
from archives import SHARED, needs_shared, random_frame, save, truncate, write_anno, write_pascal
from scipy.io import loadmat, savemat

from ptsa_lite.data import open_dataset, pascal
from ptsa_lite.data.files import DataError

TASKS = pascal.LAYOUT.tasks


def read(root, name="2008_000001", tasks=TASKS):
    return pascal.LAYOUT.open(root).frame(name, tasks)


def nesting(value):
    """How a loaded .mat variable is built: shapes and field names, without sizes of masks and texts."""
    if isinstance(value, np.ndarray) and value.dtype.names:
        return [len(value.shape), value.dtype.names, [nesting(value.flat[0][name]) for name in value.dtype.names]]
    return [value.ndim, value.dtype.kind, value.dtype.itemsize if value.dtype.kind == "u" else 0]


def test_every_label_is_read_back_as_written(tmp_path):
    frame, written = read(write_pascal(tmp_path)), random_frame(1)
    for task in ("semseg", "human_parts", "saliency"):
        assert np.array_equal(frame[task], written[task]) and frame[task].dtype == np.uint8
    assert np.abs(frame["normals"] - written["normals"]).max() <= 1.01 / 255
    assert not frame["edge"].any()  # one class everywhere


def test_semseg_is_found_in_both_places_and_the_first_one_wins(tmp_path):
    write_pascal(tmp_path)
    assert np.array_equal(read(tmp_path, "2008_000002")["semseg"], random_frame(2)["semseg"])
    save(tmp_path / "semseg/pascal-context/2008_000001.png", np.zeros((24, 32), np.uint8))
    assert np.array_equal(read(tmp_path)["semseg"], random_frame(1)["semseg"])


def test_suffixes_count_without_regard_to_case(tmp_path):
    expected = read(write_pascal(tmp_path))
    for folder, suffix in (("JPEGImages", ".JPG"), ("sal_distill", ".PNG"), ("human_parts", ".MAT")):
        for path in (tmp_path / folder).iterdir():
            path.rename(path.with_suffix(suffix))
    found = read(tmp_path)
    assert found.keys() == expected.keys() and all(np.array_equal(found[key], expected[key]) for key in found)


def test_24_part_names_become_six_parts():
    assert len(pascal.PART_OF) == 24 and set(pascal.PART_OF.values()) == {1, 2, 3, 4, 5, 6}
    left = [name for name in pascal.PART_OF if name[0] == "l"]
    assert len(left) == 9 and all(pascal.PART_OF["r" + name[1:]] == pascal.PART_OF[name] for name in left)


def test_only_people_have_parts_and_later_parts_lie_on_top(tmp_path):
    top, left, everything = np.zeros((3, 8, 8), bool)
    top[:4], left[:, :4], everything[:] = True, True, True
    path = write_anno(
        tmp_path / "x.mat",
        [
            ("dog", 12, everything, [("head", everything), ("tail", top)]),
            ("person", 15, everything, [("torso", everything), ("lear", left)]),
            ("person", 15, top, [("rfoot", top & left)]),
            ("person", 15, top, []),
        ],
    )
    expected = np.where(left, 1, 2)
    expected[top & left] = 6
    assert np.array_equal(pascal.read_parts(path), expected)


def test_without_people_the_parts_are_background_and_without_a_file_there_is_no_label(tmp_path):
    write_pascal(tmp_path)
    mask = np.ones((24, 32), bool)
    write_anno(tmp_path / "human_parts/2008_000001.mat", [("dog", 12, mask, [("tail", mask)]), ("car", 7, mask, [])])
    assert not read(tmp_path)["human_parts"].any()
    assert "human_parts" not in read(tmp_path, "2008_000002")


def test_an_unknown_part_or_a_foreign_mat_is_refused(tmp_path):
    mask = np.ones((4, 4), bool)
    with pytest.raises(DataError, match="x.mat names an unknown part 'wing'"):
        pascal.read_parts(write_anno(tmp_path / "x.mat", [("person", 15, mask, [("wing", mask)])]))
    savemat(tmp_path / "y.mat", {"anno": np.zeros((2, 2))})
    savemat(tmp_path / "z.mat", {"other": 1})
    (tmp_path / "t.mat").write_text("no mat file at all")
    cut = write_anno(tmp_path / "c.mat", [("person", 15, mask, [("head", mask)])])
    truncate(cut)
    for name in "yztc":
        with pytest.raises(DataError, match=f"{name}.mat") as caught:
            pascal.read_parts(tmp_path / f"{name}.mat")
        assert caught.value.kind == "unreadable"


def test_saliency_is_above_a_half(tmp_path):
    write_pascal(tmp_path)
    values = np.repeat(np.array([0, 127, 128, 255], np.uint8), 8)[None].repeat(24, 0)
    save(tmp_path / "sal_distill/2008_000001.png", values)
    assert np.array_equal(read(tmp_path)["saliency"], values > 127)


def test_saliency_in_zeros_and_ones_is_refused_and_so_is_one_of_sixteen_bits(tmp_path):
    write_pascal(tmp_path)
    save(tmp_path / "sal_distill/2008_000001.png", np.full((24, 32), 5000, np.uint16))
    with pytest.raises(DataError, match="2008_000001.png holds values up to 5000; expected 0..255"):
        read(tmp_path, tasks=["saliency"])
    for path in (tmp_path / "sal_distill").iterdir():
        save(path, random_frame(1)["saliency"])
    with pytest.raises(DataError, match="saliency is in 0 and 1; expected 0 and 255"):
        read(tmp_path, tasks=["saliency"])


@pytest.mark.parametrize("classes", [np.full((24, 32), np.nan), np.full((24, 32), 1.5), np.zeros((0, 0))])
def test_classes_that_are_no_whole_numbers_in_two_directions_are_refused(tmp_path, classes):
    savemat(tmp_path / "x.mat", {"LabelMap": classes})
    with pytest.raises(DataError, match="x.mat holds"):
        pascal.read_classes(tmp_path / "x.mat")


def test_normals_count_only_on_classes_known_indoors(tmp_path):
    write_pascal(tmp_path)
    classes = np.repeat(np.array([158, 440, 427, 284, 360, 187, 431, 0], np.uint16), 4)[None].repeat(24, 0)
    savemat(tmp_path / "pascal-context/trainval/2008_000001.mat", {"LabelMap": classes})
    there = read(tmp_path)["normals"].any(axis=-1)
    # floor, wall, tvmonitor, person; not sky, grass, unknown, nothing
    assert np.array_equal(there, np.isin(classes, [158, 440, 427, 284]))


def test_edges_are_one_pixel_wide_lines_between_classes(tmp_path):
    write_pascal(tmp_path)
    classes = np.zeros((24, 32), np.uint16)
    classes[10:] = 459
    savemat(tmp_path / "pascal-context/trainval/2008_000001.mat", {"LabelMap": classes})
    edge = read(tmp_path)["edge"]
    assert edge[9].all() and edge.sum() == 32
    classes[0, 0] = 460
    savemat(tmp_path / "pascal-context/trainval/2008_000001.mat", {"LabelMap": classes})
    with pytest.raises(DataError, match=r"classes \[460\]; expected 0..459"):
        read(tmp_path)


def test_ids_out_of_range_are_refused_and_255_is_ignored(tmp_path):
    write_pascal(tmp_path)
    ids = np.full((24, 32), 255, np.uint8)
    save(tmp_path / "semseg/VOC12/2008_000001.png", ids)
    assert (read(tmp_path)["semseg"] == 255).all()
    ids[0] = 21
    save(tmp_path / "semseg/VOC12/2008_000001.png", ids)
    with pytest.raises(DataError, match=r"holds ids \[21\]; expected 0..20 and 255"):
        read(tmp_path)


def test_a_task_without_a_folder_is_refused_and_the_others_go_on(tmp_path):
    write_pascal(tmp_path)
    (tmp_path / "sal_distill").rename(tmp_path / "elsewhere")
    assert pascal.LAYOUT.open(tmp_path).tasks == ("semseg", "human_parts", "normals", "edge")
    with pytest.raises(DataError, match="no labels for 'saliency': there is no folder sal_distill; add it"):
        open_dataset("pascal", tmp_path, tasks=["semseg", "saliency"])
    sample = open_dataset("pascal", tmp_path, tasks=["semseg", "normals"])[0]
    assert set(sample) == {"image", "semseg", "normals", "index"}
    (tmp_path / "pascal-context").rename(tmp_path / "away")
    with pytest.raises(DataError, match="no labels for 'normals': there is no folder pascal-context/trainval"):
        open_dataset("pascal", tmp_path, tasks=["normals"])


def test_a_missing_file_is_refused_except_where_nobody_annotated(tmp_path):
    write_pascal(tmp_path)
    dataset = open_dataset("pascal", tmp_path, tasks=["human_parts"], augment=False)
    assert (dataset[1]["human_parts"] == 255).all() and not (dataset[0]["human_parts"] == 255).all()
    (tmp_path / "normals_distill/2008_000003.png").unlink()
    with pytest.raises(DataError, match="lacks 1 files of train, the first is normals_distill/2008_000003.png"):
        open_dataset("pascal", tmp_path, tasks=["normals"])


@pytest.mark.parametrize(("root", "found"), [(".", "PASCAL_MT, up.tar.gz"),
                                             ("up.tar.gz", "a file, which is to be unpacked"),
                                             ("PASCAL_MT", "nothing")])  # fmt: skip
def test_a_root_that_is_no_archive_is_refused_by_what_it_lacks_and_what_was_found(tmp_path, root, found):
    (tmp_path / "PASCAL_MT").mkdir()
    (tmp_path / "up.tar.gz").touch()
    lacks = "there is no folder JPEGImages, and there is no ImageSets/Context/train.txt"
    with pytest.raises(DataError, match=f"{lacks}.*expected JPEGImages/.*; found {found}$"):
        pascal.LAYOUT.open(tmp_path / root)


@needs_shared
def test_the_mat_files_of_these_tests_are_nested_as_the_real_ones(tmp_path):
    mask = np.ones((4, 4), bool)
    written = loadmat(write_anno(tmp_path / "x.mat", [("person", 15, mask, [("head", mask)])]))["anno"]
    real = loadmat(SHARED / "data/pascal/human_parts/2008_000700.mat")["anno"]
    assert nesting(written) == nesting(real)


@needs_shared
def test_real_parts_lie_on_people():
    root = SHARED / "data/pascal"
    archive = pascal.LAYOUT.open(root)
    assert archive.tasks == ("semseg", "human_parts")
    on, people = 0, 0
    for split in ("train", "val"):
        for name in archive.names(split):
            if not archive.files(name, archive.tasks)["human_parts"]:
                continue
            frame = archive.frame(name, archive.tasks)
            parts = (frame["human_parts"] > 0) & (frame["semseg"] != 255)
            on, people = on + (frame["semseg"][parts] == 15).sum(), people + parts.sum()
    assert people > 0 and on / people > 0.8  # two frames' masks leave a person out

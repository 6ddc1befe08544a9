"""NYUD archives: what a file holds is what the frame says, and what cannot be right is refused by name."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from archives import SHARED, needs_shared, random_frame, save, truncate, write_nyud
from PIL import Image

from ptsa_lite.data import files, nyud
from ptsa_lite.data.files import DataError

TASKS = nyud.LAYOUT.tasks


def read(root, name="0001", tasks=TASKS):
    return nyud.LAYOUT.open(root).frame(name, tasks)


@pytest.mark.parametrize("layout", ["B", "C"])
def test_a_layout_is_read_back(tmp_path, layout):
    archive = nyud.LAYOUT.open(write_nyud(tmp_path, layout))
    frame, written = read(tmp_path), random_frame(1)
    assert archive.tasks == TASKS
    assert archive.names("train") == ["0001", "0002", "0003"] and archive.names("val") == ["0004", "0005"]
    for task in ("semseg", "depth", "edge"):
        assert np.array_equal(frame[task], written[task]) and frame[task].dtype == written[task].dtype
    assert np.abs(frame["normals"] - written["normals"]).max() <= (0 if layout == "B" else 1.01 / 255)
    if layout == "C":
        assert np.array_equal(frame["image"], written["image"])


def test_a_copy_that_mixes_b_and_c_is_read_too(tmp_path):
    write_nyud(tmp_path / "b")
    write_nyud(tmp_path / "c", "C")
    (tmp_path / "b/edge").rename(tmp_path / "old")
    (tmp_path / "c/edge").rename(tmp_path / "b/edge")
    assert np.array_equal(read(tmp_path / "b")["edge"], random_frame(1)["edge"])


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".Jpeg", ".PNG"])
def test_suffixes_count_without_regard_to_case(tmp_path, suffix):
    write_nyud(tmp_path, "C" if suffix == ".PNG" else "B")
    expected = read(tmp_path)
    for folder in ("images", "segmentation", "depth"):
        for path in (tmp_path / folder).iterdir():
            path.rename(path.with_suffix(suffix if folder == "images" else path.suffix.upper()))
    (tmp_path / "images/0002").with_suffix(suffix).rename(tmp_path / "images/0002.jpg")  # beside others
    for key, value in read(tmp_path).items():
        assert np.array_equal(value, expected[key]), key
    assert read(tmp_path, "0002")["image"].shape == (24, 32, 3)


def write_depth_as_png(root, factor=1000, dtype=np.uint16):
    for path in (root / "depth").glob("*.npy"):
        save(path.with_suffix(".png"), np.rint(np.load(path) * factor).astype(dtype))
        path.unlink()


def test_depth_as_sixteen_bit_png_in_millimetres_is_read_and_told(tmp_path):
    write_depth_as_png(write_nyud(tmp_path))
    archive = nyud.LAYOUT.open(tmp_path)
    assert archive.tasks == TASKS and "depth in millimetres" in archive.described
    assert np.abs(read(tmp_path)["depth"] - random_frame(1)["depth"]).max() <= 0.00051
    depth = np.asarray(Image.open(tmp_path / "depth/0001.png")).copy()
    depth[0] = 0
    save(tmp_path / "depth/0001.png", depth)
    assert (read(tmp_path)["depth"][0] == 0).all()


@pytest.mark.parametrize("factor, dtype", [(25, np.uint8), (1, np.uint8), (5000, np.uint16), (100, np.uint16)])
def test_depth_as_png_in_no_known_unit_is_refused(tmp_path, factor, dtype):
    write_depth_as_png(write_nyud(tmp_path), factor, dtype)
    assert "depth in no known unit" in nyud.LAYOUT.open(tmp_path).described
    with pytest.raises(DataError, match="0001.png: the archive's depth.* fits a room neither"):
        read(tmp_path)


def test_of_two_kinds_in_a_folder_the_one_that_most_listed_frames_have_counts(tmp_path):
    archive = nyud.LAYOUT.open(write_nyud(tmp_path))
    expected = read(tmp_path)["depth"]
    for name in ("0001", "0002", "0003", *(f"9{i:03d}" for i in range(9))):  # pictures of it, and of frames in no list
        save(tmp_path / f"depth/{name}.png", np.full((24, 32), 90, np.uint8))
    assert np.array_equal(read(tmp_path)["depth"], expected)
    for path in (tmp_path / "depth").glob("000[13].npy"):
        path.unlink()
    assert nyud.LAYOUT.open(tmp_path).files("0002", ["depth"])["depth"] == "depth/0002.png"
    assert archive.files("0002", ["depth"])["depth"] == "depth/0002.npy"


def test_a_folder_of_other_files_is_told_by_what_it_holds_and_what_is_read(tmp_path):
    write_nyud(tmp_path)
    for path in (tmp_path / "depth").iterdir():
        path.rename(path.with_suffix(".exr"))
    (tmp_path / "depth/.DS_Store").touch()
    words = "folder depth holds 5 .exr, and is read from .npy or .png"
    with pytest.raises(DataError, match=f"has no labels for 'depth': {words}"):
        nyud.LAYOUT.open(tmp_path).need(TASKS)
    assert nyud.LAYOUT.open(tmp_path).tasks == ("semseg", "normals", "edge")
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".webp"))
    with pytest.raises(DataError, match="folder images holds 5 .webp, and is read from .jpg or .jpeg or .png"):
        nyud.LAYOUT.open(tmp_path)


def test_layout_a_is_refused_with_what_differs(tmp_path):
    write_nyud(tmp_path)
    for path in (tmp_path / "segmentation").iterdir():
        path.rename(path.with_suffix(".mat"))
    with pytest.raises(DataError, match=r"layout A \(segmentation as \.mat with 41 classes"):
        nyud.LAYOUT.open(tmp_path)


def test_a_root_without_the_folders_is_refused_by_what_it_lacks(tmp_path):
    with pytest.raises(DataError, match="there is no folder images, and there is no gt_sets/train.txt"):
        nyud.LAYOUT.open(tmp_path)


def test_millimetres_and_metres_give_the_same_depth_and_are_told(tmp_path):
    write_nyud(tmp_path / "m")
    write_nyud(tmp_path / "mm", per_metre=1000)
    assert "depth in metres" in nyud.LAYOUT.open(tmp_path / "m").described
    assert "depth in millimetres" in nyud.LAYOUT.open(tmp_path / "mm").described
    assert np.allclose(read(tmp_path / "m")["depth"], read(tmp_path / "mm")["depth"], rtol=1e-6)


@pytest.mark.parametrize("factor", [1000, 0.001])
def test_one_file_in_another_unit_is_refused(tmp_path, factor):
    write_nyud(tmp_path, train=5, val=1)
    save(tmp_path / "depth/0002.npy", random_frame(2)["depth"] * np.float32(factor))
    with pytest.raises(DataError, match=r"depth/0002.npy reaches .* in the archive's unit"):
        read(tmp_path, "0002")


def test_ids_count_from_zero_and_unlabelled_is_ignored(tmp_path):
    write_nyud(tmp_path)
    ids = np.zeros((24, 32), np.uint8)
    ids[:8], ids[8:16] = 1, 40
    save(tmp_path / "segmentation/0001.png", ids)
    semseg = read(tmp_path)["semseg"]
    assert (semseg[:8] == 0).all() and (semseg[8:16] == 39).all() and (semseg[16:] == 255).all()
    save(tmp_path / "segmentation/0001.png", ids + np.uint8(1))
    with pytest.raises(DataError, match=r"0001.png holds ids \[41\]; expected 0..40"):
        read(tmp_path)


def test_depth_that_is_none_becomes_zero_and_is_remarked(tmp_path):
    write_nyud(tmp_path)
    depth = random_frame(1)["depth"]
    depth[0, :3] = np.nan, np.inf, -1
    save(tmp_path / "depth/0001.npy", depth)
    with files.remarks() as remarks:
        found = read(tmp_path)["depth"]
    assert (found[0, :3] == 0).all() and np.array_equal(found[1:], depth[1:])
    assert remarks == ["depth not finite or negative, ignored"]


def test_normals_that_are_none_become_zero_and_long_ones_are_refused(tmp_path):
    write_nyud(tmp_path)
    normals = random_frame(1)["normals"]
    normals[0, 0], normals[0, 1], normals[0, 2] = 0, np.nan, (0.1, 0.1, 0.1)
    save(tmp_path / "normals/0001.npy", normals)
    found = read(tmp_path)["normals"]
    assert (found[0, :3] == 0).all() and np.array_equal(found[1:], normals[1:])
    save(tmp_path / "normals/0001.npy", normals * 2)
    with pytest.raises(DataError, match="normals of length 2; expected unit vectors"):
        read(tmp_path)


def test_edges_of_one_and_of_255_are_the_same(tmp_path):
    write_nyud(tmp_path)
    one = read(tmp_path)["edge"]
    save(tmp_path / "edge/0001.npy", random_frame(1)["edge"].astype(np.float64)[..., None] * 255)
    assert np.array_equal(read(tmp_path)["edge"], one) and set(np.unique(one)) == {0, 1}


def test_a_split_list_may_have_blank_lines_windows_ends_and_a_mark(tmp_path):
    write_nyud(tmp_path)
    (tmp_path / "gt_sets/train.txt").write_bytes(b"\xef\xbb\xbf0001\r\n\r\n 0002 \r\n")
    assert nyud.LAYOUT.open(tmp_path).names("train") == ["0001", "0002"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("0001\n0002\n0001\n", r"line 3: '0001' stands in line 1 already"),
        ("../0001\n", r"line 1: '\.\./0001' is not a frame's name"),
        ("a..b\n", "is not a frame's name"),
        ("/etc/passwd\n0001\n0001", r"line 1: .* \(2 faults in all\)"),
        ("a\\b\n", "is not a frame's name"),
        ("\n \n", "names no frame"),
    ],
)
def test_a_faulty_split_list_is_refused_with_its_line(tmp_path, text, words):
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        files.read_list(path)


@pytest.mark.parametrize("stored, words", [
    (lambda n: (n + 1) / 2, "normals of (mean )?length"),  # numbers of 0..1
    (lambda n: n * 0.7, "normals of mean length 0.70; expected unit vectors"),
    (lambda n: n * 2, "normals of length 2"),
], ids=["0..1", "short", "long"])  # fmt: skip
def test_normals_that_are_stored_in_another_way_are_refused(tmp_path, stored, words):
    write_nyud(tmp_path)
    normals = random_frame(1)["normals"]
    normals[..., 2] = -np.abs(normals[..., 2])  # towards the camera
    save(tmp_path / "normals/0001.npy", stored(normals).astype(np.float32))
    with pytest.raises(DataError, match=f"0001.npy holds {words}"):
        read(tmp_path)


def test_grey_is_no_picture_of_normals(tmp_path):
    write_nyud(tmp_path, "C")
    save(tmp_path / "normals/0001.png", np.full((24, 32), 190, np.uint8))
    with pytest.raises(DataError, match="0001.png has mode L in 8 bits; expected three channels, RGB"):
        read(tmp_path)


@pytest.mark.parametrize("per_metre", [50, 0.05])
def test_depth_in_neither_metres_nor_millimetres_is_refused(tmp_path, per_metre):
    write_nyud(tmp_path, per_metre=per_metre)
    assert "depth in no known unit" in nyud.LAYOUT.open(tmp_path).described
    with pytest.raises(DataError, match="fits a room neither in metres nor in millimetres"):
        read(tmp_path)
    assert "semseg" in read(tmp_path, tasks=["semseg"])


def test_a_label_without_a_pixel_and_a_list_that_is_a_folder_are_refused(tmp_path):
    write_nyud(tmp_path)
    save(tmp_path / "edge/0001.npy", np.zeros((0, 32)))
    with pytest.raises(DataError, match="0001.npy"):
        read(tmp_path)
    with pytest.raises(DataError, match="edge cannot be read"):
        files.read_list(tmp_path / "edge")


def test_broken_and_foreign_arrays_are_refused(tmp_path):
    save(tmp_path / "cut.npy", np.ones((24, 32)))
    truncate(tmp_path / "cut.npy")
    np.save(tmp_path / "pickle.npy", np.array([print], dtype=object), allow_pickle=True)
    save(tmp_path / "shape.npy", np.ones((24, 32, 2)))
    (tmp_path / "raw.npy").write_bytes(pickle.dumps([1, 2]))
    for name in ("cut", "pickle", "shape", "raw", "none"):
        with pytest.raises(DataError, match=f"{name}.npy"):
            files.read_array(tmp_path / f"{name}.npy")


def test_a_label_of_another_size_is_resampled_and_of_another_shape_refused(tmp_path):
    write_nyud(tmp_path)
    depth = random_frame(1)["depth"]
    save(tmp_path / "depth/0001.npy", np.repeat(np.repeat(depth, 2, 0), 2, 1))
    with files.remarks() as remarks:
        assert np.array_equal(read(tmp_path)["depth"], depth)
    assert remarks == ["label of another size than its picture (64x48), resampled"]
    save(tmp_path / "depth/0001.npy", depth.T.copy())
    with pytest.raises(DataError, match="0001.npy is 24x32, its picture 32x24: another shape"):
        read(tmp_path)


def test_a_fault_crosses_the_border_of_a_process():
    error = pickle.loads(pickle.dumps(DataError("size", "words")))
    assert error.kind == "size" and str(error) == "words"


@needs_shared
def test_real_frames_expanded_to_the_archive_are_read_exactly(tmp_path):
    command = [sys.executable, str(SHARED / "tools/expand_nyud.py"), str(SHARED / "data/nyud"), str(tmp_path)]
    subprocess.run([*command, "--limit", "2", "--jobs", "1"], check=True, capture_output=True)
    archive = nyud.LAYOUT.open(tmp_path)
    assert "metres" in archive.described
    for split in ("train", "val"):
        for name in archive.names(split):
            frame = read(tmp_path, name)
            stored = np.asarray(Image.open(SHARED / f"data/nyud/segmentation/{name}.png")).astype(int)
            assert np.array_equal(frame["semseg"], np.where(stored == 0, 255, stored - 1))
            assert np.array_equal(frame["depth"], np.load(tmp_path / f"depth/{name}.npy"))
            assert frame["image"].shape == (360, 480, 3) and 0.5 < np.median(frame["depth"]) < 6
            # Surfaces face the camera, which looks along +z.
            assert (frame["normals"][..., 2] < 0).mean() > 0.9

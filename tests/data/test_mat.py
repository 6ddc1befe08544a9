"""MATLAB files of an archive: what is not built as it says is refused before scipy, which it would end, sees it."""

import multiprocessing
import random

import numpy as np
import pytest
from archives import write_anno
from scipy.io import savemat

from ptsa_lite.data.files import DataError
from ptsa_lite.data.mat import read_mat
from ptsa_lite.data.pascal import read_parts

FORK = multiprocessing.get_context("fork") if "fork" in multiprocessing.get_all_start_methods() else None


def flip(path, offset: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("value", [np.arange(12.0).reshape(3, 4), np.ones((2, 3), np.uint16), np.zeros((0, 0)), "text",
                                   np.array([[1 + 2j]]), {"a": 1, "b": "x"}, np.array([["a", 3]], dtype=object)],
                         ids=["float", "uint16", "empty", "text", "complex", "struct", "cell"])  # fmt: skip
def test_whole_files_of_every_class_are_read(tmp_path, value, compressed):
    savemat(tmp_path / "x.mat", {"x": value, "y": 3}, do_compression=compressed)
    assert read_mat(tmp_path / "x.mat", "x") is not None and read_mat(tmp_path / "x.mat", "y") == 3


@pytest.mark.parametrize("offset, bit", [(185, 3), (188, 6), (163, 3), (144, 3), (145, 3), (164, 2)],
                         ids=["kind of numbers", "size", "shape", "class", "complex", "shape's size"])  # fmt: skip
def test_a_flipped_bit_in_how_a_matrix_is_built_is_refused(tmp_path, offset, bit):
    """In a process of its own: without the check, several of these end it."""
    path = tmp_path / "x.mat"
    savemat(path, {"LabelMap": np.full((24, 32), 158, np.uint16)})
    flip(path, offset, bit)

    def read():
        with pytest.raises(DataError, match=r"x\.mat cannot be read as a MATLAB file"):
            read_mat(path, "LabelMap")

    if FORK is None:
        return read()
    process = FORK.Process(target=read)
    process.start()
    process.join(30)
    assert process.exitcode == 0


def test_any_flipped_bit_gives_a_label_or_a_refusal(tmp_path):
    mask = np.ones((8, 8), bool)
    people = [("person", 15, mask, [("head", mask), ("torso", mask)]), ("dog", 12, mask, [])]
    path = write_anno(tmp_path / "x.mat", people)
    whole, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(150):
        path.write_bytes(whole)
        flip(path, rng.randrange(len(whole)), rng.randrange(8))
        try:
            label = read_parts(path)
            assert label is None or (label.ndim == 2 and label.max() <= 6)
        except DataError as error:
            refused += "x.mat" in str(error)
    assert refused > 35

"""Pictures: one table of rules for predict, archives and notebooks; each rule, and each refusal by name."""

from io import BytesIO

import numpy as np
import pytest
from archives import png, random_frame, save, truncate
from PIL import Image

from ptsa_lite.data import files
from ptsa_lite.data.files import DataError
from ptsa_lite.data.pictures import read_grey, read_ids, read_picture


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_pictures_of_other_modes_become_rgb_and_are_remarked(tmp_path, mode):
    grey = Image.fromarray(np.repeat(random_frame(1)["image"][..., :1], 3, 2))
    path = tmp_path / f"x.{'jpg' if mode == 'CMYK' else 'png'}"
    grey.convert(mode).save(path)
    with files.remarks() as remarks:
        image = read_picture(path, turn=False)
    assert image.shape == (24, 32, 3) and image.dtype == np.uint8 and remarks == [f"mode {mode}, turned into RGB"]
    if mode in ("L", "RGBA"):
        assert np.array_equal(image, np.asarray(grey))


@pytest.mark.parametrize("how", range(1, 9))
def test_a_rotation_in_exif_is_applied_where_no_labels_lie_on_the_stored_pixels(tmp_path, how):
    upright, exif = random_frame(1)["image"], Image.Exif()
    exif[274] = how
    # What a camera stores that is held so: the inverse of what a viewer does with it.
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
              6: np.rot90(upright), 7: np.rot90(upright.transpose(1, 0, 2), 2), 8: np.rot90(upright, -1)}  # fmt: skip
    stored = np.ascontiguousarray(stored[how])
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    for source in (tmp_path / "x.png", Image.open(tmp_path / "x.png")):
        with files.remarks() as remarks:
            assert np.array_equal(read_picture(source), upright)
        assert remarks == ["EXIF rotation applied"] * (how != 1)
    with files.remarks() as remarks:
        assert np.array_equal(read_picture(tmp_path / "x.png", turn=False), stored)
    assert remarks == ["EXIF rotation not applied"] * (how != 1)


@pytest.mark.parametrize("how", range(1, 9))
def test_a_tiff_is_turned_no_more_than_others_though_pillow_turns_it_by_itself(tmp_path, how):
    stored, exif = random_frame(1)["image"], Image.Exif()
    exif[274] = how
    for name in ("x.png", "x.tif"):
        Image.fromarray(stored).save(tmp_path / name, exif=exif)
    assert np.array_equal(read_picture(tmp_path / "x.tif", turn=False), stored)
    assert np.array_equal(read_picture(tmp_path / "x.tif"), read_picture(tmp_path / "x.png"))
    Image.fromarray(stored[..., 0]).save(tmp_path / "label.tif", exif=exif)
    assert np.array_equal(read_grey(tmp_path / "label.tif"), stored[..., 0])


def test_a_picture_that_a_program_would_have_to_draw_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *call, **options: pytest.fail("Ghostscript was called"))
    Image.fromarray(random_frame(1)["image"]).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png cannot be decoded .* \(EPS is a program that draws\); .* PNG"):
        read_picture(tmp_path / "x.png")


def test_truncated_empty_and_missing_pictures_are_refused(tmp_path):
    save(tmp_path / "cut.jpg", random_frame(1)["image"])
    truncate(tmp_path / "cut.jpg")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, kind, words in (
        ("cut.jpg", "unreadable", "cannot be decoded"),
        ("empty.png", "unreadable", "it is empty"),
        ("none.png", "missing", "is missing"),
        ("", "unreadable", "cannot be decoded"),  # the folder itself
    ):
        with pytest.raises(DataError, match=f"{name}.*{words}") as caught:
            read_picture(tmp_path / name)
        assert caught.value.kind == kind


def test_sixteen_bits_are_scaled_to_eight_by_their_type(tmp_path):
    grey = random_frame(1)["image"][..., 0]
    rgb = np.repeat(grey[..., None], 3, 2)
    save(tmp_path / "grey.png", grey.astype(np.uint16) * 257)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey.tif")
    png(tmp_path / "rgb.png", 16, 2, np.repeat(rgb.reshape(24, -1), 2, 1))
    for name in ("grey.png", "grey.tif", "rgb.png"):
        for source in (tmp_path / name, Image.open(tmp_path / name)):
            with files.remarks() as remarks:
                assert np.array_equal(read_picture(source), rgb), name
            assert remarks == ["16 bits a channel, scaled to 8"]


@pytest.mark.parametrize("kind, row", [(0, [0x0F, 0xFF] * 3), (2, [0, 200] * 6)], ids=["grey", "rgb"])
def test_sixteen_bits_of_another_scale_are_refused(tmp_path, kind, row):
    with pytest.raises(DataError, match=r"x\.png has more than 8 bits .* not clear what white is; save it as"):
        read_picture(png(tmp_path / "x.png", 16, kind, [row]))


def test_what_has_no_scale_is_refused_by_name(tmp_path):
    Image.fromarray(np.full((4, 4), 9.0, np.float32)).save(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 9, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(DataError, match="the picture cannot be decoded"):
        read_picture(BytesIO(b"no picture"))
    for name in ("f.tif", "i.tif"):
        with pytest.raises(DataError, match=f"{name} has mode . in 32 bits"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparency_shows_white(tmp_path, mode):
    grey, clear = random_frame(1)["image"][..., 0], np.zeros((24, 32), bool)
    grey = np.maximum(grey, 1)
    clear[:12] = True
    expected = np.where(clear, 255, grey)
    if mode in ("L", "RGB", "P"):  # one colour, or one entry of the palette, is transparent
        key = 0 if mode != "RGB" else (0, 0, 0)
        picture = Image.fromarray(np.where(clear, 0, grey).astype(np.uint8))
        picture.convert(mode).save(tmp_path / "x.png", transparency=key)
        source = tmp_path / "x.png"
    else:
        pixels = np.stack([grey, np.where(clear, 0, 255)], -1).astype(np.uint8)
        source = Image.fromarray(pixels, "LA").convert(mode)
    with files.remarks() as remarks:
        assert np.array_equal(read_picture(source)[..., 1], expected)
    assert "transparent, laid on white" in remarks


@pytest.mark.parametrize("source", [None, 3, {}, b"\x89PNG"])
def test_what_is_no_picture_at_all_is_refused_by_its_type(source):
    with pytest.raises(DataError, match=f"a picture is a path, .* not {type(source).__name__}"):
        read_picture(source)


def test_an_array_is_read_by_its_types_scale():
    rgb = random_frame(1)["image"]
    for array in (rgb, rgb.astype(np.uint16) * 257, rgb / 255, (rgb / 255).astype(np.float32)):
        assert np.array_equal(read_picture(array), rgb)
    for array in (rgb[..., 0], rgb[..., :1], rgb[:, :, 0] > 127):
        assert read_picture(array).shape == rgb.shape
    clear = np.concatenate([rgb, np.zeros((24, 32, 1), np.uint8)], -1)
    assert (read_picture(clear) == 255).all()
    for array, words in ((rgb.astype(np.int64), "int64"), (rgb / 1.0, "beyond 0..1"), (rgb.transpose(2, 0, 1), "shape"),
                         (rgb[:0], "shape"), (rgb.astype(np.uint16) * 15, "not clear"),
                         (rgb / np.nan, "beyond 0..1")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            read_picture(array)


@pytest.mark.parametrize("bits, row, ids", [
    (1, [0b01100000], [0, 1, 1, 0, 0, 0, 0, 0]), (2, [0b00011011], [0, 1, 2, 3]), (4, [0x01, 0x2F], [0, 1, 2, 15]),
    (8, [0, 1, 2, 40], [0, 1, 2, 40]), (16, [0, 0, 0, 40], [0, 40]),
])  # fmt: skip
def test_ids_are_those_that_are_stored_whatever_the_bits_of_a_pixel(tmp_path, bits, row, ids):
    assert read_ids(png(tmp_path / "x.png", bits, 0, [row, row]), 40).tolist() == [ids, ids]


def test_normals_of_sixteen_bits_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"x\.png has mode RGB in 16 bits; expected three channels"):
        read_picture(png(tmp_path / "x.png", 16, 2, [[200, 200] * 6]), colour=False)


def test_negative_ids_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), -1, np.int32)).save(tmp_path / "x.png", format="TIFF")
    with pytest.raises(DataError, match=r"x\.png holds ids \[-1\]"):
        read_ids(tmp_path / "x.png", 40)

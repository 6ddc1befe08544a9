"""Pictures as RGB, and label pictures as numbers: one table of rules, whoever reads (predict, archives, notebooks).

======================== ===========================================================================================
a picture                becomes
======================== ===========================================================================================
grey, palette, CMYK, ... RGB
transparent              RGB, laid on white
more than 8 bits         8 bits, full scale to full scale: 65535 to 255 where it is stored in 16. Refused where its
                         values end below a sixteenth of that, so that the scale is another, and where a type has no
                         scale: 32 bits, real numbers other than an array's of 0..1
rotated by EXIF          turned as a viewer shows it where there are no labels (predict); left as it is stored in an
                         archive, whose labels lie on the stored pixels
several in one file      the first
damaged, or none         refused
======================== ===========================================================================================

A label picture's numbers are those that are stored, whatever the bits of a pixel. Normals are no colours: three
channels of 8 bits, as they are. A rule that changed something says so (`files.remarks`).
"""

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from .files import DataError, check_ids, read_array, reading, remark

TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
TURNS = {  # by EXIF's number for how the camera was held; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BACK = {TURNS[6]: TURNS[8], TURNS[8]: TURNS[6]}  # every other turn is its own way back
PROGRAMS = ("EPS", "WMF")  # formats that other programs would have to execute


def read_picture(
    source: str | Path | BinaryIO | Image.Image | np.ndarray, turn: bool = True, colour: bool = True
) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file, a PIL picture, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    An array's scale is its type's: 255, 65535, or 1 for real numbers and booleans.
    turn: as EXIF says. colour=False: its three channels are numbers, which no other mode can hold.
    Raises DataError naming the file and the reason.
    """
    if isinstance(source, np.ndarray):
        return _rgb(_picture_of(source), 8, "the array")
    name = _name(source)
    picture, bits, how = _decoded(source)
    if not colour and (bits > 8 or picture.mode not in ("RGB", "RGBA", "P")):
        raise DataError("range", f"{name} has mode {picture.mode} in {bits} bits; expected three channels, RGB, of 8")
    if how is not None:
        remark("EXIF rotation applied" if turn else "EXIF rotation not applied")
        picture = picture.transpose(how) if turn else picture
    return _rgb(picture, bits, name, ground=colour)


def _name(source) -> str | Path:
    return source if isinstance(source, str | Path) else "the picture"


def _decoded(source: str | Path | BinaryIO | Image.Image) -> tuple[Image.Image, int, Image.Transpose | None]:
    """A picture as it is stored, the bits of a stored value, and what would make it upright.

    Pillow widens 1, 2 and 4 bits to 8, and cuts a colour's 16; it turns a TIFF by itself, which is turned back here.
    """
    name = _name(source)
    if not isinstance(source, str | Path | Image.Image) and not hasattr(source, "read"):
        kinds = "a path, an open file, a PIL picture or an array"
        raise DataError("unreadable", f"a picture is {kinds}, not {type(source).__name__}")
    with reading(name, "decoded as a picture", ", or save it as a smaller PNG or JPEG"):
        picture = source if isinstance(source, Image.Image) else Image.open(source)
        if picture is not source:
            picture.filename = ""  # else Pillow 13 maps a grey TIFF that is turned from its file, in wrong order
        # How the file packs its values stands in its tiles, and only until it is loaded: "RGB;16B", "L;4", "I;12".
        packed = " ".join(str(tile[3]) for tile in getattr(picture, "tile", ())) or picture.mode
        packed, how = vars(picture).setdefault("_as_stored", (packed, _turn(picture)))  # for who reads it again, loaded
        bits = re.search(r";(\d+)", packed)
        if picture.format in PROGRAMS:
            raise ValueError(f"{picture.format} is a program that draws")
        picture.load()
        if how is not None and _turn(picture) is None:
            picture = picture.transpose(BACK.get(how, how))
        return picture, int(bits[1]) if bits else 32 if picture.mode in ("I", "F") else 8, how


def _rgb(picture: Image.Image, bits: int, name, ground: bool = True) -> np.ndarray:
    """The picture's colours in 8 bits, on a white ground where some of it is transparent and `ground` is wanted."""
    mode, keyed = picture.mode, "transparency" in picture.info  # one colour, or entries of a palette, are transparent
    if bits > 16 or mode == "F" or (bits > 8 and keyed):
        words = f"{name} has mode {mode} in {bits} bits, of which nothing tells what is white"
        raise DataError("range", f"{words}; save it as 8-bit RGB")
    if bits > 8:  # Pillow keeps a grey's bits, and of a colour's only the upper 8
        values = np.asarray(picture)
        if mode.startswith("I"):
            picture = Image.fromarray(_scaled(values, 2**bits - 1, name))
        else:
            colours = values[..., :-1] if mode in TRANSPARENT else values
            _scaled(colours.max(keepdims=True).clip(1), 255, name)  # the upper 8 of a small number are 0
        remark(f"{bits} bits a channel, scaled to 8")
    elif mode != "RGB":
        remark(f"mode {mode}, turned into RGB")
    try:
        if ground and (mode in TRANSPARENT or keyed):
            picture = picture.convert("LA" if mode == "La" else "RGBA").convert("RGBA")
            if picture.getextrema()[3][0] < 255:
                remark("transparent, laid on white")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return np.asarray(picture.convert("RGB"))
    except ValueError as error:  # Pillow knows modes that it cannot turn
        raise DataError("range", f"{name} has mode {mode}, which cannot be turned into RGB ({error})") from None


def _scaled(values: np.ndarray, full: int, name) -> np.ndarray:
    """Whole numbers 0..full as 0..255. Refused where none reaches a sixteenth of the scale: then it is another one."""
    if 0 < values.max() < full / 16:
        words = f"{name} has more than 8 bits a channel, and no value reaches a sixteenth of their scale"
        raise DataError("range", f"{words}, so it is not clear what white is; save it as 8-bit RGB")
    return ((values.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)


def _picture_of(array: np.ndarray) -> Image.Image:
    """An array of any type that has a scale, as a PIL picture of 8 bits."""
    kind, name = array.dtype, "the array"
    if array.ndim not in (2, 3) or not array.size or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise DataError("size", f"{name} has shape {array.shape}; expected (H, W), (H, W, 3) or (H, W, 4)")
    if kind.kind == "f" and not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise DataError("range", f"{name}'s real numbers reach beyond 0..1; give uint8, or divide by its white")
    if kind.kind != "f" and kind.name not in ("bool", "uint8", "uint16"):
        raise DataError("range", f"{name} is of {kind}, of which nothing tells what is white; give uint8")
    if kind.name == "uint16":
        array = _scaled(array, 65535, name)
    elif kind.name != "uint8":
        array = np.rint(array * 255.0).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array))


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What makes it upright, as its EXIF says; None where that says nothing, or cannot be read."""
    try:
        return TURNS.get(picture.getexif().get(274))
    except Exception:
        return None


def read_grey(source: Path | BinaryIO | Image.Image, stored: bool = False, real: bool = False) -> np.ndarray:
    """(H, W) of an integer type: a one-channel picture's brightness, 0..255 from 8 bits or fewer, or palette indices.

    stored: the numbers as they are in the file instead, which differ where a pixel has 1, 2 or 4 bits.
    real: a channel of real numbers will do, too.
    """
    picture, bits, _ = _decoded(source)
    if picture.mode not in ("L", "P", "1", "I", "I;16", "I;16B", *("F",) * real):
        words = f"{_name(source)} has mode {picture.mode}; expected a label picture of one"
        raise DataError("range", f"{words} channel" if real else f"{words} integer channel")
    values = np.asarray(picture)
    if picture.mode == "1":
        return values.astype(np.uint8) * np.uint8(1 if stored else 255)
    return values // (255 // (2**bits - 1)) if stored and picture.mode == "L" and bits < 8 else values


def read_numbers(path: Path, channels: int = 1) -> np.ndarray:
    """(H, W), or of three channels (H, W, 3): what a PNG or a .npy holds."""
    if path.suffix.lower() == ".npy":
        return read_array(path, channels)
    return read_grey(path) if channels == 1 else read_picture(path, turn=False, colour=False)


def read_ids(path: Path, highest: int, ignore: int | None = None) -> np.ndarray:
    """(H, W) uint8 of ids 0..highest, and `ignore` where that is given."""
    values = read_grey(path, stored=True)
    allowed = f"0..{highest}" + ("" if ignore is None else f" and {ignore}")
    check_ids(values, highest, ignore, f"{path} holds ids", f"; expected {allowed}")
    return values.astype(np.uint8)

"""Files of an archive, read one at a time: either a plain array, or a DataError with the file and the reason.

The rules for odd input (those of pictures stand in `pictures.py`):

- A label of another size than its picture is resampled (nearest) if the shape is the same within 2 %, else refused.
- Ids outside their range, and normals longer than 1, are refused.
- Normals shorter than a half, or not finite, are no normals (zero). Where the others' mean length is below 0.8, they
  are stored in another way, and refused.
- Depth that is not finite or not positive is no depth (zero).

A rule that changed something says so to whoever listens (`remarks`); `data.verify` counts what they say.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_HEARD: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


class DataError(ValueError):
    """A file of an archive that cannot be used. `kind` is missing, unreadable, range or size."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):  # crosses the border of a loader's worker process
        return DataError, (self.kind, str(self))


def parse_list(path: Path) -> tuple[list[str], list[str]]:
    """The frame names in a split list, and what is wrong with them. Blank lines and Windows line ends are no fault.

    Raises DataError where it is no text.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError("missing", f"{path} is missing; the archive needs this list of frame names") from None
    except OSError as error:
        raise DataError("unreadable", f"{path} cannot be read ({error.strerror}); expected a text file") from None
    except UnicodeDecodeError:
        raise DataError("unreadable", f"{path} is not a text file in UTF-8; expected one frame name a line") from None
    names, faults, seen = [], [], {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name:
            continue
        if not NAME.fullmatch(name) or ".." in name:
            faults.append(f"line {number}: {name[:60]!r} is not a frame's name (letters, digits, '_', '-', '.')")
        elif name in seen:
            faults.append(f"line {number}: {name!r} stands in line {seen[name]} already")
        else:
            seen[name] = number
            names.append(name)
    return names, faults or ([] if names else ["it names no frame"])


def read_list(path: Path) -> list[str]:
    """The same. Raises DataError with every fault counted and the first one named."""
    names, faults = parse_list(path)
    if faults:
        more = f" ({len(faults)} faults in all)" if len(faults) > 1 else ""
        raise DataError("unreadable", f"split list {path}: {faults[0]}{more}; mend the list")
    return names


@contextmanager
def reading(path: str | Path, how: str, or_else: str = "") -> Iterator[None]:
    """A block that reads a file by a library, which raises whatever the broken bytes lead it to: a DataError here."""
    try:
        yield
    except FileNotFoundError:
        raise DataError("missing", f"{path} is missing") from None
    except Exception as error:  # MemoryError among them
        words = " ".join(str(error).replace(str(path), "it").split())[:120] or type(error).__name__
        if Path(path).is_file() and not Path(path).stat().st_size:
            words = "it is empty"
        raise DataError("unreadable", f"{path} cannot be {how} ({words}); fetch it again{or_else}") from None


def check_ids(values: np.ndarray, highest: int, ignore: float | None, what: str, expected: str) -> None:
    """Raises DataError, with the first five, where there are others than whole numbers 0..highest and `ignore`."""
    wrong = (values < 0) | (values > highest) | (values % 1 != 0)
    if wrong.any() and (others := [v for v in np.unique(values[wrong]).tolist() if v != ignore]):
        raise DataError("range", f"{what} {others[:5]}{expected}")


def above_half(values: np.ndarray, path: Path, what: str) -> np.ndarray:
    """(H, W) uint8, 1 above half of full scale, which is 255 if anything is above 1, else 1."""
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise DataError("range", f"{path} holds {what} values outside 0..255; expected 0 and 1, or 0 and 255")
    return (values > (127.5 if values.max(initial=0) > 1 else 0.5)).astype(np.uint8)


def read_array(path: Path, channels: int = 1) -> np.ndarray:
    """A .npy of numbers as (H, W), or (H, W, channels) for more than one channel. Pickled objects are refused."""
    with reading(path, "read as a .npy array"):
        array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise DataError("unreadable", f"{path} is not a plain array of numbers; expected .npy")
    if channels == 1 and array.ndim == 3:
        array = array.squeeze()  # (H, W, 1) or (1, H, W)
    if array.ndim != (2 if channels == 1 else 3) or (channels > 1 and array.shape[2] != channels) or not array.size:
        expected = "(H, W)" if channels == 1 else f"(H, W, {channels})"
        raise DataError("size", f"{path} has shape {array.shape}; expected {expected}")
    return array


def fit(label: np.ndarray, size: tuple[int, int] | None, path: Path) -> np.ndarray:
    """The label at its picture's size (H, W); as it is where no size is given."""
    h, w = label.shape[:2]
    if not label.size:
        raise DataError("size", f"{path} holds no pixel; expected a label as large as its picture")
    height, width = size or (h, w)
    if (h, w) == (height, width):
        return label
    if abs(h * width / (w * height) - 1) > 0.02:
        words = f"{path} is {w}x{h}, its picture {width}x{height}: another shape, so not its label"
        if abs(w * width / (h * height) - 1) <= 0.02:
            words += "; where EXIF turns the picture, the label must lie on the pixels as they are stored, unturned"
        raise DataError("size", words)
    remark(f"label of another size than its picture ({w}x{h}), resampled")
    return label[nearest(height, h)[:, None], nearest(width, w)]


def nearest(n: int, m: int) -> np.ndarray:
    """(n,) indices into m pixels: the pixel under each of n equal cells' centres."""
    return (np.arange(n) * 2 + 1) * m // (2 * n)


def unit_range(normals: np.ndarray) -> np.ndarray:
    """2 v / 255 - 1 of 8 bits; real numbers as they are."""
    return normals * np.float32(2 / 255) - np.float32(1) if normals.dtype == np.uint8 else normals


def clean_normals(normals: np.ndarray, path: Path) -> np.ndarray:
    """(H, W, 3) float32 with zero vectors for "none", of either `unit_range`."""
    normals = unit_range(normals).astype(np.float32)
    squared = np.einsum("hwc,hwc->hw", normals, normals)  # NaN and infinities show here too
    if not np.isfinite(squared).all():
        remark("normals not finite, ignored")
        normals = np.where(np.isfinite(squared)[..., None], normals, np.float32(0))
        squared = np.nan_to_num(squared, nan=0.0, posinf=0.0)
    if squared.max(initial=0.0) > 1.05:  # 8-bit unit vectors reach 1.02
        raise DataError("range", f"{path} holds normals of length {squared.max() ** 0.5:.3g}; expected unit vectors")
    short = squared < 0.25
    n = short.size - np.count_nonzero(short)
    if n and (mean := float(squared[~short].mean()) ** 0.5) < 0.8:
        raise DataError("range", f"{path} holds normals of mean length {mean:.2f}; expected unit vectors")
    normals[short] = 0.0
    return normals


def clean_depth(depth: np.ndarray, path: Path, per_metre: float) -> np.ndarray:
    """(H, W) float32 metres, 0 for "none". A room of 100 m or of 10 cm is a wrong unit, and refused."""
    valid = np.isfinite(depth) & (depth >= 0)
    if not valid.all():
        remark("depth not finite or negative, ignored")
        depth = np.where(valid, depth, 0)
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        metres = (depth / per_metre).astype(np.float32)
    reach = float(metres.max(initial=0.0))
    if reach > 100 or 0 < reach < 0.1:
        raise DataError("range", f"{path} reaches {reach:.4g} m in the archive's unit; expected a room's depth")
    return metres


@contextmanager
def remarks() -> Iterator[list[str]]:
    """What the rules have changed in whatever is read in the block."""
    before = _HEARD.set(heard := [])
    try:
        yield heard
    finally:
        _HEARD.reset(before)


def remark(text: str) -> None:
    if (heard := _HEARD.get()) is not None:
        heard.append(text)

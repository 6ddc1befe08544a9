"""MATLAB files, version 5 to 7.2: how they are built is checked before scipy reads them.

An element is a tag, kind and size of four bytes each (or both in the first four, and the data in the others), and its
data, padded to eight bytes; a compressed element's data are one, deflated. A matrix's are elements again: its class,
its shape, its name, and then its numbers, or a matrix for each of its cells or of its fields.

scipy takes all this on trust: one flipped bit in a tag can end the whole process, and one in a shape keeps it busy for
minutes. Found by `tests/campaigns/bad_inputs.py`.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from .files import DataError, reading

WIDTH = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}  # bytes by kind of number
MATRIX, COMPRESSED, INT32, TEXT = 14, 15, 5, (16, 17, 18)
CELL, STRUCT, CHAR, NUMBERS = 1, 2, 4, range(6, 16)  # classes of a matrix
LARGEST = 1 << 28  # bytes of a compressed element, once inflated
DEEPEST = 12  # matrices within matrices; PASCAL-Part's have five


def read_mat(path: Path, key: str):
    """The variable `key`. Raises DataError naming the file."""
    from scipy.io import loadmat

    with reading(path, "read as a MATLAB file"):
        content = path.read_bytes()
        _check(content)
        found = loadmat(BytesIO(content), variable_names=[key])
    if key not in found:
        raise DataError("unreadable", f"{path} holds no variable {key!r}; expected the archive's own file")
    return found[key]


def _check(content: bytes) -> None:
    """Raises ValueError unless the file is whole matrices from its header to its end."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if not order or struct.unpack(order + "H", content[124:126])[0] != 0x0100:
        raise ValueError("it is not of version 5 to 7.2")
    for kind, data in _elements(memoryview(content)[128:], order):
        if kind == COMPRESSED:
            inflated = memoryview(zlib.decompressobj().decompress(data, LARGEST))
            ((kind, data),) = _elements(inflated, order)
        _check_matrix(kind, data, order)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(kind, data) of each element."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack(order + "II", data[start : start + 8])
        small = kind >> 16  # then the size stands here, and the data in the tag
        kind, size, start = (kind & 0xFFFF, small, start + 4) if small else (kind, size, start + 8)
        if kind not in (*WIDTH, MATRIX, COMPRESSED) or (small and size > 4) or start + size > len(data):
            raise ValueError(f"an element of kind {kind} and {size} bytes")
        yield kind, data[start : start + size]
        start += 4 if small else size if kind == COMPRESSED else -(-size // 8) * 8


def _check_matrix(kind: int, data: memoryview, order: str, depth: int = 0) -> None:
    if kind != MATRIX or depth > DEEPEST:
        raise ValueError("a matrix is not where it should be")
    if not data:
        return
    (_, flags), (shape_kind, shape), _, *rest = _elements(data, order)
    shape = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    flags = struct.unpack(order + "I", flags[:4])[0]
    n, what, n_parts = math.prod(shape), flags & 0xFF, 2 if flags & 0x800 else 1  # real, and imaginary
    if what == STRUCT and len(rest) > 1 and rest[0][0] == INT32:
        names = len(rest[1][1]) / struct.unpack(order + "i", rest[0][1])[0]
        inner, rest, n = rest[2:], [], n * names
    elif what == CELL:
        inner, rest = rest, []
    else:
        inner = []
    if what in (CELL, STRUCT):
        fits = len(inner) == n
    else:
        sized = all(k in WIDTH and (len(x) == n * WIDTH[k] or (what == CHAR and k in TEXT)) for k, x in rest)
        fits = what in (CHAR, *NUMBERS) and len(rest) == n_parts and sized
    if shape_kind != INT32 or len(shape) < 2 or min(shape) < 0 or not fits:
        raise ValueError(f"a matrix of class {what} and shape {shape[:8]} that does not hold what it says")
    for one in inner:
        _check_matrix(*one, order, depth + 1)

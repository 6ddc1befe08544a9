"""A frame: one picture with its labels as numpy arrays, and the same frame as a row of an Arrow table.

=========== ======= ========= ================================================================
key         dtype   shape     values
=========== ======= ========= ================================================================
image       uint8   (H, W, 3) RGB
semseg      uint8   (H, W)    class ids, 255 = none
human_parts uint8   (H, W)    0 background, 1..6 parts, 255 = none
saliency    uint8   (H, W)    0 or 1, 255 = none
edge        uint8   (H, W)    0 or 1, 255 = none
normals     float32 (H, W, 3) unit vectors, x right, y down, z forward; zero vector = none
depth       float32 (H, W)    metres, 0 = none
_aspect     float32 ()        width / height of the picture before any resize; absent: W / H
=========== ======= ========= ================================================================

Tasks of one's own are stored as their kind is; a regression as float32 (H, W), not finite = none.
A task without labels is an absent key. Normals may be float16 once resized for storage (`transforms.shrink`).
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ptsa_lite.tasks import IGNORE, REAL, SUITES

Frame = dict[str, np.ndarray]
Readers = tuple[Callable[[], np.ndarray], Mapping[str, Callable[[tuple[int, int] | None], np.ndarray | None]]]
"""What reads a picture, and what reads each label that it has at its size (H, W): None where that says nothing."""

KINDS = {name: task.moves for tasks in SUITES.values() for name, task in tasks.items()}
"""Of each label of the suites, the kind that says how it is stored and how it moves (`transforms.LABELS`)."""

TYPES = {  # of a pixel, by the bytes that it takes: its type and channels
    1: (np.uint8, 1),
    3: (np.uint8, 3),
    4: (np.float32, 1),
    6: (np.float16, 3),
    12: (np.float32, 3),
}


def read(picture: Callable[[], np.ndarray], labels: Mapping[str, Callable]) -> Frame:
    """The frame of these `Readers`."""
    image = picture()
    found = {"image": image, **{task: label(image.shape[:2]) for task, label in labels.items()}}
    return {key: array for key, array in found.items() if array is not None}


def nothing(kind: str, height: int, width: int) -> np.ndarray:
    """A stored label that says nothing anywhere, as where a frame has none (`labelled`)."""
    if kind == "normals":
        return np.zeros((height, width, 3), np.float16)
    if kind in REAL:
        return np.full((height, width), 0 if kind == "depth" else np.nan, np.float32)
    return np.full((height, width), IGNORE, np.uint8)


def labelled(kind: str, label: np.ndarray) -> np.ndarray:
    """(H, W) bool: where a stored label of this kind says something."""
    if kind == "regression":
        return np.isfinite(label)
    if kind == "normals":
        return label.any(axis=-1)
    return label > 0 if kind == "depth" else label != IGNORE


def columns(labels: Iterable[str]) -> list[str]:
    """The columns of a table of frames with these labels. A task may be named height; none begins with _."""
    return ["index", "_height", "_width", "_aspect", "image", *labels]


def table(rows: list[dict], labels: Iterable[str]):
    """An Arrow table of rows, whose schema is the same for every part of a series, whatever labels a frame lacks."""
    import pyarrow as pa

    numbers = {"index": pa.int64(), "_height": pa.int32(), "_width": pa.int32(), "_aspect": pa.float32()}
    schema = pa.schema([(name, numbers.get(name, pa.binary())) for name in columns(labels)])
    return pa.Table.from_pylist(rows, schema=schema)


def encode(frame: Frame, index: int, labels: Iterable[str]) -> dict:
    """A frame as a row: each array as its raw bytes, so that `decode` gives back the same bits."""
    height, width = frame["image"].shape[:2]
    aspect = float(frame.get("_aspect", width / height))
    row = {"index": index, "_height": height, "_width": width, "_aspect": aspect}
    for key in ("image", *labels):
        array = frame.get(key)
        row[key] = None if array is None else array.tobytes()
    return row


def decode(row: dict) -> Frame:
    """The frame of a row. Arrays are views of the row's bytes: read-only, not copied."""
    height, width = row["_height"], row["_width"]
    frame = {"_aspect": np.float32(row["_aspect"])}
    for key, data in row.items():
        if isinstance(data, bytes):
            kind, channels = TYPES[len(data) // (height * width)]
            frame[key] = np.frombuffer(data, kind).reshape((height, width, 3)[: 2 + (channels == 3)])
    return frame

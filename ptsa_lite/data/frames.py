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
aspect      float32 ()        width / height of the picture before any resize; absent: W / H
=========== ======= ========= ================================================================

A task without labels is an absent key. Normals may be float16 once resized for storage (`transforms.shrink`).
"""

import numpy as np

Frame = dict[str, np.ndarray]

CHANNELS = {"image": 3, "semseg": 1, "human_parts": 1, "saliency": 1, "edge": 1, "normals": 3, "depth": 1}
REAL = {"normals", "depth"}  # stored as float16 or float32, told apart by their length; all others as uint8


def columns(labels) -> list[str]:
    """The columns of a table of frames with these labels."""
    return ["index", "height", "width", "aspect", "image", *labels]


def schema(labels):
    """The Arrow schema of a table of frames, the same for every part of it, whatever labels a frame lacks."""
    import pyarrow as pa

    numbers = {"index": pa.int64(), "height": pa.int32(), "width": pa.int32(), "aspect": pa.float32()}
    return pa.schema([(name, numbers.get(name, pa.binary())) for name in columns(labels)])


def encode(frame: Frame, index: int, labels) -> dict:
    """A frame as a row: each array as its raw bytes, so that `decode` gives back the same bits.

    Raises ValueError where an array has not the type or the shape of the table above.
    """
    height, width = frame["image"].shape[:2]
    row = {"index": index, "height": height, "width": width, "aspect": float(frame.get("aspect", width / height))}
    for key in ("image", *labels):
        array = frame.get(key)
        if array is not None:
            expected = (height, width, 3) if CHANNELS[key] == 3 else (height, width)
            types = ("float16", "float32") if key in REAL else ("uint8",)
            if array.shape != expected or array.dtype.name not in types:
                raise ValueError(
                    f"frame {index}: {key} is {array.dtype} {array.shape}; expected {' or '.join(types)} {expected}"
                )
        row[key] = None if array is None else array.tobytes()
    return row


def decode(row: dict) -> Frame:
    """The frame of a row. Arrays are views of the row's bytes: read-only, not copied."""
    height, width = row["height"], row["width"]
    frame = {"aspect": np.float32(row["aspect"])}
    for key, channels in CHANNELS.items():
        data = row.get(key)
        if data is None:
            continue
        size = len(data) // (height * width * channels)
        array = np.frombuffer(data, {1: np.uint8, 2: np.float16, 4: np.float32}[size])
        frame[key] = array.reshape(height, width, 3) if channels == 3 else array.reshape(height, width)
    return frame

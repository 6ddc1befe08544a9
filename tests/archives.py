"""Tiny archives in the exact layouts, written by the tests, and where the real frames lie."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the folder of real frames is not here")


def random_frame(seed: int, height: int = 24, width: int = 32) -> dict[str, np.ndarray]:
    """A frame with every label, each in blocks of 4x4 so that nothing is finer than a resize can keep."""
    rng = np.random.default_rng(seed)

    def blocks(draw):
        coarse = draw((height // 4, width // 4))
        return np.ascontiguousarray(np.repeat(np.repeat(coarse, 4, 0), 4, 1))

    normals = blocks(lambda s: rng.normal(size=(*s, 3))).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return {
        "image": blocks(lambda s: rng.integers(0, 256, (*s, 3))).astype(np.uint8),
        "semseg": blocks(lambda s: rng.integers(0, 20, s)).astype(np.uint8),
        "human_parts": blocks(lambda s: rng.integers(0, 7, s)).astype(np.uint8),
        "saliency": blocks(lambda s: rng.integers(0, 2, s)).astype(np.uint8),
        "edge": blocks(lambda s: rng.integers(0, 2, s)).astype(np.uint8),
        "normals": normals,
        "depth": blocks(lambda s: rng.uniform(0.8, 9.0, s)).astype(np.float32),
    }


def png(path, bits, kind, rows):
    """A PNG of bytes that are packed already, as no writer at hand packs them; kind 0 is grey, 2 is RGB."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width = len(rows[0]) * 8 // bits // {0: 1, 2: 3}[kind]
    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def save(path: Path, array: np.ndarray, **options) -> Path:
    """A picture or a .npy, by the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path, **options)
    return path


def eight_bit(normals: np.ndarray) -> np.ndarray:
    return np.rint((normals + 1) * 127.5).astype(np.uint8)


def write_nyud(root: Path, layout="B", train=3, val=2, per_metre=1, size=(24, 32)) -> Path:
    """Frames 0001... of random_frame(1...); ids in the files are 1..20, as the archive counts from 1."""
    names = [f"{i:04d}" for i in range(1, train + val + 1)]
    for i, name in enumerate(names, 1):
        frame = random_frame(i, *size)
        save(root / f"images/{name}{'.jpg' if layout == 'B' else '.png'}", frame["image"])
        save(root / f"segmentation/{name}.png", frame["semseg"] + np.uint8(1))
        save(root / f"depth/{name}.npy", frame["depth"] * np.float32(per_metre))
        if layout == "B":
            save(root / f"normals/{name}.npy", frame["normals"])
            save(root / f"edge/{name}.npy", frame["edge"].astype(np.float32))
        else:
            save(root / f"normals/{name}.png", eight_bit(frame["normals"]))
            save(root / f"edge/{name}.png", frame["edge"] * np.uint8(255))
    (root / "gt_sets").mkdir(parents=True, exist_ok=True)
    (root / "gt_sets/train.txt").write_text("\n".join(names[:train]) + "\n")
    (root / "gt_sets/val.txt").write_text("\n".join(names[train:]) + "\n")
    return root


def part_name(part: int) -> str:
    return {1: "hair", 2: "torso", 3: "luarm", 4: "rhand", 5: "ruleg", 6: "lfoot"}[part]


def write_anno(path: Path, objects: list[tuple[str, int, np.ndarray, list[tuple[str, np.ndarray]]]]) -> Path:
    """A PASCAL-Part file: anno (1x1) with imname and objects (1xN), each with class, class_ind, mask, parts (1xP)."""
    structs = np.zeros((1, len(objects)), [(name, object) for name in ("class", "class_ind", "mask", "parts")])
    for i, (name, number, mask, parts) in enumerate(objects):
        inner = np.zeros((1, len(parts)), [("part_name", object), ("mask", object)]) if parts else np.zeros((0, 0))
        for j, (part, part_mask) in enumerate(parts):
            inner[0, j] = (part, part_mask.astype(np.uint8))
        structs[0, i] = (name, np.uint8(number), mask.astype(np.uint8), inner)
    anno = np.zeros((1, 1), [("imname", object), ("objects", object)])
    anno[0, 0] = (path.stem, structs)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"anno": anno})
    return path


def write_pascal(root: Path, train=3, val=2, size=(24, 32)) -> Path:
    """Frames 2008_000001... of random_frame(1...). Every second one carries parts, all its classes are floor (158)."""
    names = [f"2008_{i:06d}" for i in range(1, train + val + 1)]
    for i, name in enumerate(names, 1):
        frame = random_frame(i, *size)
        save(root / f"JPEGImages/{name}.jpg", frame["image"], quality=95)
        save(root / f"semseg/{'VOC12' if i % 2 else 'pascal-context'}/{name}.png", frame["semseg"])
        save(root / f"sal_distill/{name}.png", frame["saliency"] * np.uint8(255))
        save(root / f"normals_distill/{name}.png", eight_bit(frame["normals"]))
        if i % 2:
            parts = [(part_name(p), frame["human_parts"] == p) for p in range(1, 7)]
            write_anno(root / f"human_parts/{name}.mat", [("person", 15, frame["human_parts"] > 0, parts)])
        classes = np.full(size, 158, np.uint16)
        (root / "pascal-context/trainval").mkdir(parents=True, exist_ok=True)
        savemat(root / f"pascal-context/trainval/{name}.mat", {"LabelMap": classes})
    (root / "ImageSets/Context").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Context/train.txt").write_text("\n".join(names[:train]) + "\n")
    (root / "ImageSets/Context/val.txt").write_text("\n".join(names[train:]) + "\n")
    return root


def truncate(path: Path, keep: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])

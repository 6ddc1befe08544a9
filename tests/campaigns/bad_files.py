"""Files with something wrong: split lists, pictures and labels of an archive, and what this project writes."""

import json
import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from archives import write_nyud, write_pascal
from campaigns import junk
from campaigns.cases import Case, sound_run, written
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import tiny_backbone

from ptsa_lite.data import files, frames, nyud, open_dataset, pascal, transforms
from ptsa_lite.data.pictures import read_picture
from ptsa_lite.data.prepared import prepare_archive
from ptsa_lite.experiments.run import Run
from ptsa_lite.experiments.train import run_of
from ptsa_lite.methods import build_model
from ptsa_lite.tasks import NYUD
from ptsa_lite.training.adapters import adapter_state, load_adapters, save_adapters
from ptsa_lite.training.checkpoints import Checkpoint
from ptsa_lite.tree import TaskTree

FOUR = tuple(NYUD)
TREE = next(TaskTree.enumerate(FOUR, (1, 1, 2, 4)))


def lists(rng: random.Random, folder: Path) -> Iterator[Case]:
    lines = ("0001", "0002", " 0004 ", "", "../0001", "a/b", "a\\b", "..", ".", "0001.jpg", "-x", "é", "a\0b", "#")

    def holds(names):
        inside = all((folder / f"{name}.png").resolve().parent == folder.resolve() for name in names)
        return names and inside and len(set(names)) == len(names) and all(re.fullmatch(r"[\w.-]+", n) for n in names)

    while True:
        ends = rng.choice(("\n", "\r\n", "\r", "\n\n"))
        text = ends.join(rng.choice(lines) for _ in range(rng.randrange(6)))
        content = (
            text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16")))
            if rng.random() < 0.8
            else junk.damaged(rng, b"0001\n0002\n")
        )
        path = written(folder, "train.txt", content)
        yield Case(lambda p=path: files.read_list(p), "train.txt", holds, content)


def sound_frame(frame: dict) -> bool:
    """A frame as the table of `data.frames` has it, and a sample whose labels are what the losses take."""
    (h, w, _), ok = frame["image"].shape, frame["image"].dtype == np.uint8
    for name, highest in (("semseg", 39), ("human_parts", 6), ("saliency", 1), ("edge", 1)):
        if name in frame:
            ok &= frame[name].dtype == np.uint8 and frame[name].shape == (h, w)
            ok &= bool(((frame[name] <= highest) | (frame[name] == 255)).all())
    if "depth" in frame:
        ok &= frame["depth"].shape == (h, w) and bool((np.isfinite(frame["depth"]) & (frame["depth"] >= 0)).all())
    if "normals" in frame:
        length = np.linalg.norm(frame["normals"].astype(float), axis=-1)
        ok &= frame["normals"].shape == (h, w, 3) and bool(((length == 0) | ((length > 0.49) & (length < 1.03))).all())
    kinds = {name: kind for name, kind in frames.KINDS.items() if name in frame}
    sample = transforms.to_sample(frame, 16, kinds, transforms.Warp(True, 5.0, 1.2))
    return ok and all(torch.isfinite(value).all() for value in sample.values())


def odd_array(rng: random.Random) -> np.ndarray:
    """An array that is no label, or not quite."""
    shape = rng.choice(((24, 32), (24, 32, 3), (32, 24), (48, 64), (23, 32), (24, 32, 1), (1, 24, 32), (3, 24, 32),
                        (24, 32, 2), (0, 32), (24,), (), (1, 1)))  # fmt: skip
    kind = rng.choice(("f4", "f8", "f2", "u1", "u2", "i4", "i8", "?", "c8", "U4", ">f4", ">i2"))
    low, high = rng.choice(((0, 1), (-1, 1), (0, 9), (0, 300), (-9, 1e5)))
    numbers = np.random.default_rng(rng.randrange(2**32)).uniform(low, high, size=shape)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = np.asarray(numbers).astype(np.dtype(kind))
    if array.dtype.kind == "f" and array.size and rng.random() < 0.5:
        array.reshape(-1)[: rng.randrange(1, array.size + 1)] = rng.choice((np.nan, np.inf, -np.inf, -1, 0, 6e4))
    return array


def labels(rng: random.Random, folder: Path) -> Iterator[Case]:
    makers = {"nyud": (nyud.LAYOUT, write_nyud), "pascal": (pascal.LAYOUT, write_pascal)}
    roots = {name: write(folder / name) for name, (_, write) in makers.items()}
    roots |= {"nyud C": write_nyud(folder / "nyud C", "C")}
    files_there = [path for root in roots.values() for path in root.rglob("*.*") if path.suffix != ".txt"]
    good = {path: path.read_bytes() for path in files_there if path.is_file()}
    while True:
        kind = rng.choice(list(roots))
        root, (layout, _) = roots[kind], makers[kind.split()[0]]
        name = layout.open(root).names("train")[0]
        paths = [root / p for p in layout.open(root).files(name, layout.tasks).values() if p]
        path = rng.choice(paths)
        if path.suffix == ".npy" and rng.random() < 0.6:
            with path.open("wb") as file:
                np.save(file, odd_array(rng))
        elif rng.random() < 0.15:
            path.write_bytes(good[rng.choice(list(good))])  # a file of something else
        else:
            path.write_bytes(junk.damaged(rng, good[path]))

        def act(layout=layout, root=root, name=name):
            return layout.open(root).frame(name, layout.tasks)

        yield Case(act, re.escape(path.stem), sound_frame, path)
        path.write_bytes(good[path])


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F")
FORMATS = ("png", "tiff", "webp", "bmp", "ppm", "gif", "jpeg")


def pictures(rng: random.Random, folder: Path) -> Iterator[Case]:
    """What people hand to `predict`: any mode and format, with transparency and EXIF, arrays, and files gone bad."""
    while True:
        size, numbers = rng.choice(((1, 1), (24, 32), (3, 200))), np.random.default_rng(rng.randrange(2**32))
        pixels = numbers.integers(0, rng.choice((2, 256)), (*size, 3), np.uint8)
        picture = Image.fromarray(pixels).convert(rng.choice(MODES))
        if rng.random() < 0.3:
            picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * rng.choice((1, 16, 257)))
        exif = Image.Exif()
        exif[274] = rng.choice((0, 1, 3, 6, 8, 99))
        source = path = folder / f"p.{rng.choice(FORMATS)}"
        try:
            picture.save(path, **rng.choice(({}, {"exif": exif}, {"transparency": rng.choice((0, 1, 255))})))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # this format has no such pictures
            continue
        if rng.random() < 0.4:
            path.write_bytes(junk.damaged(rng, path.read_bytes()))
        elif rng.random() < 0.3:
            source = rng.choice((picture, odd_array(rng)))

        def sound(rgb, source=source, size=size):
            sizes = [source.shape[:2]] if isinstance(source, np.ndarray) else [size, size[::-1]]
            known_size = isinstance(source, Path) or rgb.shape[:2] in sizes
            return known_size and rgb.dtype == np.uint8 and rgb.shape[2:] == (3,)

        turn, name = rng.random() < 0.5, "p[.]" if source is path else "the (picture|array)"
        yield Case(lambda source=source, turn=turn: read_picture(source, turn), name, sound, source)


def adapters(rng: random.Random, folder: Path) -> Iterator[Case]:
    def fresh():
        return build_model("ptsa", tiny_backbone(), NYUD, TREE, rank=2)

    trained, path = fresh(), folder / "a.safetensors"
    save_adapters(trained, path)
    content, expected, model = path.read_bytes(), adapter_state(trained), fresh()
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118  the file is overwritten
    while True:
        if rng.random() < 0.5:
            path.write_bytes(junk.damaged(rng, content))
        else:
            state, said = dict(tensors), junk.spoilt(rng, {key: json.loads(value) for key, value in metadata.items()})
            key = rng.choice(list(state))
            if rng.random() < 0.5:
                x = state[key]
                state[key] = rng.choice((x.reshape(-1)[:1].clone(), x + 1, x.double(), x * torch.nan))
                state[key + rng.choice(("", "x"))] = state.pop(key)
            save_file(state, path, {key: json.dumps(value) for key, value in said.items()})
        yield Case(lambda: load_adapters(model, path), "a.safetensors", lambda _: all(
            torch.equal(value, expected[key]) for key, value in adapter_state(model).items()))  # fmt: skip


def checkpoints(rng: random.Random, folder: Path) -> Iterator[Case]:
    mark, model = {"seed": 0, "tasks": [["semseg"]]}, torch.nn.Linear(40, 30)
    optimizer = torch.optim.AdamW(model.parameters())
    Checkpoint(folder, mark).save(model, optimizer, [{"epoch": 1}])
    path, expected = folder / "checkpoint.pt", model.weight.detach().clone()
    content, state = path.read_bytes(), torch.load(path, weights_only=True)
    other = torch.nn.Linear(40, 30)

    def act():
        return Checkpoint(folder, mark).restore(other, torch.optim.AdamW(other.parameters()))

    while True:
        if rng.random() < 0.7:
            path.write_bytes(junk.damaged(rng, content))
        else:
            some = {key: value for key, value in state.items() if rng.random() < 0.7}
            torch.save(rng.choice((junk.value(rng), state | {rng.choice(list(state)): junk.value(rng)}, some)), path)
        yield Case(act, "checkpoint.pt", lambda history: history == state["history"] and
                   torch.equal(other.weight, expected))  # fmt: skip


def manifests(rng: random.Random, folder: Path) -> Iterator[Case]:
    out, run = folder / "out", folder / "run"
    prepare_archive("nyud", write_nyud(folder / "archive"), out, img_size=32, report=lambda line: None)
    run.mkdir()
    described = asdict(Run("ptsa", FOUR, TREE.to_dict(), data="nyud", root="x", config={"epochs": 30}))
    manifest = json.loads((out / "prepared.json").read_text())
    while True:
        prepared = rng.random() < 0.5
        good, path = (manifest, out / "prepared.json") if prepared else (described, run / "run.json")
        content = (
            json.dumps(junk.spoilt(rng, good)).encode()
            if rng.random() < 0.7
            else junk.damaged(rng, json.dumps(good).encode())
        )
        path.write_bytes(content)
        if prepared:
            yield Case(
                lambda: open_dataset("nyud", out, img_size=32),
                re.escape(str(out)),
                lambda data: len(data) in (1, 2, 3) and data[0]["image"].shape == (3, 32, 32),
                content,
            )
        else:
            yield Case(lambda: run_of(run), "run.json", sound_run, content)

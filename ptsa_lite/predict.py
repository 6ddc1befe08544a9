"""Pictures in, every task's map out, at each picture's size; and the model as a program for other runtimes."""

import copy
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ptsa_lite.data import cache
from ptsa_lite.data.disk import make_folder, read_json, write_into, write_json
from ptsa_lite.data.pictures import read_picture
from ptsa_lite.data.transforms import normalise
from ptsa_lite.figures.pictures import colour_labels, depth_limits
from ptsa_lite.scenes import render_scene

from .losses import unit
from .resize import interpolation
from .tasks import REAL, Task, known

STRIP = 256  # rows of a map that are computed at once: 40 classes of a large photograph would not fit
# Of pictures, where a folder is given; what Pillow does not read of them is told, not passed over.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jp2", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif", ".heic",
            ".heif", ".avif")  # fmt: skip


def predict(model: nn.Module, pictures: Any) -> dict | list[dict]:
    """{task: map} of a picture of any size H x W, each map at that size; of a list of pictures, a list of these.

    ============ ==========================================
    segmentation (H, W) uint8, class ids
    binary       (H, W) float32, probabilities
    normals      (H, W, 3) float32, unit vectors
    regression   (H, W) float32, in the task's unit
    depth        (H, W) float32, metres
    ============ ==========================================

    A picture is a path, a PIL picture or an array, read by the rules of `data.pictures`, and turned as its EXIF says.
    It is resized to the model's size as test frames are, without keeping the aspect. The model is put into evaluation
    mode; `model.only(tasks)` answers some of the tasks, in less time. Raises ValueError for what is no picture.
    """
    if isinstance(pictures, list | tuple):
        return [predict(model, picture) for picture in pictures]
    return dict(answers(model, pictures))


def answers(model: nn.Module, picture: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The maps of `predict`, one task after the other, so that only one of full size need be in memory."""
    pixels = read_picture(picture)
    height, width = model.img_size
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    size = pixels.shape[:2]
    del pixels
    with torch.inference_mode():
        inputs = normalise(np.asarray(small))[None].to(next(model.parameters()).device)
        out = model.eval()(inputs, resize=False)
        for name, task in model.tasks.items():
            whole = None
            for row, strip in zip(range(0, size[0], STRIP), strips(out[name], size), strict=True):
                part = answer(task, strip)
                whole = np.empty((size[0], *part.shape[1:]), part.dtype) if whole is None else whole
                whole[row : row + STRIP] = part
            yield name, whole


def answer(task: Task, x: Tensor) -> np.ndarray:
    """What a head's output (1, C, h, w) says, as `predict` returns it."""
    if task.kind == "segmentation":
        return x[0].argmax(0).to(torch.uint8).cpu().numpy()
    if task.kind == "normals":
        return unit(x)[0].permute(1, 2, 0).cpu().numpy()
    return (x.sigmoid() if task.kind == "binary" else x)[0, 0].cpu().numpy()


def strips(maps: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """The bilinear resize of (1, C, h, w) to (1, C, *size), some rows at a time."""
    maps = maps.float()
    wide = maps @ interpolation(size[1], maps.shape[3], maps).T  # (1, C, h, W)
    for rows in interpolation(size[0], maps.shape[2], maps).split(STRIP):
        yield rows @ wide


def paint(task: Task, values: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): a map of `predict` in the task's colours."""
    limits = depth_limits(values) if task.kind in REAL else None
    shown = values if task.kind == "segmentation" else np.moveaxis(np.atleast_3d(values), -1, 0)
    rows = range(0, values.shape[0], STRIP)
    return np.concatenate([colour_labels(task, shown[..., r : r + STRIP, :], limits=limits) for r in rows])


def find_pictures(places: Sequence[Path]) -> list[Path]:
    """The pictures that are meant: a file is itself, a folder the pictures in it, without the maps that `predict_files`
    wrote there. Raises FileNotFoundError."""
    found = []
    for place in map(Path, [places] if isinstance(places, str | Path) else places):
        whose = _owners(place)
        inside = sorted(path for path in place.glob("[!.]*") if path.suffix.lower() in SUFFIXES and not path.is_dir()
                        and not (path.name.count(".") > 1 and _key(_named(path)) in whose))  # fmt: skip
        if not place.is_file() and not inside:
            raise FileNotFoundError(f"no picture at {place}; give a file, or a folder of {', '.join(SUFFIXES)}")
        found += inside or [place]
    return list(dict.fromkeys(found))


def predict_files(
    model: nn.Module, pictures: Sequence[Path], folder: Path, report: Callable[[str], None] = print, by: str = ""
) -> list[Path]:
    """Writes NAME.TASK.npy and, coloured, NAME.TASK.png of each picture to the folder; returns what could not be read.

    NAME is the picture's, and longer where another one has it: no picture's maps replace those of another or a file
    that is no map, also not from call to call, for which pictures.json in the folder keeps whose they are, and `by`
    what. Raises ValueError where the folder holds maps by something else.
    """
    pictures = [pictures] if isinstance(pictures, str | Path) else pictures
    pictures, folder = [Path(picture) for picture in pictures], make_folder(Path(folder))
    names, failed = name_pictures(pictures, folder, by), []
    for number, (path, name) in enumerate(zip(pictures, names, strict=True), 1):
        try:
            for task, values in answers(model, path):
                write_into(folder / f"{name}.{task}.npy", partial(np.save, arr=values))
                picture = Image.fromarray(paint(model.tasks[task], values))
                write_into(folder / f"{name}.{task}.png", partial(picture.save, format="png"))
            report(f"{number} of {len(pictures)}: {path} -> {folder / name}.*")
        except ValueError as error:
            failed.append(path)
            report(f"{number} of {len(pictures)}: left out, {error}")
    return failed


def name_pictures(pictures: Sequence[Path], folder: Path, by: str = "") -> list[str]:
    """A name for each picture that no other has in the folder: a.jpg is a, else a.jpg, else its folder's too."""
    whose = _owners(folder)
    if by and whose.setdefault("", by) != by:
        raise ValueError(f"{folder} holds maps by {whose['']}; give another --out for those by {by}")
    there = {_key(_named(path)) for path in folder.iterdir() if path.name.count(".") > 1}
    stems, names = Counter(_key(path.stem) for path in pictures), []
    for path in pictures:
        me = os.path.realpath(path)  # Path.resolve raises where links lead in a circle
        parts = Path(me).parts[1:]
        offers = [path.stem, path.name, *("_".join(parts[-n:]) for n in range(2, len(parts) + 1))]
        offers = [name for name in offers[stems[_key(path.stem)] > 1 :] if len(os.fsencode(name)) < 200]  # of 255
        offers.append(f"{path.stem[:40]}-{cache.fingerprint(me)}")
        mine = [name for name in offers if whose.get(_key(name), None if _key(name) in there else me) == me]
        whose[_key(mine[0])] = me
        names.append(mine[0])
    write_json(folder / "pictures.json", whose)
    return names


def _owners(folder: Path) -> dict[str, str]:
    """Whose maps a folder holds: {name: picture}, and {"": by what}. Raises ValueError where its list is no such."""
    kept = folder / "pictures.json"
    whose = read_json(kept, then="give another --out") if kept.is_file() else {}
    if not all(isinstance(owner, str) for owner in whose.values()):
        raise ValueError(f"{kept} is somebody else's; give another --out")
    return whose


def _named(path: Path) -> str:
    """NAME of NAME.TASK.png."""
    return path.name.rsplit(".", 2)[0]


def _key(name: str) -> str:
    """What of a name tells files apart on every system: some take A.png and a.png, or two ways to write ü, for one."""
    return unicodedata.normalize("NFC", name).lower()


def export(model: nn.Module) -> torch.export.ExportedProgram:
    """The model as a program of torch.export, which needs none of this package: images (batch, 3, H, W), of any number,
    -> {task: (batch, C, H, W)}. It is merged, where the method's adapters can be.
    """
    images = torch.zeros(2, 3, *model.img_size, device=next(model.parameters()).device)
    try:
        model = model.merge()
    except ValueError:
        model = copy.deepcopy(model)  # which goes on training, where it does
    with torch.no_grad():
        return torch.export.export(model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def write_program(model: nn.Module, file: Path, tasks: Iterable[str] = ()) -> float:
    """The exported model, of all tasks or of some, as MODEL.pt2 or MODEL.onnx, whole or not at all.

    An ONNX program has the input "image" and an output for each task. What was written is read again, and asked for
    batches of one and of three drawn scenes: returns the largest difference from the model itself, as a share of the
    model's largest number. Raises ValueError for another suffix, where a library lacks, and where they differ.
    """
    file = Path(file)
    readers = {".pt2": lambda file, images: torch.export.load(file).module()(images), ".onnx": _run_onnx}
    read = readers[known(file.suffix, readers, "kind of program")]
    model = (model.only(tasks) if tasks else copy.deepcopy(model)).eval()  # the caller's may go on training
    if file.suffix == ".onnx":
        try:
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ValueError(f"{file.name} needs {error.name}; python -m pip install 'ptsa-lite[onnx]'") from None
    program = export(model)
    make_folder(file.parent)
    if file.suffix == ".onnx":
        made = torch.onnx.export(
            program, (), input_names=["image"], output_names=list(model.tasks), dynamo=True, verbose=False
        )
        write_into(file, lambda opened: opened.write(made.model_proto.SerializeToString()))
    else:
        held = io.BytesIO()  # on a full disk torch's own writer ends the process
        torch.export.save(program, held)
        write_into(file, lambda opened: opened.write(held.getvalue()))
    apart, device = 0.0, next(model.parameters()).device
    for numbers in ([0], [1, 2, 3]):
        scenes = [render_scene(number, size=tuple(model.img_size))["image"] for number in numbers]
        images = torch.stack([normalise(scene) for scene in scenes]).to(device)
        with torch.no_grad():
            expected, said = model(images), read(file, images)
        for name, value in expected.items():
            difference = (torch.as_tensor(said[name]).to(device) - value).abs().max()
            apart = max(apart, float(difference / value.abs().max().clamp_min(1e-6)))
    if not apart < 1e-3:
        raise ValueError(f"{file} says other than the model, by {apart:.1g} of its largest number; leave it unused")
    return apart


def _run_onnx(file: Path, images: Tensor) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images.cpu().numpy()}), strict=True))

"""Drawn scenes written as if they were an archive, file by file: to try what reads archives, where none is at hand.

Classes get the ids that the archives give to things of that name; what has none there is background (PASCAL) or
unlabelled (NYUD-v2). Everything about these frames is made up: no number from them says anything about the archive.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from ptsa_lite.checks import SIZE, check
from ptsa_lite.scenes import SCENE_CLASSES, SCENES_VERSION, render_scene
from ptsa_lite.tasks import known

from .cache import progress
from .listing import ARCHIVES
from .open import FIRST_SCENE
from .pascal import PARTS, PERSON

VOC = {"person": 15, "chair": 9, "sofa": 18, "table": 11, "plant": 16}
NYU40 = {
    "wall": 1, "floor": 2, "ground": 2, "cabinet": 3, "chair": 5, "sofa": 6, "table": 7, "picture": 11,
    "ceiling": 22, "person": 31, "lamp": 35, "ball": 40, "plant": 40,
}  # fmt: skip
FLOOR, SKY = 158, 1  # of PASCAL-Context's 459 classes: one where normals count, one where they do not


def write_scene_archive(name: str, root: str | Path, train: int, val: int, size=(240, 320), seed: int = 0) -> Path:
    """Draws so many frames of (H, W) and writes them as a pascal or nyud archive (layout B); returns the root.

    What is there already by the same seed and size is kept: the same call again only reads the lists.
    """
    check(dict.fromkeys(("train", "val", "seed"), SIZE), locals())
    root, made = Path(root), f"{SCENES_VERSION}, {seed}, {size}"
    write, layout = WRITERS[known(name, WRITERS, "archive")], ARCHIVES[name]
    with progress(train + val, f"drawing scenes as a {name} archive") as bar:
        for split, first, n in (("train", 0, train), ("val", 90_000, val)):
            names = [f"scene_{first + i:05d}" for i in range(n)]
            for number, frame in enumerate(names, FIRST_SCENE[split]):
                mark = _at(root, f"done/{frame}")
                if not mark.is_file() or mark.read_text(encoding="utf-8") != made:
                    mark.unlink(missing_ok=True)
                    write(root, frame, render_scene(number, seed=seed, size=size))
                    mark.write_text(made, encoding="utf-8")
                bar.update()
            _at(root, layout.lists.format(split)).write_text("\n".join(names) + "\n", encoding="utf-8", newline="\n")
    return root


def _at(root: Path, name: str) -> Path:
    """The path of a file, its folder made."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _pascal(root: Path, name: str, frame: dict[str, np.ndarray]) -> None:
    normals = np.rint((frame["normals"] + 1) * 127.5).astype(np.uint8)
    classes = np.where(frame["normals"].any(-1), FLOOR, SKY).astype(np.uint16)
    Image.fromarray(frame["image"]).save(_at(root, f"JPEGImages/{name}.jpg"), quality=95)
    Image.fromarray(_ids(frame["semseg"], VOC)).save(_at(root, f"semseg/VOC12/{name}.png"))
    Image.fromarray(frame["saliency"] * np.uint8(255)).save(_at(root, f"sal_distill/{name}.png"))
    Image.fromarray(normals).save(_at(root, f"normals_distill/{name}.png"))
    savemat(_at(root, f"pascal-context/trainval/{name}.mat"), {"LabelMap": classes}, do_compression=True)
    savemat(_at(root, f"human_parts/{name}.mat"), {"anno": _anno(name, frame["human_parts"])}, do_compression=True)


def _nyud(root: Path, name: str, frame: dict[str, np.ndarray]) -> None:
    Image.fromarray(frame["image"]).save(_at(root, f"images/{name}.jpg"), quality=95)
    Image.fromarray(_ids(frame["semseg"], NYU40)).save(_at(root, f"segmentation/{name}.png"))
    for key in ("depth", "normals", "edge"):
        np.save(_at(root, f"{key}/{name}.npy"), frame[key].astype(np.float32))


WRITERS = {"pascal": _pascal, "nyud": _nyud}


def _ids(semseg: np.ndarray, ids: dict[str, int]) -> np.ndarray:
    return np.array([ids.get(name, 0) for name in SCENE_CLASSES], np.uint8)[semseg]


def _anno(name: str, parts: np.ndarray) -> np.ndarray:
    """PASCAL-Part's struct: anno (1x1) with imname and objects (1xN), each with class, class_ind, mask, parts (1xP)."""
    there = [part for part in PARTS if (parts == part).any()]
    inner = np.zeros((1, len(there)), [("part_name", object), ("mask", object)])
    for j, part in enumerate(there):
        inner[0, j] = (PARTS[part].split()[0], (parts == part).astype(np.uint8))
    objects = np.zeros((1, 1 if there else 0), [(key, object) for key in ("class", "class_ind", "mask", "parts")])
    if there:
        objects[0, 0] = ("person", np.uint8(PERSON), (parts > 0).astype(np.uint8), inner)
    anno = np.zeros((1, 1), [("imname", object), ("objects", object)])
    anno[0, 0] = (name, objects)
    return anno

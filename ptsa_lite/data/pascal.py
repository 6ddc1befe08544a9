"""PASCAL-Context with five labels in the PASCAL_MT layout, as frames (facts: data on disk).

=========== ============================================ ===================================================
task        file                                         reading
=========== ============================================ ===================================================
semseg      semseg/VOC12/ID.png, else                    0..20, 255 = none
            semseg/pascal-context/ID.png
human_parts human_parts/ID.mat (PASCAL-Part `anno`)      24 part names to 6; absent file: not annotated
saliency    sal_distill/ID.png                           v / 255 > 0.5
normals     normals_distill/ID.png                       2 v / 255 - 1, only on classes known indoors (below)
edge        pascal-context/trainval/ID.mat (`LabelMap`)  1 where the right or lower neighbour has another class
=========== ============================================ ===================================================

Pictures are JPEGImages/ID.jpg, splits ImageSets/Context/train.txt and val.txt.

The normals were distilled from a network that had seen rooms. So they count only where the LabelMap's class is one
that PASCAL-Context shares with NYU, by name, or a tv monitor. Their x and y turn with the picture as x right, y down
do; the sign of their z is the archive's own.
"""

from functools import partial
from pathlib import Path

import numpy as np

from .archive import PICTURES, Archive, Layout, Reader, Source, read_stored
from .files import DataError, check_ids
from .mat import read_mat
from .nyud import read_normals
from .pictures import read_grey, read_ids

PERSON = 15  # PASCAL-Part's object class
PARTS = {
    1: "head hair nose mouth lear rear leye reye lebrow rebrow",
    2: "torso neck",
    3: "luarm ruarm",
    4: "llarm rlarm lhand rhand",
    5: "luleg ruleg",
    6: "llleg rlleg lfoot rfoot",
}
PART_OF = {name: part for part, names in PARTS.items() for name in names.split()}

# Ids of PASCAL-Context's 459 classes whose name is also one of NYU's 894 (without "unknown"), and 427, tvmonitor:
# 158 floor, 284 person, 397 table, 440 wall, ... Compared from the class lists that the line's code carries.
NORMALS_CLASSES = np.array(
    [3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38, 39, 41, 43, 46, 49, 50, 51, 53, 55, 56]
    + [59, 61, 62, 65, 66, 68, 69, 72, 73, 78, 83, 84, 85, 87, 88, 95, 96, 101, 104, 105, 107, 111, 113, 115, 122]
    + [124, 135, 141, 142, 143, 146, 150, 154, 157, 158, 159, 165, 172, 174, 181, 183, 184, 191, 193, 195, 197, 199]
    + [202, 213, 215, 216, 219, 220, 223, 225, 228, 230, 232, 233, 238, 239, 242, 243, 246, 250, 251, 252, 255, 260]
    + [261, 263, 269, 272, 273, 275, 281, 283, 284, 285, 286, 287, 288, 290, 291, 292, 293, 295, 304, 307, 309, 310]
    + [314, 315, 319, 323, 329, 330, 331, 336, 342, 345, 349, 350, 351, 352, 355, 357, 368, 370, 371, 374, 379, 380]
    + [383, 384, 397, 401, 403, 405, 407, 408, 411, 412, 413, 414, 417, 419, 421, 423, 427, 429, 430, 432, 440, 441]
    + [442, 443, 444, 446, 454, 457]
)


def read_classes(path: Path) -> np.ndarray:
    """(H, W) class ids 0..459 of PASCAL-Context."""
    labels = np.asarray(read_mat(path, "LabelMap"))
    if labels.ndim != 2 or labels.dtype.kind not in "uif" or not labels.size:
        raise DataError("size", f"{path} holds a LabelMap of shape {labels.shape}; expected (H, W)")
    check_ids(labels, 459, None, f"{path} holds classes", "; expected 0..459")
    return labels


def read_parts(path: Path) -> np.ndarray | None:
    """(H, W) uint8: 0, or the part 1..6 of whichever person lies there; None where no object is annotated.

    `anno` is a 1x1 struct with `objects`, 1xN structs with class_ind, mask and parts, 1xP structs with part_name, mask.
    """
    try:
        objects = read_mat(path, "anno")[0, 0]["objects"].reshape(-1)
        if not objects.size:
            return None
        height, width = objects[0]["mask"].shape
        label = np.zeros((height, width), np.uint8)
        for person in (obj for obj in objects if int(obj["class_ind"].item()) == PERSON):
            # A person without annotated parts has an empty array there, without fields.
            for part in person["parts"].reshape(-1) if person["parts"].size else ():
                label[part["mask"].astype(bool)] = PART_OF[str(part["part_name"].item())]
    except DataError:
        raise
    except KeyError as error:
        raise DataError("range", f"{path} names an unknown part {error}; expected PASCAL-Part's 24 names") from None
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise DataError("unreadable", f"{path} is not built as PASCAL-Part's `anno` is ({error})") from None
    return label


def read_edges(path: Path) -> np.ndarray:
    """(H, W) uint8, 1 on the pixel left of or above a border between two classes: lines one pixel wide."""
    classes = read_classes(path)
    edge = np.zeros(classes.shape, np.uint8)
    edge[:, :-1] |= classes[:, 1:] != classes[:, :-1]
    edge[:-1] |= classes[1:] != classes[:-1]
    return edge


read_voc = partial(read_ids, highest=20, ignore=255)


def known_indoors(path: Path) -> np.ndarray:
    """(H, W) bool, of the LabelMap: where normals count."""
    return np.isin(read_classes(path), NORMALS_CLASSES)


def read_saliency(path: Path, in_ones: bool = False) -> np.ndarray:
    """in_ones: the archive's maps hold 0 and 1, which is refused."""
    if in_ones:
        raise DataError("range", f"{path}: the archive's saliency is in 0 and 1; expected 0 and 255")
    values = read_grey(path)
    if values.max(initial=0) > 255:
        raise DataError("range", f"{path} holds values up to {values.max()}; expected 0..255")
    return (values > 127).astype(np.uint8)  # v / 255 > 0.5


def _survey(archive: Archive, names: list[str]) -> tuple[str, dict[str, Reader]]:
    maps = archive.of_a_few("saliency", names, read_grey)
    # Where all that they reach is 1 of 255, saliency is in 0 and 1, and would be read as 0 everywhere.
    in_ones = max((int(one.max()) for one in maps), default=0) == 1
    return "PASCAL-Context, PASCAL_MT layout", {"saliency": partial(read_saliency, in_ones=in_ones)}


MAPS = ("pascal-context/trainval",), (".mat",)
LAYOUT = Layout(
    name="pascal",
    lists="ImageSets/Context/{}.txt",
    published={"train": 4998, "val": 5105},
    sources={
        "image": Source(("JPEGImages",), PICTURES, read_stored),
        "semseg": Source(("semseg/VOC12", "semseg/pascal-context"), (".png",), read_voc),
        "human_parts": Source(("human_parts",), (".mat",), read_parts, optional=True),
        "saliency": Source(("sal_distill",), (".png",), read_saliency),
        "normals": Source(("normals_distill",), (".png",), read_normals, only_where="indoors"),
        "edge": Source(*MAPS, read_edges),
        "indoors": Source(*MAPS, known_indoors),
    },
    survey=_survey,
)

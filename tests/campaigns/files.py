"""Generated files as other people hold them: pictures of every kind, and weights under every name.

    python tests/campaigns/files.py --files 1000 --seed 0 --out figures/results/campaigns.json

What a sound file holds is known here, so that one that is read as anything else counts as silent; what is damaged may
be refused. The words for what becomes of a file are those of `bad_inputs`.
"""

import argparse
import random
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from archives import png  # noqa: E402
from campaigns import bad_inputs, junk  # noqa: E402
from campaigns.cases import Case  # noqa: E402
from campaigns.record import record  # noqa: E402
from tiny import FAMILIES, tiny_family  # noqa: E402

from ptsa_lite.data.describe import describe  # noqa: E402
from ptsa_lite.data.own import tables  # noqa: E402
from ptsa_lite.data.pictures import TURNS, read_picture  # noqa: E402
from ptsa_lite.weights import load_weights  # noqa: E402

EXACT = {"png", "tiff", "bmp"}
FORMATS = (*EXACT, "jpeg", "webp", "gif", "ppm")
MODES = ("RGB", "RGB", "L", "1", "P", "LA", "RGBA", "PA", "CMYK", "YCbCr", "I;16", "F")

KEPT = {
    "RGBA": ("png", "tiff", "webp"),
    "LA": ("png", "tiff"),
    "PA": ("png",),
    "F": ("tiff",),
    "I;16": ("png", "tiff"),
}  # fmt: skip  formats that keep what others drop


def scene(rng: random.Random) -> np.ndarray:
    """(H, W, 3): a few soft patches of colour, which every way to store a picture keeps about as they are."""
    h, w = rng.choice(((24, 32), (40, 24), (1, 1), (7, 200)))
    numbers = np.random.default_rng(rng.randrange(2**32))
    corners = Image.fromarray(numbers.integers(0, 256, (2, 2, 3), np.uint8))
    return np.asarray(corners.resize((w, h), Image.Resampling.BILINEAR))


def drawn(rng: random.Random, rgb: np.ndarray, mode: str) -> tuple[Image.Image, np.ndarray | None, dict]:
    """The scene in a mode; what it must be read as, None where it must be refused; options of saving."""
    picture, options = Image.fromarray(rgb), {}
    if mode in ("LA", "RGBA", "PA"):
        alpha = Image.new("L", picture.size, rng.choice((0, 99, 255)))
        picture = picture.convert("RGB" if mode == "RGBA" else mode[0])
        shown = Image.composite(picture.convert("RGB"), Image.new("RGB", picture.size, "white"), alpha)
        picture = picture.convert(mode)
        picture.putalpha(alpha)
        return picture, np.asarray(shown), options
    if mode == "I;16":
        grey = np.asarray(picture.convert("L"))
        dark = 0 < int(grey.max()) * 257 < 4096
        return Image.fromarray(grey.astype(np.uint16) * 257), None if dark else np.stack([grey] * 3, -1), options
    picture = picture.convert(mode)
    shown = None if mode == "F" else np.array(picture.convert("RGB"))
    if mode in ("L", "P") and rng.random() < 0.4:  # one value is transparent
        key = rng.choice(np.unique(np.asarray(picture)).tolist())
        shown[np.asarray(picture) == key], options = 255, {"transparency": key}
    return picture, shown, options


def pictures(rng: random.Random, folder: Path) -> Iterator[Case]:
    """A drawn scene in every mode and format, turned by EXIF, animated, misnamed, or damaged; read in four ways."""
    while True:
        rgb, kind, mode, how = scene(rng), rng.choice(FORMATS), rng.choice(MODES), rng.choice((1, 1, *range(1, 9)))
        if kind not in KEPT.get(mode, FORMATS):
            continue
        picture, shown, options = drawn(rng, rgb, mode)
        path = folder / f"p.{rng.choice((kind, kind.upper(), 'jpg', 'png'))}"  # a suffix says nothing
        if options and kind not in ("png", "gif"):
            continue
        if kind in ("png", "jpeg", "webp", "tiff"):
            options["exif"] = Image.Exif()
            options["exif"][274] = how
        else:
            how = 1
        if kind in ("gif", "webp", "tiff", "png") and rng.random() < 0.2:
            options |= {"save_all": True, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]}
        try:
            picture.save(path, kind, **options)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # this format has no such pictures
            continue
        if rng.random() < 0.1:
            bits = rng.choice((8, 16))
            wide = rgb.reshape(len(rgb), -1).astype(np.dtype(f">u{bits // 8}")) * (257 if bits == 16 else 1)
            png(path, bits, 2, [row.tobytes() for row in wide])
            shown, how, kind = None if 0 < rgb.max() < 16 and bits == 16 else rgb, 1, "png"
        damaged = rng.random() < 0.25
        if damaged:
            path.write_bytes(junk.damaged(rng, path.read_bytes()))
        yield _read_somehow(rng, path, shown, how, damaged, 1 if kind in EXACT else 25)


def _read_somehow(rng: random.Random, path: Path, shown, how: int, damaged: bool, near: float) -> Case:
    content, turn = path.read_bytes(), rng.random() < 0.5
    upright = shown if shown is None or how not in TURNS else np.asarray(Image.fromarray(shown).transpose(TURNS[how]))

    def holds(rgb: np.ndarray) -> bool:
        sane = rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size > 0
        wanted = upright if turn else shown
        if damaged:
            return sane
        return (
            sane
            and wanted is not None
            and wanted.shape == rgb.shape
            and float(np.abs(rgb.astype(int) - wanted).mean()) <= near
        )

    shown_as = (path, how, turn, content[:60])
    if rng.random() < 0.3:  # as data of one's own, packed or by its path
        cell, turn = rng.choice((content, path.name, {"bytes": content, "path": None})), False
        tasks = {"reach": {"kind": "regression"}}
        table = tables(describe([{"image": cell, "reach": None}], tasks), "train", path.parent)[0]
        return Case(lambda: table.readers(0)[0](), "row 0, column 'image'", holds, shown_as)
    source = rng.choice((path, content))
    return Case(lambda: read_picture(BytesIO(source) if isinstance(source, bytes) else source, turn),
                re.escape(path.name) if source is path else "the picture", holds, shown_as)  # fmt: skip


PREFIXES = ("", "", "module.", "_orig_mod.", "model.", "backbone.", "module.backbone.", "encoder.")
SUFFIXES = ("pth", "pt", "bin", "safetensors")
WRAPPED = (lambda s: s, lambda s: s, lambda s: {"model": s, "optimizer": {"state": {}}, "epoch": 3},
           lambda s: {"state_dict": s, "meta": {"a": 1}}, lambda s: {"model": {"state_dict": s}},
           lambda s: {"weights of mine": s})  # fmt: skip


def weights(rng: random.Random, folder: Path) -> Iterator[Case]:
    """A backbone's weights as .pth, .bin or .safetensors: wrapped, prefixed, in another format, or of another model."""
    nets = {name: tiny_family(name)[0].state_dict() for name in FAMILIES}
    while True:
        family = rng.choice(list(nets))
        good, backbone = nets[family], tiny_family(family, seed=1)[1]
        dtype = rng.choice((torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64))
        state = {key: value.to(dtype) for key, value in good.items()}
        spoilt, key = rng.random() < 0.5, rng.choice(list(backbone.state_dict()))
        if spoilt:
            what = rng.choice(("lacks", "more", "shape", "nan", "other", "none", "int"))
            if what == "lacks":
                del state[key]
            elif what == "more":
                state["decode_head.conv.weight"] = torch.zeros(3)
            elif what == "other":
                state = dict(nets[rng.choice([name for name in nets if name != family])])
            elif what == "none":
                state = rng.choice(({}, {"a": torch.zeros(2)}, {"epoch": torch.tensor(3)}))
            else:
                shapes = {"shape": torch.zeros(*state[key].shape, 2), "nan": state[key] * torch.nan,
                          "int": torch.zeros(5, dtype=torch.int64)}  # fmt: skip
                state[key] = shapes[what]
        prefix, wrap, suffix = rng.choice(PREFIXES), rng.choice(WRAPPED), rng.choice(SUFFIXES)
        state = {prefix + name: value.clone() for name, value in state.items()}
        path = folder / f"w.{suffix}"
        if suffix == "safetensors":
            save_file(state, path)
        else:
            content = wrap(state)
            spoilt |= "weights of mine" in content
            torch.save(content, path, _use_new_zipfile_serialization=rng.random() < 0.8)
        if rng.random() < 0.15:
            path.write_bytes(junk.damaged(rng, path.read_bytes()))
            spoilt = None  # a flipped bit in a number may go unseen

        def holds(_, backbone=backbone, good=good, dtype=dtype, spoilt=spoilt):
            now = backbone.state_dict()
            if spoilt is None:
                return all(value.isfinite().all() for value in now.values())
            return not spoilt and all(torch.equal(now[key], good[key].to(dtype).float()) for key in now)

        shown = (family, suffix, prefix, dtype, spoilt)
        yield Case(lambda backbone=backbone, path=path: load_weights(backbone, path), r"w\.", holds, shown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file, in which this campaign's entry is replaced")
    args = parser.parse_args()
    counts = bad_inputs.run(args.files, args.seed, families=(pictures, weights))
    record("files", counts, args.out, args.seed)
    sys.exit(any(kind[fault] for kind in counts.values() for fault in bad_inputs.FAULTS))

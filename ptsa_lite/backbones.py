"""A frozen backbone from timm, or the small Swin that ships with the package, with the weights that are asked for."""

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import timm
import torch

from .checks import COUNT, SHARE, SIZE, TEXT, Rule, check, known
from .families import Backbone
from .weights import load_weights
from .weights.hub import fetch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB in 0..1: what every backbone's input is normalised with."""

SMALL: dict[str, Any] = dict(embed_dim=32, depths=(2, 2, 6, 2), num_heads=(1, 2, 4, 8), window_size=4)
"""Swin-T's shape at a third of its width: 3.1 M parameters, at home at 128x128."""
SMALL_NAME = "swin_small_distilled"
SMALL_WEIGHTS = Path(__file__).parent / "assets" / "swin_small_distilled.safetensors"

FAMILIES = {
    "swin_*": "families:SwinBackbone",
    "swinv2_*": "families:SwinBackbone",
    "pvt_v2_b?": "families:PVTv2Backbone",
    "convnext*": "relatives.convnext:ConvNeXtBackbone",
    "vit_*_patch1[46]_*dinov[23]*": "relatives.vit:ViTBackbone",
}
"""Patterns of timm's names, and whose they are: in `relatives` is what the paper does not use."""


def load_backbone(
    name: str = SMALL_NAME,
    weights: str | Path = "pretrained",
    img_size: int | tuple[int, int] = 128,  # in pixels: a square's side, or height and width
    seed: int = 0,  # of random weights
    drop_path: float = 0.0,  # stochastic depth: how often the last block is left out
) -> Backbone:
    """A backbone at the given image size.

    name     `swin_small_distilled`, or timm's name of a Swin (`swin_tiny_patch4_window7_224.ms_in1k`), SwinV2, PVTv2
             (`pvt_v2_b0.in1k`), ConvNeXt or DINO ViT (`vit_small_patch14_dinov2`, `vit_small_patch16_dinov3`)
    weights  `pretrained` (the packaged file for the small Swin, the hub for timm's), `random`, or a file as
             `weights.load_weights` reads it. Nothing but `pretrained` of a timm name touches the network
    Raises ValueError on an unknown name, a size or weights that do not fit; OSError where the hub can't be reached.
    """
    size: Any = img_size if isinstance(img_size, tuple | list) else (img_size, img_size)
    sides: Rule = lambda _: len(size) == 2 and all(map(COUNT[0], size)), "a whole number of at least 1, or two of them"
    file: Rule = (lambda v: isinstance(v, str | Path), "'pretrained', 'random' or a file")
    check({"name": TEXT, "weights": file, "img_size": sides, "seed": SIZE, "drop_path": SHARE}, locals())
    options: dict[str, Any] = dict(num_classes=0, drop_path_rate=drop_path)
    timms = name
    if name == SMALL_NAME:
        options, timms = options | SMALL, "swin_tiny_patch4_window7_224"
        weights = SMALL_WEIGHTS if weights == "pretrained" else weights
    family = _family(timms)
    if family.SIZED:
        options["img_size"] = size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = fetch(timms, options) if weights == "pretrained" else timm.create_model(timms, **options)
    backbone = family(net, size)
    backbone.name = name
    if min(size) < 32 or any(side % backbone.MULTIPLE for side in size):
        raise ValueError(f"img_size {img_size} does not fit {name}; give multiples of {backbone.MULTIPLE}")
    if weights not in ("pretrained", "random"):
        load_weights(backbone, Path(weights))
    return backbone


def _family(name: str) -> type[Backbone]:
    """The family that a name of timm's belongs to; ValueError with the nearest name, or tag of weights, for another."""
    families: dict[str, str] = {}
    for pattern, family in FAMILIES.items():
        families |= dict.fromkeys(timm.list_models(pattern, exclude_filters="swinv2_cr_*"), family)  # another code
    base, _, tag = name.partition(".")
    known(base, families, "backbone")
    if tag:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
        known(tag, tags, f"weights of {base}:")
    return resolve_name(f"ptsa_lite.{families[base]}")

"""A frozen backbone from timm, or the small Swin that ships with the package, with the weights that are asked for."""

import math
import re
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import SHARE, SIDES, SIZE, TEXT, check, known
from .families import FAMILIES, Backbone, SwinBackbone, ViTBackbone

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB in 0..1: what every backbone's input is normalised with."""

SMALL: dict[str, Any] = dict(embed_dim=32, depths=(2, 2, 6, 2), num_heads=(1, 2, 4, 8), window_size=4)
"""Swin-T's shape at a third of its width: 3.1 M parameters, at home at 128x128."""

SMALL_NAME = "swin_small_distilled"
SMALL_WEIGHTS = Path(__file__).parent / "assets" / "swin_small_distilled.safetensors"

WRAPPERS = ("model", "state_dict", "model_state_dict", "model_ema")
"""Keys under which training codes store the weights beside their optimiser and settings."""

TABLE = "relative_position_bias_table"

LEFT_OUT = re.compile(r"^(norm|fc_norm|head)\.|relative_position_index|relative_coords_table|attn_mask|mask_token")
"""The last norm and the classifier, which a backbone has not, and buffers that are computed anew."""


def load_backbone(
    name: str = SMALL_NAME,
    weights: str | Path = "pretrained",
    img_size: int | tuple[int, int] = 128,
    seed: int = 0,
    drop_path: float = 0.0,
) -> Backbone:
    """A backbone at the given image size.

    name     `swin_small_distilled`, or timm's name of a Swin (`swin_tiny_patch4_window7_224.ms_in1k`), SwinV2, PVTv2
             (`pvt_v2_b0.in1k`), ConvNeXt or DINO ViT (`vit_small_patch14_dinov2`, `vit_small_patch16_dinov3`)
    weights  `pretrained` (the packaged file for the small Swin, the hub for timm's), `random`, or a file: .safetensors
             or .pth, by timm's names or its authors'. Nothing but `pretrained` of a timm name touches the network

    Tables of relative positions are cut or interpolated where a stage's window differs from the file's, and a ViT's
    positions where its grid does.
    Raises ValueError on an unknown name, a size or weights that do not fit; OSError where the hub can't be reached.
    """
    check({"name": TEXT, "img_size": SIDES, "seed": SIZE, "drop_path": SHARE}, locals())
    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    small, from_hub = name == SMALL_NAME, weights == "pretrained"
    options: dict[str, Any] = dict(num_classes=0, drop_path_rate=drop_path)
    family = SwinBackbone if small else _family(name)
    if family in (SwinBackbone, ViTBackbone):  # the others take any size
        options["img_size"] = size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if small:
            net = timm.create_model("swin_tiny_patch4_window7_224", **SMALL, **options)
        else:
            net = _from_timm(name, from_hub, options)
    backbone = family(net, size)
    if min(size) < 32 or any(side % backbone.MULTIPLE for side in size):
        raise ValueError(f"img_size {img_size} does not fit {name}; give multiples of {backbone.MULTIPLE}")
    backbone.name = name
    if weights != "random" and (small or not from_hub):
        load_weights(backbone, SMALL_WEIGHTS if from_hub else Path(weights))
    return backbone


def _family(name: str) -> type[Backbone]:
    """The family that a name of timm's belongs to; ValueError with the nearest name for an unknown one."""
    other_code = ["swinv2_cr_*"]
    names = {n: f for pattern, f in FAMILIES.items() for n in timm.list_models(pattern, exclude_filters=other_code)}
    return names[known(name.partition(".")[0], names, "backbone")]


def _from_timm(name: str, pretrained: bool, options: dict) -> nn.Module:
    base, _, tag = name.partition(".")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
    if tag and tag not in tags:
        raise ValueError(f"timm has no weights {tag!r} of {base}; it has: {', '.join(tags) or 'none'}")
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:
        if not pretrained:
            raise
        words = " ".join(str(error).split())[:200]
        raise OSError(
            f"the weights of {name} could not be fetched from the Hugging Face hub ({words}); connect to the network, "
            "give the path of a file as weights, or weights='random'"
        ) from error


def load_weights(backbone: nn.Module, path: Path) -> None:
    """Copies a file's weights into the backbone, position tables fitted to its windows.

    Raises FileNotFoundError, or ValueError naming the first key that is missing, unknown or of another shape.
    """
    wanted = backbone.state_dict()
    state = as_timm_reads(read_weights(path), backbone, wanted)
    state = {key: value for key, value in state.items() if not LEFT_OUT.search(key)}
    for key in wanted:
        if key not in state:
            raise ValueError(f"{path} has no {key}; it was written for another backbone")
        state[key] = state[key].float()
        if key.endswith(TABLE) and state[key].ndim == 2 and math.isqrt(len(state[key])) ** 2 == len(state[key]):
            state[key] = fit_position_table(state[key], wanted[key].shape)
        if state[key].shape != wanted[key].shape:
            raise ValueError(f"{path}: {key} is {tuple(state[key].shape)}, expected {tuple(wanted[key].shape)}")
        if not state[key].isfinite().all():
            raise ValueError(f"{path}: {key} holds values that are not finite; fetch the weights again")
    unknown = sorted(set(state) - set(wanted))
    if unknown:
        raise ValueError(f"{path} has {unknown[0]}, which this backbone lacks; it was written for another one")
    backbone.load_state_dict(state)


def read_weights(path: Path) -> dict[str, Tensor]:
    """{timm's name: tensor} of a file. A .pth is read without executing anything that is in it."""
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; give a .safetensors or .pth file, 'pretrained' or 'random'")
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch raise whatever the wrong bytes lead them to
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{path} is no whole file of plain tensors ({type(error).__name__}: {reason}); fetch it again or write one "
            "by safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
        ) from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no tensors by name, nor under one of: {', '.join(WRAPPERS)}")
    prefix = r"^(module\.|_orig_mod\.|model\.|net\.|backbone\.|encoder\.)+"
    return {re.sub(prefix, "", key): value for key, value in state.items()}


def as_timm_reads(state: dict[str, Tensor], backbone: Any, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state by timm's names, where it has others, and a ViT's positions on this backbone's grid.

    timm knows the names that the authors of its models gave. What it would fit besides, tables and patches, stays.
    """
    if all(key in state and (key != "pos_embed" or state[key].shape == wanted[key].shape) for key in wanted):
        return state
    as_stored = {key: state[key] for key in state if key.endswith((TABLE, "patch_embed.proj.weight"))}
    try:
        return sys.modules[backbone.net_class.__module__].checkpoint_filter_fn(dict(state), backbone) | as_stored
    except Exception:  # whatever another family's names lead it to: they are told as they are
        return state


def fit_position_table(table: Tensor, shape: torch.Size) -> Tensor:
    """A ((2w-1)^2, heads) table of position biases at another window.

    A smaller window sees a subset of the same offsets, so the middle is cut out, exactly; a larger one sees new
    offsets, and the table is interpolated.
    """
    old, new = round(table.shape[0] ** 0.5), round(shape[0] ** 0.5)
    grid = table.T.reshape(1, -1, old, old)  # (1, heads, 2w-1, 2w-1)
    if new <= old:
        margin = (old - new) // 2
        grid = grid[..., margin : margin + new, margin : margin + new]
    else:
        grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=True)
    return grid.reshape(-1, new * new).T.contiguous()

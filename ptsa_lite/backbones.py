"""A frozen backbone from timm, or the small Swin that ships with the package, with the weights that are asked for."""

import re
from importlib.resources import files
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .families import Backbone, PVTv2Backbone, SwinBackbone, SwinV2Backbone
from .tasks import known

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB in 0..1: what every backbone's input is normalised with."""

SMALL = dict(embed_dim=32, depths=(2, 2, 6, 2), num_heads=(1, 2, 4, 8), window_size=4)
"""Swin-T's shape at a third of its width: 3.1 M parameters, at home at 128x128."""

SMALL_WEIGHTS = "swin_small_distilled.safetensors"


FAMILIES = {"swin_*": SwinBackbone, "swinv2_*": SwinV2Backbone, "pvt_v2_b?": PVTv2Backbone}
"""Patterns of timm's names. `swinv2_cr_*` is another code of timm's, `pvt_v2_b2_li` has another attention."""


def load_backbone(
    name: str = "swin_small_distilled",
    weights: str | Path = "pretrained",
    img_size: int | tuple[int, int] = 128,
    seed: int = 0,
    drop_path: float = 0.0,
) -> Backbone:
    """A backbone at the given image size.

    name: `swin_small_distilled`, or timm's full name of a Swin (`swin_tiny_patch4_window7_224.ms_in1k`, also small and
    base), a SwinV2 (`swinv2_tiny_window8_256.ms_in1k`) or a PVTv2 (`pvt_v2_b0.in1k` to b5).
    weights: `pretrained` (the packaged file for the small Swin, the hub for timm's), `random`, or the path of a
    safetensors file. Nothing but `pretrained` of a timm name touches the network.
    Tables of relative positions are cut or interpolated where a stage's window differs from the file's.

    Raises ValueError on an unknown name or on weights that do not fit, FileNotFoundError on a missing file.
    """
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if height < 32 or width < 32 or height % 32 or width % 32:
        raise ValueError(f"img_size {img_size} does not fit: the last stage works at 1/32; give multiples of 32")
    small = name == "swin_small_distilled"
    options = dict(num_classes=0, drop_path_rate=drop_path, pretrained=not small and weights == "pretrained")
    family = SwinBackbone if small else _family(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family is PVTv2Backbone:  # works at any size
            backbone = PVTv2Backbone(timm.create_model(name, **options), (height, width))
        else:
            base, extra = ("swin_tiny_patch4_window7_224", SMALL) if small else (name, {})
            backbone = family(timm.create_model(base, img_size=(height, width), **options, **extra))
    backbone.name = name
    if weights == "pretrained" and small:
        load_weights(backbone, Path(str(files("ptsa_lite") / "assets" / SMALL_WEIGHTS)))
    elif weights not in ("pretrained", "random"):
        load_weights(backbone, Path(weights))
    return backbone


def _family(name: str) -> type[Backbone]:
    """The family that a name of timm's belongs to; ValueError with the nearest name for an unknown one."""
    others = ["swinv2_cr_*"]
    models = {model: f for names, f in FAMILIES.items() for model in timm.list_models(names, exclude_filters=others)}
    return models[known(name.split(".")[0], models, "backbone")]


def load_weights(backbone: Backbone, path: Path) -> None:
    """Copy a safetensors file into the backbone, position tables fitted to its windows.

    Raises FileNotFoundError, or ValueError naming the first key that is missing, unknown or of another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; give a .safetensors file, 'pretrained' or 'random'")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch or write it again") from error
    # timm's own files carry the classifier and, in old ones, buffers that are computed anew
    state = {k: v for k, v in state.items() if not re.search(r"^(norm|head)\.|relative_position_index|attn_mask", k)}
    wanted = backbone.state_dict()
    for key in wanted:
        if key not in state:
            raise ValueError(f"{path} has no {key}; it was written for another backbone")
        if key.endswith("relative_position_bias_table"):
            state[key] = fit_position_table(state[key].float(), wanted[key].shape)
        if state[key].shape != wanted[key].shape:
            raise ValueError(f"{path}: {key} is {tuple(state[key].shape)}, expected {tuple(wanted[key].shape)}")
    unknown = sorted(set(state) - set(wanted))
    if unknown:
        raise ValueError(f"{path} has {unknown[0]}, which this backbone lacks; it was written for another one")
    backbone.load_state_dict({key: value.float() for key, value in state.items()})


def fit_position_table(table: Tensor, shape: torch.Size) -> Tensor:
    """A ((2w-1)^2, heads) table of position biases at another window.

    A smaller window sees a subset of the same offsets, so the middle is cut out, exactly; a larger one sees new
    offsets, and the table is interpolated.
    """
    old, new = round(table.shape[0] ** 0.5), round(shape[0] ** 0.5)
    if old == new:
        return table
    grid = table.T.reshape(1, -1, old, old)  # (1, heads, 2w-1, 2w-1)
    if new < old:
        margin = (old - new) // 2
        grid = grid[..., margin : margin + new, margin : margin + new]
    else:
        grid = nn.functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=True)
    return grid.reshape(-1, new * new).T.contiguous()

"""Files of weights as people hold them: by timm's names or the authors', wrapped, prefixed, for other windows."""

import math
import re
import sys
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WRAPPERS = ("model", "state_dict", "model_state_dict", "model_ema")
"""Keys under which training codes store the weights beside their optimiser and settings."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
ALLOWED: Any = getattr(torch.serialization, "safe_globals", nullcontext)  # torch 2.4 has none, and reads no Namespace

TABLE = "relative_position_bias_table"

LEFT_OUT = re.compile(r"^(norm|fc_norm|head)\.|relative_position_index|relative_coords_table|attn_mask|mask_token")
"""The last norm and the classifier, which a backbone has not, and buffers that are computed anew."""


def load_weights(backbone: nn.Module, path: Path) -> None:
    """Copies a file's weights into the backbone, position tables fitted to its windows.

    Raises FileNotFoundError, or ValueError naming a key that is missing, unknown, of another shape or not finite.
    """
    wanted = backbone.state_dict()
    state = as_timm_reads(read_weights(path), backbone, wanted)
    state = {key: value.float() for key, value in state.items() if not LEFT_OUT.search(key)}
    for key in wanted.keys() & state:
        if key.endswith(TABLE):
            state[key] = fit_position_table(state[key], wanted[key].shape)
            if state[key].shape != wanted[key].shape and math.isqrt(len(wanted[key])) ** 2 != len(wanted[key]):
                raise ValueError(f"{path} has square windows, and a side of {backbone.img_size} is too short for them")
        if not state[key].isfinite().all():
            raise ValueError(f"{path}: {key} holds values that are not finite; fetch the weights again")
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        _, first, *_ = str(error).split("\n\t")
        raise ValueError(f"{path} was written for another backbone: {first:.200}") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """{timm's name: tensor} of a file. A .pth is read without executing anything that is in it."""
    if not path.is_file():
        there = [file.name for file in sorted(path.glob("*")) if file.suffix.lower() in SUFFIXES]
        ways = f"that folder holds {', '.join(there)}: name one" if there else "give a .safetensors or .pth file"
        raise FileNotFoundError(f"no weights at {path}; {ways}, or 'pretrained' or 'random'")
    try:
        if path.suffix.lower() == ".safetensors":
            state = load_file(path)
        else:
            with ALLOWED([Namespace]):  # holds values alone: training codes keep their settings so
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch raise whatever the wrong bytes lead them to
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))  # the rest of torch's words is advice to execute it
        reason = f"it asks for {asked[1]}" if asked else type(error).__name__
        raise ValueError(
            f"{path} is no whole file of plain tensors ({reason}); fetch it again or write one by "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
        ) from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no tensors by name, nor under one of: {', '.join(WRAPPERS)}")
    prefixes = r"^(module\.|_orig_mod\.|model\.|net\.|backbone\.|encoder\.)+"
    return {re.sub(prefixes, "", key): value for key, value in state.items()}


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
    """A ((2w-1)^2, heads) table of position biases at another window; what is no such table stays.

    A smaller window sees a subset of the same offsets, so the middle is cut out, exactly; a larger one sees new
    offsets, and the table is interpolated.
    """
    old, new = (math.isqrt(t[0]) for t in (table.shape or (0,), shape))
    if table.ndim != 2 or old**2 != len(table):
        return table
    grid = table.T.reshape(1, -1, old, old)  # (1, heads, 2w-1, 2w-1)
    if new <= old:
        margin = (old - new) // 2
        grid = grid[..., margin : margin + new, margin : margin + new]
    else:
        grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=True)
    return grid.reshape(-1, new * new).T.contiguous()

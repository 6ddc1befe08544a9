"""A frozen timm Swin as a list of stages, and the small Swin that ships with the package."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from .tasks import known

SMALL = dict(embed_dim=32, depths=(2, 2, 6, 2), num_heads=(1, 2, 4, 8), window_size=4)
"""Swin-T's shape at a third of its width: 3.1 M parameters, at home at 128x128."""

SMALL_WEIGHTS = "swin_small_distilled.safetensors"


class SwinBackbone(nn.Module):
    """Four stages of a Swin, each a run of blocks and the patch merging at its end.

    timm keeps the merging at the *start* of the next stage; Microsoft's code and the paper's line count it at the end
    of its own, and take a stage's features after it. The modules and their names are timm's: `patch_embed`, `layers`.
    Only the order in which they are read differs. The last norm and the classifier are left out.

    Everything is channel-last inside: (B, h, w, C).
    """

    def __init__(self, swin: SwinTransformer):
        super().__init__()
        self.patch_embed, self.layers = swin.patch_embed, swin.layers
        self.img_size = tuple(swin.patch_embed.img_size)

    @property
    def n_stages(self) -> int:
        return len(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels inside each stage's blocks: 96, 192, 384, 768 for Swin-T."""
        return tuple(layer.blocks[0].dim for layer in self.layers)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage's features, after merging: 192, 384, 768, 768 for Swin-T."""
        return self.widths[1:] + self.widths[-1:]

    def blocks(self, stage: int) -> nn.Sequential:
        return self.layers[stage].blocks

    def merging(self, stage: int) -> nn.Module | None:
        """The patch merging that ends a stage; None at the last."""
        return self.layers[stage + 1].downsample if stage + 1 < self.n_stages else None

    def stage(self, stage: int, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h/2, w/2, 2C), or the same shape at the last stage."""
        x = self.blocks(stage)(x)
        merging = self.merging(stage)
        return x if merging is None else merging(x)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> features of every stage, channel-last, at strides 8, 16, 32, 32."""
        x = self.patch_embed(images)  # (B, H/4, W/4, C)
        features = []
        for i in range(self.n_stages):
            x = self.stage(i, x)
            features.append(x)
        return features

    def adapted_linears(self) -> Iterator[tuple[int, nn.Module, str, nn.Linear]]:
        """(stage, parent module, attribute, linear layer) of every qkv, proj, fc1 and fc2: where adapters go."""
        for i in range(self.n_stages):
            for block in self.blocks(i):
                for parent, name in (
                    (block.attn, "qkv"),
                    (block.attn, "proj"),
                    (block.mlp, "fc1"),
                    (block.mlp, "fc2"),
                ):
                    yield i, parent, name, getattr(parent, name)


def load_backbone(
    name: str = "swin_small_distilled",
    weights: str | Path = "pretrained",
    img_size: int | tuple[int, int] = 128,
    seed: int = 0,
    drop_path: float = 0.0,
) -> SwinBackbone:
    """A Swin at the given image size.

    name: `swin_small_distilled`, or any Swin of timm by its full name (`swin_tiny_patch4_window7_224.ms_in1k`).
    weights: `pretrained` (the packaged file for the small Swin, the hub for timm's), `random`, or the path of a
    safetensors file. Nothing but `pretrained` of a timm name touches the network.
    Tables of relative positions are cut or interpolated where a stage's window differs from the file's.

    Raises ValueError on an unknown name or on weights that do not fit, FileNotFoundError on a missing file.
    """
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if height < 32 or width < 32 or height % 32 or width % 32:
        raise ValueError(f"img_size {img_size} does not fit: the last stage works at 1/32; give multiples of 32")
    small = name == "swin_small_distilled"
    options = dict(img_size=(height, width), num_classes=0, drop_path_rate=drop_path)
    online = not small and weights == "pretrained"
    if not small:
        known(name.split(".")[0], timm.list_models("swin_*"), "backbone")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base, extra = ("swin_tiny_patch4_window7_224", SMALL) if small else (name, {})
        swin = timm.create_model(base, pretrained=online, **options, **extra)
    if not isinstance(swin, SwinTransformer):
        raise ValueError(f"{name} is a {type(swin).__name__}, and only the first Swin's layout is known here")
    backbone = SwinBackbone(swin)
    if weights == "pretrained" and small:
        load_weights(backbone, Path(str(files("ptsa_lite") / "assets" / SMALL_WEIGHTS)))
    elif weights not in ("pretrained", "random"):
        load_weights(backbone, Path(weights))
    return backbone


def load_weights(backbone: SwinBackbone, path: Path) -> None:
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

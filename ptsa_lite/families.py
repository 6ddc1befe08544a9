"""Backbones as four stages. A family is a few answers about timm's modules; all else is shared."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn


class Backbone(nn.Module):
    """f_i = merge_i(blocks_i(f_{i-1})), i = 1, 2, 3; f_4 = blocks_4(f_3): timm's modules under timm's own names.

    timm keeps patch merging at the *start* of the next stage; Microsoft's code and the paper's line count it at the end
    of its own, and take a stage's features after it. Only the order of reading differs. The last norm and the
    classifier are left out.

    What stands here is how most of timm's models are built: `stages`, each with its `blocks`, and at its start a
    `downsample`. A family answers only where it differs.
    """

    LINEARS: tuple[str, ...] = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # of a block: what takes adapters
    MULTIPLE = 32  # of an image's sides
    SIZED = False  # made for one size of images
    n_stages = 4
    name = ""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # whatever timm calls its own

    def __init__(self, net: nn.Module, img_size: tuple[int, int]):
        super().__init__()
        self.__dict__.update(vars(net))  # parameters, modules and settings
        self.net_class: Any = type(net)  # timm's
        self.img_size = img_size
        for left_out in ("norm", "fc_norm", "head"):
            self._modules.pop(left_out, None)
        module: Any
        for module in self.modules():
            if hasattr(module, "qkv_bias_separate"):  # else timm reads qkv's weight past the layer, and its adapter
                module.qkv_bias_separate = True

    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> what the first block takes; for the Swins x_p = W_e vec(patch_p) + b_e, (B, H/4, W/4, C)."""
        return self.patch_embed(images)

    def blocks(self, stage: int) -> Any:
        """The blocks of a stage, counted from 0."""
        return self.stages[stage].blocks

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        """One block, as timm runs it."""
        return block(x)

    def end(self, stage: int, x: Tensor) -> Tensor:
        """merge_i, from a stage's last block to the next stage: half the grid, more channels."""
        return self.stages[stage + 1].downsample(x) if stage + 1 < self.n_stages else x

    def map(self, stage: int, x: Tensor) -> Tensor:
        """What a head reads after a stage: (B, h, w, C), channels last."""
        return x

    def stage(self, stage: int, x: Tensor) -> Tensor:
        """merge_i(blocks_i(x))"""
        for block in self.blocks(stage):
            x = self.run(block, x)
        return self.end(stage, x)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the map of every stage, channels last, at strides 8, 16, 32, 32."""
        x, maps = self.embed(images), []
        for s in range(self.n_stages):
            x = self.stage(s, x)
            maps.append(self.map(s, x))
        return maps

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels inside each stage's blocks: 96, 192, 384, 768 for Swin-T."""
        return tuple(self.feature_info[s]["num_chs"] for s in range(self.n_stages))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage's map, after its end: 192, 384, 768, 768 for Swin-T."""
        return self.widths[1:] + self.widths[-1:]

    def adapted_linears(self) -> Iterator[tuple[int, nn.Module, str, Any]]:
        """(stage, parent module, attribute, layer) of every linear layer that takes adapters, or has them."""
        for s in range(self.n_stages):
            for block in self.blocks(s):
                for path in self.LINEARS:
                    part, _, name = path.partition(".")
                    parent = getattr(block, part)
                    if hasattr(parent, name):
                        yield s, parent, name, getattr(parent, name)


class SwinBackbone(Backbone):
    """Swin and SwinV2: attention in windows, every other block's shifted; a stage ends with patch merging."""

    SIZED = True

    @property
    def stages(self) -> Any:
        return self.layers


class PVTv2Backbone(Backbone):
    """PVTv2: global attention to a coarser grid. A stage ends with its norm and the next overlapping patch embedding.

    The paper does not state where it takes PVT's features: here, as for Swin, after that.
    """

    LINEARS = ("attn.q", "attn.kv", "attn.proj", "mlp.fc1", "mlp.fc2")

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x.flatten(1, 2), x.shape[1:3]).view(x.shape)

    def end(self, stage: int, x: Tensor) -> Tensor:
        x = self.stages[stage].norm(x)
        return super().end(stage, x.permute(0, 3, 1, 2)) if stage + 1 < self.n_stages else x

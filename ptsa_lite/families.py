"""What differs between families of backbones: Swin, SwinV2, PVTv2. The modules are timm's, by their own names.

All are pyramids of four stages, each a run of blocks and then what leads to the next stage. A family says which modules
these are, which linear layers of a block take adapters, how a block runs over a stack of task groups, and what it
costs. Everything is channel-last: (B, h, w, C).

A block over a stack takes (P*B, h, w, C) and gives (G*B, h, w, C), where a route says who came from whom; until the
activations of siblings differ, their common work is done once.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import from_windows, mlp, swin_block, to_windows
from .lora import ALL, Route, fork, run_linear


class Backbone(nn.Module):
    """Four stages of blocks, features taken after what ends a stage.

    timm keeps patch merging at the *start* of the next stage; Microsoft's code and the paper's line count it at the end
    of its own, and take a stage's features after it. Only the order in which the modules are read differs. The last
    norm of the Swins and the classifiers are left out.
    """

    LINEARS = (("attn", "qkv"), ("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2"))
    name = ""  # timm's, where `load_backbone` made it

    def blocks(self, stage: int) -> nn.Sequential | nn.ModuleList:
        raise NotImplementedError

    def merging(self, stage: int) -> Callable[[Tensor], Tensor] | None:
        """What ends a stage: (B, h, w, C) -> (B, h/2, w/2, C'); None where nothing does."""
        raise NotImplementedError

    def run_block(self, block: nn.Module, x: Tensor, route: Route = ALL) -> Tensor:
        """(P*B, h, w, C) -> (G*B, h, w, C), what timm's block computes, group by group."""
        raise NotImplementedError

    def own_block(self, block: nn.Module, x: Tensor) -> Tensor:
        """timm's own forward of a block without adapters."""
        return block(x)

    @property
    def n_stages(self) -> int:
        return 4

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels inside each stage's blocks: 96, 192, 384, 768 for Swin-T."""
        return tuple(self.blocks(i)[0].norm1.weight.numel() for i in range(self.n_stages))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage's features, after merging: 192, 384, 768, 768 for Swin-T."""
        return self.widths[1:] + self.widths[-1:]

    def stage(self, stage: int, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h/2, w/2, 2C), or the same shape at the last stage."""
        for block in self.blocks(stage):
            x = self.own_block(block, x)
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
        """(stage, parent module, attribute, linear layer) of every linear layer of attention and MLP."""
        for i in range(self.n_stages):
            for block in self.blocks(i):
                for part, name in self.LINEARS:
                    parent = getattr(block, part)
                    yield i, parent, name, getattr(parent, name)

    # ---- multiply-adds, by the conventions of `costs` -------------------------------------------------------------

    def block_macs(self, stage: int, h: int, w: int, rank: int = 0, attention: bool = False) -> int:
        """One block, one group; with `attention` its two products, with rank r the low-rank ones."""
        raise NotImplementedError

    def merging_macs(self, stage: int, h: int, w: int) -> int:
        """What ends a stage whose blocks work on an h x w grid."""
        raise NotImplementedError


class SwinBackbone(Backbone):
    """timm's SwinTransformer: attention in windows, every other block's shifted."""

    def __init__(self, swin: nn.Module):
        super().__init__()
        self.patch_embed, self.layers = swin.patch_embed, swin.layers
        self.img_size = tuple(swin.patch_embed.img_size)

    def blocks(self, stage: int) -> nn.Sequential:
        return self.layers[stage].blocks

    def merging(self, stage: int) -> nn.Module | None:
        return self.layers[stage + 1].downsample if stage + 1 < self.n_stages else None

    def run_block(self, block: nn.Module, x: Tensor, route: Route = ALL) -> Tensor:
        return swin_block(block, x, route)

    def block_macs(self, stage: int, h: int, w: int, rank: int = 0, attention: bool = False) -> int:
        """12 C^2 + 6 C a token; with `attention` 2 N C more for windows of N, with rank r another 16 r C."""
        block = self.blocks(stage)[0]
        c, (wh, ww) = block.dim, block.window_size
        padded = (-(-h // wh) * wh) * (-(-w // ww) * ww)  # tokens that go through attention, whole windows
        total = padded * 4 * c * c + h * w * (8 * c * c + 6 * c)  # two norms, and the activation at 4 C
        if attention:
            total += padded * 2 * wh * ww * c  # q k^T, and the weights times v
        return total + rank * (padded * 6 * c + h * w * 10 * c)  # qkv: 4C, proj: 2C; fc1, fc2: 5C each

    def merging_macs(self, stage: int, h: int, w: int) -> int:
        merging = self.merging(stage)
        if merging is None:
            return 0
        return -(-h // 2) * -(-w // 2) * (merging.reduction.weight.numel() + merging.norm.weight.numel())


class SwinV2Backbone(SwinBackbone):
    """timm's SwinTransformerV2: norms after attention and MLP, cosine attention, positions from a small network."""

    def run_block(self, block: nn.Module, x: Tensor, route: Route = ALL) -> Tensor:
        """x + norm(attention(x)), then + norm(mlp(.))."""
        attended = self._attention(block, x, route)  # (G*B, h, w, C)
        x = fork(x, route) + block.drop_path1(block.norm1(attended))
        return x + block.drop_path2(block.norm2(mlp(block, x, route.arrived())))

    def _attention(self, block: nn.Module, x: Tensor, route: Route) -> Tensor:
        """softmax(s cos(q, k) + bias) v in every window, s learnt and at most 100."""
        attn, (h, w) = block.attn, x.shape[1:3]
        qkv = run_linear(attn.qkv, to_windows(block, x), route)  # (G*B*nW, N, 3C)
        qkv = qkv + torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
        rows, n, _ = qkv.shape
        q, k, v = qkv.view(rows, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # (rows, heads, N, d)
        scale = attn.logit_scale.clamp(max=math.log(100)).exp()  # (heads, 1, 1)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * scale
        bias = self._position_bias(block)  # (1 or nW, heads, N, N)
        scores = (scores.view(-1, len(bias), *scores.shape[1:]) + bias).view(scores.shape)
        mixed = (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(rows, n, -1)
        return from_windows(block, run_linear(attn.proj, mixed, route.arrived()), h, w)

    def _position_bias(self, block: nn.Module) -> Tensor:
        attn, n = block.attn, block.window_area
        table = attn.cpb_mlp(attn.relative_coords_table).view(-1, attn.num_heads)
        bias = 16 * table[attn.relative_position_index.flatten()].view(n, n, -1).permute(2, 0, 1).sigmoid()
        return bias[None] if block.attn_mask is None else bias[None] + block.attn_mask[:, None]

    def block_macs(self, stage: int, h: int, w: int, rank: int = 0, attention: bool = False) -> int:
        """Swin's, and the small network: 512 hidden values for each of the window's (2w - 1)^2 offsets."""
        attn = self.blocks(stage)[0].attn
        offsets = attn.relative_coords_table[0, :, :, 0].numel()
        return super().block_macs(stage, h, w, rank, attention) + offsets * 512 * (3 + attn.num_heads)


class PVTv2Backbone(Backbone):
    """timm's PyramidVisionTransformerV2: global attention to a grid that is r times coarser, a convolution in the MLP.

    A stage ends with its norm and the overlapping patch embedding that timm keeps at the start of the next one; the
    last stage with its norm. The paper does not state where it takes PVT's features: here, as for Swin, after that.
    """

    LINEARS = (("attn", "q"), ("attn", "kv"), ("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2"))

    def __init__(self, pvt: nn.Module, img_size: tuple[int, int]):
        super().__init__()
        self.patch_embed, self.stages, self.img_size = pvt.patch_embed, pvt.stages, tuple(img_size)

    def blocks(self, stage: int) -> nn.ModuleList:
        return self.stages[stage].blocks

    def merging(self, stage: int) -> Callable[[Tensor], Tensor]:
        return partial(self._end, stage)

    def _end(self, stage: int, x: Tensor) -> Tensor:
        x = self.stages[stage].norm(x)
        return self.stages[stage + 1].downsample(x.permute(0, 3, 1, 2)) if stage + 1 < self.n_stages else x

    def own_block(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x.flatten(1, 2), x.shape[1:3]).view(x.shape)

    def run_block(self, block: nn.Module, x: Tensor, route: Route = ALL) -> Tensor:
        """x + attention(norm(x)), then + mlp(norm(.))."""
        attended = self._attention(block.attn, block.norm1(x), route)  # (G*B, h, w, C)
        x = fork(x, route) + block.drop_path1(attended)
        return x + block.drop_path2(self._mlp(block.mlp, block.norm2(x), route.arrived()))

    def _attention(self, attn: nn.Module, x: Tensor, route: Route) -> Tensor:
        """softmax(q k^T / sqrt(d)) v, keys and values from a grid that a frozen convolution made coarser."""
        coarse = x if attn.sr is None else attn.norm(attn.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        q = run_linear(attn.q, x, route)  # (G*B, h, w, C)
        kv = run_linear(attn.kv, coarse, route).flatten(1, 2)  # (G*B, M, 2C)
        q = q.flatten(1, 2).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)  # (G*B, heads, N, d)
        k, v = kv.unflatten(-1, (2, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # (G*B, heads, M, d)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (G*B, N, C)
        return run_linear(attn.proj, mixed.view(-1, *x.shape[1:]), route.arrived())

    def _mlp(self, part: nn.Module, x: Tensor, route: Route) -> Tensor:
        """fc2(gelu(convolution(fc1(x)))), shape kept."""
        hidden = run_linear(part.fc1, x, route).permute(0, 3, 1, 2)
        return run_linear(part.fc2, part.act(part.dwconv(hidden).permute(0, 2, 3, 1)), route)

    def block_macs(self, stage: int, h: int, w: int, rank: int = 0, attention: bool = False) -> int:
        """With M keys and an MLP of k C: (2 + 2 k) C^2 + (3 + 11 k) C a token, and 2 C^2 and its making a key."""
        block = self.blocks(stage)[0]
        c, hidden, coarser = self.widths[stage], block.mlp.dwconv.out_channels, block.attn.sr
        r = 1 if coarser is None else coarser.stride[0]
        n, m = h * w, (h // r) * (w // r)
        total = n * (2 * c * c + 2 * c) + m * 2 * c * c  # q, proj, two norms; kv
        total += n * hidden * (2 * c + 9 + 1 + 1)  # fc1, fc2, convolution with its bias, activation
        if coarser is not None:
            total += m * (coarser.weight.numel() + 2 * c)  # convolution, bias, norm
        if attention:
            total += 2 * n * m * c
        return total + rank * (n * (4 * c + 2 * (c + hidden)) + m * 3 * c)  # q, proj: 2C each; fc1, fc2; kv: 3C

    def merging_macs(self, stage: int, h: int, w: int) -> int:
        total = h * w * self.widths[stage]
        if stage + 1 == self.n_stages:
            return total
        embed = self.stages[stage + 1].downsample.proj
        return total + -(-h // 2) * -(-w // 2) * (embed.weight.numel() + 2 * embed.out_channels)

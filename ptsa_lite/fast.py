"""The same layer, head and gradients in fewer operations. Nothing here is needed to understand the method.

Each class stands beside the plain one of its equation (`plain`), takes its place by `layer=` and `head=`, and is
tested equal to it. Kept is only what tests/bench/speed.py shows to be worth it.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .heads import HRNetHead
from .lora import GroupedLoRALinear
from .losses import require, task_loss
from .model import MultiTaskModel
from .resize import interpolation
from .tasks import Task

HELD = 1 << 25, 1 << 27  # numbers in the gradients that are computed at once: on a processor, on a GPU


class FastHRNetHead(HRNetHead):
    """The head with a seventh of its multiply-adds, on every device.

    `up` mixes pixels and W1 mixes channels, so they commute: W1 [z_1, up(z_2), ...] is the sum of up(W1_i z_i), in
    which W1_i sees each map at its own resolution. Maps of one size (the last two) go up together.
    """

    plain = HRNetHead

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        maps = [project(f) for project, f in zip(self.project, features, strict=True)]  # (B, h_i, w_i, c_i)
        columns = self.fuse.weight.split([z.shape[-1] for z in maps], dim=1)
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, z in enumerate(maps[1:], 1):
            by_size.setdefault(tuple(z.shape[1:3]), []).append(i)
        x = F.linear(maps[0].flatten(0, 2), columns[0], self.fuse.bias)  # (B*h_1*w_1, 1080)
        for group in by_size.values():
            joined = torch.cat([maps[i] for i in group], dim=-1)
            part = F.linear(joined, torch.cat([columns[i] for i in group], dim=1))
            x = _add_up(x, part, maps[0].shape[1:3])
        x = self.predict(F.relu(self.norm(x), inplace=True))
        return x.view(*maps[0].shape[:3], -1).permute(0, 3, 1, 2)


def _add_up(x: Tensor, part: Tensor, size: tuple[int, int]) -> Tensor:
    """x + `resize(part)`, channels last, in which the second product adds; x (B*H*W, C), part (B, h, w, C)."""
    n, h, w, c = part.shape
    if x.device.type == "cpu":  # there torch's own resize is quicker. Into x, which no gradient needs and is no view
        return x.add_(F.interpolate(part.permute(0, 3, 1, 2), size, mode="bilinear").permute(0, 2, 3, 1).flatten(0, 2))
    tall = interpolation(size[0], h, part) @ part.reshape(n, h, w * c)  # (B, H, w*C)
    wide = interpolation(size[1], w, part).expand(n * size[0], -1, -1)
    return torch.baddbmm(x.view(-1, size[1], c), wide, tall.view(-1, w, c)).flatten(0, 1)


class FastLoRALinear(GroupedLoRALinear):
    """The layer with a gradient of its own, for a processor.

    Written out as separate operations, the equation leaves full-size tensors, which on a processor cost more than the
    products that they serve: the mask as floats, the low-rank term's gradient beside the frozen one's. Here the forward
    keeps the dropped input and the places that were dropped, and both terms of a gradient add up in one tensor.
    """

    plain = GroupedLoRALinear

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(self.n_groups, -1, x.shape[-1])
        p = self.dropout.p if self.training else 0.0
        drop = dropped(rows, p) if p else None
        tensors = [rows, self.base.weight, self.base.bias, self.lora_A, self.lora_B]
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):  # a gradient of one's own is not cast
            dtype = torch.get_autocast_dtype(x.device.type)
            tensors = [None if t is None else t.to(dtype) for t in tensors]
        return _LowRank.apply(*tensors, drop, self.scale / (1 - p)).view(*x.shape[:-1], -1)


def dropped(x: Tensor, p: float) -> Tensor:
    """Places in the flattened x that are dropped, each with probability p, ascending.

    From one to the next it is 1 + floor(log(1 - u) / log(1 - p)) places, u uniform: a geometric number. So a random
    number is drawn for each that is dropped, not for each value, which alone took a twelfth of a training step.
    """
    n = x.numel()
    enough = int(n * p + 8 * math.sqrt(n * p)) + 16  # eight deviations above the mean
    u = torch.rand(enough, device=x.device)
    places = u.neg_().log1p_().div_(math.log1p(-p)).long().add_(1).cumsum(0).sub_(1)
    return places[: int(torch.searchsorted(places, n))].to(torch.int32 if n < 2**31 else torch.int64)


class _LowRank(torch.autograd.Function):
    """x (G, N, C_in), a (G, R, C_in), b (G, C_out, R) -> (G, N, C_out)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        x, weight, bias, a, b, drop, ctx.scale = inputs
        y = F.linear(x, weight, bias)
        kept = x if drop is None else x.flatten().index_fill(0, drop.long(), 0).view(x.shape)
        down = torch.bmm(kept, a.mT)  # (G, N, R)
        y.baddbmm_(down, b.mT, alpha=ctx.scale)
        ctx.save_for_backward(x if weight.requires_grad else None, weight, a, b, drop, kept, down)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b, drop, kept, down = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        gb = torch.bmm(gy.mT, down).mul_(ctx.scale)
        gdown = torch.bmm(gy, b).mul_(ctx.scale)  # (G, N, R)
        ga = torch.bmm(gdown.mT, kept)
        gx = torch.bmm(gdown, a) if need_x else None
        if gx is not None:
            if drop is not None:
                gx.view(-1).index_fill_(0, drop.long(), 0)
            gx.view(-1, gx.shape[-1]).addmm_(gy.reshape(-1, gy.shape[-1]), weight)
        gweight = gy.flatten(0, 1).T @ x.flatten(0, 1) if need_weight else None
        return gx, gweight, gy.sum((0, 1)) if need_bias else None, ga, gb, None, None


def sample_gradients(
    model: MultiTaskModel, samples: Iterator[dict], tasks: Mapping[str, Task], theta: Sequence[Sequence[Tensor]]
) -> Iterator[Tensor]:
    """`similarity.task_gradients` of one sample after the other, (T, P), of several in as many passes as of one.

    theta: per stage the weights of linear layers. y = W x + b has dL/dW = sum over positions of dL/dy x^T, and an
    image's own gradient is the sum over its own positions, in all groups.
    """
    groups = {weight: n for n, stage in zip(model.tree.n_groups, theta, strict=True) for weight in stage}
    sizes = [weight.numel() for weight in groups]
    at_once = max(1, HELD[theta[0][0].is_cuda] // (len(tasks) * sum(sizes)))
    seen: dict = {}  # of each weight's layer x and y

    def keep(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        seen[layer.weight] = inputs[0].detach(), output

    with contextlib.ExitStack() as hooks:
        for layer in model.modules():
            layer.__class__ = getattr(layer, "plain", type(layer))  # a quicker form does not call its base
            if getattr(layer, "weight", None) in groups:
                hooks.callback(layer.register_forward_hook(keep).remove)
        while part := list(itertools.islice(samples, at_once)):
            images = torch.cat([sample["image"] for sample in part])
            predictions = model(images, resize=False)
            for sample in part:
                require(tasks, predictions, sample)
                if len(sample["image"]) != 1:
                    raise ValueError("similarity compares single images; give batches of one")
            outputs = [seen[weight][1] for weight in groups]
            gradients = outputs[0].new_empty(len(part), len(tasks), sum(sizes))
            for row, (name, task) in zip(gradients.unbind(1), tasks.items(), strict=True):
                each = zip(predictions[name].split(1), part, strict=True)
                loss = torch.stack([task_loss(task, x, sample[name]) for x, sample in each]).sum()
                slopes = torch.autograd.grad(task.loss_weight * loss, outputs, retain_graph=True)
                for into, dy, (weight, n) in zip(row.split(sizes, 1), slopes, groups.items(), strict=True):
                    pair = (z.reshape(n, len(part), -1, z.shape[-1]) for z in (dy, seen[weight][0]))
                    into.copy_(torch.einsum("gbno,gbni->boi", *pair).flatten(1))
            yield from gradients


def fast(device: torch.device | str = "cpu") -> dict[str, Any]:
    """The options of `build_model` that are quickest on a device: build_model(..., **fast(device)).

    On a GPU the plain layer is as fast, and can be compiled.
    """
    layer = FastLoRALinear if torch.device(device).type == "cpu" else GroupedLoRALinear
    return {"layer": layer, "head": FastHRNetHead}

"""What a model costs: parameters by role, multiply-adds by two conventions. The one place where anything is counted."""

import copy
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .checks import known
from .lora import GroupedLinear
from .model import ROLES, role_of


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters by role, with `frozen`, `trainable` and `total`. Everything but `frozen` trains."""
    counts = Counter({role: 0 for role in (*ROLES, "frozen")})
    for name, parameter in model.named_parameters():
        role = role_of(name) if parameter.requires_grad else "frozen"
        counts[role] += parameter.numel()
    total = counts.total()
    return dict(counts) | {"trainable": total - counts["frozen"], "total": total}


def count_macs(model: Any, convention: str = "paper") -> int:
    """fixed + sum_s G_s stage_s: multiply-adds of one image's forward, every group running its stage.

    "paper": modules only, as ptflops 0.7 counted them for the published tables: products of linear and convolution
    layers, biases of convolutions, one a value for layer norms and activations, two for batch norms. Neither the
    attention products nor the low-rank ones. "all": these two as well.
    For d blocks of a Swin over N tokens and their merging, stage = d N (12 C^2 + 6 C) + N/4 (8 C^2 + 4 C) on paper.

    Nothing is computed: the model runs, at the size that it was made for, on tensors that have a shape and no numbers.
    """
    known(convention, ("paper", "all"), "counting convention")
    if hasattr(model, "models"):  # one for each task
        return sum(count_macs(one, convention) for one in model.models.values())
    shadow, counts = shape_only(model), Counter[str]()
    for place in ("backbone", "heads"):
        for module in shadow.get_submodule(place).modules():
            if not any(module.children()):
                module.register_forward_hook(partial(_count, counts, place))
    image = next(shadow.parameters()).new_empty(1, 3, *shadow.img_size)
    found: dict = {} if convention == "all" else shadow.features(image)
    if convention == "all":  # in place of what the modules' hooks have counted on the way
        counts["backbone"] = macs_of(lambda: found.update(shadow.features(image)))
    for task, maps in found.items():
        shadow.heads[task](maps)
    return counts.total()


def _count(counts: Counter, place: str, module: nn.Module, inputs: object, output: Tensor) -> None:
    """Adds a module's product to those of its place, and what it does besides for each value that it puts out."""
    n = output.numel()
    if isinstance(module, nn.Linear | nn.Conv2d | GroupedLinear):
        counts[place] += n * module.weight[(0,) * (1 + isinstance(module, GroupedLinear))].numel()
        if place == "heads" or isinstance(module, nn.Conv2d):  # a head's linear layers are 1x1 convolutions
            counts["biases"] += n * (module.bias is not None)
    elif isinstance(module, nn.BatchNorm1d):
        counts["norms and activations"] += 2 * n
    elif isinstance(module, nn.LayerNorm | nn.GELU | nn.ReLU):
        counts["norms and activations"] += n


def shape_only(model: nn.Module) -> Any:
    """A copy that holds no numbers, in evaluation mode; what has a faster form is its equation in it."""
    memo = {}  # whoever else holds one of the tensors holds its shadow, too
    for tensor in (*model.parameters(), *model.buffers()):
        shape = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(shape, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else shape
    shadow = copy.deepcopy(model, memo).eval()
    for module in shadow.modules():
        module.__class__ = getattr(module, "plain", type(module))
    return shadow


def macs_of(work: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products and convolutions that a call executes, by torch's own counter."""

    def count(total: object, a: list[int], b: list[int], **_: object) -> int:
        return 2 * math.prod(a) * b[-1]

    # the counter does not know products that are added in place, where `fast` has the low-rank terms
    in_place = {torch.ops.aten.baddbmm_: count, torch.ops.aten.addmm_: count}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        work()
    return counter.get_total_flops() // 2

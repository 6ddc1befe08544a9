"""What a model costs: parameters by role, multiply-adds by two conventions. The one place where anything is counted."""

import copy
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .checks import known
from .methods import SingleTaskModels
from .model import ROLES, MultiTaskModel, role_of

CONVENTIONS = ("paper", "all")


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters by role, with `frozen`, `trainable` and `total`. Everything but `frozen` trains."""
    counts = Counter({role: 0 for role in (*ROLES, "frozen")})
    for name, parameter in model.named_parameters():
        counts[role_of(name) if parameter.requires_grad else "frozen"] += parameter.numel()
    total = sum(counts.values())
    return dict(counts) | {"trainable": total - counts["frozen"], "total": total}


def count_macs(model: MultiTaskModel | SingleTaskModels, convention: str = "paper") -> int:
    """Multiply-adds of one image's forward at the size that the model was made for, every group running its stage.

    "paper": modules only, as ptflops 0.7 counted them for the published tables: products of linear and convolution
    layers, biases of convolutions, one a value for layer norms and activations, two for batch norms. Neither the
    attention products nor the low-rank ones. "all": these two as well.

    Nothing is computed: the model's equation runs on tensors that have a shape and no numbers.
    """
    known(convention, CONVENTIONS, "counting convention")
    if isinstance(model, SingleTaskModels):
        return sum(count_macs(one, convention) for one in model.models.values())
    shadow, counts = shape_only(model), Counter[str]()

    def count(place: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            if isinstance(module, nn.Linear | nn.Conv2d):
                counts[f"{place} products"] += output.numel() * module.weight[0].numel()
            counts["others"] += output.numel() * _others(module, place)

        return hook

    for place in ("backbone", "heads"):
        for module in shadow.get_submodule(place).modules():
            if not any(module.children()):
                module.register_forward_hook(count(place))
    found: dict = {}
    image = next(shadow.parameters()).new_empty(1, 3, *shadow.img_size)
    executed = macs_of(lambda: found.update(shadow.features(image)))
    for task, maps in found.items():
        shadow.heads[task](maps)
    in_backbone = counts["backbone products"] if convention == "paper" else executed
    return in_backbone + counts["heads products"] + counts["others"]


def _others(module: nn.Module, place: str) -> int:
    """Operations for each value that a module puts out, besides its product."""
    if isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and place == "heads"):
        return int(module.bias is not None)  # a head's linear layers are 1x1 convolutions
    if isinstance(module, nn.BatchNorm1d):
        return 2
    return int(isinstance(module, nn.LayerNorm | nn.GELU | nn.ReLU))


def shape_only(model: nn.Module) -> Any:
    """A copy that holds no numbers, in evaluation mode; what has a faster form is its equation in it."""
    tensors = [*model.parameters(), *model.buffers()]
    memo = {id(t): t.detach().to("meta") if not isinstance(t, nn.Parameter) else
            nn.Parameter(t.detach().to("meta"), t.requires_grad) for t in tensors}  # fmt: skip
    shadow = copy.deepcopy(model, memo).eval()  # whoever else holds one of the tensors holds its shadow, too
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

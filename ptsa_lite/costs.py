"""What a model costs: parameters by role, multiply-adds by two conventions. The one place where anything is counted.

Nothing runs at full size: multiply-adds follow from the layers' shapes, so a model made under `torch.device("meta")`,
which holds no numbers at all, is counted in milliseconds.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ptsa_lite.baselines.mtlora import MTLoRAModel

from .families import Backbone
from .heads import HRNetHead
from .methods import SingleTaskModels
from .model import MultiTaskModel
from .tasks import known

ROLES = {
    "frozen": "frozen backbone",
    "backbone": "backbone weights and biases",
    "adapters": "adapters",
    "patch_embed": "patch embedding",
    "norms": "norms",
    "merging": "patch merging",
    "positions": "position tables",
    "heads": "heads",
}

CONVENTIONS = ("paper", "all")


def role_of(name: str, parameter: nn.Parameter) -> str:
    """The role of a parameter, from its name and whether it trains."""
    if "heads." in name:
        return "heads"
    if not parameter.requires_grad:
        return "frozen"
    name = name.rpartition("backbone.")[2]  # models of single tasks carry the task's name, and one is called normals
    for part, role in (
        ("lora_", "adapters"),
        ("task_A", "adapters"),
        ("task_B", "adapters"),
        ("patch_embed", "patch_embed"),
        ("relative_position_bias_table", "positions"),
        ("cpb_mlp.", "positions"),
        ("logit_scale", "positions"),
        ("norm", "norms"),
        ("downsample", "merging"),
    ):
        if part in name:
            return role
    return "backbone"


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters by role, with `trainable` and `total`. Everything but `frozen` trains."""
    counts = Counter({role: 0 for role in ROLES})
    for name, parameter in model.named_parameters():
        counts[role_of(name, parameter)] += parameter.numel()
    total = sum(counts.values())
    return dict(counts) | {"trainable": total - counts["frozen"], "total": total}


def count_macs(model: nn.Module, img_size: int | Sequence[int] | None = None, convention: str = "paper") -> int:
    """Multiply-adds of one image's forward, every group running its whole stage, the merging at its end included.

    "paper": modules only, as ptflops 0.7 counted them for the published tables: products of linear and convolution
    layers, biases of convolutions, one a value for layer norms and activations, two for batch norms. Neither the
    attention products nor the low-rank ones. "all": these two as well.
    """
    known(convention, CONVENTIONS, "counting convention")
    if isinstance(model, SingleTaskModels):
        return sum(count_macs(one, img_size, convention) for one in model.models.values())
    backbone, with_all = model.backbone, convention == "all"
    height, width = _size(img_size, backbone)
    h, w = height // 4, width // 4
    embed = backbone.patch_embed.proj
    total = h * w * (embed.weight.numel() + 2 * embed.out_channels)  # the convolution, its bias and its norm
    grids = []
    for stage, n_groups in enumerate(model.tree.n_groups):
        streams = 1 + len(model.tasks) if isinstance(model, MTLoRAModel) else n_groups
        block = backbone.block_macs(stage, h, w, model.ranks[stage] if with_all else 0, with_all)
        total += len(backbone.blocks(stage)) * n_groups * block
        if isinstance(model, MTLoRAModel):
            total += _task_streams(model, stage, h * w, with_all)
        total += streams * backbone.merging_macs(stage, h, w)
        if stage + 1 < backbone.n_stages:
            h, w = -(-h // 2), -(-w // 2)
        grids.append((h, w))
    return total + sum(head_macs(head, grids) for head in model.heads.values())


def _task_streams(model: MTLoRAModel, stage: int, tokens: int, low_rank: bool) -> int:
    """What the tasks' streams add in a stage's last block: norm, activation, and their pairs on proj, fc1 and fc2."""
    c = model.backbone.widths[stage]
    return len(model.tasks) * tokens * (5 * c + (model.task_rank * 12 * c if low_rank else 0))


def head_macs(head: HRNetHead, grids: Sequence[tuple[int, int]]) -> int:
    """Projections on their own grids; then, on the first map's, two 1x1 convolutions, batch norm and ReLU."""
    projections = sum(h * w * p.weight.numel() for (h, w), p in zip(grids, head.project, strict=True))
    h, w = grids[0]
    fused = sum(p.numel() for p in (*head.fuse.parameters(), *head.predict.parameters()))
    return projections + h * w * (fused + 3 * head.norm.num_features)


def executed_macs(model: nn.Module, img_size: int | Sequence[int] | None = None) -> int:
    """Multiply-adds that our forward really executes for one image, by torch's own counter (matrix products only).

    Runs the model as it is: for a full-size one, make it under torch.device("meta").
    """
    backbone = model.backbone if isinstance(model, MultiTaskModel) else next(iter(model.models.values())).backbone
    images = torch.empty(1, 3, *_size(img_size, backbone), device=next(model.parameters()).device)
    training = model.training
    model.eval()
    with torch.no_grad():
        total = macs_of(lambda: model(images))
    model.train(training)
    return total


def macs_of(work: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products and convolutions that a call executes, by torch's own counter."""
    # the counter does not know products that are added in place, where the low-rank terms are
    def count(total, a, b, **_):
        return 2 * math.prod(a) * b[-1]

    in_place = {torch.ops.aten.baddbmm_: count, torch.ops.aten.addmm_: count}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        work()
    return counter.get_total_flops() // 2


def _size(img_size: int | Sequence[int] | None, backbone: Backbone) -> tuple[int, int]:
    size = backbone.img_size if img_size is None else img_size
    return (size, size) if isinstance(size, int) else tuple(size)

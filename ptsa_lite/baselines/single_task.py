"""One whole model for each task, run and trained side by side: the row that gains are measured against.

Nothing is shared but the loop. The gradient norm is clipped per model, so that each trains exactly as it would alone.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ptsa_lite.tasks import select


class SingleTaskModels(nn.Module):
    """Images (B, 3, H, W) -> {task: (B, C, H, W)}, each task by its own model."""

    models: Any  # an nn.ModuleDict of `MultiTaskModel`

    def __init__(self, models: Mapping[str, Any]):
        super().__init__()
        self.models = nn.ModuleDict(models)
        self.tasks = {name: model.tasks[name] for name, model in models.items()}
        self.img_size = next(iter(models.values())).img_size

    def forward(self, images: Tensor, resize: bool = True) -> dict[str, Tensor]:
        return {name: model(images, resize=resize)[name] for name, model in self.models.items()}

    def merge(self) -> "SingleTaskModels":
        """A copy without low-rank work."""
        return SingleTaskModels({name: model.merge() for name, model in self.models.items()}).eval()

    def only(self, tasks: Sequence[str]) -> "SingleTaskModels":
        """A copy for some of the tasks."""
        chosen = {name: copy.deepcopy(self.models[name]) for name in select(self.tasks, tasks)}
        return SingleTaskModels(chosen).train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        for model in self.models.values():
            model.set_grad_checkpointing(enable)

    def clip_groups(self) -> list[list[nn.Parameter]]:
        """The parameters whose gradients are clipped together."""
        return [[p for p in model.parameters() if p.requires_grad] for model in self.models.values()]

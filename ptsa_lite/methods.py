"""The methods that the paper compares, each a few lines over `MultiTaskModel`."""

import copy
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from ptsa_lite.baselines.mtlora import MTLoRAModel

from .families import Backbone
from .model import MultiTaskModel, freeze
from .tasks import Task, known
from .tree import TaskTree

METHODS = {
    "single_task": "Single task",
    "full_finetune": "Full fine-tuning",
    "decoders_only": "Decoders only",
    "bitfit": "BitFit",
    "single_task_lora": "Single task, LoRA",
    "lora_shared": "LoRA, shared",
    "lora_separate": "LoRA, one per task",
    "mtlora": "MTLoRA",
    "ptsa": "PTSA (TGLoRA)",
}
"""Every method by the name that code uses, with the name that tables print, in the tables' order."""


class SingleTaskModels(nn.Module):
    """One whole model per task, run and trained side by side: nothing is shared but the loop.

    The gradient norm is clipped per model (`clip_groups`), so that each trains exactly as it would alone.
    """

    def __init__(self, models: dict[str, MultiTaskModel]):
        super().__init__()
        self.models = nn.ModuleDict(models)
        self.tasks = {name: model.tasks[name] for name, model in models.items()}

    def forward(self, images: Tensor, tasks: Iterable[str] | None = None, resize: bool = True) -> dict[str, Tensor]:
        names = list(self.tasks) if tasks is None else [known(t, self.tasks, "task") for t in tasks]
        return {name: self.models[name](images, resize=resize)[name] for name in names}

    @property
    def img_size(self) -> tuple[int, int]:
        return next(iter(self.models.values())).img_size

    def merge(self) -> "SingleTaskModels":
        """A copy without low-rank work."""
        return SingleTaskModels({name: model.merge() for name, model in self.models.items()})

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        for model in self.models.values():
            model.set_grad_checkpointing(enable)

    def description(self) -> dict:
        """Each model's, by task."""
        return {name: model.description() for name, model in self.models.items()}

    def clip_groups(self) -> list[list[nn.Parameter]]:
        return [[p for p in model.parameters() if p.requires_grad] for model in self.models.values()]


def build_model(
    method: str,
    backbone: Backbone,
    tasks: dict[str, Task],
    tree: TaskTree | None = None,
    rank: int | Sequence[int] = 16,
    task_rank: int = 4,
    **options,
) -> MultiTaskModel | SingleTaskModels:
    """A model ready to train: adapters in, everything frozen that the method freezes. The backbone is copied.

    method: a key of METHODS. tree: for `ptsa` only, which needs one. rank: of the low-rank methods; task_rank: of
    MTLoRA's task pairs. options: those of `MultiTaskModel`.

    All low-rank methods also train patch embedding, norms, patch mergings and position tables, as MTLoRA's line does.
    BitFit trains the biases; decoders only, the heads. Raises ValueError on an unknown method, or a tree that is
    missing or not taken.
    """
    known(method, METHODS, "method")
    if (tree is not None) != (method == "ptsa"):
        raise ValueError("ptsa needs a tree" if method == "ptsa" else f"{method} has its own tree; leave out {tree}")
    names = tuple(tasks)
    if method in ("single_task", "single_task_lora"):
        own = "full_finetune" if method == "single_task" else "lora_shared"
        return SingleTaskModels({
            name: build_model(own, backbone, {name: task}, rank=rank, **options) for name, task in tasks.items()
        })
    backbone = copy.deepcopy(backbone)
    if method == "mtlora":
        model = MTLoRAModel(backbone, tasks, rank=rank, task_rank=task_rank, **options)
    elif method in ("ptsa", "lora_shared", "lora_separate"):
        trees = {"lora_shared": TaskTree.shared, "lora_separate": TaskTree.separate}
        tree = tree or trees[method](names, backbone.n_stages)
        model = MultiTaskModel(backbone, tasks, tree, rank, **options)
    else:
        model = MultiTaskModel(backbone, tasks, **options)
    if method == "full_finetune":
        freeze(model, trained=("",))
    elif method == "bitfit":
        freeze(model, trained=(".bias", "q_bias", "v_bias"))
    elif method == "decoders_only":
        freeze(model, trained=())
    else:
        freeze(model)
    return model

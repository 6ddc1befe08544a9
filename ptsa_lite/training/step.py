"""One optimiser step: its batch in parts, in the number format of the settings, over all processes, or in none of this.

Whatever way it is computed, the step is that of the whole batch: losses are sums over valid pixels divided by the whole
batch's count of them, so the losses of parts add up, and their gradients too. What differs by more than rounding is
batch norm, whose statistics are those of one part (of all processes together).
"""

import contextlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ptsa_lite.families import Backbone
from ptsa_lite.losses import label_counts, total_loss
from ptsa_lite.model import MultiTaskModel
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import Task

from . import distributed

FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class NotFinite(FloatingPointError):
    """A loss or gradient that is not finite; the step was not taken. `what` names it, `frames` are the batch's."""

    def __init__(self, what: str, frames):
        super().__init__(f"{what} is not finite, frames {frames}")
        self.what, self.frames = what, frames


class Stepper:
    """The optimiser and how a step is made with it. Call it with a batch and a rate for the losses of the step.

    What has requires_grad is trained, on the device where it is. `model.clip_groups()`, if there is one, lists the
    parameters whose gradients are clipped together. Of `config`: batch parts (`accumulate`), `amp`, `compile`,
    `clip_norm`.
    """

    def __init__(self, model: nn.Module, tasks: Mapping[str, Task], config: TrainConfig, groups: list[dict]):
        self.tasks, self.config, self.device = tasks, config, next(model.parameters()).device
        self.clipped = model.clip_groups() if hasattr(model, "clip_groups") else [
            [p for p in model.parameters() if p.requires_grad]
        ]  # fmt: skip
        fused = self.device.type in ("cpu", "cuda")  # the same update in a fraction of the time
        self.optimizer = torch.optim.AdamW(groups, betas=config.betas, fused=fused)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.amp == "float16")
        self.loss = total_loss
        if config.compile:
            compile_regions(model)
            self.loss = torch.compile(total_loss, dynamic=False)
        self.forward = _over_processes(model, self.device) if distributed.size() > 1 else model

    def __call__(self, batch: Mapping[str, Tensor], rate: float) -> dict[str, float]:
        """{"loss": weighted sum, task: loss, ...} of the whole batch, of which every process brings its part."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        batch = to_device(batch, self.tasks, self.device)
        counts, parts = self._counts(batch), _cut(batch, self.config.accumulate)
        values = [self._backward(part, counts, last=part is parts[-1]) for part in parts]
        self.scaler.unscale_(self.optimizer)
        norms = [nn.utils.clip_grad_norm_(group, self.config.clip_norm) for group in self.clipped]
        values = distributed.add(values[0] if len(values) == 1 else torch.stack(values).sum(0))
        values = torch.cat([values, torch.stack(norms)]).tolist()  # one transfer a step tells all the host must know
        if self.config.amp == "float16":  # there an overflow is no error: the scaler skips the step and scales less
            values = values[: 1 + len(self.tasks)]
        if not all(map(math.isfinite, values)):
            raise self._not_finite(values, batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return dict(zip(("loss", *self.tasks), values, strict=False))

    def _backward(self, part, counts, last: bool) -> Tensor:
        """Adds a part's gradients; (1+T,) its share of the loss and of each task's."""
        several = distributed.size() > 1
        with contextlib.nullcontext() if last or not several else self.forward.no_sync():
            with autocast(self.device, self.config.amp):
                predictions = self.forward(part["image"], resize=False)
            loss, losses = self.loss(self.tasks, predictions, part, counts)
            # DDP takes the mean over processes, and the loss of the whole batch is the sum of theirs
            self.scaler.scale(loss * distributed.size() if several else loss).backward()
        return torch.stack([loss.detach(), *(x.detach() for x in losses.values())])

    def _counts(self, batch) -> dict[str, Tensor] | None:
        """Labels of the whole batch by task; None where this process has the whole batch in one part."""
        if distributed.size() == 1 and self.config.accumulate == 1:
            return None
        counts = distributed.add(torch.stack([label_counts(batch[name]) for name in self.tasks]))  # (T, 2)
        return dict(zip(self.tasks, counts, strict=True))

    def _not_finite(self, values: list[float], batch) -> NotFinite:
        bad = [name for name, value in zip(self.tasks, values[1:], strict=False) if not math.isfinite(value)]
        what = f"the loss of {' and '.join(bad)}" if bad else "the gradient (of finite losses)"
        frames = distributed.gather(batch["index"].tolist() if "index" in batch else "unknown")
        return NotFinite(what, frames[0] if len(frames) == 1 else frames)

    def state_dict(self) -> dict:
        """What the next step depends on besides the model: the optimiser's state, and the scaler's where it works."""
        return self.optimizer.state_dict() | ({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {})

    def load_state_dict(self, state: dict) -> None:
        """A state with a scaler goes on without one, and the other way round: the number format may change."""
        if self.scaler.is_enabled() and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        self.optimizer.load_state_dict({key: value for key, value in state.items() if key != "scaler"})


def compile_regions(model: nn.Module) -> None:
    """Compiles every block of a backbone and every head where they are: for training, evaluation and whatever follows.

    Blocks of one shape share their code, so that a deep model compiles in the time of a shallow one, and what lies
    between the regions stays plain Python. Names of parameters, copies and files of the model are as before.
    """
    torch._dynamo.config.cache_size_limit = 128  # kinds of regions: widths and groups of a stage, shifts, modes, sizes
    for module in list(model.modules()):
        regions = []
        if isinstance(module, Backbone):
            regions = [block for stage in range(module.n_stages) for block in module.blocks(stage)]
        elif isinstance(module, MultiTaskModel):
            regions = module.heads.values()
        for region in regions:
            region.compile(dynamic=False)


def autocast(device: torch.device, amp: str) -> torch.autocast:
    """The number format of a forward pass: float32 as it is, or a shorter one where torch deems it safe."""
    return torch.autocast(device.type, dtype=FORMATS.get(amp, torch.bfloat16), enabled=amp in FORMATS)


def to_device(batch: Mapping[str, Tensor], tasks, device: torch.device) -> dict[str, Tensor]:
    """The image, the tasks' labels and the frames' numbers, where the model is."""
    moved = {key: batch[key].to(device, non_blocking=True) for key in ("image", *tasks) if key in batch}
    return moved | ({"index": batch["index"]} if "index" in batch else {})


def _cut(batch: dict[str, Tensor], n: int) -> list[dict[str, Tensor]]:
    pieces = zip(*(value.chunk(n) for value in batch.values()), strict=True)
    return [dict(zip(batch, piece, strict=True)) for piece in pieces]


def _over_processes(model: nn.Module, device: torch.device) -> DistributedDataParallel:
    distributed.share_batch_norm(model)
    # buffers are equal already: constants, and statistics that are computed from all processes' frames
    names = [name for name, _ in model.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    return DistributedDataParallel(
        model, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True,
        find_unused_parameters=getattr(model, "leaves_unused", False),
    )  # fmt: skip

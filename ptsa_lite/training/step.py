"""One optimiser step: its batch in parts, in the number format of the settings, over all processes, or in none of this.

Whatever way it is computed, the step is that of the whole batch: losses are sums over valid pixels divided by the whole
batch's count of them, so the losses of parts add up, and their gradients too. What differs by more than rounding is
batch norm, whose statistics are those of one part (of all processes together).
"""

import contextlib
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ptsa_lite.losses import label_counts, total_loss
from ptsa_lite.model import ROLES, role_of
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import Task

from . import distributed
from .compiling import Trial, compile_regions, plain_regions

FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
        self.model, self.loss, self.trial = model, total_loss, None
        self.forward = _over_processes(model, self.device) if distributed.size() > 1 else model
        self.on_one_gpu = distributed.size() == 1 and self.device.type == "cuda"
        self.recorded = self._recorded()
        if config.compile is True:
            self.use(compiled=True)

    def _recorded(self) -> "Recorded | None":
        fixed = self.config.amp != "float16" and not self.config.gradient_checkpointing
        return Recorded() if self.config.cuda_graph and fixed and self.on_one_gpu else None

    def expect(self, steps: int) -> None:
        """Tells how many steps are to come, which `compile: auto` asks: on one GPU, and where rounding may differ."""
        repeated = torch.are_deterministic_algorithms_enabled()  # what a trial finds may not be what another finds
        if self.config.compile == "auto" and self.on_one_gpu and not repeated:
            self.trial = Trial(self, steps)

    def use(self, compiled: bool) -> None:
        """From the next step on, regions and loss are compiled, or plain again."""
        (compile_regions if compiled else plain_regions)(self.model)
        self.loss = torch.compile(total_loss, dynamic=False) if compiled else total_loss
        self.recorded = self._recorded()

    def __call__(self, batch: Mapping[str, Tensor], rate: float) -> dict[str, float]:
        """{"loss": weighted sum, task: loss, ...} of the whole batch, of which every process brings its part.

        Raises FloatingPointError(what is not finite, the batch's frames), before the step is taken.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = to_device(batch, self.tasks, self.device)
        values = self.trial(batch) if self.trial else self.compute(batch)
        if self.config.amp == "float16":  # there an overflow is no error: the scaler skips the step and scales less
            values = values[: 1 + len(self.tasks)]
        if not all(map(math.isfinite, values)):
            raise self._not_finite(values, batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return dict(zip(("loss", *self.tasks), values, strict=False))

    def compute(self, batch: dict[str, Tensor]) -> list[float]:
        """What `_gradients` leaves and returns; its values are known, so the step has been computed."""
        values = self.recorded(self._gradients, batch) if self.recorded else self._gradients(batch)
        return values.tolist()  # one transfer a step tells all the host must know

    def _gradients(self, batch: dict[str, Tensor]) -> Tensor:
        """Leaves the clipped gradients of a batch; (1 + T + n,) its loss, each task's, and the n groups' norms."""
        self.optimizer.zero_grad()
        chunks = (values.chunk(self.config.accumulate) for values in batch.values())
        counts, parts = self._counts(batch), [dict(zip(batch, part, strict=True)) for part in zip(*chunks, strict=True)]
        values = [self._backward(part, counts, last=part is parts[-1]) for part in parts]
        self.scaler.unscale_(self.optimizer)
        norms = [nn.utils.clip_grad_norm_(group, self.config.clip_norm) for group in self.clipped]
        values = distributed.add(values[0] if len(values) == 1 else torch.stack(values).sum(0))
        return torch.cat([values, torch.stack(norms)])

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

    def _not_finite(self, values: list[float], batch) -> FloatingPointError:
        bad = [name for name, value in zip(self.tasks, values[1:], strict=False) if not math.isfinite(value)]
        what = f"the loss of {' and '.join(bad)}" if bad else "the gradient (of finite losses)"
        frames = distributed.gather(batch["index"].tolist() if "index" in batch else "unknown")
        return FloatingPointError(what, frames[0] if len(frames) == 1 else frames)

    def state_dict(self) -> dict:
        """What the next step depends on besides the model: the optimiser's state, and the scaler's where it works."""
        return self.optimizer.state_dict() | ({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {})

    def load_state_dict(self, state: dict) -> None:
        """A state with a scaler goes on without one, and the other way round: the number format may change."""
        if self.scaler.is_enabled() and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        self.optimizer.load_state_dict({key: value for key, value in state.items() if key != "scaler"})


class Recorded:
    """A function of a batch, recorded as a CUDA graph in its fourth call and replayed from then on.

    The same kernels in the same order, so the same numbers, but none of them waits for Python: a small model's step is
    bound by its launches. The first calls run as they are, in a stream of their own, so that whatever is allocated or
    chosen once is there when the graph is recorded. For a batch of another shape it is recorded anew.
    """

    BEFORE = 3

    def __init__(self):
        self.calls, self.graph, self.inputs, self.result = 0, None, {}, None

    def __call__(self, function: Callable[[dict[str, Tensor]], Tensor], batch: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls <= self.BEFORE:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                result = function(batch)
            torch.cuda.current_stream().wait_stream(aside)
            return result
        if self.graph is None or any(batch[key].shape != value.shape for key, value in self.inputs.items()):
            self._record(function, batch)
        for key, value in self.inputs.items():
            value.copy_(batch[key])
        self.graph.replay()
        return self.result

    def _record(self, function, batch: dict[str, Tensor]) -> None:
        self.inputs = {key: value.clone() for key, value in batch.items() if value.is_cuda}
        self.graph = torch.cuda.CUDAGraph()
        torch.cuda.empty_cache()  # what the calls before have left does not serve a graph, which keeps its own memory
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):  # a loader's thread may be at work
            self.result = function(self.inputs)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Trainable parameters in two groups: with weight decay, and without.

    Without: vectors (norms), biases, and the roles that `model.ROLES` spares. Raises ValueError if nothing trains.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trained:
        raise ValueError("the model has no trainable parameter; build it with a method that trains something")

    def decays(name: str, p: nn.Parameter) -> bool:
        return p.ndim > 1 and not name.endswith("bias") and ROLES[role_of(name)].decays

    decayed = [p for name, p in trained if decays(name, p)]
    spared = [p for name, p in trained if not decays(name, p)]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]


def autocast(device: torch.device, amp: str) -> torch.autocast:
    """The number format of a forward pass: float32 as it is, or a shorter one where torch deems it safe."""
    return torch.autocast(device.type, dtype=FORMATS.get(amp, torch.bfloat16), enabled=amp in FORMATS)


def to_device(batch: Mapping[str, Tensor], tasks, device: torch.device) -> dict[str, Tensor]:
    """The image, the tasks' labels and the frames' numbers, where the model is."""
    moved = {key: batch[key].to(device, non_blocking=True) for key in ("image", *tasks) if key in batch}
    return moved | ({"index": batch["index"]} if "index" in batch else {})


def _over_processes(model: nn.Module, device: torch.device) -> DistributedDataParallel:
    distributed.share_batch_norm(model)
    # buffers are equal already: constants, and statistics that are computed from all processes' frames
    names = [name for name, _ in model.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    return DistributedDataParallel(
        model, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True,
        find_unused_parameters=getattr(model, "leaves_unused", False),
    )  # fmt: skip

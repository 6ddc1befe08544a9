"""Compiled code: which regions of a model it is made of, and whether it pays for a training."""

import statistics
import time

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from tqdm import tqdm

from ptsa_lite.families import Backbone
from ptsa_lite.model import MultiTaskModel


def regions(model: nn.Module) -> list[nn.Module]:
    """Every block of a backbone and every head: what lies between them stays plain Python."""
    found = []
    for module in model.modules():
        if isinstance(module, Backbone):
            found += [block for stage in range(module.n_stages) for block in module.blocks(stage)]
        elif isinstance(module, MultiTaskModel):
            found += module.heads.values()
    return found


def compile_regions(model: nn.Module) -> None:
    """Compiles the regions of a model where they are: for training, evaluation and whatever follows.

    Blocks of one shape share their code, so that a deep model compiles in the time of a shallow one. Names of
    parameters, copies and files of the model are as before. torch keeps the code on disk ($TORCHINDUCTOR_CACHE_DIR).
    """
    for module in model.modules():
        if type(module) is DropPath:
            module.__class__ = SharedDropPath
            rate = torch.tensor(module.drop_prob, device=next(model.parameters()).device)
            module.register_buffer("rate", rate, persistent=False)
    torch._dynamo.config.cache_size_limit = 128  # kinds of regions: widths and groups of a stage, shifts, modes, sizes
    for region in regions(model):
        region.compile(dynamic=False)


def plain_regions(model: nn.Module) -> None:
    """Takes compiling back."""
    for region in regions(model):
        region._compiled_call_impl = None  # torch has no public way


class SharedDropPath(DropPath):
    """timm's stochastic depth with its rate in a tensor: blocks that differ in their rate alone share compiled code."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.rand(len(x), *(1,) * (x.ndim - 1), device=x.device) >= self.rate
        return x * (kept / (1 - self.rate)).to(x.dtype)


class Trial:
    """Finds out whether compiled code pays, within the training itself: every step of the trial is one of its steps.

    The first `STEPS` run as they are. Where a fifth of the time that the others would take is more than compiling
    takes, as many run compiled, and whichever is quicker stays. So do the plain ones where compiled code fails.

    stepper: a `step.Stepper`, of which `compute` makes a step's gradients and `use(compiled)` changes how.
    left: steps of the training that are yet to come.
    """

    STEPS = 8  # the first half of them may record a CUDA graph, the second half is timed
    SECONDS = 180  # to compile, at most: half of it for training, half for evaluation
    SHARE = 0.2  # of a step, that compiled code may well save

    def __init__(self, stepper, left: int):
        self.stepper, self.left, self.times, self.plain = stepper, left, [], 0.0

    def __call__(self, batch) -> list[float]:
        """What `stepper.compute` returns, which has waited for the GPU."""
        started = time.perf_counter()
        try:
            values = self.stepper.compute(batch)
        except Exception as error:  # torch raises whatever its compilers meet, on the way to a GPU's code too
            if not self.plain:
                raise
            self._end(False, f"cannot be had here ({type(error).__name__})")
            return self.stepper.compute(batch)
        self.times.append(time.perf_counter() - started)
        self.left -= 1
        if len(self.times) == self.STEPS:
            self._decide(statistics.median(self.times[self.STEPS // 2 :]))
        return values

    def _decide(self, seconds: float) -> None:
        if self.plain:
            took = tqdm.format_interval(sum(self.times) - self.STEPS * seconds)
            told = f"took {took} to make; a step takes {seconds * 1e3:.0f} ms, and plain {self.plain * 1e3:.0f}"
            self._end(seconds < self.plain, told)
        elif self.SHARE * self.left * seconds > self.SECONDS:
            self.plain, self.times = seconds, []
            self.stepper.use(compiled=True)
        else:
            self.stepper.trial = None

    def _end(self, pays: bool, told: str) -> None:
        print(f"compiled code {told}: the training goes on {'with' if pays else 'without'} it", flush=True)
        if not pays:
            self.stepper.use(compiled=False)
        self.stepper.trial = None

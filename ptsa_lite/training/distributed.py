"""Several processes that train one model: who they are, and how their parts become one result.

    torchrun --nproc_per_node N -m ptsa_lite train CONFIG.yaml

starts N processes that run the same code; each takes its part of every batch. What must not depend on N is added up
here: sums of losses and counts of labels, statistics of batch norm, meters. Gradients are torch's DDP's business.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

SET_BY_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def active() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process's number, 0 where it is alone."""
    return dist.get_rank() if active() else 0


def size() -> int:
    """How many processes work together, 1 where there are no others."""
    return dist.get_world_size() if active() else 1


@contextmanager
def processes() -> Iterator[torch.device]:
    """Joins the processes that torchrun started, for a `with` block that is given this process's device.

    nccl between GPUs, gloo between CPUs and on Windows. Without torchrun the process stays alone: on the GPU if there
    is one. Raises ValueError where torchrun started more processes than the machine has GPUs, or where some of what it
    sets is set by something else.
    """
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device, n = torch.device("cuda", _set("LOCAL_RANK")), torch.cuda.device_count()
        if device.index >= n:
            raise ValueError(f"process {device.index} has no GPU; torchrun can take --nproc_per_node {n} here")
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ or active():
        yield device
        return
    if missing := [name for name in SET_BY_TORCHRUN if name not in os.environ]:
        words = "start several processes by torchrun, or unset it to train in one"
        raise ValueError(f"WORLD_SIZE is set in the environment, and {', '.join(missing)} not; {words}")
    number, n, _ = _set("RANK"), _set("WORLD_SIZE"), _set("MASTER_PORT")
    if number >= n:
        raise ValueError(f"RANK is {number} in the environment, and WORLD_SIZE {n}; they count from 0 to {n - 1}")
    nccl = device.type == "cuda" and dist.is_nccl_available()
    # an hour, because the first process may measure a similarity while the others wait
    dist.init_process_group("nccl" if nccl else "gloo", timeout=timedelta(hours=1))
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _set(name: str) -> int:
    """The number that torchrun sets under a name, 0 where it sets none."""
    value = os.environ.get(name, "0")
    if not value.isdecimal():
        raise ValueError(f"{name} is {value!r} in the environment; torchrun sets numbers: unset it to train without")
    return int(value)


def add(values: Tensor) -> Tensor:
    """The sum over processes, in place, equal in all of them."""
    if size() > 1:
        dist.all_reduce(values)
    return values


def broadcast(value):
    """What process 0 has computed, in every process. The others' own value is not looked at."""
    if size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather(value) -> list:
    """Every process's value, in order of their numbers."""
    values = [value] * size()
    if size() > 1:
        dist.all_gather_object(values, value)
    return values


class _Total(torch.autograd.Function):
    """The sum over processes; each process's loss depends on every process's part of it, so gradients add up too."""

    @staticmethod
    def forward(ctx, part: Tensor) -> Tensor:
        return add(part.clone())

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return add(gradient.clone())


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes: y = (x - mean) / sqrt(var + eps) * weight + bias.

    torch's own SyncBatchNorm runs on GPUs only; this one runs wherever the processes can talk, and is tested there.
    Two sums cross over, first the mean's and then the squared deviations', so that no digits are lost.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"batch norm needs (N, C, ...), not {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or size() == 1:
            return super().forward(x)
        dims, shape = [d for d in range(x.ndim) if d != 1], [1, -1, *[1] * (x.ndim - 2)]
        wide = x.float()
        count = add(wide.new_tensor(x.numel() / x.shape[1]))
        mean = _Total.apply(wide.sum(dims)) / count
        centred = wide - mean.view(shape)
        variance = _Total.apply(centred.square().sum(dims)) / count
        if self.track_running_stats:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), self.momentum)
        y = centred * (variance + self.eps).rsqrt().view(shape)
        return (y * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)


def share_batch_norm(model: nn.Module) -> nn.Module:
    """The model itself, its batch norms computed over all processes from now on; parameters and their names stay."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__ = GlobalBatchNorm
    return model

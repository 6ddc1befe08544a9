"""Which frames make which batch, for one process or for several; and loaders that live from epoch to epoch."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from ptsa_lite.checks import COUNT, SIZE, check, or_none

from .on_device import DeviceFrames
from .open import set_epoch

Batches = list[list[int]]
SHARED = Path("/dev/shm")  # through which workers hand over their batches, on Linux
AHEAD = 3  # batches that a worker has there at a time: two are prefetched, and one is being used


def make_loader(
    dataset, batch_size: int, seed: int | None = None, epoch: int = 0, workers: int = 0, drop_last: bool = False,
    part: tuple[int, int] = (0, 1),
):  # fmt: skip
    """A DataLoader over one epoch: shuffled by (seed, epoch) where a seed is given, else in order.

    dataset: of `open_dataset`, or `on_device.DeviceFrames`, whose batches are made where the frames lie.
    The seed decides the augmentation too, so that two runs that differ in it see different samples. The batches are
    the same for any number of workers. part: (rank, size), to load every size-th of the batches only.
    """
    check({"batch_size": COUNT, "epoch": SIZE, "workers": SIZE, "seed": or_none(SIZE)}, locals())
    batches = batches_of(len(dataset), batch_size, seed, epoch, drop_last)[part[0] :: part[1]]
    if isinstance(dataset, DeviceFrames):
        return (dataset.batch(rows, epoch, seed) for rows in batches)
    workers = workers_here(workers, dataset, batch_size)
    own = Generator().manual_seed((seed or 0) * 1_000_003 + epoch)  # torch draws the workers' seed, else from all's
    return DataLoader(set_epoch(dataset, epoch, seed), batch_sampler=batches, num_workers=workers, generator=own)


def batches_of(n: int, batch_size: int, seed: int | None = None, epoch: int = 0, drop_last: bool = False) -> Batches:
    """Indices of n frames cut into batches: shuffled by (seed, epoch) where a seed is given, else in order."""
    order = np.arange(n) if seed is None else np.random.default_rng((seed, epoch)).permutation(n)
    batches = [order[i : i + batch_size].tolist() for i in range(0, n, batch_size)]
    return batches[: n // batch_size] if drop_last else batches


def workers_here(wanted: int, dataset=(), batch_size: int = 1) -> int:
    """As many loader processes as wanted, at most one a processor of this process: more only wait for each other.

    Fewer, and said, where the batches that they have ready would not fit into the shared memory of the machine, of
    which a container has 64 MB by default: a worker that finds it full is killed without a word.
    """
    has = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(wanted, has)
    if not workers or not len(dataset) or not SHARED.is_dir():
        return workers
    need = AHEAD * batch_size * sum(value.nbytes for value in dataset[0].values() if isinstance(value, Tensor))
    free = shutil.disk_usage(SHARED).free
    if workers * need > free:
        fit = free // need
        print(
            f"{SHARED} has {free / 1e6:.0f} MB free, and {workers} workers need {workers * need / 1e6:.0f}: {fit} used "
            "instead, so reading may be slower; a container gets more by --shm-size",
            flush=True,
        )
        return fit
    return workers


class EpochLoader:
    """Epoch after epoch over one training set; the last partial batch is dropped.

    part: (rank, size), this process and how many share each batch. A frame's augmentation depends on the seed, the
    epoch and the frame alone: not on the process, nor on the number of workers, who are started once for all epochs.
    """

    def __init__(self, dataset, batch_size: int, seed: int, workers: int = 0, part=(0, 1), pin: bool = False):
        self.n, self.batch_size, self.seed, self.part = len(dataset), batch_size, seed, part
        self.now, self.frames = 0, dataset if isinstance(dataset, DeviceFrames) else None
        if self.frames:
            return
        workers = workers_here(workers, dataset, batch_size)
        self.loader = DataLoader(
            Epochs(dataset, seed), batch_sampler=self, num_workers=workers, persistent_workers=workers > 0,
            pin_memory=pin, generator=Generator(),
        )  # fmt: skip

    def __len__(self) -> int:
        return self.n // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(self.now, i) for i in batch] for batch in self._rows())

    def _rows(self) -> Batches:
        (rank, size), batches = self.part, batches_of(self.n, self.batch_size, self.seed, self.now, drop_last=True)
        return [batch[rank * len(batch) // size : (rank + 1) * len(batch) // size] for batch in batches]

    def epoch(self, epoch: int) -> Iterator[dict]:
        """This epoch's batches, this process's part of each."""
        self.now = epoch
        if self.frames:
            return (self.frames.batch(rows, epoch, self.seed) for rows in self._rows())
        return iter(self.loader)


class Epochs:
    """A data set whose items are asked for by (epoch, index)."""

    def __init__(self, dataset, seed: int):
        self.dataset, self.seed, self.epoch, self.view = dataset, seed, None, None

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        if epoch != self.epoch:
            self.epoch, self.view = epoch, set_epoch(self.dataset, epoch, self.seed)
        return self.view[index]

"""Which frames make which batch, for one process or for several; and loaders that live from epoch to epoch."""

import os
from collections.abc import Iterator

import numpy as np
from torch import Generator
from torch.utils.data import DataLoader

Batches = list[list[int]]


def batches_of(
    n: int, batch_size: int, seed: int | None = None, epoch: int = 0, drop_last: bool = False
) -> Batches:
    """Indices of n frames cut into batches: shuffled by (seed, epoch) where a seed is given, else in order."""
    order = np.arange(n) if seed is None else np.random.default_rng((seed, epoch)).permutation(n)
    batches = [order[i : i + batch_size].tolist() for i in range(0, n, batch_size)]
    return batches[: n // batch_size] if drop_last else batches


def share(batches: Batches, rank: int, size: int) -> Batches:
    """One process's equal part of every batch. Raises ValueError where a batch cannot be parted so."""
    uneven = next((len(batch) for batch in batches if len(batch) % size), None)
    if uneven:
        raise ValueError(f"a batch of {uneven} frames cannot be shared by {size} processes; give a multiple")
    return [batch[rank * len(batch) // size : (rank + 1) * len(batch) // size] for batch in batches]


def workers_here(wanted: int) -> int:
    """As many loader processes as wanted, at most one a processor of this process: more only wait for each other."""
    has = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(wanted, has)


class EpochLoader:
    """Epoch after epoch over one training set; the last partial batch is dropped.

    part: (rank, size), this process and how many share each batch. A frame's augmentation depends on the seed, the
    epoch and the frame alone: not on the process, nor on the number of workers, who are started once for all epochs.
    """

    def __init__(self, dataset, batch_size: int, seed: int, workers: int = 0, part=(0, 1), pin: bool = False):
        self.n, self.batch_size, self.seed, self.part = len(dataset), batch_size, seed, part
        self.now, workers = 0, workers_here(workers)
        self.loader = DataLoader(
            Epochs(dataset, seed), batch_sampler=self, num_workers=workers, persistent_workers=workers > 0,
            pin_memory=pin, generator=Generator(),
        )  # fmt: skip

    def __len__(self) -> int:
        return self.n // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        whole = batches_of(self.n, self.batch_size, self.seed, self.now, drop_last=True)
        return ([(self.now, i) for i in batch] for batch in share(whole, *self.part))

    def epoch(self, epoch: int) -> Iterator[dict]:
        """This epoch's batches, this process's part of each."""
        self.now = epoch
        return iter(self.loader)


class Epochs:
    """A data set whose items are asked for by (epoch, index)."""

    def __init__(self, dataset, seed: int):
        self.dataset, self.seed, self.epoch, self.view = dataset, seed, None, None

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[dict]:
        from . import set_epoch

        epoch = keys[0][0]
        if epoch != self.epoch:
            self.epoch, self.view = epoch, set_epoch(self.dataset, epoch, self.seed)
        return self.view.__getitems__([index for _, index in keys])

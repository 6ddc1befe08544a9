"""How alike two tasks pull on the backbone: gradient task similarity, in both readings, with its uncertainty.

The paper (after Task2Vec): with g = g(x, t) the gradient of task t's loss at sample x with respect to the backbone,

    sim(t, t') = E over x, x' of cos(g / (|g| + |g'|), g' / (|g| + |g'|))

It leaves two things open, and both are measured here in one pass:

- reading: with |.| a vector norm, cos(g, g') is left ("plain"). With |.| taken element by element it is not
  ("elementwise"), and depends on each task's loss weight.
- pairs: x and x' may be "different" samples, or the "same" one.

A fresh adapter has B = 0, so the gradient of A vanishes; what is compared is the gradient of the frozen weights that
the adapters will sit on.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .checks import known
from .fast import sample_gradients
from .losses import task_loss
from .model import MultiTaskModel
from .tasks import Task

READINGS = ("plain", "elementwise")
PAIRS = ("different", "same")
CHUNK = 1 << 14, 1 << 18  # numbers of a gradient at a time, when products are summed: on a processor, on a GPU
HELD = 1 << 25, 1 << 27  # numbers in the gradients that are computed at once


@dataclass(frozen=True)
class Similarity:
    """Every draw that was made; means and errors are read off it.

    draws: {(reading, pairs): (K, S+1, T, T)}, one symmetric matrix a draw for each stage, and the whole backbone last.
    """

    tasks: tuple[str, ...]
    draws: dict[tuple[str, str], np.ndarray]

    def count(self, pairs: str = "different") -> int:
        return len(self.draws["plain", known(pairs, PAIRS, "choice of pairs")])

    def _of(self, reading: str, pairs: str, stage: int | None) -> np.ndarray:
        key = known(reading, READINGS, "reading"), known(pairs, PAIRS, "choice of pairs")
        return self.draws[key][:, -1 if stage is None else stage]  # (K, T, T)

    def matrix(self, reading: str = "plain", pairs: str = "different", stage: int | None = None) -> np.ndarray:
        """(T, T) mean over draws; stage None is the whole backbone."""
        return self._of(reading, pairs, stage).mean(0)

    def error(self, reading: str = "plain", pairs: str = "different", stage: int | None = None) -> np.ndarray:
        """(T, T) standard error of that mean.

        Neighbouring draws of "different" share a sample, so their covariance counts as well:
        var(mean) = (v0 + 2 v1) / K with v1 the covariance of one draw and the next.
        """
        draws = self._of(reading, pairs, stage)
        centred = draws - draws.mean(0)
        variance = (centred**2).mean(0)
        if pairs == "different" and len(draws) > 2:
            variance = np.maximum(variance + 2 * (centred[1:] * centred[:-1]).sum(0) / len(draws), variance / 10)
        return np.sqrt(variance / max(1, len(draws) - 1))

    def stages(self, reading: str = "plain", pairs: str = "different") -> np.ndarray:
        """(S, T, T), one mean matrix a stage."""
        return self.draws[reading, pairs][:, :-1].mean(0)

    def to_dict(self) -> dict:
        """Means, errors and counts as plain lists, for a results file."""
        readings = {}
        for choice, draws in self.draws.items():
            found = {"matrix": self.matrix(*choice), "error": self.error(*choice), "stages": self.stages(*choice)}
            plain = {name: values.tolist() for name, values in found.items()}
            readings[", ".join(choice)] = plain | {"draws": len(draws)}
        return {"tasks": list(self.tasks), "readings": readings}


def compared_weights(model: MultiTaskModel) -> list[list[nn.Parameter]]:
    """Per stage the frozen weights whose gradients are compared: qkv, proj, fc1 and fc2 of every block."""
    stages: list[list[nn.Parameter]] = [[] for _ in range(model.backbone.n_stages)]
    for stage, _, _, linear in model.backbone.adapted_linears():
        stages[stage].append(getattr(linear, "base", linear).weight)
    return stages


def task_gradients(model: MultiTaskModel, sample: dict, tasks: dict[str, Task], weights: Sequence[Tensor]) -> Tensor:
    """g(x, t) for every task: one forward, T backward passes. (T, P), P numbers in all the weights.

    sample: a batch of one image. A task without a valid pixel in it has a zero gradient, and is similar to nothing.
    """
    predictions = model(sample["image"], resize=False)
    rows = []
    for i, (name, task) in enumerate(tasks.items()):
        loss = task.loss_weight * task_loss(task, predictions[name], sample[name])
        gradients = torch.autograd.grad(loss, weights, retain_graph=i + 1 < len(tasks))
        rows.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(rows)


def cosines(g: Tensor, h: Tensor, reading: str) -> Tensor:
    """cos between every row of g (T, P) and every row of h (T, P) by one reading: (T, T) float64."""
    return _by_stage(g, h, [g.shape[1]], reading)[0]


def products(g: Tensor, h: Tensor, reading: str) -> Tensor:
    """x.y, x.x and y.y for every row x of g and y of h by one reading: (3, T, T) float64, sums over P.

    Chunk by chunk: a float32 sum over millions of numbers loses three digits, and a chunk fits the cache.
    """
    out = torch.zeros(3, len(g), len(h), dtype=torch.float64, device=g.device)
    for a, b in zip(*(x.split(CHUNK[g.is_cuda], 1) for x in (g, h)), strict=True):
        if reading == "plain":
            lengths = a.square().sum(1)[:, None], b.square().sum(1)[None]  # (T, 1), (1, T)
            out += torch.stack(torch.broadcast_tensors(a @ b.T, *lengths))
        else:
            share = (a.abs()[:, None] + b.abs()[None]).clamp_min(1e-30).reciprocal_()  # (T, T, chunk)
            x, y = a[:, None] * share, b[None] * share
            out += torch.stack([(x * y).sum(2), x.square_().sum(2), y.square_().sum(2)])
    return out


def _by_stage(g: Tensor, h: Tensor, sizes: Sequence[int], reading: str) -> Tensor:
    """(S+1, T, T): each stage's cosines, and the whole backbone's, whose products are the sums of the stages'."""
    stages = zip(g.split(list(sizes), 1), h.split(list(sizes), 1), strict=True)
    parts = torch.stack([products(a, b, reading) for a, b in stages])  # (S, 3, T, T)
    xy, xx, yy = torch.cat([parts, parts.sum(0, keepdim=True)]).unbind(1)
    return xy / (xx * yy).sqrt().clamp_min(1e-30)


def gradient_similarity(
    model: MultiTaskModel, samples: Iterable[dict], tasks: dict[str, Task], n_samples: int | None = None,
    readings: Sequence[str] = READINGS, report: Callable[[str], None] | None = None,
) -> Similarity:  # fmt: skip
    """sim(t, t') over a stream of samples (batches of one image), by stage and over the whole backbone.

    Sample k is compared with itself ("same") and with sample k + 1 ("different", made symmetric), so that memory does
    not grow with their number. The model runs in evaluation mode; its heads should have been fitted on the frozen
    backbone before, or their gradients say little.

    Raises ValueError with fewer than two samples, or when a task's gradient is zero or not finite in all of them.
    """
    stages = compared_weights(model)
    sizes = [sum(weight.numel() for weight in stage) for stage in stages]
    draws: dict[tuple[str, str], list[np.ndarray]] = {(r, p): [] for r in readings for p in PAIRS}
    before, seen, started = None, torch.zeros(len(tasks), dtype=torch.bool), time.monotonic()
    at_once = max(1, HELD[stages[0][0].is_cuda] // (len(tasks) * sum(sizes)))
    samples = itertools.islice(samples, n_samples)
    parts = iter(lambda: list(itertools.islice(samples, at_once)), [])
    batches = ({key: torch.cat([one[key] for one in part]) for key in ("image", *tasks)} for part in parts)
    with evaluating(model, itertools.chain(*stages)):
        gradients = itertools.chain.from_iterable(sample_gradients(model, batch, tasks, stages) for batch in batches)
        for k, now in enumerate(gradients, 1):  # (T, P)
            for name, finite in zip(tasks, now.isfinite().all(1).tolist(), strict=True):
                if not finite:
                    raise ValueError(f"the gradient of task {name!r} is not finite at sample {k}; check its labels")
            seen |= now.any(1).cpu()
            for reading, (pairs, other) in itertools.product(readings, (("same", now), ("different", before))):
                if other is not None:
                    cosine = _by_stage(other, now, sizes, reading)
                    draws[reading, pairs].append(((cosine + cosine.mT) / 2).cpu().numpy())
            before = now
            if report and n_samples and (k % 16 == 0 or k == n_samples):
                left = (time.monotonic() - started) / k * (n_samples - k)
                report(f"similarity: sample {k}/{n_samples}, {left:.0f} s left")
    if not draws[readings[0], "different"]:
        raise ValueError("similarity needs at least two samples; give more frames")
    for name, had_one in zip(tasks, seen.tolist(), strict=True):
        if not had_one:
            raise ValueError(f"task {name!r} had a zero gradient in every sample: no labels in them, or heads unfitted")
    return Similarity(tuple(tasks), {key: np.stack(value) for key, value in draws.items()})


@contextlib.contextmanager
def evaluating(model: nn.Module, weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """Evaluation mode, and gradients for these weights alone; everything is put back afterwards."""
    training, trained = model.training, [p for p in model.parameters() if p.requires_grad]
    model.eval().requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    try:
        yield
    finally:
        model.train(training).requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)

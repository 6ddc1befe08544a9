"""How alike two tasks pull on the backbone: gradient task similarity, in both readings, with its uncertainty.

The paper (after Task2Vec): with g = g(x, t) the gradient of task t's loss at sample x with respect to the backbone,

    sim(t, t') = E over x, x' of cos(g / (|g| + |g'|), g' / (|g| + |g'|))

It leaves open whether |.| is a vector norm, and cos(g, g') is left (the reading "plain"), or taken element by element
("elementwise"), which depends on each task's loss weight; and whether x and x' are "different" samples or the "same"
one. All are measured here in one pass.

A fresh adapter has B = 0, so the gradient of A vanishes; what is compared is the gradient of the frozen weights that
the adapters will sit on.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.linalg import vecdot as dot

from .checks import known
from .fast import sample_gradients
from .lora import GroupedLoRALinear
from .losses import task_loss
from .model import MultiTaskModel
from .tasks import Task, select

READINGS = ("plain", "elementwise")
PAIRS = ("different", "same")
CHUNK = 1 << 13, 1 << 18  # numbers of a gradient at a time, when products are summed: on a processor, on a GPU


def compared_weights(model: MultiTaskModel) -> list[list[nn.Parameter]]:
    """theta, per stage: the frozen weights of qkv, proj, fc1 and fc2 of every block."""
    stages: list[list[nn.Parameter]] = [[] for _ in range(model.backbone.n_stages)]
    for stage, _, _, layer in model.backbone.adapted_linears():
        if not issubclass(type(layer), nn.Linear | GroupedLoRALinear):
            raise ValueError(f"similarity reads linear layers and LoRA's, not {type(layer).__name__}; take lora_shared")
        stages[stage].append(getattr(layer, "base", layer).weight)
    return stages


def task_gradients(model: MultiTaskModel, sample: dict, tasks: dict[str, Task], weights: Sequence[Tensor]) -> Tensor:
    """g(x, t), the gradient of w_t L_t(x) for every task: (T, P), P numbers in all the weights.

    sample: a batch of one image. A task without a valid pixel in it has a zero gradient, which says nothing.
    """
    predictions = model(sample["image"], resize=False)
    rows = []
    for name, task in tasks.items():
        loss = task.loss_weight * task_loss(task, predictions[name], sample[name])
        g = torch.autograd.grad(loss, weights, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in g]))
    return torch.stack(rows)


def cosines(g: Tensor, h: Tensor, reading: str, sizes: Sequence[int] = ()) -> Tensor:
    """x.y / (|x| |y|) for every row x of g (T, P) and y of h (T, P) by one reading: (T, T) float64, NaN for 0.

    sizes: of the stages' parts of P; then (S+1, T, T), first each stage's and then the whole backbone's.
    """
    parts = list(sizes) or [g.shape[1]]
    each = zip(g.split(parts, 1), h.split(parts, 1), strict=True)
    stages = torch.stack([products(x, y, reading) for x, y in each], 1)  # (3, S, T, T)
    xy, xx, yy = torch.cat([stages, stages.sum(1, keepdim=True)], 1)  # the whole's are the sums of the stages'
    norm = (xx * yy).sqrt()
    cosine = (xy / norm).where(norm.isfinite(), torch.inf)  # NaN for "nothing to compare", infinity for a fault
    return cosine if sizes else cosine[-1]


def products(g: Tensor, h: Tensor, reading: str) -> Tensor:
    """x.y, x.x and y.y for every row x of g and y of h by one reading: (3, T, T) float64, sums over P.

    Chunk by chunk: a float32 sum over millions of numbers loses three digits, and a chunk fits the cache.
    """
    n = CHUNK[g.is_cuda]
    out = torch.zeros(3, len(g), len(h), dtype=torch.float64, device=g.device)
    for a, b in zip(g.split(n, 1), h.split(n, 1), strict=True):
        x, y = a[:, None], b[None]  # (T, 1, n), (1, T, n)
        if reading == "elementwise":
            total = (x.abs() + y.abs()).clamp_min(1e-30)
            x, y = x / total, y / total  # (T, T, n)
        sums = dot(x, y), dot(x, x), dot(y, y)
        out += torch.stack(torch.broadcast_tensors(*sums))
    return out


def labelled_draws(draws: Tensor) -> Tensor:
    """Draws (K, ...) without NaN, whose mean and error are those of the draws that are numbers.
    A NaN, of a sample that lacks a label, stands at the others' mean; the others lie as much further from it.
    """
    mean, share = draws.nanmean(0), (~draws.isnan()).double().mean(0)
    return ((draws - mean) / share).nan_to_num(0.0) + mean


@dataclass(frozen=True)
class Similarity:
    """Every draw that was made; means and errors are read off it, NaN where no sample is labelled for both tasks.

    draws: {(reading, pairs): (K, S+1, T, T)}, one symmetric matrix a draw for each stage, and the whole backbone last.
    """

    tasks: tuple[str, ...]
    draws: dict[tuple[str, str], np.ndarray]

    def _of(self, reading: str, pairs: str, stage: int | slice | None = None) -> np.ndarray:
        draws = self.draws[known(reading, READINGS, "reading"), known(pairs, PAIRS, "choice of pairs")]
        return draws[:, -1] if stage is None else draws[:, :-1][:, stage]  # (K, T, T)

    def matrix(self, reading: str = "plain", pairs: str = "different", stage: int | None = None) -> np.ndarray:
        """(T, T) mean over draws; stage None is the whole backbone."""
        return self._of(reading, pairs, stage).mean(0)

    def stages(self, reading: str = "plain", pairs: str = "different") -> np.ndarray:
        """(S, T, T), one mean matrix a stage."""
        return self._of(reading, pairs, slice(None)).mean(0)

    def error(self, reading: str = "plain", pairs: str = "different", stage: int | None = None) -> np.ndarray:
        """(T, T) standard error of that mean: neighbouring draws of "different" share a sample, so that
        var(mean) = (v0 + 2 v1) / K with v1 the covariance of one draw and the next; 0 for "same".
        """
        draws = self._of(reading, pairs, stage)
        centred = draws - draws.mean(0)
        variance = (centred**2).mean(0)
        if pairs == "different" and len(draws) > 2:
            v1 = (centred[1:] * centred[:-1]).sum(0) / len(draws)
            variance = np.maximum(variance + 2 * v1, variance / 10)
        return np.sqrt(variance / max(1, len(draws) - 1))

    def to_dict(self) -> dict:
        """Means, errors and counts as plain lists, for a results file; None where nothing was labelled."""
        readings = {}
        for choice, draws in self.draws.items():
            found = {"matrix": self.matrix(*choice), "error": self.error(*choice), "stages": self.stages(*choice)}
            plain = {name: np.where(np.isnan(x), np.array(None), x).tolist() for name, x in found.items()}
            readings[", ".join(choice)] = plain | {"draws": len(draws)}
        return {"tasks": list(self.tasks), "readings": readings}


def gradient_similarity(
    model: MultiTaskModel,
    samples: Iterable[dict],  # batches of one image
    tasks: dict[str, Task],
    n_samples: int | None = None,  # the first so many; None for all
    readings: Sequence[str] = READINGS,
    report: Callable[[str], None] | None = None,
) -> Similarity:
    """sim(t, t') over a stream of samples, by stage and over the whole backbone.

    Sample k is compared with itself ("same") and with sample k + 1 ("different", made symmetric), so that memory does
    not grow with their number. A copy of the model runs in evaluation mode. Its heads should have been fitted on the
    frozen backbone before, or their gradients say little.

    A sample counts for the tasks that it is labelled for. Raises ValueError with fewer than two samples, or when a
    task's gradient is not finite, or zero in all of them.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)  # whoever has the model keeps it as it is
    theta = compared_weights(model)
    for weight in itertools.chain(*theta):
        weight.requires_grad_(True)
    sizes = [sum(weight.numel() for weight in stage) for stage in theta]
    readings = list(select(dict.fromkeys(READINGS), readings, "reading"))
    found: dict[tuple[str, str], list[Tensor]] = {(r, p): [] for r in readings for p in PAIRS}
    before, k = None, 0
    for k, g in enumerate(sample_gradients(model, itertools.islice(samples, n_samples), tasks, theta), 1):  # (T, P)
        others = {"same": g} if before is None else {"same": g, "different": before}
        for reading, pairs in itertools.product(readings, others):
            cosine = cosines(others[pairs], g, reading, sizes)  # (S+1, T, T)
            found[reading, pairs].append(torch.stack([cosine, cosine.mT]).nanmean(0))
        before = g
        if report and n_samples and (k % 16 == 0 or k == n_samples):
            report(f"similarity: sample {k}/{n_samples}")
    if k < 2:
        raise ValueError("similarity needs at least two samples; give more frames")
    own = torch.stack(found[readings[0], "same"])[:, -1].diagonal(0, 1, 2)  # (K, T), cos(g, g): 1, or NaN
    for name, cosine in zip(tasks, own.unbind(1), strict=True):
        if len(faults := cosine.isinf().nonzero()):
            raise ValueError(f"the gradient of task {name!r} is not finite at sample {faults[0, 0] + 1}; check labels")
        if cosine.isnan().all():
            raise ValueError(f"task {name!r} had a zero gradient in every sample: no labels in them, or heads unfitted")
    draws = {choice: labelled_draws(torch.stack(cosine)).cpu().numpy() for choice, cosine in found.items()}
    return Similarity(tuple(tasks), draws)

"""Edges as the boundary benchmark counts them: thinned, and matched one to one within a small distance.

Source: Martin, Fowlkes, Malik, "Learning to detect natural image boundaries" (2004), and the benchmark that came of it
(Arbelaez et al., 2011). Everything is done at 99 thresholds at once: a pixel holds one bit for each of them.
"""

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from .meter import Meter
from .tasks import IGNORE, Task

N_THRESHOLDS = 99  # 0.01, 0.02, ... 0.99
E, NE, N, NW, W, SW, S, SE = range(8)  # the neighbours of a pixel, anticlockwise


class BoundaryF(Meter):
    """odsF in percent: the F-measure at the threshold that is best for the whole set. Ignored pixels are no edges."""

    DISTANCE = 0.011  # of the diagonal: NYUD's; the benchmark's own pictures and PASCAL take 0.0075

    def __init__(self, task: Task):
        super().__init__(task)
        self.counts = torch.zeros(3, N_THRESHOLDS, dtype=torch.int64)

    def compute(self) -> float:
        return best_f(self.counts.numpy())

    def _row(self, prediction: Tensor, target: Tensor) -> Tensor:
        label = target[0, 0]  # (H, W)
        probability = prediction[0, 0].sigmoid().where(label != IGNORE, 0)
        counts = match_counts(probability.cpu().numpy(), (label == 1).cpu().numpy(), self.DISTANCE)
        return torch.from_numpy(counts).flatten()

    def _keep(self, rows: Tensor) -> None:
        self.counts = self.counts + rows.sum(0).view_as(self.counts)

    def _seen(self) -> Tensor:
        return self.counts.view(1, -1)


def match_counts(probability: np.ndarray, label: np.ndarray, distance: float) -> np.ndarray:
    """What one picture adds to precision and recall at each threshold, (3, 99) int64.

    probability: (H, W) in 0..1. label: (H, W) bool, counted as given, however thick its lines are.
    distance: how far apart two pixels of a pair may lie, as a share of the picture's diagonal.

    Rows: pairs matched, pixels of the thinned prediction, pixels of the label. A pixel is in one pair at most, and as
    many pairs are made as can be (Hopcroft and Karp). The benchmark's own matching, CSA++, makes them short besides,
    which changes which pairs there are, not how many. Takes 0.3 s for 224 x 224 on one core, 0.2 of them to thin.
    """
    height, width = label.shape
    passed = np.searchsorted(np.arange(1, N_THRESHOLDS + 1) / 100, probability, side="right")
    bits = thin(passed)
    drawn = np.flatnonzero(bits.any(0))
    near = _near(drawn, label, distance * np.hypot(height, width))

    counts = np.zeros((3, N_THRESHOLDS), dtype=np.int64)
    counts[2] = label.sum()
    for k in range(N_THRESHOLDS):
        chosen = np.flatnonzero(bits[k // 64, drawn] >> np.uint64(k % 64) & np.uint64(1))
        counts[1, k] = len(chosen)
        if len(chosen) and counts[2, k]:
            counts[0, k] = (maximum_bipartite_matching(near[chosen], perm_type="column") >= 0).sum()
    return counts


def best_f(counts: np.ndarray) -> float:
    """odsF in percent: the F-measure of precision and recall at the threshold that is best for the whole set.

    counts: sums of `match_counts` over pictures. Matched pairs m, drawn p, labelled l: precision is m / p, recall
    m / l, so that F = 2 m / (p + l). nan where no pixel is labelled an edge. The benchmark's own script
    also looks between the 99 thresholds, on straight lines through its counts.
    """
    matched, drawn, labelled = counts
    return float((200 * matched / (drawn + labelled)).max()) if labelled[0] else float("nan")


def thin(passed: np.ndarray) -> np.ndarray:
    """Lines one pixel wide in the middle of what is drawn, at every threshold: (2, H W) uint64 of bits.

    passed: (H, W), how many thresholds a pixel passes. Bit k % 64 of word k // 64 is threshold k.
    Guo and Hall's two half steps in turn ("Parallel thinning with two-subiteration algorithms", 1989), until nothing
    changes: the benchmark's `bwmorph(..., "thin", inf)`.
    """
    height, width = passed.shape
    row = width + 2  # with a frame of pixels that are off
    around = np.array([1, 1 - row, -row, -row - 1, -1, row - 1, row, row + 1])
    bits = np.zeros((2, height + 2, row), dtype=np.uint64)
    bits[:, 1:-1, 1:-1] = _first_bits(passed)
    bits = bits.reshape(2, -1)

    looked_at = gone = np.flatnonzero(bits.any(0))
    half = 0
    while len(looked_at):
        neighbours = bits.take(looked_at + around[:, None], axis=1).swapaxes(0, 1)  # (8, 2, looked at)
        removed = bits.take(looked_at, axis=1) & _removable(neighbours, half)
        before, gone = gone, looked_at[removed.any(0)]
        for word, off in zip(bits, removed, strict=True):
            word[looked_at] ^= off
        # What the coming half step kept last time goes now only if something beside it went in the two steps since.
        half, beside = 1 - half, np.zeros(bits.shape[1], dtype=bool)
        beside[np.concatenate([gone, before]) + around[:, None]] = True
        looked_at = np.flatnonzero(beside & bits.any(0))
    return bits.reshape(2, height + 2, row)[:, 1:-1, 1:-1].reshape(2, -1)


def _first_bits(passed: np.ndarray) -> np.ndarray:
    """The lowest `passed` bits of two words of 64, (2, H, W)."""
    lowest = np.array([2**n - 1 for n in range(65)], dtype=np.uint64)
    return np.stack([lowest[passed.clip(0, 64)], lowest[(passed - 64).clip(0, 64)]])


def _removable(x: np.ndarray, half: int) -> np.ndarray:
    """Guo and Hall's conditions, bit by bit; x: the eight neighbours, (8, ...).

    A pixel may go if its neighbours hang together without it, if it is no end of a line, and if it lies at the south
    or east (first half step), or at the north or west (second).
    """
    corners = [(E, NE, N), (N, NW, W), (W, SW, S), (S, SE, E)]
    one_piece = _count(*(~x[a] & (x[b] | x[c]) for a, b, c in corners))
    starts, ends = _count(*(x[a] | x[b] for a, b, _ in corners)), _count(*(x[b] | x[c] for _, b, c in corners))
    no_end = starts[1] & ends[1] & ~(starts[2] & ends[2])  # 2 or 3 is the smaller of the two numbers
    inner = (x[NE] | x[N] | ~x[SE]) & x[E] if half == 0 else (x[SW] | x[S] | ~x[NW]) & x[W]
    return one_piece[0] & ~one_piece[1] & no_end & ~inner


def _count(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of four: at least one, at least two, all."""
    return a | b | c | d, (a & b) | (c & d) | ((a | b) & (c | d)), a & b & c & d


def _near(drawn: np.ndarray, label: np.ndarray, radius: float) -> csr_array:
    """Which labelled pixels lie within the radius of each drawn one: (drawn, labelled), sparse."""
    reach, (height, width) = int(radius), label.shape
    number = np.full((height + 2 * reach, width + 2 * reach), -1)
    inside = number[reach : reach + height, reach : reach + width]
    inside[label] = np.arange(label.sum())
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    nearest = np.argsort(dy**2 + dx**2, kind="stable")  # first: the matching then seldom takes a pair back
    disc = nearest[(dy**2 + dx**2)[nearest] <= radius**2]
    y, x = np.divmod(drawn, width)
    found = number[(y + reach)[:, None] + dy[disc], (x + reach)[:, None] + dx[disc]]  # (drawn, disc)
    start = np.r_[0, (found >= 0).sum(1).cumsum()]
    columns = found[found >= 0]
    return csr_array((np.ones(len(columns), dtype=np.uint8), columns, start), shape=(len(drawn), label.sum()))

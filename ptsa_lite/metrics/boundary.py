"""Edges as the boundary benchmark counts them: thinned, and matched one to one within a small distance.

Source: Martin, Fowlkes, Malik, "Learning to detect natural image boundaries" (2004), and the benchmark that came of it
(Arbelaez et al., 2011). Everything is done at all thresholds at once: a pixel holds one bit for each of them.
"""

import numpy as np
import torch
from scipy.ndimage import maximum_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor
from torch.nn import functional as F

from ptsa_lite.tasks import IGNORE

from .meter import Meter

N_THRESHOLDS = 99  # 0.01, 0.02, ... 0.99
E, NE, N, NW, W, SW, S, SE = range(8)  # the neighbours of a pixel, anticlockwise


class BoundaryF(Meter):
    """odsF in percent: the F-measure at the threshold that is best for the whole set. Ignored pixels are no edges."""

    HELD = 2**24  # thinning holds much more than the predictions
    DISTANCE = 0.011  # of the diagonal: NYUD's; the benchmark's own pictures and PASCAL take 0.0075

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        label = target[:, 0]  # (B, H, W)
        probability = prediction[:, 0].sigmoid().where(label != IGNORE, 0)
        pictures = zip(thin(probability).cpu(), (label == 1).cpu(), strict=True)
        counts = [match_counts(a.numpy(), b.numpy(), self.DISTANCE) for a, b in pictures]
        return torch.from_numpy(np.stack(counts)).flatten(1)

    def _metric(self, totals: list[float]) -> float:
        return best_f(np.reshape(totals, (3, N_THRESHOLDS)))


def match_counts(bits: np.ndarray, label: np.ndarray, distance: float) -> np.ndarray:
    """What one picture adds to precision and recall at each threshold, (3, N_THRESHOLDS) int64.

    bits: of `thin`, (words, H, W) int64. label: (H, W) bool, counted as given, however thick its lines are.
    distance: how far apart two pixels of a pair may lie, as a share of the picture's diagonal.

    Rows: pairs matched, pixels of the thinned prediction, pixels of the label. A pixel is in one pair at most, and as
    many pairs are made as can be (Hopcroft and Karp). The benchmark's own matching, CSA++, makes them short besides,
    which changes which pairs there are, not how many. Done on one core of the processor, whatever drew the lines.
    """
    radius = distance * np.hypot(*label.shape)
    drawn = np.flatnonzero(bits.any(0))
    beside = maximum_filter(label, 2 * int(radius) + 1).flat[drawn]  # the others find no partner
    near = _near(drawn[beside], label, radius)
    words = bits.reshape(len(bits), -1)[:, drawn]

    counts = np.zeros((3, N_THRESHOLDS), dtype=np.int64)
    counts[2] = label.sum()
    for k in range(N_THRESHOLDS):
        on = (words[k // 64] >> (k % 64)) & 1
        counts[1, k] = on.sum()
        chosen = np.flatnonzero(on[beside])
        if len(chosen):
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


def thin(probability: Tensor) -> Tensor:
    """Lines one pixel wide in the middle of what is drawn, at every threshold: (B, words, H, W) int64 of bits.

    probability: (B, H, W) in 0..1, on any device. Bit k % 64 of word k // 64 is threshold (k + 1) / (N_THRESHOLDS + 1).
    Guo and Hall's two half steps in turn ("Parallel thinning with two-subiteration algorithms", 1989), until nothing
    changes: the benchmark's `bwmorph(..., "thin", inf)`.
    """
    steps = torch.arange(1, N_THRESHOLDS + 1, dtype=torch.float64, device=probability.device)
    passed = torch.bucketize(probability.double(), steps / (N_THRESHOLDS + 1), right=True)
    first = torch.stack([_first_bits(passed - k) for k in range(0, N_THRESHOLDS, 64)], 1)
    planes = F.pad(first, (1, 1, 1, 1))  # with a frame of pixels that are off
    bits, row = planes.view(-1), planes.shape[-1]
    around = torch.tensor([1, 1 - row, -row, -row - 1, -1, row - 1, row, row + 1, 1], device=bits.device)[:, None]

    half, gone, on = 0, bits != 0, bits != 0
    looked_at = _places(on)
    while len(looked_at):
        here = bits.take(looked_at)
        removed = here & _removable(bits.take(looked_at + around), half)
        bits[looked_at], on[looked_at] = here ^ removed, here != removed
        # What the coming half step kept last time goes now only if something beside it went in the two steps since.
        half, before, gone = 1 - half, gone, torch.zeros_like(gone)
        gone[looked_at] = removed != 0
        beside = gone | before
        for step in (1, row):
            beside = beside | beside.roll(step) | beside.roll(-step)
        looked_at = _places(beside & on)
    return planes[..., 1:-1, 1:-1]


def _places(mask: Tensor) -> Tensor:
    """The indices that are on; numpy finds them in an eighth of the time, where it can."""
    return torch.from_numpy(np.flatnonzero(mask.numpy())) if mask.device.type == "cpu" else mask.nonzero()[:, 0]


def _first_bits(n: Tensor) -> Tensor:
    """Words whose lowest n bits are on, n clamped to 0..64."""
    n = n.clamp(0, 64)
    return ~(-1 << n // 2 << n - n // 2)  # in two steps: no word is shifted by 64 at once


def _removable(x: Tensor, half: int) -> Tensor:
    """Guo and Hall's conditions, bit by bit; x: the eight neighbours and the first again, (9, ...).

    A pixel may go if its neighbours hang together without it, if it is no end of a line, and if it lies at the south
    or east (first half step), or at the north or west (second).
    """
    starts, ends = x[:-1:2] | x[1::2], x[1::2] | x[2::2]  # E or NE, N or NW, ...; NE or N, NW or W, ...
    a, b, c, d = ends & ~x[:-1:2]
    one_piece = (a ^ b ^ c ^ d) & ~(a & b | c & d)
    (some, every), (some_too, every_too) = _two_and_all(*starts), _two_and_all(*ends)
    inner = (x[NE] | x[N] | ~x[SE]) & x[E] if half == 0 else (x[SW] | x[S] | ~x[NW]) & x[W]
    return one_piece & some & some_too & ~(every & every_too | inner)  # 2 or 3 is the smaller of the two numbers


def _two_and_all(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Of four: at least two, all."""
    p, q = a & b, c & d
    return p | q | (a | b) & (c | d), p & q


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

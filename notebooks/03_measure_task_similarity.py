# %% [markdown]
# # Measure task similarity
#
# [< previous: group a LoRA](02_group_a_lora.ipynb) | [next: grow the task tree >](04_grow_the_task_tree.ipynb)
#
# Which tasks should share an adapter? The paper's idea is to ask their gradients: two tasks that pull the same weights
# in the same direction can share, two that pull apart should not. In this notebook you measure that for every two of
# four tasks, and the result is one small matrix. Most of the work is then to find out how far the matrix can be
# trusted. *It takes two minutes on a laptop's processor, without GPU or network.*

# %% tags=["parameters", "hide-input"]
data: str = "scenes"  # scenes, nyud or pascal
root: str = ""  # the archive's folder, for nyud and pascal
limit: int = 192  # frames that heads are fitted and gradients taken on, 0 for all
seed: int = 0  # of everything drawn at random
out_dir: str = "runs/notebooks"  # where results are written
img_size: int = 64  # side of the square frames, in pixels
epochs: int = 3  # passes over the frames that fit the heads
lr: float = 3e-3  # peak learning rate of the heads
n_samples: int = 48  # frames whose gradients are compared
reading: str = "plain"  # of the formula, in the figure with knobs: plain or elementwise
pairs: str = "same"  # gradients of the same frame or of different ones, in the figure with knobs
command: str = "papermill notebooks/03_measure_task_similarity.ipynb out.ipynb"  # what to say made the file

# %% tags=["hide-input"]
from ptsa_lite.checks import COUNT, POSITIVE, SIZE
from ptsa_lite.workshop.parameters import FRAMES, among, between, checked

checked(globals(), limit=FRAMES, seed=SIZE, epochs=COUNT, lr=POSITIVE, n_samples=between(8, 10_000),
        reading=among("plain", "elementwise"), pairs=among("same", "different"))

# %% tags=["hide-input"]
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F

from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.figures import (
    SOFT, Drawing, draw_angles, draw_estimates, draw_gradients, draw_how_sure, draw_similarities, draw_similarity,
    draw_stages, name_ends, save_figure, task_colour, use_style,
)
from ptsa_lite.tasks import IGNORE, default_tasks, known
from ptsa_lite.workshop.exercises import guess, reveal
from ptsa_lite.workshop.explore import Explorable

started = time.monotonic()
use_style()
tasks = default_tasks(data)
names = tuple(tasks)
couples = list(itertools.combinations(range(len(names)), 2))  # every two different tasks


def say(text):
    """A sentence whose numbers were measured in this run."""
    display(Markdown(text))

# %% tags=["hide-input"]
figure = draw_gradients(names)
save_figure(figure, "03_idea", out_dir)
figure

# %% [markdown]
# The losses of all tasks are computed on top of one backbone, and each sends a gradient back to the same weights. You
# can think of a gradient as an arrow: it points where the weights should *not* go. On the left you see the four arrows
# on their way back. Those on the right are invented, and say only what we are looking for: two that nearly agree, one
# that disagrees. Real ones come at the end.
#
# ## What the paper says
#
# For two tasks $t$ and $t'$ the paper ([arXiv 2509.19602](https://arxiv.org/abs/2509.19602)) defines, after Task2Vec
# ([arXiv 1902.03545](https://arxiv.org/abs/1902.03545)),
#
# $$\mathrm{sim}(t,t') = \mathbb E_{x,x'}\,\cos\!\Bigl(\frac{g}{|g|+|g'|},\ \frac{g'}{|g|+|g'|}\Bigr),
# \qquad g = \nabla_\theta L_t(x),\quad g' = \nabla_\theta L_{t'}(x').$$
#
# Here $x$ and $x'$ are frames, $L_t$ is the loss of task $t$, $\theta$ are the weights of the shared backbone, $g$ and
# $g'$ are the two gradients, and $\mathbb E$ is the mean over frames. How many frames were used, how long the heads
# were fitted before, which layers count, or whether $x$ and $x'$ may be the same frame is not said in [what we could
# read](08_question_the_result.ipynb#Claim-by-claim). We decide each of these ourselves, and so we also measure what
# depends on the decision.
#
# ## Fit the heads first
#
# A task's gradient reaches the backbone *through its head*. A fresh head is noise, and so is the gradient that comes
# back through it. Each task therefore first gets a head that makes the best of the frozen backbone, as in the method
# "decoders only" of notebook 00. We fit **two** sets of heads from two different random starts. All measurements use
# the first set; the second is needed for one check near the end.

# %%
from ptsa_lite.backbones import load_backbone
from ptsa_lite.methods import build_model
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.training.loop import train

frames = open_dataset(data, root, img_size=img_size, tasks=names, n_frames=limit or None, seed=seed, augment=False)
backbone = load_backbone(img_size=img_size, seed=seed)


def fitted_model(seed):
    """Frozen backbone and fitted heads; the seed draws the heads and the order of frames."""
    torch.manual_seed(seed)
    model = build_model("decoders_only", backbone, tasks)
    config = TrainConfig(epochs=epochs, batch_size=min(16, len(frames)), lr=lr, warmup_epochs=0, seed=seed)
    last = train(model, frames, None, tasks, config, report=lambda line: None)
    print("losses:", ", ".join(f"{name} {loss:.3f}" for name, loss in last["losses"].items()), flush=True)
    return model


model, twin = fitted_model(seed), fitted_model(seed + 1)

# %% [markdown]
# Compare the two lines task by task: the losses of the two fits lie within a few per cent of each other, so the fit
# depends little on the start. (Losses of different tasks have different units and are not comparable.)
#
# ## One task gradient
#
# $$g(x,t) = \nabla_\theta\, w_t\, L_t(x)$$
#
# $w_t$ is the weight that the recipe gives to the loss of task $t$. As $\theta$ we take the weights that the adapters
# will stand beside: the matrices `qkv`, `proj`, `fc1` and `fc2` of every block. The adapters' own weights would not do,
# because a fresh adapter has $B = 0$, and then the gradient of $A$ is zero as well (notebook 02).
#
# **Predict its length.** In a block of width $C$ the four matrices have $3C^2 + C^2 + 4C^2 + 4C^2 = 12\,C^2$ numbers.
# The small [Swin](https://arxiv.org/abs/2103.14030) has 2, 2, 6 and 2 blocks of widths 32, 64, 128 and 256. How many
# numbers are that in all, and which stage holds most of them?

# %%
from ptsa_lite.losses import task_loss
from ptsa_lite.similarity import compared_weights

stages = compared_weights(model)  # a list of matrices for each stage
weights = [weight for stage in stages for weight in stage]
sizes = [sum(weight.numel() for weight in stage) for stage in stages]
formula = [12 * c**2 * len(backbone.blocks(i)) for i, c in enumerate(backbone.widths)]
assert sizes == formula, f"12 C^2 a block gives {formula}, the model has {sizes}"
print(f"{sum(sizes):,} numbers, by stage:", ", ".join(f"{size:,} ({size / sum(sizes):.0%})" for size in sizes))

# %%
def task_gradient(model, frame, name):
    """g(x, t): (P,), the gradient of one task's weighted loss on one frame, all matrices in a row."""
    prediction = model(frame["image"])[name]  # (1, C, H, W)
    loss = tasks[name].loss_weight * task_loss(tasks[name], prediction, frame[name])
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def all_labelled(frame):
    return all((frame[name] != IGNORE).any() and frame[name].float().std() > 0 for name in names)


for weight in weights:
    weight.requires_grad_(True)  # we want gradients of the frozen weights, although no step will follow them
model.eval()
every_frame = list(make_loader(frames, 1, seed=seed))  # one frame each, shuffled
x = next((frame for frame in every_frame if all_labelled(frame)), every_frame[0])  # one that every task has labels in
g = {name: task_gradient(model, x, name) for name in names}
print("lengths:", ", ".join(f"{name} {vector.norm():.2f}" for name, vector in g.items()))

# %% [markdown]
# The lengths follow the loss weights and the units of the losses, and they say nothing about direction. The cosine
# does not see them:
#
# $$\cos(g, g') = \frac{g \cdot g'}{\lVert g\rVert\,\lVert g'\rVert}.$$
#
# It is 1 where two arrows agree, 0 at a right angle, and negative where one task undoes what the other does. For all
# tasks at once, give every arrow the length one and multiply the table of arrows with itself.

# %%
def cosine(a, b):
    a, b = a.double(), b.double()  # millions of small numbers are added up
    return float(a @ b / (a.norm() * b.norm()))


def cosine_table(gradients):
    """cos of every row with every row: (T, P) -> (T, T)."""
    unit = F.normalize(gradients, dim=1)
    return unit @ unit.T


first, last = names[0], names[-1]
by_hand, table = cosine(g[first], g[last]), cosine_table(torch.stack(list(g.values())))
assert math.isclose(by_hand, table[0, -1], abs_tol=1e-3), "by hand and by table differ"
print(f"{first} with {last}, on this one frame: {by_hand:+.3f}")

# %% [markdown]
# ## The matrix
#
# One frame is only an anecdote. The formula asks for the mean over many, and two ways to choose the frames come to
# mind:
#
# - **same**: both gradients are taken on the same frame, $x = x'$;
# - **different**: they are taken on two different frames, as if these had been drawn independently.
#
# `gradient_similarity` of the package measures both in one pass, comparing each frame with itself and with the next
# one. It keeps the cosine of every single frame, so that all later questions can be answered from one measurement.

# %%
from ptsa_lite.similarity import Similarity, gradient_similarity

clock = time.monotonic()
n_samples = min(n_samples, len(every_frame))
similarity = gradient_similarity(model, every_frame, tasks, n_samples, report=print)
seconds_measuring = time.monotonic() - clock

# %% [markdown]
# **Predict.** Which two of the tasks agree most on the same frame? And will the matrix of different frames look like
# the other one, only paler? Write your guess down before you scroll.

# %% tags=["hide-input"]
figure = draw_similarities({
    f"{choice} frame{'s' * (choice == 'different')}, {n_samples - (choice == 'different')} draws".capitalize():
    (similarity.matrix("plain", choice), similarity.error("plain", choice)) for choice in ("same", "different")
}, names)
save_figure(figure, "03_same_and_different", out_dir)
figure

# %% tags=["hide-input"]
def ranked(matrix):
    """Every two tasks, most alike first."""
    return sorted(couples, key=lambda couple: -matrix[couple])


def told(couple):
    return " with ".join(names[i] for i in couple)


def beyond(matrix, error):
    """The two tasks whose cosine is further from zero than two standard errors."""
    return [c for c in couples if abs(matrix[c]) > 2 * error[c]]


matrix, error = similarity.matrix("plain", "same"), similarity.error("plain", "same")
away, away_error = similarity.matrix("plain", "different"), similarity.error("plain", "different")
best, next_best = ranked(matrix)[:2]
sure = beyond(matrix, error)
own = ", ".join(f"{v:+.2f}" for v in away.diagonal())
say(f"On the same frame **{told(best)}** agree most ({matrix[best]:+.2f} ± {error[best]:.2f}), followed by "
    f"{told(next_best)} ({matrix[next_best]:+.2f} ± {error[next_best]:.2f}). Further than two standard errors from "
    f"zero we find {len(sure)} of {len(couples)} pairs of tasks on the same frame, and {len(beyond(away, away_error))} "
    f"on different frames. A task compared with *itself* on another frame reaches only {own}.")

# %% [markdown]
# Look at the two diagonals first. On the same frame a task agrees with itself perfectly, as it must. (A frame without
# any label of a task, such as human parts where nobody is in the picture, says nothing about that task and is left out
# of its means.) On different frames **a task hardly agrees even with itself**. What all frames want in common, the head
# has already been given while it was fitted; what is left over differs from frame to frame.
#
# The two matrices therefore answer two questions. *Same* asks whether two tasks agree about what is wrong with **this**
# frame. *Different* asks whether they want something in common on **every** frame. Where the numbers on the right are
# no larger than their errors, that matrix is not a paler copy of the left one; it is noise.
#
# ## The formula has two readings
#
# The paper does not take the cosine of $g$ and $g'$ but of both *divided by* $|g| + |g'|$. What is $|g|$?
#
# - **Plain.** If it is the length of the vector, both gradients are divided by the same positive number $n$, and
#   $\cos(g/n, g'/n) = \cos(g, g')$. The division does nothing.
# - **Elementwise.** If it is taken number by number, then $a_i = g_i / (|g_i| + |g_i'|)$ is the *share* of task $t$ in
#   weight $i$, between -1 and 1. Large and small gradients count alike, and the cosine of such shares is something
#   else.

# %%
def elementwise_cosine(a, b):
    total = (a.abs() + b.abs()).clamp_min(1e-30)
    return cosine(a / total, b / total)


n = g[first].norm() + g[last].norm()
assert math.isclose(cosine(g[first] / n, g[last] / n), by_hand, abs_tol=1e-5), "a common factor changed the angle"
print(f"{first} with {last}: {by_hand:+.3f} plain, {elementwise_cosine(g[first], g[last]):+.3f} elementwise")

# %% [markdown]
# **Predict.** A recipe weighs its losses; here semantic segmentation counts once and normals ten times. Suppose that
# somebody had chosen another weight for one task. Which reading would change, and what becomes of it when the weight
# is huge or tiny?

# %% tags=["hide-input"]
factors = np.logspace(-3, 3, 13)
figure = Drawing(figsize=(7.5, 3.2))
axes = figure.subplots()
ends = []
for name in names[1:]:
    flat = [cosine(factor * g[first], g[name]) for factor in factors]
    assert max(flat) - min(flat) < 1e-4, "the plain reading saw the loss weight"
    curve = [elementwise_cosine(factor * g[first], g[name]) for factor in factors]
    axes.semilogx(factors, flat, color=task_colour(name), linestyle="--")
    axes.semilogx(factors, curve, color=task_colour(name))
    ends.append((factors[-1], flat[-1], name, dict(color=task_colour(name), fontweight="bold")))
axes.axvline(1, color=SOFT, linewidth=1)
axes.axhline(0, color=SOFT, linewidth=1, linestyle=":")
axes.set(xlabel=f"factor on the loss weight of {first}", ylabel=f"cosine with {first}",
         title="Dashed: plain, blind to the loss weight. Solid: elementwise")
name_ends(axes, ends, tie=False)
save_figure(figure, "03_loss_weight", out_dir)
figure

# %% [markdown]
# The dashed lines are exactly flat, and the solid ones bend toward zero on both sides. On the right the heavy task owns
# every weight, so its shares are all plus or minus one, and how much it wanted to move each weight is forgotten. On
# the left the roles are exchanged. A similarity that changes when somebody edits a loss weight describes the recipe as
# much as the tasks. **We go on with the plain reading**; the other one is written to the file too.
#
# ## Every pair of frames, for the price of a sum
#
# Do we have to give up on different frames? So far each frame was compared with one neighbour, but $n$ frames form
# $n(n-1)$ ordered pairs. For the plain reading we can have them all without forming any, because a mean of cosines is
# a product of mean unit arrows. For two disjoint sets $A$ and $B$ of frames, with $\bar u_A$ the mean of task $t$'s
# unit arrows over $A$ and $\bar u'_B$ that of task $t'$ over $B$,
#
# $$\frac{1}{|A||B|}\sum_{x \in A}\sum_{x' \in B} \cos\bigl(g(x), g'(x')\bigr) = \bar u_A \cdot \bar u'_B,
# \qquad \bar u_A = \frac{1}{|A|}\sum_{x\in A} \frac{g(x)}{\lVert g(x)\rVert}.$$
#
# We cut the frames into four sets and multiply the means of every two sets (pairs within one set are left out). That
# gives six estimates, and their scatter tells the error. The check compares the formula with a plain loop over three frames.

# %%
def between(u, v):
    """Mean cosine over every frame of one set with every frame of the other, from their mean units (T, P): (T, T)."""
    product = u.double() @ v.double().T  # millions of terms: a float32 sum would lose three digits
    return (product + product.T) / 2


one, two, three = (F.normalize(torch.stack([task_gradient(model, frame, name) for name in names]), dim=1)
                   for frame in every_frame[:3])
loop = (between(one, three) + between(two, three)) / 2  # set A: the first two frames; set B: the third
assert torch.allclose(loop, between((one + two) / 2, three), atol=1e-5), "the product of means and the loop differ"
del one, two, three  # each holds 46 MB

# %% [markdown]
# The pass over the frames that collects these means also collects what the next section needs: each frame's gradients
# once more, but computed with the *labels of another frame*.

# %%
from ptsa_lite.similarity import cosines, labelled_draws, task_gradients

n_sets = min(4, n_samples // 2)
in_set = torch.arange(n_samples) % n_sets
means = torch.zeros(n_sets, len(names), sum(sizes))  # (sets, T, P)
labelled = torch.zeros(n_sets, len(names), 1)  # frames with a label of the task
wrong = []
for k, frame in enumerate(every_frame[:n_samples]):
    after = every_frame[(k + 1) % n_samples]
    true = task_gradients(model, frame, tasks, weights)  # (T, P), all tasks in one forward
    strange = task_gradients(model, {**after, "image": frame["image"]}, tasks, weights)
    means[in_set[k]] += F.normalize(true, dim=1)
    labelled[in_set[k]] += true.any(1, keepdim=True)
    wrong.append(cosines(true, strange, "plain"))  # row: true labels; column: those of another frame
means /= labelled.clamp_min(1)
estimates = torch.stack([between(means[a], means[b]) for a, b in itertools.combinations(range(n_sets), 2)])
every, every_error = estimates.mean(0).numpy(), (estimates.std(0) / len(estimates) ** 0.5).nan_to_num().numpy()

# %% tags=["hide-input"]
figure = draw_estimates({"every pair": (every, every_error), "neighbours": (away, away_error)},
                        names, "Different frames: every pair leaves less to chance", itself=True)
save_figure(figure, "03_every_pair", out_dir)
figure

# %% tags=["hide-input"]
pairs_formed = (n_samples**2 - int(torch.bincount(in_set).square().sum())) // 2
clear = beyond(every, every_error)
narrower = np.mean([every_error[c] for c in couples]) / np.mean([away_error[c] for c in couples])
largest = max(abs(every[c]) for c in couples)
say(f"The {pairs_formed:,} pairs of frames have {narrower:.0%} of the error that {n_samples - 1} "
    f"neighbours had, and cost nothing but a sum. Even so, the largest cosine between two different tasks is "
    f"{largest:.3f} in size, and "
    + (f"beyond two errors we find {'; '.join(told(c) for c in clear)}. Of {len(couples)} pairs one lies there by chance "
       "in about every fourth measurement, so we take that for none." if len(clear) == 1 else
       f"beyond two errors we find {'; '.join(told(c) for c in clear)}." if clear else
       "no pair of tasks can be distinguished from zero: at this size we see no direction that two tasks want on every "
       "frame."))

# %% [markdown]
# ## The control: labels that belong to another frame
#
# A similarity could come from things that have nothing to do with labels: from the frame, from the architecture, or
# from one very active layer. It would then survive nonsense. So every frame was given the labels of the next frame, for
# one task at a time. If the similarities of a task come from its labels, its column must fade.
#
# Two noisy numbers never differ by exactly zero, so the control needs errors too. Both cosines of a frame are known,
# with true and with wrong labels. We subtract them frame by frame, and take the mean and the standard error of the
# differences. **Predict**: for how many of the twelve entries will the difference exceed two errors?

# %%
guess("entries that fade", None)  # your guess in place of None

# %% tags=["hide-input"]
wrong = labelled_draws(torch.stack(wrong)).numpy()  # (n, T, T)
control, control_error = wrong.mean(0), wrong.std(0, ddof=1) / n_samples**0.5
fade = similarity.draws["plain", "same"][:, -1] - wrong  # frame by frame
lost, lost_error = fade.mean(0), fade.std(0, ddof=1) / n_samples**0.5
limit_here = max(abs(matrix[c]) for c in couples)  # one scale for both panels
figure = draw_similarities({"True labels": (matrix, error),
                            "Columns: labels of another frame": (control, control_error)}, names, limit_here)
save_figure(figure, "03_control", out_dir)
figure

# %% tags=["hide-input"]
off = ~np.eye(len(names), dtype=bool)  # the entries of two different tasks


def beyond_noise(values, errors):
    """Typical size of the entries between different tasks once the mean square of their errors is subtracted."""
    return max(0.0, float((values[off] ** 2 - errors[off] ** 2).mean())) ** 0.5


before, after = beyond_noise(matrix, error), beyond_noise(control, control_error)
fade_is_clear, stays = (np.abs(v) > 2 * e for v, e in ((lost, lost_error), (control, control_error)))
fades, stay = int(fade_is_clear[off].sum()), int(stays[off].sum())
reveal("entries that fade", fades)
i, j = best
say(f"With wrong labels {stay} of {len(names) * (len(names) - 1)} entries still exceed two errors, and "
    f"{fades} changed by more than two errors of the difference. The entries' typical size, noise subtracted, "
    f"is {before:.3f} with true labels and {after:.3f} with wrong ones. The strongest entry, {told(best)}, goes from "
    f"{matrix[best]:+.2f} to {control[i, j]:+.2f} ± {control_error[i, j]:.2f} when {names[j]} gets wrong labels, and "
    f"to {control[j, i]:+.2f} ± {control_error[j, i]:.2f} when {names[i]} does.")

# %% [markdown]
# Wrong labels are not pure nonsense here. Floors lie below, ceilings above, and people stand in the middle, so the
# labels of another frame are often half right, least of all wrong for normals. What remains in a column is therefore
# an upper bound of what comes from the frame and the architecture. A pair of tasks deserves trust where its entry
# fades, and suspicion where it does not.

# %% tags=["hide-input"]
faded = [k for k in (i, j) if fade_is_clear[(j if k == i else i), k]]  # whose wrong labels the strongest entry shows
passes = {0: "passes with neither of its tasks", 1: f"passes by half, with wrong labels of {names[faded[0]]} alone"
          if faded else "", 2: "passes with both of its tasks"}[len(faded)]
say(f"Here {told(best)}, the strongest entry, {passes}. For the {off.sum() - fades} entries that do not change by more "
    "than two errors, the control can't say that the labels made them.")

# %% [markdown]
#
# ## A task and its twin
#
# Now the opposite check. The second set of heads is a *twin* of the first: the same tasks, labels and frames, other
# random starts. If similarity belongs to **tasks**, each task must be most like its own twin. If it belonged to the
# heads, the diagonal would not stand out.

# %%
twin_weights = [weight for stage in compared_weights(twin) for weight in stage]
for weight in twin_weights:
    weight.requires_grad_(True)
twin.eval()
across = []
for frame in every_frame[: max(2, n_samples // 2)]:
    ours, theirs = (task_gradients(m, frame, tasks, w) for m, w in ((model, weights), (twin, twin_weights)))
    across.append(cosines(ours, theirs, "plain"))
across = torch.stack(across).nanmean(0).numpy()  # (T, T): row our heads, column the twin's
own_twin = int((across.argmax(1) == np.arange(len(names))).sum())
draw_similarity(across, names, title=f"{own_twin} of {len(names)} tasks are most like their twin (columns)")

# %% tags=["hide-input"]
verdict = (
    ": the measurement belongs to the tasks. But these numbers are not 1, so the random start of a head turns a "
    "gradient noticeably, and the standard errors above, which repeat frames and not heads, do not contain that."
    if own_twin == len(names) else
    ". Where a task is not, its head decides as much as the task does; the heads need a longer fit.")
say(f"{own_twin} of {len(names)} tasks are most like their own twin, with cosines from {across.diagonal().min():.2f} "
    f"to {across.diagonal().max():.2f}{verdict}")

# %% [markdown]
# ## How sure are we?
#
# A mean over $n$ draws has a standard error of about $\sigma/\sqrt n$, where $\sigma$ is the scatter of single draws.
# Four times as many frames halve the error, so we can say beforehand how many we need.

# %% tags=["hide-input"]
def first_draws(similarity, n):
    """The measurement as it would have been with n frames only."""
    n = max(2, min(n, n_samples))
    kept = {key: draws[: n - (key[1] == "different")] for key, draws in similarity.draws.items()}
    return Similarity(similarity.tasks, kept)


counts = [n for n in (4, 8, 16, 32, 64, 128, 256, 512) if n < n_samples] + [n_samples]
figure = draw_how_sure({n: first_draws(similarity, n) for n in counts},
                       ("Few frames tell any story", r"Four times the frames, half the error ($1/\sqrt{n}$, dotted)"))
save_figure(figure, "03_how_sure", out_dir)
figure

# %% tags=["hide-input"]
draws = similarity.draws["plain", "same"][:, -1]  # (K, T, T)
sigma = float(np.mean([draws.std(0)[c] for c in couples]))
gaps = [matrix[a] - matrix[b] for a, b in itertools.pairwise(ranked(matrix))]
mean_error = np.mean([error[c] for c in couples])
rng = np.random.default_rng(seed)
again = [draws[rng.integers(len(draws), size=len(draws))].mean(0) for _ in range(500)]
stays_first = np.mean([ranked(redrawn)[0] == best for redrawn in again])
say(f"Single draws scatter by {sigma:.2f}, so an error of 0.02 would take {math.ceil((sigma / 0.02) ** 2)} frames. Our "
    f"{n_samples} frames leave an error of {mean_error:.3f}, while the steps from one pair of tasks to the next in the "
    f"ranking are {', '.join(f'{gap:.2f}' for gap in gaps)}: {sum(gap > 2 * mean_error for gap in gaps)} of "
    f"{len(gaps)} is larger than two errors. If we draw the frames again, with replacement, {told(best)} comes out "
    f"first in {stays_first:.0%} of 500 redraws.")

# %% [markdown]
# The next notebook needs the *order* of the pairs, and a few dozen frames are enough to find one that stands out. They
# are not enough to order those in the middle; for that, halving every error takes four times the frames.
#
# ## Stage by stage
#
# The tree will share early stages and split late ones. Does the similarity say that it should? We cut the same draws
# by stage. **Predict**: will tasks agree more in the first stage, on edges and textures, or in the last one?

# %% tags=["hide-input"]
per_stage = similarity.stages("plain", "same")  # (S, T, T)
level = np.stack([similarity.draws["plain", "same"][:, :-1, i, j] for i, j in couples]).mean(0)  # (K, S), over couples
fall = level[:, 0] - level[:, -1]
fall_error = fall.std(ddof=1) / len(fall) ** 0.5
alike = [np.corrcoef([stage[c] for c in couples], [matrix[c] for c in couples])[0, 1] for stage in per_stage]
level = level.mean(0)
figure = draw_stages(similarity, "plain", "same", f"Mean over pairs: {level[0]:.2f} in the first stage, "
                     f"{level[-1]:.2f} in the last")
save_figure(figure, "03_stages", out_dir)
figure

# %% tags=["hide-input"]
falls = ("exceeds three errors: agreement falls toward the heads, as the paper's design assumes"
         if fall.mean() > 3 * fall_error else
         "just exceeds two errors: a hint, in one measurement, that agreement falls toward the heads, as the paper's "
         "design assumes" if fall.mean() > 2 * fall_error else
         "does not exceed two errors, so we can't say that agreement falls toward the heads")
summary = ("one matrix is a fair summary of all stages" if min(alike) > 0.9 else
           "one tree for all stages is a compromise")
say(f"The mean over all pairs of tasks is {', '.join(f'{value:.3f}' for value in level)} from stage one to the last. "
    f"The difference between the two ends, {fall.mean():+.3f} ± {fall_error:.3f}, {falls}. Each stage orders the pairs "
    f"much as the whole backbone does if its numbers correlate with the whole's; the lowest correlation is "
    f"{min(alike):.2f}, so {summary}.")

# %% [markdown]
# Gradients that agree in a stage are no proof that sharing this stage makes a better model. Only training can show
# that, in notebooks 05 and 08.
#
# ## Turn the knobs
#
# Here is the matrix again for any stage, reading, choice of frames and number of frames, always on one colour scale.
# Three things are worth trying: what four frames alone would have made you believe; how the elementwise reading shrinks
# every number; and how numbers *and* errors become small when you choose different frames.

# %% tags=["hide-input"]
widest = max(abs(stage[c]) for stage in per_stage for c in couples)  # one scale of colours for all choices
reading, pairs = known(reading, ("plain", "elementwise"), "reading"), known(pairs, ("same", "different"), "pairs")


def numbers(reading, pairs, frames, stage=None):
    """The matrix and its errors from the first draws, of one stage or of the whole backbone."""
    part = first_draws(similarity, frames)
    return [np.round(one(reading, pairs, stage), 3).tolist() for one in (part.matrix, part.error)]


play = {"tasks": names, "colours": [task_colour(name) for name in names], "frames": counts, "most": float(widest),
        "start": {"reading": reading, "pairs": pairs, "stage": 1, "frames": counts[0]},
        "measured": {f"{r} {p} {n}": [numbers(r, p, n, stage) for stage in (None, *range(len(sizes)))]
                     for r in ("plain", "elementwise") for p in ("same", "different") for n in counts}}
early, early_error = np.array(numbers(reading, pairs, counts[0], 0))
Explorable("similarity", play, draw_similarity(early, names, early_error, f"stage 1, {counts[0]} frames", widest))

# %% [markdown]
# It begins with stage one as the first few frames alone would have given it. Compare its errors with those of the whole
# measurement above.
#
# ## Real arrows
#
# The first figure invented its arrows. Four directions among millions of dimensions do not fit into one plane, but two
# always do, so each pair of tasks gets its own plane with the angle that its cosine says. **Predict**: which angle is a
# cosine of 0.2?

# %% tags=["hide-input"]
figure = draw_angles(matrix, names)
save_figure(figure, "03_arrows", out_dir)
figure

# %% tags=["hide-input"]
angle = math.degrees(math.acos(matrix[best]))
say(f"A cosine of 0.2 is an angle of {math.degrees(math.acos(0.2)):.0f}°, so all of these arrows are close to a right "
    f"angle; {told(best)}, the most alike, stand at {angle:.0f}°. Two *random* arrows "
    f"would be within {math.degrees(sum(sizes) ** -0.5):.2f}° of 90°, but that is too easy a comparison: the honest "
    f"one is the control above. By notebook 02, two tasks with this cosine that share one update lose "
    f"$(1 - {matrix[best]:.2f})/2$, or {(1 - matrix[best]) / 2:.0%}, of what they want.")

# %% [markdown]
# ## What did it cost?
#
# Count a forward pass as one and a backward pass as two, as is usual. One frame with $T$ tasks costs $1 + 2T$, one
# forward and $T$ backward passes; training costs 3 per frame and epoch. For $n$ frames of similarity and a training of
# $E$ epochs over $N$ frames, the share is $n\,(1 + 2T) / (3\,E\,N)$.
#
# **Predict.** The paper trains 300 epochs on the 4,998 training images of PASCAL-Context. If it measured on a thousand
# images, is that a tenth of the training, or a hundredth?

# %%
def share(n, tasks, epochs, frames):
    return n * (1 + 2 * tasks) / (3 * epochs * frames)


print(f"a thousand frames: {share(1000, 4, 300, 4998):.2%} of the paper's training; our {n_samples}: "
      f"{share(n_samples, len(names), 300, 4998):.3%}")

# %% [markdown]
# Two thousandths of the training: measuring is so cheap that there is no reason to save frames here.
#
# ## Save it
#
# Notebook 04 reads this file and grows the tree from it. It holds both readings for both choices of frames and, as
# `plain, every`, the mean over every pair of frames.

# %% tags=["hide-input"]
by_stage = [torch.stack([between(a, b) for a, b in itertools.combinations(part, 2)]).mean(0)
            for part in means.split(sizes, dim=2)]  # a stage's contribution: products add up over stages
assert np.allclose(torch.stack(by_stage).sum(0), every, atol=1e-4), "the stages do not add up to the whole"
content = similarity.to_dict()
content["readings"]["plain, every"] = {"matrix": every.tolist(), "error": every_error.tolist(),
                                       "stages": [m.tolist() for m in by_stage], "draws": pairs_formed}
content = {"data": data, "tasks": list(names), "n_groups_default": [1, 1, 2, 4], "similarity": content, "seed": seed,
           "frames": n_samples, "img_size": img_size, "command": command,
           "seconds": round(time.monotonic() - started, 1)}
path = Path(out_dir) / "similarity.json"
path.parent.mkdir(parents=True, exist_ok=True)
path.with_suffix(".part").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
path.with_suffix(".part").replace(path)
print(path.name, "holds:", *content["similarity"]["readings"], sep="\n  ")

# %% [markdown]
# ## In practice
#
# Where this notebook decides what the paper leaves open. (The letters say how we know, as in
# [notebook 00](00_take_the_tour.ipynb).)
#
# - The formula is the paper's (S/P). That its plain reading equals the plain cosine is shown above (M).
# - Heads are fitted first, and gradients are taken on training frames (S); here it is a few passes over small drawn
#   scenes. The weights are those beside which the adapters will stand (I).
# - The expectation runs over $x$ and $x'$ (S), which suggests different frames. We use the same frame, because only
#   there do we find a signal; that is a departure.
# - The backbone here is a small Swin distilled for this package; the paper's are Swin-Tiny and
#   [PVT](https://arxiv.org/abs/2102.12122) (P).
# - The numbers depend on the setting. At 128 pixels another pair comes first, semseg with normals (+0.27), and human
#   parts with saliency have +0.14; with other heads each of the two moves between 0.13 and 0.28 there, and they change
#   places ([notebook 08](08_question_the_result.ipynb) shows which trees follow). Notebook 04 looks at whether the
#   *tree* depends on it too.
#
# ## On your own
#
# 1. *Change one number.* Measure with heads that were never fitted. Do the tasks look more alike, or less, and why?
# 2. *Extend one function.* Averaging frames hides what one frame wants. How like **itself** is a task between two sets
#    of frames (the diagonal of `every`), and what does that say about the largest cosine that two different tasks could
#    reach there?
# 3. *Question one claim.* "The mean of cosines is not the cosine of mean gradients." Compute the second from the mean
#    unit arrows in `means`. Which is larger, and which would you rather know?
# 4. *Work one out by hand.* Two gradients of two weights, $g = (1, 2)$ and $g' = (2, 1)$, have the cosine 0.8 in both
#    readings. Now somebody multiplies the second task's loss by 10. What are the two cosines, plain and elementwise?
#
# The cell checks the fourth answer. The solutions are folded beneath.

# %%
from ptsa_lite.workshop.exercises import check

check("03.4", None)  # [plain, elementwise] in place of None

# %% tags=["solution"]
torch.manual_seed(seed)
fresh = build_model("decoders_only", backbone, tasks)
unfitted = gradient_similarity(fresh, every_frame, tasks, max(2, n_samples // 4), readings=["plain"])
unfitted = unfitted.matrix("plain", "same")
sizes_of = [np.mean([abs(m[c]) for c in couples]) for m in (matrix, unfitted)]
print(f"mean size of the entries: fitted {sizes_of[0]:.2f}, never fitted {sizes_of[1]:.2f}, so the tasks look "
      f"{'less' if sizes_of[1] < sizes_of[0] else 'more'} alike")
print("most alike:", told(best), "with fitted heads,", told(ranked(unfitted)[0]), "with fresh ones")
print("A fresh head sends random directions back; what two of them share is the frame's and the backbone's doing.")

# %% tags=["solution"]
for name, value, spread in zip(names, every.diagonal(), every_error.diagonal(), strict=True):
    ceiling = "indistinguishable from zero" if value < 2 * spread else "above zero"
    print(f"{name:>12} with itself on other frames: {value:+.3f} ± {spread:.3f}, {ceiling}")
print("Two tasks reach at most about the root of the product of their two diagonals (Spearman, 1904). Where a diagonal "
      "cannot be distinguished from zero, no agreement with another task can be seen on different frames either.")

# %% tags=["solution"]
of_means = cosine_table(means.mean(0)).numpy()
for c in couples:
    print(f"{told(c):>28}: mean of cosines {matrix[c]:+.2f}, cosine of means {of_means[c]:+.2f}")
larger = sum(abs(of_means[c]) > abs(matrix[c]) for c in couples)
print(f"The second is larger in size for {larger} of {len(couples)}: averaging removes what differs from frame to "
      "frame. It is close to the gradient of a large batch, in which long arrows count for more, and which a training "
      "step follows; so it is the one to know for large batches. From few frames it is mostly their noise.")

# %% tags=["solution"]
one, ten = torch.tensor([1.0, 2.0]), 10 * torch.tensor([2.0, 1.0])
check("03.4", [float(cosine(one, ten)), float(elementwise_cosine(one, ten))])

# %% [markdown]
# ## What we found

# %% tags=["hide-input"]
agree = " and ".join(f"{told(c)} ({matrix[c]:+.2f} ± {error[c]:.2f})" for c in sure) or "none"
settled = sum(gap > 2 * mean_error for gap in gaps)
say(f"""We compared the gradients of {len(names)} tasks in {sum(sizes):,} weights on {n_samples} frames of {data} at
{img_size} pixels. **On the same frame {len(sure)} of {len(couples)} pairs of tasks have a similarity further than two
standard errors from zero**: {agree}. On different frames no cosine of two tasks is larger than {largest:.3f}, and a task
hardly agrees with itself. With labels of another frame {fades} of {off.sum()} entries changes by more than two errors:
{told(best)} goes to {control[i, j]:+.2f} or {control[j, i]:+.2f}, depending on whose labels are wrong. {own_twin} of
{len(names)} tasks are most like their own twin. The division in the paper's formula either does nothing or makes the similarity depend on loss
weights.""")
say(f"""**How sure?** {told(best)} comes out first in {stays_first:.0%} of 500 redraws of the frames; with other
heads, or at another size, another pair can. The order behind it is open: the typical error is {mean_error:.3f}, and
the ranking has {settled} of {len(gaps)} steps that exceed two errors.""")

# %% [markdown]
# A matrix is not yet a tree. [Grow the task tree >](04_grow_the_task_tree.ipynb)

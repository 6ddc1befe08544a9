# %% [markdown]
# # Measure task similarity
#
# *The measurement: fourth of six notebooks, 00 to 05.*
# [< previous: group a LoRA](02_group_a_lora.ipynb) | [next: grow the task tree >](04_grow_the_task_tree.ipynb)
#
# **What you'll do**
#
# - Measure, for every two of four tasks, how far they want to change the same weights in the same direction. The result
#   is one small matrix.
#
# **What you'll learn**
#
# - What a task gradient is, what it is taken with respect to, and why the heads have to be fitted first.
# - That one formula in the paper can be read in two ways, and which of the two depends on an arbitrary weight.
# - That it matters a great deal whether two gradients come from the same frame.
# - How to tell a similarity from noise: a standard error, a control that must fade, and a twin that must not.
#
# **What you'll need**
#
# - Notebook 02, which ended with the price of sharing: $(1-c)/2$, with $c$ the cosine that we measure now. Two minutes
#   on a laptop's processor, no GPU, no network.

# %% [markdown]
# ## Where this sits in the paper
#
# The paper (arXiv 2509.19602) lets tasks with similar gradients share an adapter. Its similarity of two tasks $t$ and
# $t'$ is, after Task2Vec (a method that describes a task by the gradients of its loss),
#
# $$\mathrm{sim}(t,t') = \mathbb E_{x,x'}\,\cos\!\Bigl(\frac{g}{|g|+|g'|},\ \frac{g'}{|g|+|g'|}\Bigr),
# \qquad g = \nabla_\theta L_t(x),\quad g' = \nabla_\theta L_{t'}(x').$$
#
# $x$ and $x'$ are frames, $L_t$ is the loss of task $t$, and $\theta$ are the weights of the shared backbone. No text
# that we have states how many samples were taken, how long the heads were fitted, which layers count, or whether $x$
# and $x'$ may be the same frame. We shall have to decide each of these, so we measure what depends on them.
#
# The next cell holds what you may change.

# %% tags=["parameters"]
data: str = "scenes"  # scenes, nyud or pascal
root: str = ""  # the archive's folder, for nyud and pascal
limit: int = 192  # frames that heads are fitted and gradients taken on, 0 for all
seed: int = 0  # of everything drawn at random
out_dir: str = "runs/notebooks"  # where results are written
img_size: int = 64  # side of the square frames, in pixels
epochs: int = 3  # passes over the frames that fit the heads
lr: float = 3e-3  # peak learning rate of the heads
n_samples: int = 48  # frames whose gradients are compared
reading: str = "plain"  # of the formula, in the last figures: plain or elementwise
pairs: str = "same"  # gradients of the same frame or of different ones, in the last figures
command: str = "papermill notebooks/03_measure_task_similarity.ipynb out.ipynb"  # what to say made the file

# %% tags=["hide-input"]
from ptsa_lite.checks import COUNT, POSITIVE, SIZE
from ptsa_lite.workshop.parameters import checked

checked(globals(), limit=SIZE, seed=SIZE, epochs=COUNT, lr=POSITIVE, n_samples=COUNT)

# %% tags=["hide-input"]
import itertools
import json
import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from ipywidgets import Dropdown, SelectionSlider
from torch.nn import functional as F

from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.figures import (
    SOFT, draw_angles, draw_estimates, draw_gradients, draw_how_sure, draw_similarities, draw_similarity,
    draw_stages, name_ends, save_figure, task_colour, use_style,
)
from ptsa_lite.tasks import IGNORE, default_tasks, known
from ptsa_lite.workshop.widgets import interact

started = time.monotonic()
use_style()
tasks = default_tasks(data)
names = tuple(tasks)
couples = list(itertools.combinations(range(len(names)), 2))

# %% [markdown]
# The figure shows the idea. Four losses are computed on top of one backbone, and each sends a gradient back to the same
# weights. A gradient is an arrow: the direction in which these weights should *not* go. Arrows that point alike belong
# to tasks that can share. (The arrows on the right are invented; at the end we draw real ones.)

# %%
figure = draw_gradients(names)
save_figure(figure, "03_idea", out_dir)
figure

# %% [markdown]
# ## Fit the heads first
#
# A task's gradient reaches the backbone *through its head*. A fresh head is noise, and so is what comes back through
# it: it would tell how the head was drawn, not what the task needs. So each task first gets a head that makes the best
# of the backbone as it is. Nothing in the backbone moves meanwhile. Notebook 00 met this method as "decoders only".
#
# We fit **two** heads for every task, from two different draws of their first weights. All measurements use the first
# set. The second is a twin: same task, same labels, same frames, other head. It will be our check at the end.

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
# The two lines are alike: the fit hardly depends on the draw. The losses themselves need no comparing with each other,
# since each has its own unit.
#
# ## One task gradient
#
# $$g(x,t) = \nabla_\theta\, w_t\, L_t(x)$$
#
# $w_t$ is the weight that the recipe gives to the task's loss. Which weights are $\theta$? Those on which the adapters
# will sit: the `qkv`, `proj`, `fc1` and `fc2` matrices of every block. Not the adapters' own, because a fresh pair has
# $B = 0$ and shows only a distorted half of the wish (notebook 02).
#
# **Predict its length.** In a block of width $C$ the four matrices have $3C^2 + C^2 + 4C^2 + 4C^2 = 12\,C^2$ numbers.
# The small Swin has widths 32, 64, 128, 256 and 2, 2, 6, 2 blocks. How many numbers is that in all? Which stage holds
# most?

# %%
from ptsa_lite.losses import task_loss
from ptsa_lite.similarity import compared_weights

stages = compared_weights(model)  # a list of matrices for each stage
weights = [weight for stage in stages for weight in stage]
sizes = [sum(weight.numel() for weight in stage) for stage in stages]
formula = [12 * c**2 * len(backbone.blocks(i)) for i, c in enumerate(backbone.widths)]
assert sizes == formula, f"12 C^2 a block gives {formula}, the model has {sizes}"
print(f"{sum(sizes):,} numbers, by stage:", ", ".join(f"{size:,} ({size / sum(sizes):.0%})" for size in sizes))

# %% [markdown]
# Now the gradient itself. The function is the equation; the backbone is switched to give gradients, but nobody will
# ever take a step with them.

# %%
def task_gradient(model, frame, name):
    """g(x, t): (P,), the gradient of one task's weighted loss on one frame, all matrices in a row."""
    prediction = model(frame["image"])[name]  # (1, C, H, W)
    loss = tasks[name].loss_weight * task_loss(tasks[name], prediction, frame[name])
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def all_labelled(frame):
    return all((frame[name] != IGNORE).any() and frame[name].float().std() > 0 for name in names)


for weight in weights:
    weight.requires_grad_(True)
model.eval()
every_frame = list(make_loader(frames, 1, seed=seed))  # one frame each, shuffled
x = next((frame for frame in every_frame if all_labelled(frame)), every_frame[0])  # one where each task has a say
g = {name: task_gradient(model, x, name) for name in names}
for name, vector in g.items():
    print(f"{name:>12}: {len(vector):,} numbers, of length {vector.norm():.3f}")

# %% [markdown]
# The lengths differ by a lot. They follow the loss weights and the units of the losses, and say nothing about
# direction. That is why a cosine is used, which does not see them.
#
# **Check.** A gradient tells how the loss changes when the weights move a little: along a direction $d$,
# $\bigl(L(\theta + \epsilon d) - L(\theta - \epsilon d)\bigr) / 2\epsilon \approx g \cdot d$. So we move all weights at
# random, both ways, and compare. (In double precision: among so many numbers a random direction is nearly at a right
# angle to the gradient, and the difference is tiny.)

# %%
import copy


def moved_loss(direction, step):
    """Cross-entropy of semantic segmentation with every compared weight moved by step * direction, in float64."""
    moved = copy.deepcopy(model).double()
    with torch.no_grad():
        matrices = [weight for stage in compared_weights(moved) for weight in stage]
        for weight, d in zip(matrices, direction.split([w.numel() for w in matrices]), strict=True):
            weight += step * d.view_as(weight)
        logits = moved(x["image"].double(), resize=False)["semseg"]
        logits = F.interpolate(logits, x["semseg"].shape[1:], mode="bilinear", align_corners=False)
        return F.cross_entropy(logits, x["semseg"], ignore_index=IGNORE)


generator = torch.Generator().manual_seed(seed)
direction = F.normalize(torch.randn(sum(sizes), dtype=torch.float64, generator=generator), dim=0)
difference = float(moved_loss(direction, 1e-3) - moved_loss(direction, -1e-3)) / 2e-3
predicted = float(g["semseg"].double() @ direction) / tasks["semseg"].loss_weight
assert math.isclose(difference, predicted, rel_tol=5e-3, abs_tol=1e-7), f"{difference} moved, {predicted} predicted"
print(f"moving the weights: {difference:+.4e}; the gradient says {predicted:+.4e}")

# %% [markdown]
# ## Two gradients, one number
#
# The cosine of the angle between two arrows is 1 where they agree, 0 at right angles, and negative where one task
# undoes what the other does:
#
# $$\cos(g, g') = \frac{g \cdot g'}{\lVert g\rVert\,\lVert g'\rVert}$$
#
# By hand for two tasks; then for all of them at once, by giving every arrow length one and multiplying the table of
# arrows with itself. Both must agree. The table must be symmetric, and one on its diagonal, because $g \cdot g' = g'
# \cdot g$ and $g \cdot g = \lVert g \rVert^2$.

# %%
def cosine(a, b):
    a, b = a.double(), b.double()  # millions of small numbers are added up
    return float(a @ b / (a.norm() * b.norm()))


def cosine_table(gradients):
    """cos of every row with every row: (T, P) -> (T, T)."""
    unit = F.normalize(gradients, dim=1)
    return unit @ unit.T


G = torch.stack(list(g.values()))  # (T, P)
table = cosine_table(G)
first, last = names[0], names[-1]
by_hand = cosine(g[first], g[last])
assert math.isclose(by_hand, table[0, -1], abs_tol=1e-3), "by hand and by table differ"
assert torch.allclose(table, table.T, atol=1e-6) and torch.allclose(table.diag(), torch.ones(len(names)), atol=2e-3)
copied = cosine_table(torch.cat([G, G[-1:]]))[-1]  # the last task once more, under another name
assert copied[:-1].argmax() == len(names) - 1, "a task is less like its own copy than like another task"
print(f"{first} with {last}, on this one frame: {by_hand:+.3f}")

# %% [markdown]
# ## The formula has two readings
#
# The paper does not take the cosine of $g$ and $g'$ but of both *divided by* $|g| + |g'|$. What is $|g|$?
#
# **Plain.** If it is the length of the vector, both are divided by the same positive number $n$, and $\cos(g/n, g'/n) =
# (g \cdot g'/n^2) / (\lVert g\rVert \lVert g'\rVert / n^2) = \cos(g, g')$. The division does nothing.
#
# **Elementwise.** If it is taken number by number, $a_i = g_i / (|g_i| + |g_i'|)$ is the *share* of task $t$ in weight
# $i$, between -1 and 1. Large and small gradients then count alike. The cosine of such shares is something else.

# %%
def elementwise_cosine(a, b):
    total = (a.abs() + b.abs()).clamp_min(1e-30)
    return cosine(a / total, b / total)


n = g[first].norm() + g[last].norm()
assert math.isclose(cosine(g[first] / n, g[last] / n), by_hand, abs_tol=1e-5), "a common factor changed the angle"
other = elementwise_cosine(g[first], g[last])
print(f"{first} with {last}: {by_hand:+.3f} plain, {other:+.3f} elementwise")

# %% [markdown]
# **Predict.** A recipe weighs its losses: here semantic segmentation counts 1 and normals 10. Suppose somebody had
# chosen another weight for one task. Which of the two readings would change? And what must happen to it when the weight
# is huge or tiny?

# %%
factors = np.logspace(-3, 3, 13)
figure, axes = plt.subplots(figsize=(7.5, 3.2))
ends = []
for name in names[1:]:
    flat = [cosine(factor * g[first], g[name]) for factor in factors]
    assert max(flat) - min(flat) < 1e-4, "the plain reading saw the loss weight"
    axes.semilogx(factors, flat, color=task_colour(name), linestyle="--")
    curve = [elementwise_cosine(factor * g[first], g[name]) for factor in factors]
    axes.semilogx(factors, curve, color=task_colour(name))
    ends.append((factors[-1], flat[-1], name, dict(color=task_colour(name), fontweight="bold")))
axes.axvline(1, color=SOFT, linewidth=1)
axes.axhline(0, color=SOFT, linewidth=1, linestyle=":")
axes.set(xlabel=f"factor on the loss weight of {first}", ylabel=f"cosine with {first}",
         title="Dashed: plain, blind to the loss weight. Solid: elementwise")
name_ends(axes, ends, tie=False)
save_figure(figure, "03_loss_weight", out_dir);

# %% [markdown]
# The dashed lines are flat, and exactly so. The solid ones bend. At the right end the heavy task owns every weight: its
# shares are all plus or minus one, and how much it wanted to move each weight is forgotten. The light task's shares are
# then largest where the other's gradient happens to be tiny, so accidents are compared, and nothing is left. At the
# left end the roles are exchanged. A similarity that changes when somebody edits a loss weight describes the recipe as
# much as the tasks. **We go on with the plain reading**, and keep the other one in the file for whoever wants it.
#
# ## From one frame to the mean over many
#
# One frame is an anecdote. The formula asks for the mean over frames $x$ and $x'$, and it is the mean of the cosines,
# not the cosine of mean gradients. Two ways to draw the frames come to mind:
#
# - **different**: the gradient of one task on one frame with that of the other task on *another* frame, as if drawn
#   independently;
# - **same**: both tasks on the same frame, $x = x'$.
#
# `gradient_similarity` of the package does both in one pass. It needs one forward and $T$ backward passes for a few
# frames at once and holds the gradients of those and of the frame before, whatever the number of frames. On so few
# frames we can afford to hold all of them, so here is what it does, and the check that it does it.

# %%
from ptsa_lite.similarity import Similarity, gradient_similarity

few = every_frame[:3]
del g, G  # what we held so far; each task's gradient of each frame takes 11 MB
units = [F.normalize(torch.stack([task_gradient(model, frame, name) for name in names]), dim=1)
         for frame in few]  # 3 frames of (T, P)
same = torch.stack([u @ u.T for u in units]).mean(0)
different = torch.stack([(u @ v.T + v @ u.T) / 2 for u, v in itertools.pairwise(units)]).mean(0)
streamed = gradient_similarity(model, few, tasks, readings=["plain"])
for expected, choice in ((same, "same"), (different, "different")):
    measured = streamed.matrix("plain", choice)
    assert np.allclose(measured, expected, atol=2e-3), f"{choice}: the stream and the loop differ"
print("the stream agrees with the loop, for the same frame and for different ones")

# %% [markdown]
# Now the real measurement. The result keeps every single draw, so that all that follows can be read off it.

# %%
clock = time.monotonic()
n_samples = min(n_samples, len(every_frame))
similarity = gradient_similarity(model, every_frame, tasks, n_samples, report=print)
seconds_measuring = time.monotonic() - clock

# %% [markdown]
# **Predict.** The tasks are named in the first figure. Which two want the same thing most, on the same frame? Will the
# matrix for different frames look like it, only paler? Write your guess down before you scroll.

# %%
def draw_both(similarity, reading):
    """The same frame beside different frames, standard errors under the numbers."""
    return draw_similarities({
        f"{choice} frame{'s' * (choice == 'different')}, {similarity.count(choice)} draws".capitalize():
        (similarity.matrix(reading, choice), similarity.error(reading, choice)) for choice in ("same", "different")
    }, names)


figure = draw_both(similarity, "plain")
save_figure(figure, "03_same_and_different", out_dir)
figure

# %%
def ranked(matrix):
    """The pairs of tasks, most alike first."""
    return sorted(couples, key=lambda couple: -matrix[couple])


def told(couple):
    return " with ".join(names[i] for i in couple)


matrix, error = similarity.matrix("plain", "same"), similarity.error("plain", "same")
away = similarity.matrix("plain", "different")
sure = [c for c in couples if abs(matrix[c]) > 2 * error[c]]
own = [c for c in couples if abs(away[c]) > 2 * similarity.error("plain", "different")[c]]
print(f"same frame: the most alike are {told(ranked(matrix)[0])}, then {told(ranked(matrix)[1])}")
print(f"            {len(sure)} of {len(couples)} pairs differ from zero by more than two standard errors")
print(f"different:  {len(own)} of {len(couples)} pairs do; a task with itself on another frame: "
      f"{', '.join(f'{v:+.2f}' for v in away.diagonal())}")

# %% [markdown]
# Read the two diagonals first.
#
# - *Same frame*: one, as it must be. A task whose diagonal is below one had frames without any label of it (human
#   parts, in a frame without people). Such a frame gives a zero gradient, which counts as similar to nothing, itself
#   included.
# - *Different frames*: **a task is far from like itself.** What one frame wants has little to do with what the next one
#   wants, although task, head and weights are the same. The better the heads are fitted, the nearer this diagonal comes
#   to zero: what all frames want alike, the head has already been given, and what is left over differs from frame to
#   frame.
#
# A task that hardly resembles itself cannot resemble another one much. So the numbers off the right-hand diagonal are
# small, and where they are no larger than their errors, that matrix is not a paler copy of the left one but noise. The
# two are different questions. *Same* asks whether two tasks agree on what is wrong with **this** frame; *different*
# asks whether they have a wish in common that holds for **every** frame.
#
# ## Every pair of frames, for the price of a sum
#
# Must we give up on different frames? No: most pairs were wasted. A frame was only compared with its neighbour, but
# among $n$ frames there are $n(n-1)$ ordered pairs. For the plain reading they can all be had without ever being
# formed, because a mean of cosines is a product of mean unit arrows. For two disjoint sets $A$ and $B$ of frames,
#
# $$\frac{1}{|A||B|}\sum_{x \in A}\sum_{x' \in B} \cos\bigl(g(x), g'(x')\bigr) = \bar u_A \cdot \bar u'_B,
# \qquad \bar u_A = \frac{1}{|A|}\sum_{x\in A} \frac{g(x)}{\lVert g(x)\rVert}.$$
#
# We cut the frames into four sets, keep a mean unit arrow per set and task, and multiply each two sets. That gives six
# estimates, and their scatter tells the error. The check compares the formula with a plain loop, on the three frames
# that we still hold.

# %%
def between(u, v):
    """Mean cosine over every frame of one set with every frame of the other, from their mean units (T, P): (T, T)."""
    product = u.double() @ v.double().T  # millions of terms: a float32 sum would lose three digits
    return (product + product.T) / 2


first, second, third = units
loop = sum(between(one, third) for one in (first, second)) / 2  # set A: frames 0 and 1; set B: frame 2
by_means = between((first + second) / 2, third)
assert torch.allclose(loop, by_means, atol=1e-5), "the product of means and the loop differ"
del units, first, second, third

# %% [markdown]
# The pass over the frames that collects these sums also collects what we need for a **control**, so that it is done
# only once: each frame's gradients once more, but with the *labels of the next frame*. Wait for it; it comes after the
# next figure.

# %%
from ptsa_lite.similarity import cosines, task_gradients

n_sets = min(4, n_samples // 2)
sums = torch.zeros(n_sets, len(names), sum(sizes))  # (sets, T, P)
with_wrong_labels = []
for k, frame in enumerate(every_frame[:n_samples]):
    after = every_frame[(k + 1) % n_samples]
    true = task_gradients(model, frame, tasks, weights)  # (T, P), all tasks in one forward
    wrong = task_gradients(model, {**after, "image": frame["image"]}, tasks, weights)
    sums[k % n_sets] += F.normalize(true, dim=1)
    with_wrong_labels.append(cosines(true, wrong, "plain"))  # row: true labels, column: those of another frame
means = sums.div_(torch.bincount(torch.arange(n_samples) % n_sets)[:, None, None])  # in place: 180 MB
estimates = torch.stack([between(means[a], means[b]) for a, b in itertools.combinations(range(n_sets), 2)])
every, every_error = estimates.mean(0).numpy(), (estimates.std(0) / len(estimates) ** 0.5).nan_to_num().numpy()

# %%
figure = draw_estimates({"every pair": (every, every_error), "neighbours": (away, similarity.error("plain", "different"))},
                        names, "Different frames: every pair leaves less to chance", itself=True)
save_figure(figure, "03_every_pair", out_dir)
figure

# %%
pairs_formed = (n_samples**2 - sum(int(c) ** 2 for c in torch.bincount(torch.arange(n_samples) % n_sets))) // 2
clear = [c for c in couples if abs(every[c]) > 2 * every_error[c]]
print(f"{pairs_formed:,} pairs instead of {similarity.count('different')}, from the same gradients")
print("pairs of tasks beyond two errors:", "; ".join(f"{told(c)} {every[c]:+.3f}" for c in clear) or "none")

# %% [markdown]
# The black bars are shorter, and it cost nothing but a sum. The cosines themselves are small; read them against those
# of a task with itself on the right, which are about the most that two different frames have in common.
#
# ## The control: labels that belong to another frame
#
# A similarity could come from things that have nothing to do with the labels: from the frame, from the architecture,
# from one very active layer. Then it would survive nonsense. So we gave every frame the labels of the next frame, for
# one task at a time: the task of the column. If its similarities come from its labels, that column must fade.
#
# What would make us distrust the method? Numbers that stay as they were.

# %%
control = torch.stack(with_wrong_labels).mean(0).numpy()  # (T, T), columns with wrong labels
figure = draw_similarities({"True labels": (matrix, None), "Columns: labels of another frame": (control, None)}, names)
save_figure(figure, "03_control", out_dir);

# %%
def size(rows, task):
    """Mean size of a task's similarities with the others, where the task's labels are those of the column."""
    return np.mean([abs(rows[other, task]) for other in range(len(names)) if other != task])


before, after = ([size(rows, t) for t in range(len(names))] for rows in (matrix, control))
for name, old, new in zip(names, before, after, strict=True):
    print(f"{name:>12}: mean size {old:.2f} with its own labels, {new:.2f} with those of another frame")
overall = sum(after) / sum(before)
stays = [name for name, old, new in zip(names, before, after, strict=True) if new > 0.8 * old]
print(f"together {overall:.0%} is left" + (f"; what {' and '.join(stays)} had in common with others is hardly about labels"
      if stays else "; every task lost a good part"))

# %% [markdown]
# What stays is worth a thought, because it is not noise either. Floors are below, ceilings above, people stand in the
# middle. The labels of another frame are therefore not pure nonsense, least of all for normals, and the frame itself,
# seen by both tasks, adds what it has in common with any label. The right-hand diagonal shows it for each task alone:
# how much of its gradient never looked at the labels of its frame.
#
# So three measurements answer three questions. *Same frame*: do the tasks agree on what is wrong with this frame?
# *Wrong labels*: how much of that would any frame's labels have given? *Every pair of frames*: what do the tasks want
# in every frame? A pair of tasks that is high in the first, falls in the second, and stands out in the third, is alike
# by every measure that we have. A pair that only shines in the first deserves suspicion.
#
# ## A task and its twin
#
# The opposite check. The twin has the same labels and another head. If similarity belongs to *tasks*, a task must be
# most like its own twin, and two tasks must be as alike across the two sets of heads as within one. If it belonged to
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
across = torch.stack(across).mean(0).numpy()  # (T, T): row our heads, column the twin's
own_twin = int((across.argmax(1) == np.arange(len(names))).sum())
draw_similarity(across, names, title=f"{own_twin} of {len(names)} tasks are most like their twin (columns)")

# %%
print(f"{own_twin} of {len(names)} tasks are most like their own twin"
      + ("." if own_twin == len(names) else ": the heads decide as much as the tasks, fit them longer."))
print("like its twin:", ", ".join(f"{name} {v:.2f}" for name, v in zip(names, across.diagonal(), strict=True)))

# %% [markdown]
# The diagonal stands out, so the numbers belong to the tasks. It is not one, however: the head's own draw turns the
# gradient noticeably. The standard errors below do not contain that, because they repeat frames and not heads.
#
# ## How sure are we?
#
# A mean over $n$ draws has a standard error of about $\sigma/\sqrt n$, where $\sigma$ is the scatter of single draws.
# So four times as many frames halve the error, and we can say beforehand how many we need.

# %%
def first_draws(similarity, n):
    """The measurement as it would have been with n frames only."""
    n = max(2, min(n, similarity.count("same")))
    kept = {key: draws[: n - (key[1] == "different")] for key, draws in similarity.draws.items()}
    return Similarity(similarity.tasks, kept)

# %%
counts = [n for n in (4, 8, 16, 32, 64, 128, 256, 512) if n < n_samples] + [n_samples]
figure = draw_how_sure({n: first_draws(similarity, n) for n in counts},
                       ("Few frames tell any story", r"Four times the frames, half the error ($1/\sqrt{n}$, dotted)"))
save_figure(figure, "03_how_sure", out_dir)
figure

# %%
scatter = similarity.draws["plain", "same"][:, -1].std(0)  # (T, T), of single draws
sigma = float(np.mean([scatter[c] for c in couples]))
gap_between = [matrix[a] - matrix[b] for a, b in itertools.pairwise(ranked(matrix))]
print(f"single draws scatter by {sigma:.2f}; an error of 0.02 takes {math.ceil((sigma / 0.02) ** 2)} frames")
print(f"we took {n_samples}: {np.mean([error[c] for c in couples]):.3f}; steps from pair to pair in the ranking: "
      + ", ".join(f"{gap:.2f}" for gap in gap_between))

# %% [markdown]
# **The consequence for the default.** What the next notebook needs is the *order* of the pairs, so errors should be
# smaller than the steps between them. A few dozen frames are enough to find the pairs that stand out, and not enough to
# order those in the middle. Whoever needs that pays with the square.
#
# Would other frames have found the same winner? Drawing the frames again, with replacement, answers that at once: we
# have every draw.

# %%
rng = np.random.default_rng(seed)
draws = similarity.draws["plain", "same"][:, -1]  # (K, T, T)
again = [draws[rng.integers(len(draws), size=len(draws))].mean(0) for _ in range(500)]
winners = [told(ranked(redrawn)[0]) for redrawn in again]
for winner in sorted(set(winners), key=winners.count, reverse=True):
    print(f"{winner:>28} is the most alike in {winners.count(winner) / len(winners):.0%} of 500 redraws")

# %% [markdown]
# ## Stage by stage
#
# The tree will share early stages and part late ones. Does the similarity say so? The same draws, cut by stage.
#
# **Predict.** Will tasks agree more in the first stage, on edges and textures, or in the last one?

# %%
per_stage = similarity.stages("plain", "same")  # (S, T, T)
level = [np.mean([stage[c] for c in couples]) for stage in per_stage]
figure = draw_stages(similarity, "plain", "same", f"Mean over pairs: {level[0]:.2f} in the first stage, "
                     f"{level[-1]:.2f} in the last")
save_figure(figure, "03_stages", out_dir)
figure

# %%
assert np.allclose(per_stage[0], similarity.matrix("plain", "same", 0)), "the first stage's matrix is not the first"
for s, stage in enumerate(per_stage, 1):
    values, whole = [stage[c] for c in couples], [matrix[c] for c in couples]
    print(f"stage {s}: mean over pairs {np.mean(values):.3f}; like the whole backbone's pairs: "
          f"correlation {np.corrcoef(values, whole)[0, 1]:+.2f}")

# %% [markdown]
# Each point has the colours of its two tasks. Look at two things.
#
# - *Order.* Where the correlation is high, a stage ranks the pairs as the whole backbone does, and one matrix is a fair
#   summary. Where it is low, one tree over all stages is a compromise.
# - *Level.* If it falls toward the heads, that speaks for the paper's idea: share early, part late. It is no proof. It
#   shows gradients that agree, not models that are better; notebook 05 asks for those.
#
# ## Turn the knobs
#
# The matrix again, now for any stage, reading, pairs and number of frames. Look for three things: what two frames alone
# would have made you believe; how the elementwise reading shrinks everything; and how the errors grow when you choose
# different frames.

# %%
def draw_choice(stage, reading, pairs, frames):
    """The matrix of one stage (0: the whole backbone) from the first draws."""
    part, where = first_draws(similarity, frames), stage - 1 if stage else None
    words = f"{f'stage {stage}' if stage else 'whole backbone'}, {reading}, {pairs}, {frames} frames"
    return draw_similarity(part.matrix(reading, pairs, where), names, part.error(reading, pairs, where), words, widest)


widest = max(abs(stage[c]) for stage in per_stage for c in couples)  # one scale for all choices
reading, pairs = known(reading, ("plain", "elementwise"), "reading"), known(pairs, ("same", "different"), "pairs")
draw_choice(0, reading, pairs, n_samples)

# %%
from IPython.display import display


def show_choice(stage, reading, pairs, frames):
    display(draw_choice(stage, reading, pairs, frames))


stage_names = [("whole backbone", 0), *((f"stage {s}", s) for s in range(1, len(sizes) + 1))]
interact(show_choice, stage=Dropdown(options=stage_names, value=0),
         reading=Dropdown(options=["plain", "elementwise"], value=reading),
         pairs=Dropdown(options=["same", "different"], value=pairs),
         frames=SelectionSlider(options=counts, value=n_samples, continuous_update=False))

# %% [markdown]
# ## Real arrows
#
# The first figure invented its arrows. Here are real ones. Four directions in a space of millions of dimensions do not
# fit into one plane, but two always do. So each pair gets its own plane, with the angle that its cosine says.
#
# **Predict.** A cosine of 0.3 sounds like a good deal of agreement. What angle is it?

# %%
figure = draw_angles(matrix, names)
save_figure(figure, "03_arrows", out_dir)
figure

# %% [markdown]
# All of them are close to a right angle: that is what high dimensions do. Two random arrows among millions of numbers
# would be at 90° to within a few hundredths of a degree, so an angle of 70° or 80° is a strong agreement all the same.
# In the terms of notebook 02, two tasks at 73° who share one update lose $(1 - 0.3)/2$ of what they want, 35 %.

# %%
def chance_angle(n):
    """Typical distance from a right angle, in degrees, of two random arrows among n numbers: 1/sqrt(n) radians."""
    return math.degrees(n**-0.5)


two = torch.randn(2, sum(sizes), generator=torch.Generator().manual_seed(seed))
assert abs(cosine(*two)) < 5 * sum(sizes) ** -0.5, "two random arrows are not at a right angle"
print(f"random arrows: within about {chance_angle(sum(sizes)):.3f} degrees of 90")

# %% [markdown]
# ## What did it cost?
#
# Count a forward pass as one and a backward pass as two, as is usual. A frame costs $1 + 2T$: one forward, $T$
# backward. Training costs $3$ a frame and epoch. For $n$ frames of similarity and a training of $E$ epochs over $N$
# frames the share is
#
# $$\frac{n\,(1 + 2T)}{3\,E\,N}.$$
#
# **Predict.** The paper trains 300 epochs on the 4,998 training images of PASCAL-Context (the epochs are the paper's
# own text, P; the images counted in the archive, C). Suppose it measured on a thousand. Is that a tenth of the
# training? A hundredth?

# %%
def share(n, tasks, epochs, frames):
    return n * (1 + 2 * tasks) / (3 * epochs * frames)


assert math.isclose(share(1000, 4, 300, 4998), 0.002, abs_tol=1e-4)
print(f"a thousand frames beside the paper's training: {share(1000, 4, 300, 4998):.2%}")
print(f"ours, {n_samples} frames: {share(n_samples, len(names), 300, 4998):.3%} of that training; "
      f"{seconds_measuring / n_samples:.2f} s a frame here, both readings together")

# %% [markdown]
# Two thousandths: next to nothing, heads not counted. Measuring too few frames is thrift in the wrong place.
#
# ## Save it
#
# Notebook 04 reads this file and grows the tree from it. It holds both readings for both kinds of pairs; and, under the
# name `plain, every`, the mean over every pair of frames. There the stages' matrices are *contributions*: a dot product
# over the whole backbone is the sum of the stages' dot products.

# %%
by_stage = [torch.stack([between(a, b) for a, b in itertools.combinations(part, 2)]).mean(0)
            for part in means.split(sizes, dim=2)]  # a stage's numbers of every set
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
print(path.name, "holds", ", ".join(content["similarity"]["readings"]))

# %% [markdown]
# ## Summary
#
# - A task gradient is taken with respect to the frozen matrices, through a head that was fitted first.
# - The formula's division does nothing if $|g|$ is a length. Taken number by number, it makes the similarity depend on
#   loss weights.
# - Once the heads are fitted, two frames want little in common, even for one task. So the same frame for both tasks
#   gives a strong signal, and different frames a weak one. The product of mean arrows compares every pair of frames at
#   no further cost; whether that is enough to tell a pair of tasks from zero, the figure says.
# - A similarity is a mean, and has an error. Labels of another frame show which part of it they never had, and a task
#   is most like its twin.

# %%
print(f"{n_samples} frames, {sum(sizes):,} weights, {time.monotonic() - started:.0f} s")
print(f"same frame:      {'; '.join(f'{told(c)} {matrix[c]:+.2f} ± {error[c]:.2f}' for c in ranked(matrix)[:3])}")
print(f"different frames: {'; '.join(f'{told(c)} {every[c]:+.3f} ± {every_error[c]:.3f}' for c in ranked(every)[:3])}")
print(f"with labels of another frame {overall:.0%} is left; {own_twin} of {len(names)} tasks are most like their twin")

# %% [markdown]
# ## On your own
#
# 1. *Change one number.* Measure with heads that were never fitted. Do the tasks look more alike, or less, and why?
# 2. *Extend one function.* Two noisy things can never look very alike. Divide each entry of `every` by the square root
#    of the product of its two diagonal entries (Spearman's correction of 1904): what would tasks be like without the
#    noise of frames?
# 3. *Question one claim.* "The mean of cosines is not the cosine of mean gradients." Compute the second, from the mean
#    unit arrows that we hold. Which is larger, and which would you rather know?
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
print("mean size of the pairs:", f"fitted {np.mean([abs(matrix[c]) for c in couples]):.2f},",
      f"never fitted {np.mean([abs(unfitted[c]) for c in couples]):.2f}")
print("most alike:", told(ranked(matrix)[0]), "with fitted heads,", told(ranked(unfitted)[0]), "with fresh ones")
print("A fresh head sends random directions back; what two of them share is the frame's and the backbone's doing.")

# %% tags=["solution"]
def corrected(matrix):
    """sim(t, t') / sqrt(sim(t, t) sim(t', t')); nan where a task does not even resemble itself."""
    own = np.where(matrix.diagonal() > 0, matrix.diagonal(), np.nan) ** 0.5
    return matrix / own[:, None] / own[None]


for couple in ranked(every):
    value = corrected(every)[couple]
    print(f"{told(couple):>28}: {every[couple]:+.3f}, corrected " + ("cannot be" if np.isnan(value) else f"{value:+.2f}"))
print("A small error of the diagonal becomes a large one here: only strong entries are worth reading. And a task whose "
      "diagonal is not above zero has no root to divide by: these frames hold no wish in common for it.")

# %% tags=["solution"]
of_means = cosine_table(means.mean(0)).numpy()
print("\n".join(f"{told(c):>28}: mean of cosines {matrix[c]:+.2f}, cosine of means {of_means[c]:+.2f}" for c in couples))
print("Averaging removes what differs from frame to frame and keeps what all frames want, but with few frames the "
      "mean still holds a good part of each single one. It is the gradient of a large batch, and a training step "
      "follows that.")

# %% tags=["solution"]
one, ten = torch.tensor([1.0, 2.0]), 10 * torch.tensor([2.0, 1.0])
check("03.4", [float(cosine(one, ten)), float(elementwise_cosine(one, ten))])

# %% [markdown]
# ## In practice
#
# What this notebook does, and what the paper does. The letter says how we know: P, the paper's own text; S, a text
# about it; M, measured by us; I, inferred.
#
# - The formula is the paper's (S, P); that its plain reading is the plain cosine is a theorem, shown above (M).
# - Heads are fitted first, and gradients are taken on training frames (S). How long, and on how many: not stated. Here
#   it is a few passes, at a small image size, on drawn scenes.
# - Which weights: not stated. We take those under the adapters, because the adapters' own gradients hide half at the
#   start (I).
# - Same frame or different ones: the paper's expectation runs over $x$ and $x'$ (S), which suggests different ones.
#   Whether its code does so is not stated, and you saw how much hangs on it.
# - The backbone here is a small Swin that was distilled for this package; the paper's are Swin-Tiny and PVT (P).
#
# Next: a matrix is not yet a tree. [Grow the task tree >](04_grow_the_task_tree.ipynb)

# %% [markdown]
# # Group a LoRA
#
# *The layer: third of six notebooks, 00 to 05.*
# [< previous: freeze a Swin](01_freeze_a_swin.ipynb) |
# [next: measure task similarity >](03_measure_task_similarity.ipynb)
#
# A frozen network can be bent by small trained matrices, and the paper ([arXiv
# 2509.19602](https://arxiv.org/abs/2509.19602)) lets groups of tasks share them. In this notebook we build its layer,
# TGLoRA, from a plain linear layer, put it into a [Swin](https://arxiv.org/abs/2103.14030), and work out what sharing
# costs: if $c$ is the cosine between what two tasks want, sharing loses at least $(1-c)/2$ of it, in squared length and
# whatever the rank. Then we look whether trainings show that loss; at our small size they do not. You need notebook 01
# for the frozen Swin; it takes half a minute on a laptop, without GPU or network.

# %% tags=["parameters", "hide-input"]
data: str = "scenes"  # scenes, nyud or pascal
root: str = ""  # the archive's folder, for nyud and pascal
limit: int = 24  # frames that the gradients are taken on, 0 for all
seed: int = 0  # of everything drawn at random
out_dir: str = "runs/notebooks"  # where figures are written
rank: int = 4  # of the low-rank pairs, in every stage
scale: float = 4.0  # s, by which a pair's output is multiplied
img_size: int = 64  # side of the square frames, in pixels
epochs: int = 4  # passes over the frames that fit the heads

# %% tags=["hide-input"]
import copy
import itertools
import math

import torch
from IPython.display import Markdown, display
from torch import nn
from torch.nn import functional as F

from ptsa_lite.checks import COUNT, SIZE
from ptsa_lite.figures import (
    INK, OURS, SOFT, STAGES, THEIRS, Drawing, draw_block, draw_layer, draw_sharing, name_ends, save_figure,
    task_colour, use_style,
)
from ptsa_lite.tasks import default_tasks
from ptsa_lite.workshop.exercises import guess, reveal
from ptsa_lite.workshop.explore import Explorable, rank_data
from ptsa_lite.workshop.parameters import FRAMES, between, checked

checked(globals(), limit=FRAMES, seed=SIZE, rank=between(1, 32), epochs=COUNT)
use_style()
torch.manual_seed(seed)
tasks = default_tasks(data)
names = tuple(tasks)

# %% [markdown]
# The grey bar below is a frozen layer $W$: every task passes through it. Each hourglass is a *pair* of thin matrices,
# narrow in the middle, and its stripes are the tasks that share it. On the left one pair has to please four tasks. On
# the right nobody shares, at the price of four pairs and four copies of everything that comes after. A *group* is the
# set of tasks that share a pair, and TGLoRA covers everything from the left drawing to the right one.

# %% tags=["hide-input"]
pairs, singles = (names[:2], names[2:]), tuple((name,) for name in names)
figure = draw_sharing({"One pair: shared LoRA": (names,), "A pair per group: TGLoRA": pairs,
                       "A pair per task": singles})
save_figure(figure, "02_schemes", out_dir)
figure

# %% [markdown]
# ## A frozen linear layer
#
# $$h = W x + b$$
#
# We take a real one from the small Swin of notebook 01: the first layer of the small network (MLP) in a block of stage
# three. It maps each token from $C_{in} = 128$ channels to $C_{out} = 512$, so we expect
# $128 \cdot 512 + 512 = 66{,}048$ frozen numbers.

# %% tags=["hide-input"]
from ptsa_lite.backbones import load_backbone

backbone = load_backbone(img_size=img_size, seed=seed).requires_grad_(False)
base = backbone.blocks(2)[0].mlp.fc1
c_out, c_in = base.weight.shape
count = sum(p.numel() for p in base.parameters())
assert count == 66_048, f"the layer holds {count:,} numbers; is this another backbone?"
print(f"{base}: {count:,} numbers, none of which will change")

# %% [markdown]
# ## What would a task change about it?
#
# Full fine-tuning adds an update to the frozen matrix, $W + \Delta W$, with as many numbers as $W$ has. Its first
# step goes down the gradient of the loss $L_t$ of the task $t$:
#
# $$\Delta W_t \;\propto\; -\,\frac{\partial L_t}{\partial W}$$
#
# We can look at that. We need frames, and heads that already make some sense on the frozen backbone; they are fitted
# in one call here, and notebook 03 says why that has to come first. Then one backward pass per task gives its gradient.
# The losses differ in size from task to task, so we scale every update to length one and keep its direction. That is
# what we mean below by the update that a task *wants*.

# %% tags=["hide-input"]
from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.methods import build_model
from ptsa_lite.similarity import task_gradients
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.training.loop import train

frames = open_dataset(data, root, img_size=img_size, tasks=names, n_frames=limit or None, seed=seed, augment=False)
model = build_model("decoders_only", backbone, tasks)
config = TrainConfig(epochs=epochs, batch_size=min(8, len(frames)), lr=3e-3, warmup_epochs=0, seed=seed)
train(model, frames, None, tasks, config, report=lambda line: None)
batch = next(iter(make_loader(frames, min(24, len(frames)))))


def wanted_updates(weights):
    """-dL_t/dW for each weight, scaled to length one: a list of (T, C_out, C_in)."""
    for weight in weights:
        weight.requires_grad_(True)
    gradients = task_gradients(model, batch, tasks, weights)  # (T, all the numbers of all the weights)
    parts = gradients.split([weight.numel() for weight in weights], dim=1)
    return [-F.normalize(part, dim=1).view(-1, *weight.shape) for part, weight in zip(parts, weights, strict=True)]


updates = wanted_updates([model.backbone.blocks(2)[0].mlp.fc1.weight])[0]
assert updates.shape == (len(tasks), c_out, c_in)
print("updates", tuple(updates.shape), "of length", [round(float(u.norm()), 4) for u in updates])

# %% [markdown]
# ## What a rank can reach
#
# A matrix is a sum of *directions*. The singular value decomposition writes it as
#
# $$\Delta W = \sum_i \sigma_i\, u_i v_i^\top, \qquad \sigma_1 \ge \sigma_2 \ge \dots$$
#
# Keep the first $R$ terms and you hold the best approximation of rank $R$ that exists (Eckart and Young, 1936). What
# is lost is what the other singular values carry:
#
# $$\min_{\mathrm{rank}\,M\le R} \lVert \Delta W - M \rVert^2 = \sum_{i>R}\sigma_i^2$$
#
# Here $u_i$ and $v_i$ are columns of length one, and $\sigma_i$ says how strongly the matrix acts in direction $i$. The
# kept terms fit into two thin matrices: $B$, whose $R$ columns are $\sigma_i u_i$, and $A$, whose $R$ rows are
# $v_i^\top$. Of the two checks below, the first fails if we dropped the wrong terms, the second if some pair near ours
# came closer.

# %%
def best_of_rank(update, r):
    """The pair B (C_out, R), A (R, C_in) whose product is the nearest matrix of rank R."""
    u, sigma, v = torch.linalg.svd(update, full_matrices=False)
    return u[:, :r] * sigma[:r], v[:r]


B, A = best_of_rank(updates[0], rank)
sigma = torch.linalg.svdvals(updates[0])  # (128,): as many as the narrower side
left = (updates[0] - B @ A).square().sum()
assert torch.isclose(left, sigma[rank:].square().sum(), atol=1e-5), "the tail of singular values is not the loss"
nudged = [(updates[0] - (B + 0.01 * torch.randn_like(B)) @ A).square().sum() for _ in range(20)]
assert min(nudged) > left, "a pair beside the best one came closer than the best one"
print(f"B {tuple(B.shape)}, A {tuple(A.shape)}: {B.numel() + A.numel():,} numbers in place of {updates[0].numel():,}")

# %% [markdown]
# **Predict.** The update has 128 directions. How many must we keep to lose less than half of its length? Would you
# need as many for the frozen matrix $W$ itself? For a matrix of random numbers?

# %%
guess("directions of the update", None)  # your guess in place of None

# %%
spectra = {"W itself": base.weight, "noise": torch.randn(c_out, c_in), **dict(zip(names, updates, strict=True))}
spectra = {name: torch.linalg.svdvals(m / m.norm()).detach() for name, m in spectra.items()}
kept = {name: F.pad(s.square().cumsum(0), (1, 0)) for name, s in spectra.items()}  # by the first 0, 1, 2, ... of them
lost_length = {name: (1 - share).clamp_min(0).sqrt() for name, share in kept.items()}
needed = {name: int((lost >= 0.5).sum()) for name, lost in lost_length.items()}  # rank that loses less than half
print("rank needed to lose less than half of the length:", needed)
reveal("directions of the update", needed[names[0]])

# %% tags=["hide-input"]
def draw_rank(r):
    """Singular values, what is lost beyond each rank, and an update beside its copy of rank r."""
    figure = Drawing(figsize=(12, 3.2))
    values, errors, *pictures = figure.subplots(1, 4, width_ratios=(4, 4, 1.4, 1.4))
    figure.subplots_adjust(wspace=0.3)
    for name, spectrum in spectra.items():
        style = dict(color=task_colour(name) if name in tasks else SOFT, linestyle=":" if name == "noise" else "-")
        values.semilogy(range(1, c_in + 1), spectrum, **style, label=name)
        errors.plot(range(c_in + 1), lost_length[name], **style)
    for axes in (values, errors):
        axes.axvline(r, color=INK, linewidth=1)
        axes.set(xlim=(0, 64), xlabel="rank")
    values.set(ylim=(3e-4, 1), ylabel="singular value", title="Wanted updates fall fast")
    values.legend(fontsize=8)
    values.minorticks_off()
    values.set_yticks([1, 0.1, 0.01, 0.001], ["1", "0.1", "0.01", "0.001"])
    errors.set(ylim=(0, 1.02), ylabel="length lost, lower is better")
    errors.set_title(f"At rank {r}, {names[0]} loses {lost_length[names[0]][r]:.0%}")
    B, A = best_of_rank(updates[0], r)
    for axes, picture, title in zip(pictures, (updates[0], B @ A), ("update", f"rank {r}"), strict=True):
        span = 3 * float(updates[0].std())
        axes.imshow(picture[:128, :48], cmap="RdBu", vmin=-span, vmax=span, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    return figure


figure = draw_rank(rank)
save_figure(figure, "02_rank", out_dir)
figure

# %% [markdown]
# The coloured lines fall at once and the grey ones hardly: the frozen matrix is full of directions that matter, and so
# is noise, while what a task *wants to change* lies in few directions. This is what LoRA counts on. It is so because a
# gradient is a sum over tokens of (error) times (input), and both are much alike from token to token. The two pictures
# on the right are a corner of the first task's update and of its copy at the rank of the black line. All this is the
# first step of a training on a few frames; a long training may want more directions.

# %% tags=["hide-input"]
wanting = [needed[name] for name in names]
display(Markdown(f"**So** a pair of rank {min(wanting)} to {max(wanting)} loses less than half of the length of what each "
                 f"task wants. W itself needs {needed['W itself']} and noise {needed['noise']}, of {c_in}."))

# %% [markdown]
# ## LoRA: learn the two thin matrices
#
# Nobody knows the best update beforehand. But we can give it its shape and let training find it: freeze $W$, and put
# a product of two thin matrices beside it ([Hu and others, 2021](https://arxiv.org/abs/2106.09685)).
#
# $$h = W x + b + s\,B A x, \qquad A: R \times C_{in},\quad B: C_{out} \times R$$
#
# Here $x$ is a token, $h$ what the layer makes of it, $b$ its bias, $s$ a fixed scale and $R$ the rank. $A$ starts
# random ([Kaiming-uniform](https://arxiv.org/abs/1502.01852): of a size that suits the layer), $B$ starts at zero. That
# is all that the class does.
#
# **Count it first.** $A$ has $R\,C_{in}$ numbers and $B$ has $R\,C_{out}$, together $R\,(C_{in} + C_{out})$: for this
# layer 640 numbers per rank. And a fresh adapter must leave every output as it was, because with $B = 0$ the added
# term is zero for any $A$ and any $x$. Training starts from the pre-trained network and not from a damaged one.

# %% tags=["open"]
class LoRA(nn.Module):
    def __init__(self, base, rank, scale):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), scale
        self.A = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(rank, base.in_features), a=math.sqrt(5)))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scale * x @ self.A.T @ self.B.T  # (..., C_in) -> (..., C_out)


x = torch.randn(2, 16, c_in)  # (B, tokens, C_in)
lora = LoRA(base, rank, scale)
assert torch.equal(lora(x), base(x)), "a fresh adapter changed the output"
trained = sum(p.numel() for p in lora.parameters() if p.requires_grad)
assert trained == rank * (c_in + c_out) == 640 * rank, f"{trained} trainable numbers"
print(f"rank {rank}: {trained:,} trainable numbers, {trained / base.weight.numel():.1%} of the matrix beside them")

# %% [markdown]
# ## Why one of them starts at zero, and what that does to gradients
#
# Let $G = \partial L / \partial W$ be the gradient that the frozen matrix *would* get. By the chain rule
#
# $$\frac{\partial L}{\partial B} = s\,G A^\top, \qquad \frac{\partial L}{\partial A} = s\,B^\top G.$$
#
# Read them before you run the check. With $B = 0$ the second is zero: **in the first step only $B$ learns.** From the
# second step on both do. Had both started at zero, neither gradient would ever be anything else. And after a first
# step of gradient descent with rate $\eta$, the pair stands for the update
#
# $$s\,B A = -\,\eta\,s^2\,G\,A^\top A,$$
#
# which is the step of full fine-tuning, $-\eta\,G$, seen through the random projection $A^\top A$. The scale counts
# twice: doubling $s$ makes this step four times as strong. (With [Adam](https://arxiv.org/abs/1412.6980) it is twice as
# strong, because Adam divides a gradient by its own size, and the scale in front of the pair is all that remains.)

# %% tags=["hide-input"]
def pair_gradients(G, A, B, s):
    """What reaches the pair, given the gradient G (C_out, C_in) of the frozen matrix."""
    return s * B.T @ G, s * G @ A.T  # (R, C_in), (C_out, R)


eta, lengths = 1e-4, []
for step in range(3):
    base.weight.requires_grad_(True)  # only to see G
    by_A, by_B, G = torch.autograd.grad(lora(x).tanh().square().sum(), [lora.A, lora.B, base.weight])
    base.weight.requires_grad_(False)
    for found, predicted in zip((by_A, by_B), pair_gradients(G, lora.A, lora.B, scale), strict=True):
        torch.testing.assert_close(found, predicted, rtol=1e-3, atol=1e-3)
    lengths.append((float(by_A.norm()), float(by_B.norm())))
    with torch.no_grad():
        if step == 0:
            first = -eta * scale**2 * G @ lora.A.T @ lora.A
        lora.A -= eta * by_A
        lora.B -= eta * by_B
        if step == 0:
            torch.testing.assert_close(scale * lora.B @ lora.A, first, rtol=1e-3, atol=1e-5)
assert lengths[0][0] == 0 < min(lengths[0][1], lengths[1][0]), f"lengths of the gradients by step: {lengths}"
print("\n".join(f"step {i}: length of dL/dA {a:8.2f}, of dL/dB {b:8.2f}" for i, (a, b) in enumerate(lengths)))

# %% [markdown]
# Two consequences matter later. Everything that a pair will ever learn passes through $G$, the gradient of the
# **frozen** weight. And a fresh adapter hides half of it, since $\partial L/\partial A = 0$, and shows the rest only
# through a random $A$. That is why notebook 03 compares tasks by the gradients of the frozen weights, and not by those
# of the adapters.
#
# ## Several tasks, one pair: what sharing costs
#
# Four tasks want four different updates $\Delta W_t$, each of length one. If they share one update $M$, the best they
# can do is to meet at the mean. From here on we count *squared* lengths, because squares add up over tasks and
# directions: a third of the length lost is a ninth of the square. With $n$ tasks, and $\bar c$ the mean cosine between
# two of them, what is lost on average is
#
# $$\frac1n \sum_t \lVert \Delta W_t - M \rVert^2 \;\ge\; \Bigl(1 - \frac1n\Bigr)\,(1 - \bar c).$$
#
# For two tasks that is $(1-c)/2$: tasks that agree lose nothing, tasks at right angles lose half, tasks that oppose
# each other lose everything. **The rank does not appear.** So the cosine similarity of the next notebook has a plain
# meaning: it is the price of sharing.
#
# The formula must hold because squared distances are smallest at the mean, and because the squared length of a mean of
# unit vectors is made of their cosines. The check puts the formula against the matrices.

# %%
def lost(updates, r):
    """The part of the wanted updates, squared and averaged, that one shared pair of rank r cannot give."""
    B, A = best_of_rank(updates.mean(0), r)
    return float((updates - B @ A).square().sum((1, 2)).mean())


n = len(names)
cosine = updates.flatten(1) @ updates.flatten(1).T  # (T, T): lengths are one
floor = (1 - 1 / n) * (1 - float((cosine.sum() - n) / (n * n - n)))
assert math.isclose(lost(updates, c_in), floor, abs_tol=1e-4), "the price of sharing is not what the cosines say"
for i, j in itertools.combinations(range(n), 2):
    price = lost(updates[[i, j]], c_in)
    assert math.isclose(price, (1 - float(cosine[i, j])) / 2, abs_tol=1e-4)
    print(f"{names[i]:>12} with {names[j]:<12} cosine {cosine[i, j]:+.2f}, sharing loses {price:.0%} of what they want")

# %% [markdown]
# **Predict.** Everyone gets the same budget: the sum of the ranks of all pairs. One shared pair may have all of it,
# four separate pairs a quarter each. Which line will be highest when the budget is small? When it is large? Where does
# each line end? Then try it: move the rank, and click a task to give it to another pair.

# %% tags=["hide-input"]
from ptsa_lite.grouping import partitions
from ptsa_lite.tree import TaskTree


def lost_by(groups, budget):
    """Mean loss over tasks when each of the groups has a pair, and their ranks sum to the budget."""
    return sum(len(g) * lost(updates[list(g)], budget // len(groups)) for g in groups) / n


halves = [groups for groups in partitions(range(n), 2) if len(groups[0]) == n // 2]  # all ways to go two and two
halves.sort(key=lambda groups: lost_by(groups, 2 * c_in))
groupings = {"shared by all": [range(n)], "two and two, at best": halves[0], "two and two, at worst": halves[-1],
             "one each": [(i,) for i in range(n)]}
budgets = [4, 8, 16, 32, 64, 128]
curves = {title: [lost_by(groups, budget) for budget in budgets] for title, groups in groupings.items()}
assert min(curves["shared by all"]) >= floor - 1e-4, "a shared pair reaches more than its tasks agree on"
print("the best two and two:", " | ".join("+".join(names[i] for i in group) for group in halves[0]))

# %% tags=["hide-input"]
figure = Drawing(figsize=(6.4, 3.6))
axes = figure.subplots()
for curve, style, shade in zip(curves.items(), ("o-", "s-", "s:", "^-"), (THEIRS, OURS, OURS, INK),
                               strict=True):
    axes.plot(budgets, [1 - share for share in curve[1]], style, color=shade, label=curve[0])
axes.axhline(1 - floor, color=THEIRS, linewidth=1, linestyle="--")
axes.set_xscale("log", base=2)
axes.set_xticks(budgets, budgets)
axes.set(ylim=(0, 1.02), title="No rank buys back what sharing costs", xlabel="rank of all pairs together",
         ylabel="reached, higher is better")
axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
save_figure(figure, "02_sharing", out_dir)
looks = {"tasks": names, "colours": [task_colour(name) for name in names]}
Explorable("rank", rank_data(updates, 16, budgets) | looks, figure)

# %% [markdown]
# Pairs of their own lead at every budget, the smallest included, and they have no ceiling: with enough rank each task gets
# all that it wants. The shared pair meets its ceiling, the dashed line, soon; more rank is then wasted on it. The two lines
# in the middle spend the same rank on the same number of groups and differ only in who sits with whom.

# %% tags=["hide-input"]
best, worst = (curves[f"two and two, at {which}"][-1] for which in ("best", "worst"))
display(Markdown(
    f"**So**, on this layer, one pair for all loses {curves['shared by all'][-1]:.0%} of what the {n} tasks want, "
    f"two pairs of two tasks each {best:.0%} to {worst:.0%}, four pairs {curves['one each'][-1]:.0%}. *How many* groups "
    f"there are matters by tens of points, *who sits with whom* by {100 * (worst - best):.0f}. That is one layer, one step and the "
    f"training frames, without an error bar, so it does not say that the choice of groups will show in a metric."
))

# %% [markdown]
# Why share at all, then? Because this measure does not see the multiply-adds, which grow with every group (notebook
# 04), nor that tasks can teach each other things that hold on new frames. The paper's answer is a compromise: share in
# the early stages, separate in the late ones.
#
# ## One pair per group, as a plain loop
#
# TGLoRA is the formula of LoRA with an index $G$ on everything that is not frozen. Groups have activations of their
# own too, since behind the first grouped layer each sees something else:
#
# $$h_G = W x_G + b + s\,B_G A_G\,x_G$$
#
# We stack the activations group after group, **group-major**: the first $B$ rows are the images as group 0 sees them,
# the next $B$ rows the same images as group 1 sees them, and so on, $(G \cdot B, \dots, C)$. (In shapes $B$ is the
# number of images, in formulas the second thin matrix.) The clear, slow version takes the stack apart, runs LoRA on
# each part and stacks the results. Follow the two groups through the drawing, then through the code: both use one
# frozen matrix, and each has a narrow detour of its own.

# %% tags=["hide-input"]
figure = draw_layer(pairs)
save_figure(figure, "02_layer", out_dir)
figure

# %% tags=["open"]
def grouped_slowly(x, base, A, B, s):
    """(G*B, ..., C_in) -> (G*B, ..., C_out); A is (G, R, C_in), B is (G, C_out, R)."""
    parts = x.chunk(len(A))  # G times (B, ..., C_in)
    return torch.cat([base(part) + s * part @ a.T @ b.T for part, a, b in zip(parts, A, B, strict=True)])


images, tokens, groups = 2, 16, 3
x = torch.randn(groups * images, tokens, c_in)
A, B = torch.randn(groups, rank, c_in) / c_in**0.5, torch.randn(groups, c_out, rank)
h = grouped_slowly(x, base, A, B, scale)
print(f"x {tuple(x.shape)} = ({groups} groups * {images} images, tokens, C_in)  ->  h {tuple(h.shape)}")

# %% [markdown]
# ## All groups in one call
#
# Nothing in $Wx + b$ depends on the group, so the frozen product can run once over the whole stack. The low-rank
# products of all groups become one *batched* matrix product: the pairs lie in one tensor each, $A$ of shape
# $(G, R, C_{in})$ and $B$ of shape $(G, C_{out}, R)$, and `@` multiplies group by group. This is TGLoRA, whole:

# %% tags=["open"]
class GroupedLoRA(nn.Module):
    """h_G = W x_G + b + s B_G A_G x_G for all groups: (G*B, ..., C_in) -> (G*B, ..., C_out)."""

    def __init__(self, base, groups, rank, scale):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), scale
        fresh = [LoRA(base, rank, scale) for _ in range(groups)]
        self.A = nn.Parameter(torch.stack([pair.A.detach() for pair in fresh]))  # (G, R, C_in)
        self.B = nn.Parameter(torch.stack([pair.B.detach() for pair in fresh]))  # (G, C_out, R)

    def forward(self, x):
        x_G = x.reshape(len(self.A), -1, x.shape[-1])  # (G, N, C_in): the tokens of each group
        low = x_G @ self.A.mT @ self.B.mT  # (G, N, C_out)
        return self.base(x) + self.scale * low.view(*x.shape[:-1], -1)


# %% [markdown]
# A fast version is worth nothing until it gives the same. We hand the same numbers to the slow loop, to this layer and
# to the package's own ([`ptsa_lite/lora.py`](../ptsa_lite/lora.py), which adds dropout and merging), and compare the
# outputs *and* the gradients, of the input and of every pair. All three are the same sum in another order, so they may
# differ by rounding and by nothing else.

# %% tags=["hide-input"]
from ptsa_lite.lora import GroupedLoRALinear


def filled(layer, A, B):
    """A grouped layer, ours or the package's, with given pairs."""
    a, b = (layer.A, layer.B) if isinstance(layer, GroupedLoRA) else (layer.lora_A, layer.lora_B)
    a.data.copy_(A)
    b.data.copy_(B)
    return layer, [a, b]


def with_gradients(h, inputs):
    """The output, and the gradients of one and the same weighted sum of it."""
    return [h, *torch.autograd.grad((h * weighting).sum(), inputs)]


weighting = torch.randn_like(h)
x, A, B = (tensor.requires_grad_(True) for tensor in (x, A, B))
slow = with_gradients(grouped_slowly(x, base, A, B, scale), [x, A, B])
layer, pair = filled(GroupedLoRA(base, groups, rank, scale), A, B)
packaged, their_pair = filled(GroupedLoRALinear(base, groups, rank, scale), A, B)
for title, found in {"ours": with_gradients(layer(x), [x, *pair]),
                     "the package's": with_gradients(packaged(x), [x, *their_pair])}.items():
    for a, b in zip(slow, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)
    gaps = [float((a - b).detach().abs().max() / a.detach().abs().max()) for a, b in zip(slow, found, strict=True)]
    print(f"{title:>13}, largest relative difference to the loop: h {gaps[0]:.0e}, dx {gaps[1]:.0e}, "
          f"dA {gaps[2]:.0e}, dB {gaps[3]:.0e}")
x, A, B = (tensor.detach() for tensor in (x, A, B))

# %% [markdown]
# ## Three properties that make it *grouped*
#
# 1. **A task's loss reaches only its own group's pair.** The other pairs are not on its path, so their gradient is
#    not small but exactly zero. In this layer, sharing is the only way in which tasks can disturb or help each other.
# 2. **One group over all tasks is LoRA**, because the index $G$ has one value.
# 3. **One group per task is separate LoRAs**, side by side in one stack.

# %%
for group, part in enumerate(layer(x).chunk(groups)):  # some loss of a task that reads this group
    by_A, by_B = torch.autograd.grad(part.square().sum(), [layer.A, layer.B], retain_graph=True)
    reached = [g for g in range(groups) if by_A[g].any() or by_B[g].any()]
    assert reached == [group], f"a loss of group {group} reached the pairs of groups {reached}"
    print(f"a loss read from group {group} reaches the pairs {reached}")

with torch.no_grad():
    alone = [LoRA(base, rank, scale) for _ in range(groups)]
    for lora, a, b in zip(alone, A, B, strict=True):
        lora.A.data, lora.B.data = a, b
    single, _ = filled(GroupedLoRA(base, 1, rank, scale), A[:1], B[:1])
    torch.testing.assert_close(single(x), alone[0](x), rtol=1e-4, atol=1e-3)
    separate = torch.cat([lora(part) for lora, part in zip(alone, x.chunk(groups), strict=True)])
    torch.testing.assert_close(layer(x), separate, rtol=1e-4, atol=1e-3)
print("one group equals a shared LoRA; a group for each task equals separate ones")

# %% [markdown]
# ## Where adapters sit in a Swin block
#
# A block has four linear layers: `qkv` and `proj` around the attention, `fc1` and `fc2` in the MLP. All four get a
# grouped adapter. The norms, the attention itself and the two sums that add a result to what was there have none. The
# drawing shows one block of a stage in which the tasks stand in two groups; each of its four detours is the layer drawn
# above.

# %% tags=["hide-input"]
figure = draw_block(pairs)
save_figure(figure, "02_block", out_dir)
figure

# %% [markdown]
# ## Into the Swin, and along the tree
#
# Two short functions turn a frozen Swin into the paper's model. `insert` exchanges the four linear layers of every
# block for grouped ones, with as many groups as the stage has. `run` follows the tree: at the start of a stage each
# group takes over what its parent left, so that siblings, groups of one parent, begin with the same activations; then
# timm's own blocks run over the stack; and each task reads the map of its group. This is the only place in the model
# where tasks separate.

# %% tags=["open"]
def insert(backbone, tree, rank, scale):
    """Exchange the linear layers of every block for grouped ones, with the groups of their stage."""
    for stage, groups in enumerate(tree.n_groups):
        for block in backbone.blocks(stage):
            for part, name in ((block.attn, "qkv"), (block.attn, "proj"), (block.mlp, "fc1"), (block.mlp, "fc2")):
                setattr(part, name, GroupedLoRA(getattr(part, name), groups, rank, scale))
    return backbone


def run(backbone, tree, images):
    """What each task's head reads: its group's map (B, h, w, C) after every stage."""
    x = backbone.embed(images)[None]  # (1, B, h, w, C): before the first stage all tasks are one group
    maps = {task: [] for task in tree.tasks}
    for stage, groups in enumerate(tree.n_groups):
        x = torch.stack([x[parent] for parent in tree.parents(stage)])  # (G, B, h, w, C)
        x = backbone.stage(stage, x.flatten(0, 1)).unflatten(0, (groups, -1))
        for task in maps:
            maps[task].append(x[tree.group_of(stage, task)])
    return maps


# %% [markdown]
# The model that the package builds has to read the same maps, once its pairs hold the same numbers. (It also has heads,
# and trains norms and mergings; neither changes the maps.) We give every $B$ random numbers, because fresh pairs would
# make the check too easy. **Predict**: after which stages do the first two tasks, which stay together in stage 3 and
# separate in stage 4, read different maps?

# %% tags=["hide-input"]
two_by_two = TaskTree(((names,), (names,), pairs, singles))
ours = insert(copy.deepcopy(backbone), two_by_two, rank, scale)
theirs = build_model("ptsa", backbone, tasks, two_by_two, rank, scale=scale).eval()
for (*_, a), (*_, b) in zip(ours.adapted_linears(), theirs.backbone.adapted_linears(), strict=True):
    nn.init.normal_(a.B, std=0.02)
    filled(b, a.A, a.B)
with torch.no_grad():
    our_maps, their_maps = run(ours.eval(), two_by_two, batch["image"][:2]), theirs.features(batch["image"][:2])
for task in names:
    for a, b in zip(our_maps[task], their_maps[task], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
differ = [stage + 1 for stage in range(4) if not torch.equal(our_maps[names[0]][stage], our_maps[names[1]][stage])]
assert differ == [4], f"{names[0]} and {names[1]} differ after stages {differ}"
print(f"our maps are the package's, for {n} tasks and four stages; {names[0]} and {names[1]} differ after stage {differ[0]}")

# %% [markdown]
# Only after stage 4. The separation itself is cheap, a copy. What follows it is not, because from here on each group
# runs the rest of the network on its own; notebook 04 counts that.
#
# ## Count every pair
#
# In a block of width $C$ the four layers map $C \to 3C$, $C \to C$, $C \to 4C$ and $4C \to C$. A pair costs
# $R\,(C_{in}+C_{out})$, so per rank and group the four together cost $4C + 2C + 5C + 5C = 16\,C$.
#
# **Predict.** Swin-Tiny, which the paper uses, has widths 96, 192, 384, 768 and 2, 2, 6, 2 blocks. Work out its four
# stages: which one is the most expensive to adapt? What do groups (1, 1, 2, 4) cost per rank?
#
# A formula is only as good as its agreement with a real model. Made on the `meta` device, which stores no numbers, a
# full Swin-Tiny at 448x448 costs neither memory nor time, and every adapter in it can be counted.

# %% tags=["hide-input"]
from ptsa_lite.costs import count_parameters
from ptsa_lite.model import ROLES


def per_rank(widths, depths):
    """16 C for each block: numbers per rank and group, stage by stage."""
    return [16 * width * depth for width, depth in zip(widths, depths, strict=True)]


swin_t = per_rank((96, 192, 384, 768), (2, 2, 6, 2))
assert swin_t == [3_072, 6_144, 36_864, 24_576]
assert sum(number * groups for number, groups in zip(swin_t, (1, 1, 2, 4), strict=True)) == 181_248
similar = TaskTree.from_similarity(cosine.double().numpy(), names, (1, 1, 2, 4))  # a stand-in until notebook 04
with torch.device("meta"):
    big = load_backbone("swin_tiny_patch4_window7_224", "random", 448)
    counts = count_parameters(build_model("ptsa", big, tasks, similar, rank))
assert counts["adapters"] == 181_248 * rank, f"{counts['adapters']:,} numbers in the adapters"
print(f"Swin-Tiny, per rank and group: {swin_t}; with groups (1, 1, 2, 4): 181,248 per rank\n")
print("\n".join(f"{about.title:>28} {counts[role]:>12,}" for role, about in ROLES.items() if counts[role]))
print(f"{'trainable':>28} {counts['trainable']:>12,}")

# %% [markdown]
# Stage three is the most expensive per group, because it has six blocks; with four groups stage four overtakes it.
#
# The table shows that adapters are not all that trains. The recipe also trains the heads and a few small things in the
# backbone: patch embedding, norms, position tables and the mergings between stages. We read that in the [public
# code](https://github.com/scale-lab/MTLoRA) of [MTLoRA](https://arxiv.org/abs/2403.20320), whose settings the paper
# takes over (letters such as C and P are marks of sources, explained in [the
# glossary](00_take_the_tour.ipynb#Glossary)). A table that reports "adapter parameters" should say which of these rows
# are in the sum.
#
# ## A rank for each stage
#
# Nothing forces all stages to have the same rank. The paper's total, 6.89 million trainable parameters (P), is not
# met by any single power of two (M), so it probably used several. Where is rank worth its price?
#
# For the small Swin that we hold, with groups at (1, 1, 2, 4): on the left who owns the parameters, on the right how
# much of what the tasks want the pairs of a stage can reach. For $n$ tasks that share a mean update with singular
# values $\sigma_i$, that is $\sum_{i \le R} \sigma_i^2$: one minus what is lost. We average it over the layers of a
# stage.
#
# **Predict.** All stages at the same rank: which owns the most parameters? In which do the pairs reach the most?

# %% tags=["hide-input"]
adapted = list(model.backbone.adapted_linears())  # (stage, module, name, layer)
wanted = wanted_updates([linear.weight for *_, linear in adapted])
reach = torch.zeros(4, 32)  # (stages, ranks)
for (stage, *_), want in zip(adapted, wanted, strict=True):
    for group in similar.stages[stage]:
        mean = want[[names.index(name) for name in group]].mean(0)  # (C_out, C_in)
        reach[stage] += len(group) / n * torch.linalg.svdvals(mean).square().cumsum(0)[:32]
depths = [len(backbone.blocks(stage)) for stage in range(4)]
reach /= 4 * torch.tensor(depths)[:, None]  # four layers per block
price = per_rank(backbone.widths, depths)
print("groups of stage 3:", " | ".join("+".join(group) for group in similar.stages[2]))

# %% tags=["hide-input"]
def draw_ranks(*ranks):
    """Left: each stage's share of the adapters' parameters. Right: what its pairs reach at every rank."""
    figure = Drawing(figsize=(11, 3.2))
    bars, curves = figure.subplots(1, 2)
    counts = [p * r * g for p, r, g in zip(price, ranks, similar.n_groups, strict=True)]
    bars.barh(range(4), counts, color=STAGES)
    ends = []
    for stage, (count, r, groups) in enumerate(zip(counts, ranks, similar.n_groups, strict=True)):
        bars.text(count, stage, f" {count:,}  ({count / sum(counts):.0%})", va="center")
        curves.plot(range(1, 33), reach[stage], color=STAGES[stage])
        curves.plot(r, reach[stage, r - 1], "o", color=STAGES[stage], markersize=9)
        words = f"stage {stage + 1}, {groups} group{'s' * (groups > 1)}"
        ends.append((32, float(reach[stage, -1]), words, dict(color=STAGES[stage], fontweight="bold")))
    bars.set_yticks(range(4), [f"stage {s + 1}\nrank {r}" for s, r in enumerate(ranks)])
    bars.invert_yaxis()
    bars.set(xlim=(0, 1.45 * max(counts)), xticks=(), title=f"Adapters: {sum(counts):,} trainable numbers")
    curves.set(xlim=(0, 33), ylim=(0, 1.05), xlabel="rank", ylabel="share reached, higher is better")
    curves.set_xticks((1, 8, 16, 24, 32))
    curves.set_title("Rank levels off; more groups reach more")
    name_ends(curves, ends, tie=False)
    return figure


rank_here = min(rank, 32)  # the first stage has 32 channels
figure = draw_ranks(*[rank_here] * 4)
save_figure(figure, "02_ranks", out_dir)
play = {"ranks": sorted({1, 2, 4, 8, 16, 32} | {rank_here}), "start": rank_here, "groups": similar.n_groups,
        "per_rank": price, "reach": reach.tolist(), "shades": STAGES}
Explorable("ranks", play, figure)

# %% [markdown]
# With equal ranks almost everything is spent in the two late stages, most of it in stage 4, where channels are widest and
# groups most. Rank is cheap in the early stages, but it does not help there: one group serves all tasks, and what it
# reaches levels off at the height that sharing sets. Only the last stage, with a pair for each task, can reach
# everything. **Before you go on**, look with the steppers for a setting that reaches as much as equal ranks do, for
# fewer numbers.

# %% tags=["hide-input"]
choices = play["ranks"]
equal = float(reach[:, rank_here - 1].mean())
cheapest = min((sum(p * r * g for p, r, g in zip(price, ranks, similar.n_groups, strict=True)), ranks)
               for ranks in itertools.product(choices, repeat=4)
               if sum(float(reach[stage, r - 1]) for stage, r in enumerate(ranks)) / 4 >= equal - 1e-9)
everywhere = sum(p * rank_here * g for p, g in zip(price, similar.n_groups, strict=True))
display(Markdown(f"**So** ranks {cheapest[1]} reach as much as rank {rank_here} everywhere, {equal:.1%} of what the tasks "
                 f"want, averaged over the stages, for {cheapest[0]:,} numbers in place of {everywhere:,}."))

# %% [markdown]
# ## Merge the pairs away
#
# Training needs $W$ and the pair apart. Using the model does not: $W x + s\,BA\,x = (W + s\,BA)\,x$. Merging computes
# the matrix once per group,
#
# $$W_G = W + s\,B_G A_G,$$
#
# and no low-rank work is left. With one group the result is a plain `nn.Linear`. With several it is a whole matrix
# per group: as fast as frozen groups, but no longer small in memory.

# %%
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(module, x):
    """Multiply-adds of the matrix products that a call executes, by torch's own counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    return counter.get_total_flops() // 2


merged = packaged.merged()
with torch.no_grad():
    torch.testing.assert_close(merged(x), layer(x), rtol=1e-4, atol=1e-3)
alone, _ = filled(GroupedLoRALinear(base, 1, rank, scale), A[:1], B[:1])
assert isinstance(alone.merged(), nn.Linear), "one group must merge into a plain layer"
before, after, frozen = (multiply_adds(module, x) for module in (packaged, merged, base))
assert after == frozen == len(x) * tokens * c_in * c_out, "merging must leave the frozen layer's work and nothing else"
assert before - after == len(x) * tokens * rank * (c_in + c_out), "the low-rank products cost R (C_in + C_out) per token"
print(f"multiply-adds: {before:,} with pairs, {after:,} merged, {frozen:,} for the frozen layer alone")

# %% [markdown]
# Now whole models: one with a single group everywhere, one with groups (1, 1, 2, 4). First the promise of the zero
# start: a fresh model must predict what the frozen backbone predicts, whatever its tree. Then we fill the adapters
# with noise, since fresh ones would make the next check too easy, and merge.
#
# **Predict.** Merging removes all low-rank work. Does it make both models cheaper?

# %% tags=["hide-input"]
image, work = batch["image"][:2], {}
for title, tree in {"one group": TaskTree.shared(names), "groups (1, 1, 2, 4)": similar}.items():
    whole = build_model("ptsa", backbone, tasks, tree, rank)
    plain = build_model("decoders_only", backbone, tasks)
    plain.heads.load_state_dict(whole.heads.state_dict())
    with torch.no_grad():
        frozen_says, fresh = plain.eval()(image), whole.eval()(image)
        gap = max(float((fresh[t] - frozen_says[t]).abs().max()) for t in names)
        assert gap < 1e-5, f"{title}: fresh adapters changed a prediction by {gap}"
        for name, parameter in whole.named_parameters():
            if name.endswith("lora_B"):
                parameter.normal_(std=0.02)
        merged, after = whole.merge(), whole(image)
        gap = max(float((merged(image)[t] - after[t]).abs().max()) for t in names)
        assert gap < 1e-3 < max(float((after[t] - fresh[t]).abs().max()) for t in names), f"{title}: {gap} by merging"
    work[title] = [multiply_adds(module, image[:1]) for module in (whole, merged)]
    print(f"{title:>20}: {work[title][0] / 1e6:.1f} million multiply-adds, merged {work[title][1] / 1e6:.1f}")
assert all(after < before for before, after in work.values()), "merging must save work"

# %% [markdown]
# It does, and by little in both, because at a small rank the low-rank products are a small part of the work. What a tree
# costs beyond a shared LoRA stays, since every group still runs its whole stage. So merging is for use, where the extra
# products would cost time with every picture; it does not make a tree as cheap as one group.

# %% [markdown]
# ## On your own
#
# 1. **Change a number.** At which rank does a pair on this layer cost as many numbers as $W$ itself? Predict it from
#    $C_{in}$ and $C_{out}$, then count. (`check` says whether you are right; the solutions are folded beneath.)
# 2. **Extend a function.** `qkv` is one fused layer that gives queries, keys and values. One pair of rank $R$ on it is
#    not the same as three pairs of rank $R$. Count both, in numbers per rank, for $C = 128$. Then show that the fused
#    pair equals three pairs that share their $A$.
# 3. **Question a claim.** Ranks (64, 64, 16, 16) give 6,888,506 trainable parameters on PASCAL-Context, which rounds
#    to the paper's 6.89 million. Does that tell us the paper's ranks?

# %%
from ptsa_lite.workshop.exercises import check

check("02.1", None)  # your answer in place of None

# %% tags=["solution"]
# 1. R (C_in + C_out) = C_in C_out
even = c_in * c_out / (c_in + c_out)
below, above = (sum(p.numel() for p in (lora.A, lora.B)) for lora in (LoRA(base, math.floor(even), 1.0),
                                                                      LoRA(base, math.ceil(even), 1.0)))
assert below <= base.weight.numel() <= above
print(f"rank {even:.1f}; the full rank is {min(c_in, c_out)}, so the last stretch of ranks would be a bad bargain")
check("02.1", even)

# %%
check("02.2", None)  # [fused, three pairs]

# %% tags=["solution"]
# 2. fused: C + 3C = 4C per rank; three pairs: 3 (C + C) = 6C per rank
a, b, width = torch.randn(rank, c_in), torch.randn(3 * c_in, rank), c_in
fused, three = a.numel() + b.numel(), 3 * rank * (width + width)
check("02.2", [fused // rank, three // rank])
by_parts = torch.cat([x @ a.T @ part.T for part in b.chunk(3)], dim=-1)  # q, k and v, each with its own B
torch.testing.assert_close(by_parts, x @ a.T @ b.T, rtol=1e-4, atol=1e-3)
print(f"{fused:,} numbers fused, {three:,} for three pairs: fused, q, k and v read the same {rank} directions")

# %% tags=["solution"]
# 3. every choice of powers of two up to 64 that rounds to 6.89 million
others = 1_946_624 + 1_599_546  # heads for PASCAL's outputs; what else the recipe trains
cost = [number * groups for number, groups in zip(swin_t, (1, 1, 2, 4), strict=True)]
fits = [ranks for ranks in itertools.product([2**k for k in range(7)], repeat=4)
        if round((others + sum(c * r for c, r in zip(cost, ranks, strict=True))) / 1e6, 2) == 6.89]
assert (64, 64, 16, 16) in fits
print(f"{len(fits)} choices fit, among them {fits[:4]}: a rounded total does not tell the ranks")

# %% [markdown]
# ## In practice
#
# Where this notebook departs from the paper, and how surely we know.
#
# - *The layer.* One pair per group on a frozen layer, each group with its own activations (P). That it sits on `qkv`,
#   `proj`, `fc1` and `fc2` is inferred (I) and agrees with the published multiply-adds (M, notebook 04).
# - *The start.* Kaiming-uniform $A$, zero $B$, scale 4.0 and dropout 0.05 on the input of $A$ are MTLoRA's (C). The
#   usual LoRA writes the scale as $\alpha / R$, so that it falls as the rank grows; here it is one number.
# - *The price of sharing* is our own way to say why cosines matter. The paper does not derive it.
#
# ## What we found
#
# The theory above made a prediction: at equal rank, one shared pair must fall behind grouped pairs, and more rank must
# not help it. The trainings of notebook 08 on drawn scenes (four tasks, 64 x 64 pixels, three seeds per rank) let us
# hold it against metrics. $\Delta_m$ is the mean relative gain of the tasks over one model per task.

# %% tags=["hide-input"]
from ptsa_lite.experiments.results import collected
from ptsa_lite.experiments.tables import summarise
from ptsa_lite.workshop.places import RESULTS

trained = summarise(collected(RESULTS / "study_scenes.json") + collected(RESULTS / "ranks_scenes.json"), "mean")
gain = {(row["label"], row["rank"]): row["delta_m"] for row in trained if isinstance(row["rank"], int)}
apart = {r: gain["PTSA (TGLoRA)", r] - gain["LoRA, shared", r] for label, r in gain if label == "LoRA, shared"}
low, high = min(apart), max(apart)
display(Markdown(f"""
- A fresh pair changes no output, and its $A$ gets no gradient in the first step.
- What a task wants has few directions: rank {needed[names[0]]} loses less than half of the length of what
  {names[0]} wants, where the frozen matrix would need {needed["W itself"]}.
- Sharing one pair loses at least {lost(updates, c_in):.0%} of what the {n} tasks want, whatever the rank; two pairs of
  two tasks each lose {best:.0%} to {worst:.0%}, by who sits with whom.
- The layer, a dozen lines of code, equals a loop over groups and the package's layer, in outputs and gradients. Put into
  a Swin by `insert` and `run`, it gives the maps of the package's model. In Swin-Tiny with groups (1, 1, 2, 4) it has
  {181_248 * rank:,} numbers at rank {rank}.
- **Trainings do not show the predicted gap at this size.** From rank {low} to {high} the shared adapter's $\\Delta_m$ rises
  by {gain["LoRA, shared", high] - gain["LoRA, shared", low]:.1f} points and the grouped one's by
  {gain["PTSA (TGLoRA)", high] - gain["PTSA (TGLoRA)", low]:.1f}; at no rank do they differ by more than
  {max(map(abs, apart.values())):.1f}. What the first gradient wants and what a short training reaches are two things.
"""))

# %% [markdown]
# **Next:** the cosines themselves, measured with care and with their uncertainty:
# [measure task similarity](03_measure_task_similarity.ipynb).

# %% [markdown]
# # Train many tasks
#
# [< previous: grow the task tree](04_grow_the_task_tree.ipynb) |
# [next: the same at full size, on PASCAL-Context >](06_reproduce_pascal_context.ipynb)
#
# The tree is grown; does it pay? Here you train it, watch its predictions sharpen, and then train the eight methods
# that it should beat, all with the same recipe, on the same frames and from the same backbone. At the end stand one
# table, the gain and the cost of each method, and a sober look at how much of the gain is chance. *Five to twelve minutes
# of training on two cores, without GPU or network. The comparison goes on where it stopped if you interrupt it. Notebook
# 04 leaves the tree, and without it a stated default is used.*

# %% tags=["parameters", "hide-input"]
data: str = "scenes"  # scenes, nyud or pascal
root: str = ""  # the archive's folder, for nyud and pascal
limit: int = 192  # frames of each split, 0 for all
seed: int = 0  # of everything drawn at random
out_dir: str = "runs/notebooks"  # where results are written, and the tree is looked for
img_size: int = 64  # side of the square frames, in pixels
epochs: int = 8  # passes over the training frames, for every method
batch_size: int = 16  # frames per step
rank: int = 8  # of the low-rank pairs
lr: dict[str, float] = {"low rank": 2e-3, "full": 2e-3, "biases": 4e-3, "decoders": 4e-3}  # peak rate by family
warmup_epochs: float = 1.0  # epochs over which the rate rises
amp: str = "float32"  # number format of the forward pass: float32 or bfloat16
methods: list[str] = []  # the methods compared; all nine where none is named
jobs: int = 2  # processes that train at the same time
command: str = "papermill notebooks/05_train_many_tasks.ipynb out.ipynb"  # what to say made the results

# %% tags=["hide-input"]
from ptsa_lite.checks import COUNT, SIZE
from ptsa_lite.workshop.parameters import FRAMES, RATES, checked

checked(globals(), limit=FRAMES, seed=SIZE, epochs=COUNT, batch_size=COUNT, rank=COUNT, lr=RATES, jobs=COUNT)

# %% tags=["hide-input"]
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML, Markdown, display
from torch.nn import functional as F

from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.experiments.queue import run_study
from ptsa_lite.experiments.tables import table_of_methods
from ptsa_lite.figures import (
    BOX, INK, OURS, SOFT, Drawing, draw_family, draw_training, save_figure, task_colour, task_ink, use_style,
)  # fmt: skip
from ptsa_lite.tasks import IGNORE, default_tasks
from ptsa_lite.tree import TaskTree
from ptsa_lite.workshop.exercises import guess, reveal
from ptsa_lite.workshop.places import RESULTS

started = time.monotonic()
use_style()
tasks = default_tasks(data)
names = tuple(tasks)


def say(text):
    """A sentence whose numbers were measured in this run."""
    display(Markdown(text))

# %% tags=["hide-input"]
file = Path(out_dir) / "tree.json"
saved = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
if saved.get("data") == data and set(saved["tasks"]) == set(names):
    tree, origin = TaskTree.from_dict(saved["tree"]), "the tree that notebook 04 grew"
else:
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    tree = TaskTree(((names,), (names,), halves, tuple((name,) for name in names)))
    origin = "notebook 04 left no tree for these tasks, so this one was cut by the tasks' order, not by similarity"
figure = draw_training(tree, tasks)
save_figure(figure, "05_idea", out_dir)
display(figure)
say(f"*Where the tree comes from:* {origin}.")

# %% [markdown]
# A frame walks from left to right through this figure, and grey parts are frozen. Each task computes its own loss, the
# losses are weighted and added, and *one* gradient goes back. It reaches only what is coloured: the adapters, each from
# the tasks that run through it, and the heads.
#
# The paper ([arXiv 2509.19602](https://arxiv.org/abs/2509.19602)) trains with the recipe of MTLoRA
# ([arXiv 2403.20320](https://arxiv.org/abs/2403.20320)), the method that it extends. Optimiser, rates, 300 epochs and
# batches of 32 are the paper's own words (P); the losses and their weights are read in MTLoRA's public code (C). We run
# the same recipe on a small budget.
#
# ## The frames
#
# Training frames are augmented afresh in each epoch: flipped, rotated a little, zoomed, and every label with them (a
# flipped normal points the other way, and a zoomed room is nearer). Validation frames are only resized. Frames that do
# not fill a whole batch are left out of an epoch, as in the recipe; the next epoch has another order and leaves out
# others.

# %%
options = dict(root=root, img_size=img_size, tasks=names, n_frames=limit or None)
train_set = open_dataset(data, split="train", **options)
val_set = open_dataset(data, split="val", **options)
assert len(train_set) >= batch_size, f"{len(train_set)} frames make no batch of {batch_size}; lower batch_size"
steps, dropped = divmod(len(train_set), batch_size)
batch = next(iter(make_loader(train_set, batch_size, seed=seed)))
print(f"{len(train_set)} frames to train on, {len(val_set)} to measure on; {steps} steps an epoch, {dropped} left out")
print("one batch:", {key: tuple(value.shape) for key, value in batch.items()})

# %% [markdown]
# ## Four losses
#
# Every loss is a mean over the pixels $p$ that have a label; pixels without one count nowhere. $x$ is what the head
# puts out, $y$ the label.
#
# | kind | equation | why |
# | --- | --- | --- |
# | classes (segmentation, parts) | $-\log \mathrm{softmax}(x_p)_{y_p}$ | the class that is there should be likely |
# | binary (saliency, edges) | $-\,w\,y_p \log\sigma(x_p) - (1-w)(1-y_p)\log(1-\sigma(x_p))$ | few pixels are positive: $w$ gives them as much voice as the many |
# | normals | $\lvert x_p/\lVert x_p\rVert - y_p\rvert_1 / 3$ | only the direction counts, so the length goes first |
# | depth | $\lvert x_p - y_p \rvert$ | in metres, and one wrong pixel should not rule, as a square would let it |
#
# For saliency $w$ is the share of *negatives* in the batch; for edges it is fixed at 0.95 (C). Each function below is
# its line of the table, written for the list of labelled pixels. The check compares it with the loss that training
# uses.

# %%
def class_loss(x, y):  # (N, C), (N,)
    return -torch.log_softmax(x, 1)[torch.arange(len(y)), y].mean()


def binary_loss(x, y, w):  # (N,), (N,)
    return -(w * y * F.logsigmoid(x) + (1 - w) * (1 - y) * F.logsigmoid(-x)).mean()


def normal_loss(x, y):  # (N, 3), (N, 3)
    return (x / x.norm(dim=1, keepdim=True) - y).abs().mean()


def depth_loss(x, y):  # (N,), (N,)
    return (x - y).abs().mean()


def loss_by_hand(task, prediction, target):
    """The line of the table for one task, on the pixels that have a label."""
    rows = prediction.movedim(1, -1).flatten(0, -2)  # (B, C, H, W) -> (N, C)
    labels = target.flatten() if task.kind == "segmentation" else target.movedim(1, -1).flatten(0, -2)
    valid = (labels != IGNORE) if labels.ndim == 1 else (labels != IGNORE).all(1)
    x, y = rows[valid], labels[valid]
    if task.kind == "segmentation":
        return class_loss(x, y)
    if task.kind == "normals":
        return normal_loss(x, y)
    if task.kind == "depth":
        return depth_loss(x[:, 0], y[:, 0])
    return binary_loss(x[:, 0], y[:, 0], 0.95 if task.name == "edge" else 1 - y.mean())

# %%
from ptsa_lite.losses import task_loss

generator = torch.Generator().manual_seed(seed)
for name, task in tasks.items():
    noise = torch.randn(batch_size, task.channels, img_size, img_size, generator=generator)
    by_hand, ours = loss_by_hand(task, noise, batch[name]), task_loss(task, noise, batch[name])
    assert torch.isclose(by_hand, ours, rtol=1e-4), f"{name}: {by_hand} by hand, {ours} in training"
    nothing = task_loss(task, noise, torch.full_like(batch[name], IGNORE))
    assert nothing == 0, f"{name}: a batch without labels has a loss of {nothing}"
    print(f"{name:>12}: {ours:.4f} for a random guess, as by hand; 0 where nothing is labelled")

# %% [markdown]
# The last check matters: a mean over no pixel is $0/0$, and one batch without people would turn all weights into "not a
# number".
#
# ## One loss
#
# $$L = \sum_t w_t\, L_t$$
#
# $L_t$ is the loss of task $t$ and $w_t$ its weight. The units differ: a cross-entropy of 1 is good after some
# training, while an L1 error of normals of 1 is as bad as it gets. The weights make them comparable. They are the
# recipe's (C) and were chosen by hand.
#
# **Predict.** Which task has the largest share of the sum at the start of training, and which after it? A guess is
# enough; we come back to it.

# %%
print("weights of the losses:", ", ".join(f"{name} {task.loss_weight:g}" for name, task in tasks.items()))

# %% [markdown]
# ## The optimiser and its schedule
#
# AdamW ([arXiv 1711.05101](https://arxiv.org/abs/1711.05101)) divides each gradient by a running estimate of its size,
# so that each parameter moves by about one learning rate per step, and it shrinks most weights a little each step. The
# gradient of a step is cut to a length of 5 at most, so that one bad batch cannot spoil the run. The learning rate
# rises in a straight line, because the first estimates of size are poor, and then falls along half a cosine:
#
# $$\eta(k) = \eta_{\min} + \tfrac12(\eta_{\max} - \eta_{\min})\Bigl(1 + \cos \pi\,\tfrac{k - k_w}{K - k_w}\Bigr)$$
#
# $\eta(k)$ is the rate at step $k$, $\eta_{\max}$ its peak and $\eta_{\min}$ its end, $K$ the number of steps in all,
# and $k_w$ the number of those for the warm-up.

# %%
from ptsa_lite.recipe import TrainConfig, learning_rate

FAMILIES = {"single_task": "full", "full_finetune": "full", "decoders_only": "decoders", "bitfit": "biases"}


def settings(method):
    """TrainConfig's settings of a method: all have the same but for the rate."""
    return {"epochs": epochs, "batch_size": batch_size, "lr": lr[FAMILIES.get(method, "low rank")], "amp": amp,
            "warmup_epochs": warmup_epochs, "eval_every": epochs}


def cosine_rate(k, k_w, total, lowest, highest):
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * (k - k_w) / (total - k_w))) / 2


config = TrainConfig.from_dict(settings("ptsa") | {"seed": seed})
total, k_w = steps * epochs, round(warmup_epochs * steps)
for k in range(k_w, total):
    expected = cosine_rate(k, k_w, total, config.lr * config.min_lr / config.base_lr, config.lr)
    assert math.isclose(learning_rate(k, config, steps), expected, rel_tol=1e-9), f"step {k}: another rate"

# %% tags=["hide-input"]
figure = Drawing(figsize=(7, 2.4))
axes = figure.subplots()
axes.plot([k / steps for k in range(total)], [learning_rate(k, config, steps) for k in range(total)], color=OURS)
axes.axvspan(0, warmup_epochs, color=BOX, zorder=0)
axes.set(xlabel="epoch", ylabel="learning rate", title="A straight warm-up, then half a cosine", ylim=0)
save_figure(figure, "05_schedule", out_dir)
figure

# %% tags=["hide-input"]
paper = TrainConfig()
rate = paper.base_lr * paper.batch_size / 512
assert math.isclose(rate, 3.125e-5), "the recipe's rate is not the paper's"
rows = (
    ("epochs", paper.epochs, epochs), ("batch", paper.batch_size, batch_size),
    ("steps", f"{paper.epochs * (4998 // paper.batch_size):,}", total), ("peak rate", f"{rate:g}", f"{config.lr:g}"),
    ("weight decay", paper.weight_decay, config.weight_decay), ("warm-up epochs", paper.warmup_epochs, warmup_epochs),
    ("frames", "4,998", len(train_set)), ("side in pixels", 448, img_size),
)  # fmt: skip
say("| | the paper, PASCAL (P/C) | here |\n| --- | ---: | ---: |\n"
    + "\n".join(f"| {words} | {theirs} | {ours} |" for words, theirs, ours in rows))

# %% [markdown]
# The rate rises over the grey epoch and has fallen to almost nothing at the end. Beside the paper's recipe ours has
# hundreds of times fewer steps, which is why our rates are higher. Each family of methods has its own rate, chosen
# among three or four values with one seed, on *training* frames that were held out (`figures/grids/rates_scenes.yaml`).
# Methods that train only biases or decoders do best at twice the rate of the others, and at the others' rate they lose
# two to three per cent. One rate for all would decide the comparison by the rate.
#
# ## Four metrics, one definition each
#
# Losses are for training, metrics are for people. We compute each by hand on a few pixels and compare it with the meter
# that fills the table.
#
# - **mIoU**: for each class, the pixels that prediction *and* label call so, divided by the pixels that either does;
#   counted over the whole set, then the mean over classes. Background is a class.
# - **maxIoU** (saliency): the same ratio for each image and each of 15 thresholds; mean over images; the best
#   threshold.
# - **mean angle** (normals): between prediction and label, in degrees. *Lower* is better, as for the next two.
# - **RMSE** (depth): in metres, over all pixels of the set. For edges the **loss** stands in; the larger study that
#   notebook 08 plans measures them by the boundary F-measure (odsF), which takes minutes for every evaluation.

# %%
from ptsa_lite.metrics import delta_m, make_meter

label = torch.tensor([[0, 0, 1], [1, 2, IGNORE]])  # six pixels, one without a label
said = torch.tensor([[0, 1, 1], [1, 0, 2]])
# class 0: both 1, either 3; class 1: both 2, either 3; class 2: both 0, either 1 (the last pixel does not count)
by_hand = 100 * (1 / 3 + 2 / 3 + 0 / 1) / 3
meter = make_meter(tasks["semseg"])
meter.update(10.0 * F.one_hot(said, tasks["semseg"].channels).permute(2, 0, 1)[None], label[None])
assert math.isclose(meter.compute(), by_hand, rel_tol=1e-6), f"{meter.compute()} by the meter, {by_hand} by hand"
print(f"mIoU of the six pixels: {meter.compute():.2f} %, by hand {by_hand:.2f} %")

tilt = math.radians(30)
straight, tilted = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, math.sin(tilt), math.cos(tilt)])
meter = make_meter(tasks["normals"])
meter.update(torch.stack([7 * straight, tilted], 1)[None, :, None], torch.stack([straight, straight], 1)[None, :, None])
assert math.isclose(meter.compute(), 15, rel_tol=1e-5), "0 and 30 degrees have another mean, or the length counts"
print(f"one normal right, one 30 degrees off: mean angle {meter.compute():.2f} degrees")

# %% tags=["hide-input"]
from ptsa_lite.tasks import NYUD, PASCAL

probabilities, label = torch.tensor([0.9, 0.6, 0.4, 0.3]), torch.tensor([1.0, 0, 1, 0])  # one image of four pixels
ratios = []
for threshold in np.arange(0.2, 0.91, 0.05):
    called, true = probabilities > threshold, label > 0
    ratios.append(float((called & true).sum() / (called | true).sum()))
meter = make_meter(PASCAL["saliency"])
meter.update(torch.logit(probabilities).view(1, 1, 1, 4), label.view(1, 1, 1, 4))
assert math.isclose(meter.compute(), 100 * max(ratios), rel_tol=1e-5), f"{meter.compute()}, by hand {ratios}"
print(f"maxIoU: {meter.compute():.2f} % at the best of {len(ratios)} thresholds, {100 * ratios[-1]:.0f} % at the last")

meter = make_meter(NYUD["depth"])
meter.update(torch.tensor([2.0, 3.0, 9.0]).view(1, 1, 1, 3), torch.tensor([2.0, 5.0, IGNORE]).view(1, 1, 1, 3))
assert math.isclose(meter.compute(), (4 / 2) ** 0.5, rel_tol=1e-6), "an error of 0 and one of 2 metres"
print(f"RMSE of errors of 0 and 2 metres: {meter.compute():.3f}, and the pixel without a label does not count")

# %% [markdown]
# ### Four metrics in one number
#
# To compare methods, each metric is set against a model trained for that task **alone**:
#
# $$\Delta_m = \frac{100}{T} \sum_t s_t\, \frac{M_t - M_t^{\text{single}}}{M_t^{\text{single}}}\ \%, \qquad
# s_t = \begin{cases} +1 & \text{higher is better} \\ -1 & \text{lower is better} \end{cases}$$
#
# $M_t$ is the metric of task $t$, $M_t^{\text{single}}$ that of its single-task model, and $T$ the number of tasks.
#
# **Predict** with small numbers: segmentation rises from 40 to 44, normals' error rises from 20 to 21 degrees. Is
# $\Delta_m$ positive?
#
# And with published ones. MTLoRA at rank 64 prints 67.90, 59.84, 65.40 and 16.60 on PASCAL-Context, against 67.21,
# 61.93, 62.35 and 17.97 for single tasks (C). What should it print for $\Delta_m$?

# %%
guess("gain of the small numbers, in per cent", None)  # your guess in place of None

# %%
from ptsa_lite.experiments.published import PASCAL_RESULTS, row
from ptsa_lite.tasks import select

small = delta_m({"semseg": 44, "normals": 21}, {"semseg": 40, "normals": 20}, select(PASCAL, ["semseg", "normals"]))
assert math.isclose(small, 100 * (4 / 40 - 1 / 20) / 2), "ten per cent up and five per cent down make 2.5"
mtlora, alone = row(PASCAL_RESULTS, "MTLoRA r64").values, row(PASCAL_RESULTS, "single task").values
published = delta_m(mtlora, alone, PASCAL)
assert abs(published - mtlora["delta_m"]) < 0.015, f"the published metrics give {published}"  # they are rounded
reveal("gain of the small numbers, in per cent", small)
print(f"small numbers: {small:+.2f} %; MTLoRA's metrics: {published:+.2f} %, printed there: {mtlora['delta_m']:+.2f} %")

# %% [markdown]
# It is positive, and the published number follows from its metrics. But $\Delta_m$ hides trades: ten per cent won in one
# task and five lost in another look like a small gain. It also inherits the noise of its references: if a single-task
# model has learned nothing, every method shines beside it. Look at the four metrics before the one, and at the references
# before both.
#
# ## Watch it train
#
# Now we train the tree. `build_model` puts the adapters in and freezes the rest. `train_epochs` is a generator that
# trains one epoch each time it is asked, so we can look at a prediction after every epoch.

# %%
from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.methods import build_model
from ptsa_lite.experiments.run import Run
from ptsa_lite.training.loop import describe, train_epochs

backbone = load_backbone(img_size=img_size)
study = Path(out_dir) / "study"
wanted = methods or ["single_task", "full_finetune", "decoders_only", "bitfit", "single_task_lora", "lora_shared",
                     "lora_separate", "mtlora", "ptsa"]


def the_run(method):
    """Everything that decides one training's result, as plain values."""
    return Run(method, names, tree.to_dict() if method == "ptsa" else None, rank, data, root, limit or None, img_size,
               seed=seed, config=settings(method))


def fresh_model(method, run):
    """The same model as the study makes, number by number."""
    options = {} if method in FAMILIES else dict(rank=run.rank, scale=run.scale, dropout=run.dropout)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(method, backbone, tasks, run.tree and TaskTree.from_dict(run.tree), **options)


run = the_run("ptsa")
model = fresh_model("ptsa", run)
counts = count_parameters(model)
print(f"{counts['trainable']:,} of {counts['total']:,} parameters train ({counts['trainable'] / counts['total']:.0%}); "
      f"{counts['adapters']:,} of them are adapters, {counts['heads']:,} heads")

# %% [markdown]
# **Predict.** The heads start from nothing, the adapters from zero. Which task's loss will fall furthest from the first
# epoch to the last, relative to where it was? And was your guess about the weighted sum right?

# %% tags=["hide-input"]
looked_at = next(iter(make_loader(val_set, min(16, len(val_set)))))
said = [((y != IGNORE) & (y != 0)).float().flatten(1).mean(1) for y in (looked_at[name] for name in names)]  # T of (B,)
chosen = torch.stack(said).amin(0).argsort(descending=True, stable=True)[:3]  # every task has something to say there
shown = {key: value[chosen] for key, value in looked_at.items()}


def look():
    with torch.no_grad():
        return {name: p.clone() for name, p in model.eval()(shown["image"]).items()}


# %%
checkpoints = study / run.name()  # the comparison below will find this training there, finished
shutil.rmtree(checkpoints, ignore_errors=True)
history, looks = [], [look()]
for record in train_epochs(model, train_set, val_set, tasks, config, checkpoints):
    history.append(record)
    looks.append(look())
    print(describe(record, tasks), flush=True)

# %% tags=["hide-input"]
from ptsa_lite.figures import draw_curves

losses = {name: [record["losses"][name] for record in history] for name in names}
figure = draw_curves(losses, title="Each loss, divided by its first epoch's")
save_figure(figure, "05_losses", out_dir)
figure

# %%
def shares(record):
    """Each task's part of the sum of weighted losses."""
    weighted = {name: task.loss_weight * record["losses"][name] for name, task in tasks.items()}
    return {name: value / sum(weighted.values()) for name, value in weighted.items()}


for record in (history[0], history[-1]):
    assert math.isclose(sum(tasks[n].loss_weight * record["losses"][n] for n in names), record["loss"], rel_tol=1e-3)
begins, ends = shares(history[0]), shares(history[-1])
fell = {name: 1 - values[-1] / values[0] for name, values in losses.items() if values[0]}  # 0: no labels in any frame
loudest = max(ends, key=ends.get)
say(f"From the first epoch to the last the losses fell by {', '.join(f'{v:.0%} ({n})' for n, v in fell.items())}. The "
    f"largest part of the weighted sum is that of {loudest}, {begins[loudest]:.0%} in the first epoch and "
    f"{ends[loudest]:.0%} in the last; the smallest in the last is that of {min(ends, key=ends.get)} with "
    f"{min(ends.values()):.0%}.")

# %% [markdown]
# A task with a small share is not neglected by the adapters that it has to itself in the last stage, because Adam
# divides by the size of the gradient. In the *shared* stages, though, the tasks with large shares decide the direction.
# That is one reason to separate them.
#
# ### Predictions sharpen
#
# Here is one validation frame before training, after some epochs, and at the end. **Predict**: will every epoch look
# better than the one before?

# %% tags=["hide-input"]
from ptsa_lite.figures import colour_labels, draw_progress, show


moments = sorted({0, 1, max(1, epochs // 3), epochs})
said = {f"epoch {e}" if e else "before": {name: looks[e][name][0] for name in names} for e in moments}
figure = draw_progress({name: shown[name][0] for name in names}, said, tasks, shown["image"][0])
save_figure(figure, "05_sharpening", out_dir)
figure

# %% tags=["hide-input"]
segmented = next((name for name, task in tasks.items() if task.kind == "segmentation"), None)
if segmented:
    classes = [len(maps[segmented][0].argmax(0).unique()) for maps in looks[1:]]
    there = len(shown[segmented][0][shown[segmented][0] != IGNORE].unique())
    dips = [k + 1 for k in range(1, len(classes)) if classes[k] < classes[k - 1]]
    when = " and ".join(map(str, dips[:3]))
    back = (f"It falls back in epoch{'s' * (len(dips) > 1)} {when}: while the rate is high, one epoch can throw a young "
            "head back to the most frequent classes. ") if dips else ""
    say(f"On this frame {segmented} has {there} classes, and after epochs 1 to {len(classes)} the model predicts "
        f"{', '.join(map(str, classes))}. {back}The predictions are coarse, since the heads work at an eighth of the "
        "frame's resolution; small and rare things come late, or not at all in so few steps.")

# %% [markdown]
# ### Train one yourself, with stop and continue
#
# Here you have a fresh model and a few of the frames. Choose its rank and its groups, and see what they cost. *Train*
# starts it or goes on, *Stop* holds it after the present epoch, and *Start again* throws it away, as does another
# choice. Nothing happens before you press. The picture is drawn anew after every epoch. On a page without a kernel the
# training above stands here as an example.

# %% tags=["hide-input"]
def draw_live(curves, predictions):
    """Loss curves on the left, the first shown frame's predictions on the right."""
    figure = Drawing(figsize=(11, 2.6))
    draw_curves(curves, axes=figure.add_axes([0.06, 0.18, 0.27, 0.72]))
    for k, (name, task) in enumerate(tasks.items()):
        place = figure.add_axes([0.45 + 0.138 * k, 0.15, 0.13, 0.6])
        show(place, colour_labels(task, predictions[name][0], predicted=True))
        place.set_title(name, color=task_ink(name), fontsize=9, loc="center")
    return figure


# %% tags=["hide-input"]
import asyncio
from dataclasses import replace

from ipywidgets import HTML as Words
from ipywidgets import Box, Button, Dropdown, Image, VBox
from ptsa_lite.workshop.widgets import show_controls

# %% tags=["hide-input"]
trees = {"the tree": tree, "one for all": TaskTree.shared(names), "one per task": TaskTree.separate(names)}
named = [(f"{one.n_groups}, {words}", one) for words, one in trees.items()]
rank_choice = Dropdown(options=sorted({1, 2, 4, 8, 16, 32, rank}), value=rank, description="rank")
groups_choice = Dropdown(options=named, value=tree, description="groups")
few = train_set.select(range(min(2 * batch_size, len(train_set))))
long = TrainConfig(epochs=40, batch_size=batch_size, lr=config.lr, warmup_epochs=1, seed=seed)


def chosen_model():
    return fresh_model("ptsa", replace(run, rank=rank_choice.value, tree=groups_choice.value.to_dict()))


def price(model):
    return f"{count_parameters(model)['adapters']:,} numbers in adapters, {count_macs(model) / 1e9:.3f} GMACs"


# %% tags=["hide-input"]
class Player:
    """A training that a reader starts, stops and continues; each start is a turn, which ends where another begins."""
    def __init__(self):
        self.picture, self.words = Image(format="png", layout={"max_width": "100%"}), Words()
        self.again()

    def again(self, *_):
        self.turn, self.curves, self.model = None, {name: [] for name in names}, chosen_model()
        self.records = train_epochs(self.model, few, None, tasks, long)
        self.words.value = f"not started; {price(self.model)}"
        self.picture.layout.display = "none"  # no picture until there is one

    def stop(self, *_):
        self.turn = None

    def train(self, *_):
        if self.turn is None:
            self.turn = object()
            asyncio.ensure_future(self.go(self.turn))

    async def go(self, turn):
        while self.turn is turn and (record := next(self.records, None)):
            for name in names:
                self.curves[name].append(record["losses"][name])
            with torch.no_grad():
                self.picture.value = draw_live(self.curves, self.model(shown["image"][:1]))._repr_png_()
            self.words.value, self.picture.layout.display = f"epoch {record['epoch']}, loss {record['loss']:.2f}", None
            await asyncio.sleep(0.05)  # let the buttons be heard

# %% tags=["hide-input"]
player = Player()
buttons = [Button(description=words) for words in ("Train", "Stop", "Start again")]
for button, action in zip(buttons, (player.train, player.stop, player.again), strict=True):
    button.on_click(action)
for choice in (rank_choice, groups_choice):
    choice.observe(player.again, "value")
controls = (Box(row, layout={"flex_flow": "row wrap"}) for row in ([rank_choice, groups_choice], buttons))
show_controls(VBox([*controls, player.words, player.picture]), still=draw_live(losses, looks[-1]))

# %% [markdown]
# ## The families of methods
#
# Every method keeps the pre-trained backbone and trains something beside it or in it, and every method has a head per
# task. They differ in *what* they train and in *whom it belongs to*. In the drawing grey is frozen, a part in one
# colour is that task's own, and a striped part is shared by the tasks of its stripes.

# %% tags=["hide-input"]
figure = draw_family(names)
save_figure(figure, "05_family", out_dir)
display(figure)

# %% [markdown]
# The first row differs only in whose pair it is: one for all, one for each task, or one for each group, which is the
# paper's layer. In MTLoRA the tasks separate at the end of a stage, and what each computes there goes to its own head and
# no further. A *bottleneck* adapter stands in the stream, whereas a pair stands beside it; between its two matrices there
# is a GELU, so it cannot be merged into $W$ afterwards. A *hypernetwork* $H$ is one network, shared by all tasks, whose
# outputs are the matrices of the adapters: each task owns only the short vector that it puts in (a dot) and the biases of
# its adapters. DoRA trains, beside the pair, the length $m$ of every output of $W$; DiTASK bends the singular values $S$
# of $W$ by a trained curve $f$; prompts are trained tokens that are put before a block's own. Methods that train a part of
# $W$ itself, such as its biases, need no drawing.
#
# The table is computed from the package: each method is built for our tasks on our small backbone, and its trained
# parameters and the multiply-adds of one frame are counted.

# %% tags=["hide-input"]
from ptsa_lite.methods import METHODS

KIND = {  # method: its family, what it trains that all tasks share, what each task has of its own
    "single_task": ("one model per task", "nothing", "a whole backbone"),
    "single_task_lora": ("one model per task", "nothing", "a low-rank pair per layer *"),
    "full_finetune": ("weights of the backbone", "all of them", "nothing"),
    "bitfit": ("weights of the backbone", "its biases", "nothing"),
    "relative_bias": ("weights of the backbone", "its position tables", "nothing"),
    "decoders_only": ("weights of the backbone", "none of them", "nothing"),
    "lora_shared": ("low-rank pairs", "a pair per layer *", "nothing"),
    "lora_separate": ("low-rank pairs", "nothing but *", "a pair per layer"),
    "dora_shared": ("low-rank pairs", "a pair and magnitudes per layer *", "nothing"),
    "dora_separate": ("low-rank pairs", "nothing but *", "a pair and magnitudes per layer"),
    "mtlora": ("low-rank pairs", "a pair per layer *", "a small pair at the end of each stage"),
    "tadformer": ("low-rank pairs", "a pair per layer, filters made of their input *", "a prompt that picks features"),
    "ptsa": ("low-rank pairs", "pairs of early stages *", "pairs of late stages; between, a pair per group"),
    "ditask": ("singular values", "a monotone map per layer *", "a map at the end of each stage"),
    "adapter": ("bottleneck adapters", "norms", "two adapters per block"),
    "compacter": ("bottleneck adapters", "norms", "the same, as sums of Kronecker products"),
    "hyperformer": ("hypernetworks", "norms, a network per adapter", "an embedding from which it makes adapters"),
    "hyperformer_plus": ("hypernetworks", "norms, one network for all layers", "an embedding, as above"),
    "polyhistor": ("hypernetworks", "norms, a network per adapter", "an embedding from which it makes small factors"),
    "polyhistor_lite": ("hypernetworks", "norms, one network, scaling kernels", "an embedding, as above"),
    "vpt_shallow": ("prompts", "nothing", "extra tokens before the first block"),
    "vpt_deep": ("prompts", "nothing", "extra tokens before every block"),
}
ARXIV = {  # where a method was first described
    "bitfit": "2106.10199", "lora_shared": "2106.09685", "dora_shared": "2402.09353", "mtlora": "2403.20320",
    "ptsa": "2509.19602", "ditask": "2502.06029", "adapter": "1902.00751", "compacter": "2106.04647",
    "tadformer": "2501.04293", "hyperformer": "2106.04489", "polyhistor": "2210.03265", "vpt_shallow": "2203.12119",
}

# %% tags=["hide-input"]
costs = {}
for method, row_of in METHODS.items():
    options = {"rank": rank} if row_of.low_rank else {}
    one = build_model(method, backbone, tasks, tree if method == "ptsa" else None, **options)
    costs[method] = count_parameters(one)["trainable"] / 1e6, count_macs(one) / 1e9
del one
order = [*(method for method in KIND if method in METHODS), *(method for method in METHODS if method not in KIND)]
lines = ["| family | method | trained for all tasks | trained for each task | M | GMACs |",
         "| --- | --- | --- | --- | ---: | ---: |"]
for place, method in enumerate(order):
    family, everyone, each = KIND.get(method, ("others", "see its file in `ptsa_lite/baselines`", ""))
    before = KIND.get(order[place - 1], ("others",))[0] if place else ""
    title = f"**{METHODS[method].title}**" if method in wanted else METHODS[method].title
    if method in ARXIV:
        title = f"[{title}](https://arxiv.org/abs/{ARXIV[method]})"
    lines.append(f"| {family if family != before else ''} | {title} | {everyone} | {each} | {costs[method][0]:.3f} | "
                 f"{costs[method][1]:.3f} |")
say("\n".join(lines))
say(f"M: millions of trained parameters, heads included (every method has {counts['heads'] / 1e6:.3f} M of them). "
    f"Low-rank methods have rank {rank}. The star stands for norms, position tables, patch embedding and patch "
    "mergings, which these methods also train, as MTLoRA's public code does (C); TADFormer freezes the mergings. The "
    "bold methods are trained below.")

# %% [markdown]
# The last column shows what sharing decides. A method that gives each task its own adapters *inside* the backbone has
# to run the backbone once per task, because the activations differ; a method whose changes are shared runs it once. The
# tree lies between the two.
#
# **Predict.** Of the bold methods, the references aside, which place by $\Delta_m$ will PTSA take? 1 is the best.

# %%
guess("place of PTSA", None)  # your guess in place of None

# %% [markdown]
# The next cell trains them, two at a time. Each finished run is a small file, so an interrupted comparison goes on
# where it stopped. The training that we just watched is found there and not repeated.

# %%
runs = [the_run(method) for method in wanted]
kept = sum((study / f"{one.name()}.json").is_file() for one in runs)
results = run_study(runs, study, jobs=jobs, report=lambda line: print(line, flush=True))
shutil.rmtree(checkpoints, ignore_errors=True)  # left there only if the result itself was from an earlier day
of_ptsa = [result for result in results if result["run"]["method"] == "ptsa"]
# A result kept from an earlier day, with another number of threads, differs in how sums were rounded; hence 10 %.
assert all(math.isclose(result["metrics"][name], history[-1]["metrics"][name], rel_tol=0.1)
           for result in of_ptsa for name in names), "the study's PTSA is not the one that we watched"

# %% [markdown]
# Before looking for a winner, look at the references. Each single-task model is compared with a **constant
# prediction**, the best guess that is the same for every pixel of every frame. Where a reference is no better than
# that, $\Delta_m$ divides by something that was never learned, and so we print none.

# %% tags=["hide-input"]
from ptsa_lite.metrics.constant import constant_prediction

every_label = list(make_loader(val_set, batch_size))
floor = {name: constant_prediction(task, [one[name] for one in every_label]) for name, task in tasks.items()}
single = next((r["metrics"] for r in results if r["run"]["method"] == "single_task"), {})
learned = {name: (single[name] > floor[name]) == tasks[name].higher_is_better for name in single}
if single:
    lines = ["| task | constant prediction | single task | it has learned |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {n} {t.metric} | {floor[n]:.2f} | {single[n]:.2f} | {'yes' if learned[n] else 'no'} |"
              for n, t in tasks.items()]
    say("\n".join(lines))
sound = bool(learned) and all(learned.values())
if not sound:
    say("**No $\\Delta_m$ below:** a single-task reference is missing or has not left the constant prediction.")

# %% tags=["hide-input"]
from ptsa_lite.workshop.report import html_table, remarks

record = {
    "data": data, "command": command, "seed": seed, "img_size": img_size,
    "tasks": [{"name": t.name, "metric": t.metric, "higher_is_better": t.higher_is_better} for t in tasks.values()],
    "methods": [r if sound else r | {"delta_m": None} for r in table_of_methods(results)],
    "tree": tree.to_dict(), "tree_from": origin, "frames": results[0]["frames"],
    "config": {method: settings(method) for method in wanted}, "rank": rank, "versions": results[0]["versions"],
    "seconds": round(time.monotonic() - started, 1),
}  # fmt: skip
path = Path(out_dir) / "results.json"
path.with_suffix(".part").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
path.with_suffix(".part").replace(path)
display(HTML(html_table(record)))
notes = remarks(record)
if notes:
    print(*notes, sep="\n")
by_method = {r["method"]: r for r in record["methods"]}

# %% [markdown]
# Arrows in the headings say which way is better, and bold is the best of a column. *Decoders only* trains least and is
# the floor of the comparison. The time is that of training and measuring while another training ran beside it, so
# compare costs by parameters and multiply-adds instead.

# %% tags=["hide-input"]
if {"lora_shared", "ptsa", "lora_separate"} <= set(by_method):
    three = [by_method[m]["gmacs"] for m in ("lora_shared", "ptsa", "lora_separate")]
    assert three == sorted(three) and three[0] < three[2], "the tree does not lie between sharing all and nothing"
    way = (three[1] - three[0]) / (three[2] - three[0])
    say(f"From sharing every adapter to sharing none, the multiply-adds of a frame rise from {three[0]:.3f} to "
        f"{three[2]:.3f} GMACs. The tree costs {three[1]:.3f}, which is {way:.0%} of the way.")

# %% [markdown]
# ## Gain against cost
#
# Up is better, left is cheaper. The first panel counts the parameters that train, the second the multiply-adds of one
# frame. The third shows published numbers of the same line of work: other data (PASCAL-Context), another backbone
# ([Swin-Tiny](https://arxiv.org/abs/2103.14030)) and much larger frames. Its axes are not ours, so only the *pattern*
# may be compared. (Letters in brackets say how surely we know a number; R is recalled and was not checked.)

# %% tags=["hide-input"]
from ptsa_lite.figures import draw_tradeoff
from ptsa_lite.experiments.published import as_points

figure = Drawing(figsize=(8.5, 13))
panels = figure.subplot_mosaic([["trainable"], ["gmacs"], ["published"]])
where = f"{data}, {img_size} px, one seed"
draw_tradeoff(record["methods"], "trainable", f"Ours: {where}", panels["trainable"])
draw_tradeoff(record["methods"], "gmacs", "Ours: arithmetic of one frame", panels["gmacs"])
published_rows = as_points(PASCAL_RESULTS)
draw_tradeoff(published_rows, "trainable", "Published: PASCAL-Context, 448 px, Swin-Tiny", panels["published"])
figure.subplots_adjust(hspace=0.38)
save_figure(figure, "05_tradeoff", out_dir)
figure

# %% tags=["hide-input"]
comparable = [r for r in record["methods"] if sound and r["delta_m"] is not None and r["method"] != "single_task"]
order = sorted(comparable, key=lambda r: -r["delta_m"])
places = {r["method"]: k for k, r in enumerate(order, 1)}
if "ptsa" in places:
    reveal("place of PTSA", places["ptsa"])
if order:
    lead, cheapest = order[0], min(order, key=lambda r: r["gmacs"])
    full = row(PASCAL_RESULTS, "full fine-tuning").values
    low_rank = [r for r in order if METHODS[r["method"]].low_rank and r["method"] != "single_task_lora"]
    words = f"The highest gain here is that of {lead['label']}, {lead['delta_m']:+.2f} % at {lead['gmacs']:.3f} GMACs. "
    if lead["method"] == "full_finetune" and low_rank:
        words += (f"It trains all {lead['trainable'] / 1e6:.1f} M weights and is as cheap to run as any other method "
                  f"({cheapest['gmacs']:.3f}). The low-rank methods follow at {low_rank[0]['delta_m']:+.2f} % and "
                  "below, with far fewer trained parameters. In the published panel it is the other way round: full "
                  f"fine-tuning (printed {full['delta_m']:+.2f} %, R) lies below the newer adapters. A short training "
                  "from a small backbone need not repeat the pattern of a long one.")
    say(words)

# %% [markdown]
# ## Which task gains, and which pays
#
# Now $\Delta_m$ taken apart: the gain of each task over its single-task model, method by method.

# %% tags=["hide-input"]
def gain(metrics, single, name):
    """One task's term of delta_m, in per cent."""
    return delta_m({name: metrics[name]}, {name: single[name]}, {name: tasks[name]})


def draw_gains(rows, single):
    figure = Drawing(figsize=(11, 3.6))
    axes = figure.subplots()
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        heights = [gain(r["metrics"], single, name) for r in rows]
        places = np.arange(len(rows)) + (k - (len(names) - 1) / 2) * width
        axes.bar(places, heights, width * 0.92, color=task_colour(name), label=name)
    for place, r in enumerate(rows):
        axes.plot([place - 0.42, place + 0.42], [r["delta_m"]] * 2, color=INK, linewidth=2)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.set_xticks(range(len(rows)), [r["label"].replace(", ", ",\n").replace(" (", "\n(") for r in rows], fontsize=8)
    axes.set(ylabel="gain over single task, %", title="Bars: a task each. Black line: their mean, Δm")
    axes.legend(ncols=len(names), loc="best", fontsize=8)
    return figure


if comparable:
    for r in comparable:
        assert math.isclose(np.mean([gain(r["metrics"], single, n) for n in names]), r["delta_m"], abs_tol=1e-9)
    figure = draw_gains(comparable, single)
    save_figure(figure, "05_gains", out_dir)
    display(figure)

# %% tags=["hide-input"]
if comparable:
    by_task = {name: [gain(r["metrics"], single, name) for r in comparable] for name in names}
    widest = max(by_task, key=lambda name: max(by_task[name]) - min(by_task[name]))
    steady = min(by_task, key=lambda name: max(by_task[name]) - min(by_task[name]))
    say(f"The methods differ most in {widest}, from {min(by_task[widest]):+.1f} to {max(by_task[widest]):+.1f} %, and "
        f"least in {steady}, from {min(by_task[steady]):+.1f} to {max(by_task[steady]):+.1f} %. A mean over tasks is "
        f"therefore decided largely by {widest}.")

# %% [markdown]
# ## How much of that is noise?
#
# One seed is one draw, and the result depends on it in more than one way.
#
# *The frames that we measure on.* Had others been drawn, the metrics would differ. The model that we watched is still
# in memory, so we measure it on either half of the validation frames.

# %% tags=["hide-input"]
from ptsa_lite.training.loop import evaluate

parts = [val_set.select(range(k, len(val_set), 2)) for k in (0, 1)]
half = [evaluate(model, part, tasks, batch_size) for part in parts]
lines = ["| task | one half | the other | all |", "| --- | ---: | ---: | ---: |"]
lines += [f"| {name} {task.metric} | {half[0][name]:.2f} | {half[1][name]:.2f} | {history[-1]['metrics'][name]:.2f} |"
          for name, task in tasks.items()]
say("\n".join(lines))
usable = comparable and all(half[k][n] == half[k][n] and half[k][n] for k in (0, 1) for n in names)
if usable:
    halves = [delta_m(h, single, tasks) for h in half]
    say(f"Against the same references, $\\Delta_m$ would be {halves[0]:+.1f} % on one half and {halves[1]:+.1f} % on "
        "the other.")

# %% [markdown]
# That is the same model, so the whole difference is chance. But it overstates what a comparison suffers: the references
# are those of all frames, and where one half is easier, it is so for every method. With half of the frames chance is also
# larger than with all.
#
# *The seed of the training* decides heads, adapters, the order of frames and their augmentation. To see its effect one
# has to train again with other seeds. The study has done so with the same frames, size and rank: the same methods, all
# seven trees, and some rivals of equal cost. [Notebook 08](08_question_the_result.ipynb) takes its results apart; here
# is the mean and the standard deviation of $\Delta_m$ for each, against the mean of the single-task models.
#
# *The budget.* Nothing here says what a long training would give. Methods that learn fast look better in a short one.

# %% tags=["hide-input"]
from ptsa_lite.experiments.results import collected
from ptsa_lite.experiments.tables import summarise

found = collected(RESULTS / f"study_{data}.json")
rows = sorted((r for r in summarise(found, "mean") if r["delta_m"] is not None), key=lambda r: -r["delta_m"])


def named(one):
    """The row's label, and for another tree its first split."""
    splits = [stage.replace(" | ", " against ") for stage in (one["groups"] or "").split(" > ") if " | " in stage]
    return f"{one['label']}: {splits[0]}" if one["label"].endswith("another tree") and splits else one["label"]


if rows:
    lines = ["| study | rank | $\\Delta_m$ % | sd | seeds |", "| --- | --- | ---: | ---: | ---: |"]
    for r in rows:
        spread = "–" if r["delta_m_sd"] is None else f"{r['delta_m_sd']:.2f}"
        lines.append(f"| {named(r)} | {r['rank'] or '–'} | {round(r['delta_m'], 2) + 0:+.2f} | {spread} | {len(r['gains'])} |")
    say("\n".join(lines))
else:
    say(f"There is no study of {data} in figures/results yet.")

# %% tags=["hide-input"]
from ptsa_lite.experiments.statistics import paired_difference

studied = {r["method"]: r for r in rows if r["label"] == METHODS[r["method"]].title}
verdict = ""
if {"ptsa", "lora_shared", "decoders_only"} <= set(studied) and len(studied["ptsa"]["gains"]) > 1:
    apart = paired_difference(studied["ptsa"]["gains"], studied["lora_shared"]["gains"])
    beats = "does not include zero" if apart["low"] > 0 or apart["high"] < 0 else (
        "includes zero: at this size we cannot say that grouping by similarity beats sharing everything")
    verdict = (f"Over the study's {apart['n']} seeds PTSA gains {apart['mean']:+.2f} more than one shared LoRA of the "
               f"same rank. The 95 % interval, {apart['low']:+.2f} to {apart['high']:+.2f}, {beats}.")
    say(f"{verdict} Each method alone moves by about {studied['ptsa']['delta_m_sd']:.1f} from seed to seed. Decoders "
        f"only lies at {studied['decoders_only']['delta_m']:+.1f} %, far below the methods that adapt the whole "
        "backbone. So that distance is real, and the order among those methods is not established.")

# %% [markdown]
# ## What it sees
#
# Four tasks, one backbone, one pass: labels above, predictions below.

# %% tags=["hide-input"]
from ptsa_lite.figures import draw_predictions

figure = draw_predictions(shown["image"], {name: shown[name] for name in names}, look(), tasks)
save_figure(figure, "05_predictions", out_dir)
figure

# %% [markdown]
# Large things are where they belong, and their outlines are soft: after so few steps at this size, a prediction is a
# sketch. Sharp maps need larger frames and longer training.
#
# ## In practice
#
# What this notebook does, and what the paper does. (The letters say how we know, as in
# [notebook 00](00_take_the_tour.ipynb).)
#
# - The paper trains 300 epochs on 4,998 photographs at 448 pixels with Swin-Tiny and
#   [PVT](https://arxiv.org/abs/2102.12122) (P). Here it is minutes, drawn scenes or your archive, and a small Swin. Our
#   table describes *this* setting and reproduces none of the paper's rows.
# - That line of work uses one rate for all methods (C); here each family has its own, stated in the parameters.
# - Here the low-rank methods have one rank in all stages, the same *rank* and not the same number of parameters; the
#   study adds rivals of equal cost.
# - There the best epoch is often picked on the test frames, and single-task references are inherited from an older
#   paper (C). Here the last epoch counts, and the references are trained beside the rest.
#
# With real photographs, `python -m ptsa_lite reproduce --data nyud --root PATH` runs this series on your copy of
# NYUD-v2.
#
# ## On your own
#
# 1. *Change one number.* What is $\Delta_m$ of a method that is exactly as good as the single tasks but for one, in
#    which it is twenty per cent better? With four tasks, and with two? (`check` says whether you are right; the
#    solutions are folded beneath.)
# 2. *Extend one function.* `delta_m` takes single tasks as the reference. Make *decoders only* the reference and print
#    the table's gains anew. Does the order change? Must it?
# 3. *Question one claim.* The published table gives full fine-tuning 67.56, 60.24, 65.21, 16.64 and a $\Delta_m$ of
#    +2.23. Do the four metrics give that number? Which one do they give?

# %%
from ptsa_lite.workshop.exercises import check

check("05.1", None)  # [of four tasks, of two] in place of None

# %% tags=["solution"]
gains = []
for n in (4, 2):
    some = dict(list(PASCAL.items())[:n])
    base = dict.fromkeys(some, 50.0)
    gains.append(round(delta_m(base | {"semseg": 60.0}, base, some), 6))
check("05.1", gains)

# %% tags=["solution"]
if {"decoders_only", "single_task"} <= set(by_method) and comparable:
    base = by_method["decoders_only"]["metrics"]
    anew = sorted(record["methods"], key=lambda r: -delta_m(r["metrics"], base, tasks))
    print(" > ".join(f"{r['label']} {delta_m(r['metrics'], base, tasks):+.1f}" for r in anew))
    same = [r["label"] for r in anew] == [r["label"] for r in sorted(record["methods"], key=lambda r: -r["delta_m"])]
    print("the order is", "the same here" if same else "another", "- it need not be: each task's gain is divided by "
          "another reference, so the tasks are weighed anew")

# %%
check("05.3", None)

# %% tags=["solution"]
printed = row(PASCAL_RESULTS, "full fine-tuning").values
computed = delta_m(printed, alone, PASCAL)
print(f"the metrics give {computed:+.2f} %, the table prints {printed['delta_m']:+.2f} % (R: recalled, not checked)")
check("05.3", computed)

# %% [markdown]
# ## What we found

# %% tags=["hide-input"]
say(f"We trained {len(results)} methods for {epochs} epochs of {steps} steps on {len(train_set)} frames of {data} at "
    f"{img_size} pixels, with one seed.")
if order:
    listed = "; ".join(f"{r['label']} {r['delta_m']:+.1f}" for r in order)
    ours = by_method.get("ptsa")
    near = [r["label"] for r in order if ours and r is not ours and abs(r["delta_m"] - ours["delta_m"]) < 3]
    say(f"**By $\\Delta_m$ in per cent: {listed}.** " + (
        f"PTSA is number {places['ptsa']} of {len(order)} with {ours['trainable'] / 1e6:.2f} M trained parameters and "
        f"{ours['gmacs']:.3f} GMACs; within three per cent of it {'lie ' + '; '.join(near) if near else 'lies none'}."
        if "ptsa" in places else ""))
if usable:
    say(f"**The doubt.** The same PTSA model measures {halves[0]:+.1f} or {halves[1]:+.1f} %, depending on which half "
        f"of the validation frames is used; part of that is one half being easier for every model. {verdict}")
if not sound:
    say("A single-task reference is missing or has learned nothing yet, so we rank nothing.")

# %% [markdown]
# Next: [the same at full size, on PASCAL-Context >](06_reproduce_pascal_context.ipynb), and after it
# [question the result >](08_question_the_result.ipynb).

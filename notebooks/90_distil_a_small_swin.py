# %% [markdown]
# # Distil a small Swin
#
# *An appendix: where the frozen backbone of the other notebooks comes from.*
# [< bring your own tasks](09_bring_your_own_tasks.ipynb) | [back to the tour >](00_take_the_tour.ipynb)
#
# The series runs without a network, because it ships a backbone of its own. This page tells how that backbone learned to
# see: by imitating what another network computes inside, on photographs without a single label. The picture shows how
# much of its teacher it explains, on photographs that it has never seen.
#
# ![Share of the teacher's variance explained, by minutes of training](../figures/90_history.png)
#
# **What you'll do**
#
# - Teach a Swin of 3 million parameters to see as a convolutional network of another kind sees, without a single label.
#
# **What you'll learn**
#
# - Why a feature map is a better teacher than a class.
# - How to choose which map teaches which, so that the student's grid and the teacher's are the same.
# - How to read a distillation's progress as a share of variance, from 0 to 1.
#
# **What you'll need**
#
# - Notebook [01](01_freeze_a_swin.ipynb) for the stages of a Swin. A minute on two processor cores for the default,
#   which only shows the mechanics, no GPU, no network. A real run needs a folder of photographs, a file of the
#   teacher's weights, and an hour or two of a CPU; `python -m ptsa_lite distil` is it as a command.

# %% [markdown]
# ## Where this sits
#
# The paper freezes a Swin that was trained on ImageNet. Such weights come from a hub, and a notebook that needs a hub fails on a train, in a class without network, or the day after a link dies. So this project ships a Swin of its own, with the shape of Swin-Tiny at a third of its width. With a network you can take the paper's instead, by `load_backbone("swin_tiny_patch4_window7_224.ms_in1k")`.
#
# A frozen backbone is only worth studying if it has learned something. We have a teacher, EfficientNet-Lite0, trained on ImageNet by others, and photographs without labels. The student is asked to reproduce what the teacher computes *inside*.

# %% tags=["hide-input"]
import itertools
import json
from pathlib import Path

import numpy as np
import timm
import torch
from IPython.display import Markdown, display
from ptsa_lite.workshop.places import RESULTS
from PIL import Image
from torch.nn import functional as F

from ptsa_lite import backbones
from ptsa_lite.workshop import distil, muon, teacher
from ptsa_lite.scenes import render_scene
from ptsa_lite.experiments.tables import markdown
from ptsa_lite.figures import Drawing, draw_grid, in_words, name_ends, save_figure, use_style

use_style()


def say(*paragraphs):
    display(Markdown("\n\n".join(paragraphs)))

# %% tags=["parameters", "hide-input"]
folders: list[str] = []  # folders of photographs; empty: scenes are drawn instead
teacher_file: str = ""  # weights of tf_efficientnet_lite0; empty: an untrained teacher, mechanics only
student_name: str = "swin_small_distilled"  # what *Run it* trains: the shape of the small Swin, or one of timm's Swins
minutes: float = 0.5  # of training; the schedule ends there
size: int = 64  # the student's crops; the packaged weights were trained at 128
views: int = 2  # crops of each photograph
batch_size: int = 16  # crops per step
lr: float = 5e-3  # peak learning rate of the matrices
n_scenes: int = 64  # scenes drawn where no folder is given
seed: int = 0  # of everything drawn at random
out_dir: str = "runs/notebooks/distil"  # a run that stopped goes on from here

# %% tags=["hide-input"]
from ptsa_lite.checks import COUNT, POSITIVE, SIZE
from ptsa_lite.workshop.parameters import SIDE, between, checked

checked(globals(), seed=SIZE, minutes=POSITIVE, size=SIDE, views=COUNT, batch_size=COUNT, lr=POSITIVE, n_scenes=between(8, 10_000))

# %% [markdown]
# ## The photographs
#
# Any photographs will do; labels are not looked at. `list_photographs` reads only the *training* split of a folder that is an archive with splits, so that nothing is learned from a frame that is later used for testing.

# %%
out = Path(out_dir)
config = distil.DistilConfig(
    minutes=minutes, size=size, views=views, batch_size=batch_size, lr=lr, held_out=128 if folders else 16, seed=seed,
    backbone=student_name,
)
if not folders:
    drawn = out / "scenes"
    drawn.mkdir(parents=True, exist_ok=True)
    for i in range(n_scenes):
        Image.fromarray(render_scene(i, seed, 2 * size)["image"]).save(drawn / f"{i:04}.jpg", quality=95)
    folders = [drawn]
photographs = [path for folder in folders for path in teacher.list_photographs(folder)]
print(f"{len(photographs)} photographs in {len(folders)} folders")

# %% [markdown]
# ## The teacher
#
# EfficientNet-Lite0 has five feature maps, at strides 2, 4, 8, 16 and 32. Without a file of its weights we take the same network untrained. Its maps are then random functions of the picture: no use to anyone, but a student can learn them just the same, and that is all we need to watch the machinery. **Numbers that mean something come from the real run, further down.**

# %%
torch.manual_seed(seed)
teach = teacher.load_teacher(teacher_file) if teacher_file else timm.create_model("tf_efficientnet_lite0").eval()
teach = teach.cpu()  # until *Run it* everything is small
print("the teacher is", "trained" if teacher_file else "untrained: this run shows mechanics only")
_, maps = teach.forward_intermediates(torch.zeros(1, 3, 2 * size, 2 * size))
for m in maps:
    print(f"stride {2 * size // m.shape[-1]:2d}: {tuple(m.shape[1:])}")

# %% [markdown]
# ## Which map teaches which?
#
# The obvious pairing is by stride: the student's map at stride 8 learns from the teacher's map at stride 8. There is a better one, and it costs the student nothing. Show the teacher the same crop at **twice the size**. Its map at stride 16 then has exactly as many cells as the student's at stride 8, and it comes from one level deeper in the network. It knows more about what things are.
#
# | student | grid for a crop of $S$ | teacher, crop of $2S$: own stride, averaged down | and one level deeper |
# | --- | --- | --- | --- |
# | stride 4 | $S/4$ | stride 4 | stride 8 |
# | stride 8 | $S/8$ | stride 8 | stride 16 |
# | stride 16 | $S/16$ | stride 16 | stride 32 |
# | stride 32 | $S/32$ | stride 32 | the class scores, from the pooled map |
#
# How many channels does each student map have to answer for? Add them up from the list above before you look.
#
# (The student's maps are read *before* the patch merging that ends a stage, so their strides are 4, 8, 16 and 32. Notebook 01 reads them after it, as the paper's line of work does: 8, 16, 32 and 32. They are the same stages.)

# %%
crops = torch.stack([
    torch.from_numpy(teacher.random_crop(Image.open(path), size, np.random.default_rng(i)).copy()).permute(2, 0, 1)
    for i, path in enumerate(photographs[:8])
])
*stored, scores = teacher.teacher_maps(teach, crops)
targets = teacher.student_targets(stored)
for s, maps in zip((4, 8, 16, 32), targets, strict=True):
    print(f"stride {s:2d} answers for", " and ".join(str(tuple(t.shape[1:])) for t in maps))
    assert all(t.shape[-1] == size // s for t in maps), "each target lies on the student's grid"
assert distil.channels_of(targets) == [64, 152, 432, 320], "the pairing above gives these channel counts"

# %% [markdown]
# They answer for 64, 152, 432 and 320 channels. Here is what the student sees, and one channel of each thing that it is asked to say.

# %% tags=["hide-input"]
rows = [[crops[i].permute(1, 2, 0), F.avg_pool2d(crops[i].float(), 2).byte().permute(1, 2, 0),
         *(target[-1][i, -1] for target in targets)] for i in range(3)]
draw_grid(rows, ["teacher's crop", "student's crop", "stride 4", "stride 8", "stride 16", "stride 32"], cmap="viridis")

# %% [markdown]
# ## The loss is a share of variance
#
# Channels of a network live on very different scales, so each is standardised: mean 0, variance 1, measured once over the crops. The student answers through a linear map per stage, thrown away afterwards. With prediction $p$ and standardised target $z$,
#
# $$ L = \operatorname{mean}\,(p - z)^2, \qquad 1 - L = \text{share of the teacher's variance explained.} $$
#
# A stage with two targets counts them alike. Counted channel by channel, the deeper map would drown the finer one: 112 against 40, 320 against 112.
#
# A student that always answers with the mean scores 0. A perfect one scores 1. **Predict:** what will a student with random weights score, before its first step?

# %%
student = distil.Student(backbones.load_backbone(weights="random", img_size=size), distil.channels_of(targets), 1000)
standard = [[(t - t.mean((0, 2, 3), keepdim=True)) / t.std((0, 2, 3), keepdim=True) for t in maps] for maps in targets]
with torch.no_grad():
    answers, _ = student(distil.normalise(F.avg_pool2d(crops.float(), 2) / 255))
explained = 1 - distil.unexplained(answers, standard)
print("explained before any training:", " ".join(f"{e:+.2f}" for e in explained))
assert explained.max() < 0.1, "random weights explain nothing"

# %% [markdown]
# Below 0: it answers something, and that something is not the mean, which would have been better.

# %% [markdown]
# ## Ask once, keep the answer
#
# The teacher is slower than the student. So each photograph is cropped a few times, each crop is shown to the teacher once, and the answers are kept on disk with 8 bits per value, which is a step of a sixteenth of a standard deviation. Rounding to a grid of step $d$ adds a variance of $d^2/12$. **Predict** it for $d = 1/16$, of a variance of 1.

# %%
z = standard[1][1]
kept = (z / teacher.STEP).round().clamp(-127, 127) * teacher.STEP
inside = z.abs() < 127 * teacher.STEP
lost = ((kept - z)[inside] ** 2).mean().item()
print(f"variance lost by rounding: {lost:.6f}, predicted {teacher.STEP**2 / 12:.6f}")
assert abs(lost / (teacher.STEP**2 / 12) - 1) < 0.1

# %% [markdown]
# During training the student's copy is flipped together with its targets, and its colours are jittered while the targets stay: the teacher's answer to the true colours is the right answer to the false ones as well.

# %%
six = F.avg_pool2d(crops[:1].float(), 2).repeat(6, 1, 1, 1) / 255
jittered = distil.jitter(six, torch.Generator().manual_seed(seed))
draw_grid([list(jittered.permute(0, 2, 3, 1))], [f"jitter {i}" for i in range(1, 7)])

# %% [markdown]
# ## A step in every direction
#
# A gradient of a weight matrix is a matrix too, and it has singular values $\sigma_1 \ge \sigma_2 \ge \dots$: how strongly it pulls along each of its own directions. Take the first layer of an MLP in stage 3, of 512 x 128, and the gradient of the loss above. **How many of its 128 singular values exceed a tenth of the largest?** Write a number down.

# %%
layer = student.backbone.blocks(2)[1].mlp.fc1
images = distil.normalise(F.avg_pool2d(crops.float(), 2) / 255)
distil.unexplained(student(images)[0], standard).mean().backward()
gradient = layer.weight.grad
step = muon.zeropower_via_newtonschulz(gradient, 5, muon.NEWTON_SCHULZ, dtype=torch.float32)
spectra = {name: torch.linalg.svdvals(g) for name, g in (("gradient", gradient), ("step of Muon", step))}
n_large = int((spectra["gradient"] > spectra["gradient"][0] / 10).sum())
print(f"{n_large} of {len(spectra['gradient'])} singular values exceed a tenth of the largest")
assert n_large < 13, "a gradient has few directions"

# %% tags=["hide-input"]
figure = Drawing(figsize=(7, 2.8))
axis = figure.subplots()
for (name, values), colour in zip(spectra.items(), ("#0b3954", "#D55E00"), strict=True):
    axis.semilogy(range(1, len(values) + 1), values / values[0], color=colour)
    axis.text(64, 1.6 * float(values[63] / values[0]), name, color=in_words(colour), fontweight="bold", ha="center")
axis.set(xlabel="singular value, largest first", ylabel="share of the largest", ylim=(1e-4, 3))
axis.set_title("The gradient pulls in a few directions, Muon's step in most")
figure

# %% [markdown]
# So a plain gradient step moves along a handful of directions and hardly along the others. AdamW scales every *entry* of the matrix by itself, which helps a little. Muon takes the matrix as one thing. With $G = U S V^\top$ it steps along $U V^\top$: the same directions, about two thirds of the singular values above half of the largest. No decomposition is needed for that. A polynomial with $p(\sigma) \to 1$, applied five times, is fifteen matrix products (Newton and Schulz's iteration). The very smallest, a thousandth of the largest, it leaves behind.
#
# Both optimisers now get the same student and 30 steps on the same eight crops. A tie, or a difference one can see?

# %%
def race(choose, n_steps: int = 30) -> list[float]:
    """The share explained before each step, by the optimisers that `choose(student)` gives."""
    runner = distil.Student(backbones.load_backbone(weights="random", img_size=size), distil.channels_of(targets), 1000)
    optimisers, shares = choose(runner), []
    for _ in range(n_steps):
        missing = distil.unexplained(runner(images)[0], standard).mean()
        runner.zero_grad()
        missing.backward()
        for optimiser in optimisers:
            optimiser.step()
        shares.append(1 - missing.item())
    return shares


shares = {}
for name, choose in (
    ("AdamW", lambda s: [torch.optim.AdamW(s.parameters(), config.lr_rest)]),
    ("Muon", lambda s: distil.make_optimisers(s, config)),
):
    torch.manual_seed(seed)
    shares[name] = race(choose)
    print(f"{name:5} explains {shares[name][-1]:.2f} after {len(shares[name]) - 1} steps")
assert shares["Muon"][-1] > shares["AdamW"][-1], "Muon is ahead"
say(f"No tie: on the same crops, after the same number of steps, Muon explains {shares['Muon'][-1] - shares['AdamW'][-1]:.2f} "
    "more of the teacher's variance.")

# %% [markdown]
# ## Run it
#
# The learning rate warms up over the first hundredths of the minutes and falls along a cosine to zero at their end, whatever number of steps the machine manages. So this is the one notebook whose numbers differ from run to run. Held-out photographs are measured after every pass. Interrupt it and run the cell again: it goes on after the last pass. Teacher and student are on the GPU if there is one.

# %%
passes = itertools.count()
place = f"run_{seed}_{size}_{minutes:g}" + ("" if student_name == backbones.SMALL_NAME else f"_{student_name}")
done = distil.distil(folders, teach.to("cuda" if torch.cuda.is_available() else "cpu"), out / place, config,
                     report=lambda line: None if next(passes) % 10 else print(line, flush=True))
first, last = done["history"][0]["held_out"][0], done["explained"][0]
print(f"{done['steps']} steps in {done['minutes']:.1f} minutes; of the first map it explains {last:.2f}, {first:.2f} after a pass")
assert last > first or len(done["history"]) < 2, "the student explains no more of the first map than after one pass"

# %% [markdown]
# With the untrained teacher the last of the four numbers comes out highest, higher than in the real run below. That is no
# success: the pooled map of a random network says little more than how bright and coloured a crop is (I), and that is easy
# to copy.

# %% [markdown]
# ## What the real run gave
#
# The packaged weights were made by `distil` above, with `size=128`, twelve views of about 3,400 photographs, and the trained teacher. Among the photographs were 2,600 of VOC, the 795 training frames of NYUD-v2 and 196 of PASCAL, all without labels, so the decoders below train on pictures that the backbone has seen; no test frame was among them. The student trained for 80 minutes; crops and the teacher's answers took a quarter of an hour before. (The teacher was run by onnxruntime there, whose answers agree with PyTorch's to 1e-4.) The history is kept in `figures/results/`. Which stage will be explained best? The first sees edges and colours, which are easy to copy, but its targets come from one level deeper. The last has all the context there is, and the hardest question. Guess an order, then look.

# %% tags=["hide-input"]
real = json.loads((RESULTS / "distil.json").read_text())
history = real["history"]
SHADES = ("#56a0cc", "#1f6fa3", "#0b3954", "#D55E00")  # light to dark and then red: stage 1 to 4


def draw_history() -> Drawing:
    """The share explained at every stride."""
    figure = Drawing(figsize=(7, 3.2))
    axis = figure.subplots()
    minutes_so_far = [record["minutes"] for record in history]
    last = history[-1]["held_out"]
    ends = []
    for i, shade in enumerate(SHADES):
        axis.plot(minutes_so_far, [record["held_out"][i] for record in history], color=shade)
        ends.append((minutes_so_far[-1], last[i], f"stride {4 * 2**i}", dict(color=shade, fontweight="bold")))
    axis.set(xlabel="minutes of training", ylabel="variance explained", ylim=(0, None))
    axis.set_title(f"On photographs it never saw, it explains {min(last):.0%} to {max(last):.0%} of its teacher")
    name_ends(axis, ends, tie=False)
    return figure


figure = draw_history()
save_figure(figure, "90_history", out_dir)
display(figure)
explained_at_end = history[-1]["held_out"]
order = sorted(range(4), key=lambda i: -explained_at_end[i])
say(f"Was your order right? After {history[-1]['step']} steps in {history[-1]['minutes']:.0f} minutes on two processor cores, "
    + ", ".join(f"stride {4 * 2**i}: {explained_at_end[i]:.0%}" for i in order) + " of the teacher's variance.")

# %% [markdown]
# The first map is explained worst, the other three nearly alike. A guess that we have not tested: the student
# has two blocks of 32 channels before its first map is read, and that is little for what the teacher knows one level
# deeper.
#
# ## What it is worth
#
# Explained variance is not the point; dense prediction is. So the packaged Swin is frozen, decoders are trained on real NYUD-v2 frames at 128x128, and the same is done with random weights of the same shape: same heads, same schedule, three seeds. A random frozen network is no straw man. Its features are a rich random function of the picture, and a decoder can do something with them.

# %% tags=["hide-input"]
columns = {"semseg": "mIoU, higher is better", "depth": "RMSE in m, lower is better",
           "normals": "mean angle in degrees, lower is better"}


def worth_of(name):
    """{task: {"pretrained": its metric by seed, "random": ...}} of a study of one backbone; nothing where it was not run."""
    file = RESULTS / f"{name}.json"
    runs = json.loads(file.read_text())["runs"] if file.is_file() else []
    chosen = {"pretrained": [run for run in runs if run["run"]["weights"] != "random"],
              "random": [run for run in runs if run["run"]["weights"] == "random"]}
    return {task: {weights: [run["metrics"][task] for run in found] for weights, found in chosen.items()}
            for task in columns} if all(chosen.values()) else {}


def table_of_worth(worth):
    return markdown(("task", "distilled", "random weights"), [
        (f"{task}, {unit}", *(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" for values in worth[task].values()))
        for task, unit in columns.items()])


# %% tags=["hide-input"]
worth, larger = worth_of("backbone_nyud"), worth_of("backbone_nyud_swin_t")
if worth:
    ahead = all(abs(np.mean(a) - np.mean(b)) > 4 * max(np.std(a, ddof=1), np.std(b, ddof=1))
                for a, b in (one.values() for one in worth.values()))
    say(table_of_worth(worth), f"Means of {len(worth['semseg']['random'])} seeds. " + (
        "In every task the distilled backbone is ahead, by many times the spread over seeds." if ahead
        else "The spread is large."))
else:
    say("Not run yet: `python -m ptsa_lite study figures/grids/backbone_nyud.yaml --root PATH` does it.")
if larger:
    say("The same of a Swin-Tiny, nine times as large, distilled by the command at the end of this page:", table_of_worth(larger))
else:
    say("A Swin-Tiny has not been distilled yet; `figures/grids/backbone_nyud_swin_t.yaml` asks the same of one, and names the "
        "command that makes its weights.")

# %% [markdown]
# And without training anything: take the mean of the last map as a description of a photograph, and classify VOC photographs by their nearest neighbours. The class is the object that covers most of the mask.

# %% tags=["hide-input"]
probe = json.loads((RESULTS / "probe_voc.json").read_text())["results"]
say(markdown(("weights", "photographs right", "chance"), [
    (name, f"{result['accuracy']:.1f} % of {result['val']}", f"{result['chance']:.1f} %") for name, result in probe.items()]),
    "Random weights stay at chance. So what makes the difference is what was learned, not the shape of the network.")

# %% [markdown]
# ## What we found

# %% tags=["hide-input"]
rivals = [result["accuracy"] for name, result in probe.items() if name != "distilled"]
say(f"**A small Swin can learn to see from another network's feature maps, without labels.** In {history[-1]['minutes']:.0f} "
    f"minutes on two processor cores the packaged one came to explain {min(explained_at_end):.0%} to "
    f"{max(explained_at_end):.0%} of its teacher's variance on photographs that it had never seen. Without any further "
    f"training it finds the class of {probe['distilled']['accuracy']:.1f} % of photographs, where random weights find "
    f"{min(rivals):.1f} to {max(rivals):.1f} %.", *([
        f"**In dense prediction**, frozen under new decoders, it reaches {np.mean(worth['semseg']['pretrained']):.1f} "
        f"mIoU on real frames, random weights {np.mean(worth['semseg']['random']):.1f}; depth errs by "
        f"{np.mean(worth['depth']['pretrained']):.2f} m in place of {np.mean(worth['depth']['random']):.2f}."] if worth else []),
    f"**This page's own run** is a demonstration of {done['steps']} steps" + ("" if teacher_file else
    " with an untrained teacher") + f"; it explains {' '.join(f'{e:.2f}' for e in done['explained'])}.")

# %% [markdown]
# Four things make it work. The teacher sees twice the resolution, so that targets come from one level deeper. Channels are
# standardised, so that the loss reads as a share of variance. The teacher is asked once per crop, so that nearly all time
# goes to the student. And each step of Muon moves a matrix in every direction, so that few steps go far. The doubt that
# remains: about half of the teacher is *not* explained, and we do not know how much of that half the tasks would need.
#
# ## On your own
#
# 1. Keep the teacher's answers in 6 bits per value instead of 8: a step of a quarter of a standard deviation. How much of the
#    variance is lost?
# 2. How far could a linear map of the student's *input* get? Fit one from each 4x4 patch of pixels to the first target.
# 3. Question one claim: "more minutes would still help". What in the curve above speaks for it?

# %% tags=["solution"]
# 1: rounding to a grid of step d adds d^2/12
coarse = (z * 4).round().clamp(-31, 31) / 4
within = z.abs() < 31 / 4
print(f"{((coarse - z)[within] ** 2).mean().item():.4f} of the variance, predicted {0.25**2 / 12:.4f}: half a per cent")

# %% tags=["solution"]
# 2: pixels in 4x4 patches, least squares to the first target
pixels = F.unfold(F.avg_pool2d(crops.float(), 2) / 255, 4, stride=4).transpose(1, 2).reshape(-1, 48)
x = torch.cat([pixels, torch.ones(len(pixels), 1)], 1)
y = torch.cat(standard[0], 1).permute(0, 2, 3, 1).reshape(len(x), -1)
fitted = x @ torch.linalg.lstsq(x, y).solution
print(f"a linear map of 4x4 patches explains {1 - ((fitted - y) ** 2).mean() / (y**2).mean():.2f} of the first target")

# %% tags=["solution"]
# 3: the gain of the last tenth of the minutes, per stage
tenth = history[int(len(history) * 0.9)]["held_out"]
print("gained in the last tenth:", " ".join(f"{b - a:+.3f}" for a, b in zip(tenth, history[-1]["held_out"], strict=True)))
print("the cosine has brought the rate to zero by then: a longer schedule is another curve, not this one continued")

# %% [markdown]
# ## In practice
#
# - The paper's backbone was trained on 1.28 million labelled photographs for days on GPUs; ours learned from a few thousand unlabelled ones in less than two hours on two CPU cores. It stands in for it where the hub is out of reach. It is no rival.
# - The student never sees the teacher's mistakes corrected: it can at best become the teacher.
# - With a GPU, raise `minutes` and give it more photographs. The command for a real run is `python -m ptsa_lite distil FOLDER... --teacher FILE`; `--set backbone=swin_tiny_patch4_window7_224 --set size=224` makes it a Swin-Tiny, nine times as large. Each view of a photograph then takes half a megabyte on disk.
#
# Back to the [tour](00_take_the_tour.ipynb), or to [what a frozen Swin is](01_freeze_a_swin.ipynb).

# %% [markdown]
# # Reproduce the paper on NYUD-v2
#
# *Full size, where almost nothing is stated.* [< previous: reproduce it on
# PASCAL-Context](06_reproduce_pascal_context.ipynb) | [next: question the result >](08_question_the_result.ipynb)
#
# Three things are special to this data set: three different archives have its name, a zoom changes depth, and a number
# for "NYUv2" means nothing without its protocol and its references. All other steps are those of
# [notebook 06](06_reproduce_pascal_context.ipynb), which explains them.
#
# ![Frames with the labels of the four tasks](../figures/07_frames.png)
#
# **What you'll do**
#
# - Set the folder of your NYUD-v2 archive, and train on it by the protocol of notebook 06.
#
# **What you'll learn**
#
# - How to tell which of the archives you have, and in which unit its depth is.
# - What a reproduction does where the paper states next to nothing: it chooses, and says what it chose.
# - Why one and the same model has a $\Delta_m$ of -2.8, -3.0 or -7.2 here.
#
# **What you'll need**
#
# - Notebook 06. As it stands here: two minutes on two CPU cores, because a few *drawn scenes, written in the archive's own
#   layout*, stand in for the archive. For the real thing: the archive, a GPU with 12 GB or more, and an hour or two. **No
#   number on this page is a result on NYUD-v2.**

# %% [markdown]
# ## Where this sits in the paper
#
# The paper ([arXiv 2509.19602](https://arxiv.org/abs/2509.19602)) names NYUD-v2 as its second data set. We have one number
# for it, from a secondary source: a semantic segmentation of 41.92 mIoU (S). No text that we have states which tasks,
# groups and schedule it belongs to. So this notebook takes the four tasks that are usual in this line of work
# (segmentation, depth, normals, edges), and the recipe that the paper states for PASCAL-Context. The marks are those of
# notebook 06; C3 is a third party's public log.
#
# Without a notebook: `python -m ptsa_lite train nyud ptsa_1124 --root PATH`, or under `torchrun` on several GPUs. For the
# paper's setting in this notebook: `python -m ptsa_lite notebooks run 07 --settings paper --set root=PATH`.

# %% tags=["parameters"]
root: str = ""  # the archive's folder, or one that `data prepare` made; empty: drawn scenes in the archive's layout
rows: list[str] = ["single_task", "ptsa_1124"]  # rows of the table to train, named as in configs/recipe.yaml
tasks: list[str] = []  # the tasks; all four where none is named
backbone: str = "swin_small_distilled"  # swin_tiny_patch4_window7_224.ms_in1k for the paper's
weights: str = "pretrained"  # pretrained, random, or a safetensors file
img_size: int = 64  # side of the square frames; the paper's line takes 448
ranks: list[int] = [8, 8, 4, 4]  # of the low-rank pairs, by stage; where empty, the row's own
limit: int = 48  # frames of each split, 0 for all
epochs: int = 8  # the paper takes 300
batch_size: int = 8  # of a step; the paper takes 32
accumulate: int = 1  # parts in which a step is computed: less memory
gradient_checkpointing: bool = False  # activations are computed again in the backward pass: less memory
lr: float = 2e-3  # peak rate; 0 for the recipe's
drop_path: float = 0.0  # the recipe's is 0.2
warmup_epochs: float = 1.0  # the recipe's are 20
eval_every: int = 4  # epochs between evaluations; the paper takes 20
similarity_epochs: int = 2  # passes over the frames that fit the heads before gradients are compared
similarity_frames: int = 24  # frames on which they are compared
workers: int = 0  # processes that load data
seed: int = 0  # of everything drawn at random
out_dir: str = "runs/notebooks"  # where everything is written

# %% tags=["hide-input"]
from ptsa_lite.checks import AT_LEAST_0, COUNT, SIZE
from ptsa_lite.workshop.parameters import SOME, checked

checked(globals(), rows=SOME, limit=SIZE, seed=SIZE, epochs=COUNT, batch_size=COUNT, accumulate=COUNT, lr=AT_LEAST_0, workers=SIZE)

# %% tags=["hide-input"]
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display

from ptsa_lite.data import make_loader
from ptsa_lite.data.prepared import is_prepared
from ptsa_lite.data.scene_archive import write_scene_archive
from ptsa_lite.data.transforms import Warp, to_sample
from ptsa_lite.data.verify import verify
from ptsa_lite.experiments.grow import decisive, measure
from ptsa_lite.experiments.published import GMACS, NYUD_RESULTS, row
from ptsa_lite.experiments.reproduction import (
    FRAMES, GPUS, beside_published, cost, grown_trees, hours, recipe, row_settings, share_of_peak, training_flops,
)
from ptsa_lite.experiments.run import open_sets
from ptsa_lite.experiments.settings import read_run
from ptsa_lite.experiments.tables import markdown, table_of_methods
from ptsa_lite.experiments.train import load_run, train_run
from ptsa_lite.figures import draw_frames, draw_predictions, draw_similarity, draw_tree, save_figure, use_style
from ptsa_lite.tasks import NYUD, select
from ptsa_lite.workshop.places import RESULTS

use_style()


def say(*paragraphs):
    display(Markdown("\n\n".join(paragraphs)))


def show(figure, name=""):
    """A figure, kept where it is the demonstration's."""
    if name and not root:
        save_figure(figure, name, out_dir)
    display(figure)


# %%
DATA = "nyud"
folder, chosen = Path(out_dir) / DATA, select(NYUD, tasks or NYUD)
given = row_settings(globals(), chosen)

# %% [markdown]
# ## Get the data
#
# 795 training and 654 test frames of the official split, in five folders and two lists. But three different archives
# are passed around under one name (C):
#
# | folder | A, of [ASTMT](https://arxiv.org/abs/1904.08918) | B, of the [survey](https://arxiv.org/abs/2004.13379)'s code, which [MTLoRA](https://arxiv.org/abs/2403.20320) reads | C, of [ATRC](https://arxiv.org/abs/2104.13874) and [InvPT](https://arxiv.org/abs/2203.07997) |
# | --- | --- | --- | --- |
# | `images/` | jpg | jpg | png |
# | `segmentation/` | mat, 41 classes | png, 0 for none, 1..40 | png, the same |
# | `depth/` | mat | npy, metres in some copies and **millimetres** in others | npy, metres |
# | `normals/` | jpg, $2v/255 - 1$ | npy | png, $2v/255 - 1$ |
# | `edge/` | png | npy | png |
# | `gt_sets/{train,val}.txt` | names | names | names |
#
# B and C are read here, also mixed; A is refused, with the reason. The unit of depth is found by the median of a few
# frames: no room is a hundred metres deep. Silberman and others published the data set in 2012, for research; no licence
# is stated in the archives, and nothing of them is in this repository.
#
# **And a fourth.** `tanganke/nyuv2` on the Hugging Face hub holds other labels: **13** classes, 288 x 384, without
# edges. It has [settings of its own](../ptsa_lite/configs/nyuv2_13.yaml), `python -m ptsa_lite train nyuv2_13 ptsa_1123`,
# and nothing here opens the one as the other: an mIoU over 13 classes says nothing about one over 40.
#
# Where no folder is given, scenes are drawn and written file by file in the layout of B, and are read as yours would be.

# %%
if not root:
    archive = write_scene_archive(DATA, Path(out_dir) / "nyud_scenes", train=limit or 48, val=(limit or 48) // 2, seed=seed)
    shutil.rmtree(folder, ignore_errors=True)  # the demonstration starts afresh; with an archive it goes on
else:
    archive = Path(root)
given["root"] = str(archive)
what = "drawn scenes" if not root else "the archive"

# %% [markdown]
# ### Is it whole?
#
# `verify` reads every file that the lists name, once, and says which kinds of files and which unit it found. **Predict:** what
# would a training look like, and what its depth error, if millimetres were taken for metres?

# %%
report = None if is_prepared(archive) else verify(DATA, archive)
print(report or f"{archive} was prepared from an archive; its parts carry checksums")

# %% [markdown]
# Taken for metres, millimetres put a wall three thousand metres away instead of three. Depth's loss would be a thousand
# times too large, and the training would do little else. So the unit in the first line of the report is the one to read twice.
#
# ## Look at it
#
# Does depth darken with distance? Do edges lie on edges? Hatched is where nobody said what is there, and where no loss is
# computed.

# %%
runs = {name: read_run(DATA, name, given) for name in rows}
one = runs[rows[0]]
train_set, val_set = open_sets(one)
batch = next(iter(make_loader(train_set, min(3, len(train_set)), seed=seed)))
print(f"{len(train_set)} frames of {what} to train on, {len(val_set)} to measure on")
show(draw_frames(batch, chosen), "07_frames")

# %% [markdown]
# Those were training samples: flipped, and zoomed by 1, 1.2 or 1.5. To zoom into a picture is to stand nearer, so that
# depth must be **divided** by the zoom. Code that reads the data and forgets it teaches that near things are far.

# %%
frame = {"image": np.zeros((8, 8, 3), np.uint8), "depth": np.full((8, 8), 3.0, np.float32)}
seen = float(to_sample(frame, 8, {"depth": "depth"}, Warp(scale=1.5))["depth"].mean())
assert math.isclose(seen, 2.0, rel_tol=1e-6), f"3 m seen through a zoom of 1.5 became {seen} m"
print(f"a wall at 3 m, zoomed by 1.5, stands at {seen:g} m")

# %% [markdown]
# ## The recipe
#
# All of it, beside what is set here, and with its source, as in
# [ptsa_lite/configs/recipe.yaml](../ptsa_lite/configs/recipe.yaml).

# %% tags=["hide-input"]
settings = recipe(runs[rows[-1]])
unstated = [name for name, _, _, mark in settings if mark.startswith("not stated")]
say(markdown(("setting", "here", "recipe", "mark"), settings),
    "Of these, what we could read of the paper states the kind of backbone for NYUD-v2 and no more. "
    f"{len(unstated)} ({', '.join(unstated)}) are its words for PASCAL-Context; the others are read in the public code that "
    "it builds on.")

# %% [markdown]
# 300 epochs of 795 frames are less than a sixth of the steps that PASCAL-Context gets; whether the authors train longer
# here, we do not know. If your result is below theirs, the first suspect is this table.
#
# Edges are trained with a weight of 50, and their positives with a fixed 0.95 (C). Their usual metric is odsF, in per
# cent: **higher is better**. The public code of this line of work prints the training loss in its place (C); its tables
# and this page measure odsF, as the study of [notebook 08](08_question_the_result.ipynb) does, which shows how little odsF
# can tell where only a few borders carry a label. (The one published row that has it gives it as a share of one.)
#
# ## What it costs
#
# Counted as in notebook 06, for the paper's setting. The heads differ by their outputs, so the numbers are near those of
# PASCAL-Context. For this data set no GMACs are published; we compare with a count of our own, by ptflops (M).
#
# **Predict.** PASCAL-Context takes some hours on an H100. How long does NYUD-v2 take?

# %%
full = {name: cost(read_run(DATA, name)) for name in ("ptsa_1124", "ptsa_1224")}
for name, groups in (("ptsa_1124", "(1, 1, 2, 4)"), ("ptsa_1224", "(1, 2, 2, 4)")):
    ours, theirs = full[name]["macs"]["paper"] / 1e9, row(GMACS, f"nyud {groups}").values["gmacs"]
    assert abs(ours - theirs) < 0.0006, f"{name}: {ours:.4f} GMACs by our count, {theirs} by ptflops"
    print(f"{groups}: {ours:.3f} GMACs by our count, {theirs} by ptflops (M); no published number")
measured = json.loads((RESULTS / "gpu_step.json").read_text(encoding="utf-8"))
macs, peak = full["ptsa_1124"]["macs"]["all"], GPUS["H100 SXM"]
reached = share_of_peak(macs, measured["batch"], measured["steps"]["ptsa"]["ms"], peak)
took = {data: hours(training_flops(macs, FRAMES[data], 300, 20), peak, reached) for data in ("pascal", "nyud")}
print(f"300 epochs of ptsa_1124 on an H100 at {reached:.1%} of its peak: {took['nyud']:.1f} hours; as many "
      f"epochs of PASCAL-Context's frames: {took['pascal']:.1f}")

# %% [markdown]
# A sixth of the hours, then, because there are a sixth of the frames.
#
# ## Similarity on its own backbone
#
# **Predict.** Which two of the four tasks will agree most? Normals are the slope of depth; edges are where it jumps.

# %%
grown = [name for name, run in runs.items() if run.groups]
if grown:
    folder.mkdir(parents=True, exist_ok=True)
    said = decisive(measure(runs[grown[0]], folder))
    show(draw_similarity(np.array(said["matrix"]), list(chosen), said["error"], f"Cosine of gradients, {what}"), "07_similarity")
    i, j = max(zip(*np.triu_indices(len(chosen), 1), strict=True), key=lambda pair: said["matrix"][pair[0]][pair[1]])
    say(f"{list(chosen)[i]} and {list(chosen)[j]} agree most, with a cosine of {said['matrix'][i][j]:+.2f} ± {said['error'][i][j]:.2f}.")
else:
    print("no row asks for a tree")

# %% [markdown]
# ## The tree
#
# As in notebook 06: the best of all trees with the row's groups. How much better is it than the next?

# %%
for name, (tree, lead) in (grown_trees(runs, np.array(said["matrix"])) if grown else {}).items():
    runs[name] = replace(runs[name], tree=tree.to_dict(), groups=())
    show(draw_tree(tree, f"{name}, {what}"))
    if lead is not None:
        error = float(np.nanmax(np.array(said["error"], float)))
        say(f"{name}: the next tree scores {lead:.3f} less. The largest standard error of the cosines is {error:.3f}, so "
            + ("other frames may well give another tree." if lead < 2 * error else "the choice is a clear one."))

# %% [markdown]
# ## Train
#
# Interrupted, it goes on after the last finished epoch; a row that is done is not trained again.

# %%
done = {}
for name, run in runs.items():
    print(f"--- {run.label}")
    done[name] = train_run(run, folder / name, lambda line: print(line, flush=True))
name, names = rows[-1], tuple(chosen)

# %% [markdown]
# ## The table
#
# $\Delta_m$ divides by the metrics of single-task models. On NYUD-v2 three sets of such references are in use, and one and
# the same model has a $\Delta_m$ of -2.8, -3.0 or -7.2 under them. So each published row stands in the table of its own
# set, and rows of two tables are never to be compared. Where a text does not state its set, this is said. For the
# demonstration $\Delta_m$ stays empty: after 48 steps the reference can be off by metres in depth although its loss is as
# low as PTSA's (perhaps for want of steady averages in batch norm, I), and a gain over such a one says nothing.

# %% tags=["hide-input"]
table = table_of_methods([done[name] for name in rows])
if not root:
    table = [line | {"delta_m": None} for line in table]
say(f"This page: {what}, {one.img_size} px, {backbone}, {epochs} epochs, {len(train_set)} frames.",
    beside_published(table, DATA, names))
record = {"command": "python -m ptsa_lite notebooks run 07", "data": what, "rows": table}
_ = (folder / "table.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

# %% [markdown]
# ## What it sees
#
# Labels above, predictions below, on test frames.

# %% tags=["hide-input"]
_, model = load_run(folder / rows[-1])
device = next(model.parameters()).device
shown = next(iter(make_loader(val_set, min(3, len(val_set)))))
with torch.no_grad():
    out = {task: p.cpu() for task, p in model(shown["image"].to(device)).items()}
show(draw_predictions(shown["image"], {task: shown[task] for task in names}, out, chosen), "07_predictions")
seen = {task: len(out[task].argmax(1).unique()) for task in names if chosen[task].kind == "segmentation"}
say("On these frames the model predicts " + " and ".join(f"{n} of {chosen[task].channels} classes of {task}"
                                                          for task, n in seen.items())
    + (". One class is background everywhere: about these frames that task has nothing to say yet." if 1 in seen.values() else ".")
    if seen else "No task of this run has classes.")

# %% [markdown]
# The run is measured again, exported and used on a picture as in notebook 06: `python -m ptsa_lite evaluate FOLDER`, and
# `python -m ptsa_lite predict FOLDER IMAGE`.
#
# ## What we found

# %% tags=["hide-input"]
sets = [words for words in NYUD_RESULTS if words != "not stated"]
say(f"**Of the paper's NYUD-v2 we have one number.** All settings but the kind of backbone are borrowed, {len(unstated)} "
    "from its words on PASCAL-Context and the others from the code that it builds on. The tree (1, 1, 2, 4) computes {full['ptsa_1124']['macs']['paper'] / 1e9:.3f} GMACs by our "
    f"count, and by that of ptflops; a training of 300 epochs takes {took['nyud']:.1f} hours of an H100.",
    f"**A published number needs its references.** {len(sets)} sets are in use, which differ by up to "
    f"{max(float(w.split(', ')[0].split()[1]) for w in sets) - min(float(w.split(', ')[0].split()[1]) for w in sets):.2f} "
    "mIoU in segmentation alone, and the paper's one number comes without any.",
    f"**The gain does not come from this page.** It trained on {what}" + (
        f", {len(train_set)} frames of {img_size} pixels for {epochs} epochs, to show that the steps work. These rows have "
        "not been run at full size with this code." if not root else
        ": " + "; ".join(f"{line['label']} {line['delta_m']:+.2f} %" for line in table if line["delta_m"] is not None) + "."))

# %% [markdown]
# ## On your own
#
# 1. *Change one number.* How many steps does PASCAL-Context get in 300 epochs of batches of 32, and how many epochs would
#    give NYUD-v2 as many?
# 2. *Extend one function.* `recipe` lists settings. Which line would you add before you compare with another paper?
# 3. *Question one claim.* A paper reports 53 mIoU on NYUv2, another 42. Is the first one better?
#
# Solutions follow.

# %% tags=["solution"]
steps = 300 * (4998 // 32)
print(f"{steps:,} steps; NYUD-v2 has {795 // 32} an epoch, so {steps / (795 // 32):,.0f} epochs")

# %% tags=["solution"]
print(f"the archive ({'no archive here' if not root else 'see the first line of verify'}), the number of classes, and the "
      "frames that were trained on: all three differ between papers that say NYUv2")

# %% tags=["solution"]
print("Not by that: over 13 classes most codes reach more than over 40, because what is rare was put together (R).")

# %% [markdown]
# ## In practice
#
# What this page does, and what the paper does (P, C, M as above):
#
# - With `root` empty it trains a small [Swin](https://arxiv.org/abs/2103.14030) for minutes on drawn scenes.
# - How the archives' normals and edges were made is not documented; `verify` shows their range, no more.
# - Depth is measured in metres over all labelled pixels of the set; some codes take the mean over images instead.
# - What a zoom uncovers, and depth 0, is ignored.
#
# Next: how much of a difference is chance, and what the grouping buys.
# [Question the result >](08_question_the_result.ipynb)

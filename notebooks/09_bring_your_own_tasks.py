# %% [markdown]
# # Bring your own tasks
#
# *Your pictures, your labels: from a file to adapters that you can give away.*
# [< previous: question the result](08_question_the_result.ipynb) |
# [next: distil a small Swin >](90_distil_a_small_swin.ipynb)
#
# **What you'll do**
#
# - Take a data set that this project does not know, with five tasks, two of which it has never met. Say in a few lines
#   what they are, and train the whole method on them: similarity, tree, adapters, table, pictures.
#
# **What you'll learn**
#
# - What must be said of a task so that a loss, a metric and an augmentation follow from it: its *kind*.
# - Why a label must move with its picture, and which quantities a zoom changes.
# - What happens to frames that have only some of the labels, and to descriptions that are wrong.
# - How to save what was trained, load it again elsewhere, and hand it to programs that do not know this package.
#
# **What you'll need**
#
# - Notebooks 03 to 05 for the words similarity, tree and $\Delta_m$. A few minutes on two cores of a laptop, no GPU, no
#   network.

# %% [markdown]
# ## Where this sits in the paper
#
# The paper ([arXiv 2509.19602](https://arxiv.org/abs/2509.19602)) trains two suites of four tasks each, on
# PASCAL-Context and on NYUD-v2 (P). Nothing in its method depends on them: a task enters by the gradient of its loss,
# and by nothing else. So the method should take any set of dense tasks, and the only question is how a reader tells the
# program what those are. Here is the whole of the answer.
#
# | kind | a pixel's label | loss | metric | when the picture is flipped or zoomed |
# | --- | --- | --- | --- | --- |
# | `segmentation` | one of $n$ classes | cross-entropy | mIoU | stays |
# | `binary` | yes or no | balanced cross-entropy | maxIoU | stays |
# | `regression` | a number, in a unit of yours | absolute error | RMSE | stays |
# | `depth` | metres | absolute error | RMSE | is divided by the zoom |
# | `normals` | a unit vector | L1 of unit vectors | mean angle | turns along |
#
# The two suites are nothing but two such descriptions: no task has a rule of its own, only kinds have.

# %% tags=["parameters", "hide-input"]
limit: int = 128  # training frames to draw
size: int = 96  # side of the drawn frames, in pixels
seed: int = 0  # of everything drawn at random
out_dir: str = "runs/notebooks"  # where data, trainings and figures are written
img_size: int = 64  # side of the frames that are trained on, in pixels
epochs: int = 10  # passes over the training frames, for every method
batch_size: int = 16  # frames per step
rank: int = 8  # of the low-rank pairs
jobs: int = 2  # processes that train at the same time

# %% tags=["hide-input"]
from ptsa_lite.checks import COUNT, SIZE
from ptsa_lite.workshop.parameters import checked

checked(globals(), limit=COUNT, size=COUNT, seed=SIZE, img_size=COUNT, epochs=COUNT, batch_size=COUNT, rank=COUNT,
        jobs=COUNT)

# %% tags=["hide-input"]
import io
import shutil
import time
from pathlib import Path

import datasets
import numpy as np
import torch
import yaml
from IPython.display import Markdown, display
from PIL import Image
from scipy import ndimage

from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.data.describe import describe
from ptsa_lite.figures import colour_labels, draw_curves, draw_frames, draw_grid, picture_of, save_figure, use_style
from ptsa_lite.scenes import SCENE_CLASSES, render_scene
from ptsa_lite.tasks import IGNORE
from ptsa_lite.workshop.exercises import guess, reveal

started = time.monotonic()
use_style()
datasets.disable_progress_bars()
own = Path(out_dir) / "own"

# %% [markdown]
# ## Somebody's data
#
# We need data that are not ours. So we draw scenes, throw most of their labels away, and make two new ones of the rest,
# as a reader might who has pictures and ideas.
#
# **Material.** What is a surface made of? A class for each pixel: plaster, wood, cloth, earth, leaf, skin and clothes.
# Where there is sky, there is no material, so these pixels have no label.
#
# **Inside.** How deep in its region does a pixel lie? It is 0 at an edge and 1 at the pixel of the region that is
# farthest from any edge. The distance to the nearest edge, $d(p)$, is divided by the largest one in the region $R$ that
# the edges enclose:
#
# $$\mathrm{inside}(p) = \frac{d(p)}{\max_{q \in R(p)} d(q)}$$
#
# Such maps are used to separate objects that touch. Why not the plain distance in pixels? Because a zoom would change it: in
# a picture that is enlarged by half, everything is half as far again from the next edge, and the stored label would be
# wrong. A share of the region's own size is the same in the picture and in its enlargement. We come back to this.
#
# Beside these two there are three that the package has met before: people (yes or no), depth and normals.

# %% tags=["hide-input"]
MATERIALS = ("plaster", "wood", "cloth", "earth", "leaf", "skin and clothes")
MADE_OF = {
    "wall": 0, "ceiling": 0, "floor": 1, "table": 1, "chair": 1, "cabinet": 1, "sofa": 2, "lamp": 2, "picture": 2,
    "ball": 2, "ground": 3, "plant": 4, "person": 5,
}  # fmt: skip
material_of = np.array([MADE_OF.get(name, IGNORE) for name in SCENE_CLASSES], np.uint8)


def inside(edge):
    """(H, W): 0 on the edges, 1 where a region is deepest."""
    distance = ndimage.distance_transform_edt(edge == 0)  # pixels to the nearest edge
    regions, n = ndimage.label(edge == 0)
    deepest = ndimage.maximum(distance, regions, np.arange(n + 1))
    return distance / np.maximum(deepest, 1)[regions]


def png(array):
    """The bytes of a PNG file."""
    Image.fromarray(array).save(file := io.BytesIO(), format="png")
    return {"bytes": file.getvalue(), "path": None}


# %% [markdown]
# Data of real life have holes, and so do these: every third training frame lacks *inside*, every fourth lacks normals.
# The files are Parquet, one for each split, with pictures as PNG in them. This is how most sets on the Hugging Face hub
# are stored. A folder of pictures with a `metadata.csv` would do as well; so would a list of dicts in Python.

# %% tags=["hide-input"]
PNG, NUMBERS = datasets.Image(), datasets.List(datasets.List(datasets.Value("float32")))
features = datasets.Features({
    "photo": PNG, "material_map": PNG, "person_mask": PNG, "normal_map": PNG, "inside": NUMBERS, "depth": NUMBERS,
})  # fmt: skip


def row_of(index, complete):
    """One row of the table: a picture, and the labels that it has."""
    scene = render_scene(index, seed=seed, size=size)
    return {
        "photo": png(scene["image"]),
        "material_map": png(material_of[scene["semseg"]]),
        "person_mask": png(np.uint8(255) * (scene["semseg"] == SCENE_CLASSES.index("person"))),
        "inside": inside(scene["edge"]).tolist() if complete or index % 3 else None,
        "normal_map": png(np.rint(127.5 * (scene["normals"] + 1)).astype(np.uint8)) if complete or index % 4 else None,
        "depth": scene["depth"].tolist(),
    }


shutil.rmtree(own / "set", ignore_errors=True)
(own / "set").mkdir(parents=True)
for split, numbers in (("train", range(limit)), ("val", range(1_000_000, 1_000_000 + max(limit // 3, 8)))):
    rows = [row_of(index, split == "val") for index in numbers]
    datasets.Dataset.from_list(rows, features).to_parquet(own / "set" / f"{split}.parquet")
    print(f"{split}.parquet: {len(rows)} frames, {(own / 'set' / f'{split}.parquet').stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Say what they are
#
# Two dictionaries say everything. The first gives each task its kind and, where the usual is not meant, a loss weight, a
# unit, the value that stands for "no label", or a metric. The second says in which column its label lies. Nothing else is
# asked.
#
# Units and weights deserve a thought, since losses have units too. The error of *inside* is a share, a few tenths at
# most, while a cross-entropy begins at 1 or 2. With equal weights the sum would all but overlook it, so it gets a larger
# one, as people and normals do in the paper's recipe. In per cent its error would be a hundred times as large and would
# drown the others. There is a second reason for a unit in which numbers are about 1: a head begins near zero and moves
# by about one learning rate per step, so it would take long to reach 50. Where files hold other numbers than the unit's, as
# the 16-bit pictures of depth cameras hold millimetres, `scale: 0.001` beside the kind makes metres of them.

# %%
tasks = {
    "material": {"kind": "segmentation", "classes": len(MATERIALS), "ignore": 255},
    "people": {"kind": "binary", "loss_weight": 5},
    "inside": {"kind": "regression", "loss_weight": 5},
    "depth": {"kind": "depth"},
    "normals": {"kind": "normals", "loss_weight": 10},
}
data = {
    "path": str(own / "set"),
    "columns": {"image": "photo", "material": "material_map", "people": "person_mask", "normals": "normal_map"},
}

# %%
train_set = open_dataset(data, tasks=tasks, img_size=img_size, seed=seed)
val_set = open_dataset(data, split="val", tasks=tasks, img_size=img_size)
described = describe(data, tasks)
for name, task in described.tasks.items():
    print(f"{name:>9}: {task.kind}, {task.channels} outputs, weight {task.loss_weight:g}, measured by {task.metric}, "
          f"{'more' if task.higher_is_better else 'less'} is better")
shown = next(iter(make_loader(val_set, 4)))
figure = draw_frames(shown, described.tasks)
save_figure(figure, "09_frames", out_dir)
figure

# %% [markdown]
# Hatched pixels have no label: the sky has no material, no depth and no normal. From here on these frames are like
# those of the paper's data sets. They were decoded once into a cache, at one and a half times the size that is trained
# at, so that a zoom loses nothing; loaders, losses and meters see no difference.
#
# How many frames have a label of each task? A frame without one is simply silent about that task: its loss there is
# exactly zero, and so is its gradient.

# %%
plain = open_dataset(data, tasks=tasks, img_size=img_size, augment=False)
labelled = {name: sum(bool((sample[name] != IGNORE).any()) for sample in plain) for name in tasks}
print(", ".join(f"{name}: {n} of {len(plain)}" for name, n in labelled.items()))
assert labelled["inside"] < len(plain) and labelled["normals"] < len(plain), "the holes that we made are gone"

# %% [markdown]
# ## What goes wrong
#
# Most first attempts fail at the description. It should then take one sentence to know why, before anything trains. Here
# are five mistakes that everybody makes: a column misspelt, too few classes, a metric of another kind, a task called
# `type`, and a mask of another shape than its picture. **Predict** how many are noticed without opening a picture.

# %%
guess("mistakes noticed without a picture", None)  # your guess in place of None

# %%
def try_it(data=data, **changed):
    """What the program says to other tasks or other data."""
    try:
        open_dataset(data, tasks=tasks | changed, img_size=img_size)
    except ValueError as error:
        return str(error).replace(str(own), "own")
    raise AssertionError("this should have been refused")


odd = dict.fromkeys(features) | {"photo": np.zeros((64, 64, 3), np.uint8), "inside": np.zeros((64, 48))}
said = [
    try_it(data | {"columns": data["columns"] | {"material": "materialmap"}}),
    try_it(material={"kind": "segmentation", "classes": 3}),
    try_it(people={"kind": "binary", "metric": "RMSE"}),
    try_it(type={"kind": "segmentation", "classes": 4}),
    try_it(data | {"path": [odd]}),
]
print(*said, sep="\n")
reveal("mistakes noticed without a picture", sum(", row " not in words for words in said))

# %% [markdown]
# A column, a metric or a name that cannot be is noticed at once. Classes out of range and a mask of another shape are
# only seen when a label is read, so the first reading of the data stops there and names the row. To hear of all faults
# at once rather than of the first, ask for a report: `python -m ptsa_lite data verify my.yaml`, or in Python

# %%
from ptsa_lite.data.verify import verify_own

report = verify_own(described)
print(str(report).replace(str(own), "own"))
assert report.ok

# %% [markdown]
# ## Labels move with their pictures
#
# Training frames are flipped and zoomed afresh in each epoch, and each label with its picture. What that means is a
# matter of the kind. **Predict**, before you look: a frame is mirrored and enlarged by half. What happens to the depth
# of its middle, to the normals of a wall that faces left, and to *inside*?

# %%
from ptsa_lite.data.own import tables
from ptsa_lite.data.transforms import Warp, to_sample

frame = tables(described, "val")[0].frame(1)
kinds = {name: task.kind for name, task in described.tasks.items()}
warps = {"as it is": Warp(), "mirrored": Warp(flip=True), "enlarged by half": Warp(scale=1.5)}
seen = {title: to_sample(frame, img_size, kinds, warp) for title, warp in warps.items()}
depths = torch.cat([sample["depth"][sample["depth"] != IGNORE] for sample in seen.values()])
limits = (float(depths.min()), float(depths.max()))  # one scale for all three
rows = [[picture_of(sample["image"]), *(colour_labels(task, sample[name], limits=limits if name == "depth" else None)
                                        for name, task in described.tasks.items())] for sample in seen.values()]
figure = draw_grid(rows, ["image", *tasks], list(seen), tasks)
save_figure(figure, "09_labels_move", out_dir)
figure

# %%
middle = img_size // 2
before, mirrored, larger = seen.values()
assert torch.equal(mirrored["material"], before["material"].flip(-1)), "classes move with their pixels"
valid = (before["normals"] != IGNORE).all(0)
turned = mirrored["normals"].flip(-1)  # brought back to where they were
assert torch.equal(turned[0][valid], -before["normals"][0][valid]), "what faced left faces right"
assert torch.equal(turned[1:, valid], before["normals"][1:, valid]), "up stays up"
here = [float(sample["depth"][0, middle, middle]) for sample in (before, larger)]
assert abs(here[1] - here[0] / 1.5) < 0.15 * here[0], "what is seen larger is nearer"
assert set(larger["inside"].unique().tolist()) <= set(np.unique(frame["inside"]).tolist()), "a regression stays"
print(f"depth of the middle: {here[0]:.2f} m, and {here[1]:.2f} m where it is seen larger by half")

# %% [markdown]
# Classes stay what they are and go where their pixels go. A normal that pointed left points right. Depth falls, because
# something that fills more of the picture must be nearer. A plain regression keeps its value, and whether this is right
# only you can know: for temperature, age or *inside* it is, for a distance in pixels it is not. If your number changes
# under a zoom, give the set `augment: none`.
#
# ## From the file to the table
#
# In batch the same description is a YAML file, and it is all that a colleague needs beside the data. Its rows are four
# trainings: a model for each task alone, heads on the frozen backbone, one set of adapters for all, and the method of
# this project, whose tree is grown by the similarity of *these* tasks: one group in the first two stages, two in the
# third, one for each task in the last.

# %%
config = {"epochs": epochs, "batch_size": batch_size, "lr": 2e-3, "warmup_epochs": epochs / 10, "eval_every": epochs,
          "amp": "float32"}
settings = {
    "data": data,
    "tasks": tasks,
    "img_size": img_size,
    "rank": rank,
    "seed": seed,
    "config": config,
    "similarity": {"epochs": 2, "frames": min(limit, 48), "batch_size": batch_size},
    "rows": {
        "single_task": {"method": "single_task"},
        "decoders_only": {"method": "decoders_only", "config": {"lr": 4e-3}},
        "lora_shared": {"method": "lora_shared"},
        "ptsa": {"method": "ptsa", "tree": [1, 1, 2, len(tasks)]},
    },
}
(own / "own.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
print((own / "own.yaml").read_text().replace(str(own), "own"))

# %% [markdown]
# `python -m ptsa_lite train own.yaml ptsa` would now do everything: fit heads, measure the similarity, grow the tree,
# train. The same in Python, so that you can watch it:

# %%
from ptsa_lite.data.disk import read_json
from ptsa_lite.experiments.settings import read_run, read_runs
from ptsa_lite.experiments.train import train_run
from ptsa_lite.tree import TaskTree

run = read_run(own / "own.yaml", "ptsa")
shutil.rmtree(own / "run", ignore_errors=True)
result = train_run(run, own / "run", report=lambda line: print(line.replace(str(own), "own"), flush=True))
tree = TaskTree.from_dict(read_json(own / "run" / "run.json")["tree"])

# %% [markdown]
# Whom did the similarity put together? The matrix below holds the cosine of the gradients of each pair of tasks, on the
# same frame, averaged.
#
# A frame counts for two tasks only if both have a gradient there. *Inside* and normals need a label on it, and people
# needs somebody in the picture, since the balanced loss gives the negatives of a frame the weight of its positives,
# which is zero where there is nobody. All other frames are left out of the mean of such a pair. So a task that is
# labelled on few frames does not look less alike to the others for that; its mean is only less certain. Where two tasks
# are labelled on no frame together, similarity is taken from different frames, and the training says so.

# %%
from ptsa_lite.experiments.grow import decisive
from ptsa_lite.figures.tree import draw_tree_beside

reading = decisive(read_json(own / "run" / "similarity.json"))
figure = draw_tree_beside(tree, reading["matrix"], reading["error"], list(tasks), "The tree of tasks of our own")
save_figure(figure, "09_tree", out_dir)
figure

# %% [markdown]
# Material and normals, which agree most, stay together in the third stage, and so do *inside* and depth, the next. Most
# of the other cosines lie within two standard errors of zero, so other frames may well grow another tree.
#
# Now the three rivals. Each finished run is a small file, so that an interrupted comparison goes on where it stopped.

# %%
from ptsa_lite.experiments.queue import run_study
from ptsa_lite.experiments.tables import markdown, table_of_methods

rivals = [one for one in read_runs(own / "own.yaml") if one.method != "ptsa"]
results = run_study(rivals, own / "study", jobs=jobs, report=lambda line: print(line, flush=True))
table = table_of_methods([*results, result])
headings = [f"{name} {task.metric} {'↑' if task.higher_is_better else '↓'}" for name, task in described.tasks.items()]
display(Markdown(markdown(["method", *headings, "delta_m %", "trained M", "GMACs"], [
    (row["label"], *(f"{row['metrics'][name]:.4g}" for name in tasks), f"{row['delta_m']:+.1f}",
     f"{row['trainable'] / 1e6:.2f}", f"{row['gmacs']:.2f}") for row in table])))

# %% [markdown]
# Read it as the table of notebook 05: arrows say which way is better, $\Delta_m$ is the mean relative gain over the
# single-task models, in per cent, and one seed is one draw. A few epochs on a hundred or so drawn frames show that
# everything works. They do not show which method is best.
#
# For a number that nobody has reported before, such as the error of *inside*, there is no table to compare with. Then
# ask what one gets without looking at the picture at all: the error of the best constant, which is the standard
# deviation of the labels.

# %%
numbers = torch.cat([sample["inside"][sample["inside"] != IGNORE] for sample in val_set])
blind = float(numbers.std())
print(f"inside: a constant has an RMSE of {blind:.3f}; "
      + ", ".join(f"{row['label']} {row['metrics']['inside']:.3f}" for row in table))

# %% [markdown]
# ## What it sees

# %%
from ptsa_lite.experiments.pretrained import Pretrained
from ptsa_lite.figures import draw_predictions

trained = Pretrained.of(own / "run")
with torch.inference_mode():
    said = trained.model(shown["image"].to(next(trained.model.parameters()).device))
figure = draw_predictions(shown["image"], {name: shown[name] for name in tasks}, said, described.tasks)
save_figure(figure, "09_predictions", out_dir)
figure

# %% [markdown]
# Material, people and normals are where they belong, as soft blobs; depth knows that the ground in front is near.
# *Inside* is little more than an even grey, and that is what its error says, which is hardly smaller than a constant's.
#
# The history of the losses is in `history.json`, and for a spreadsheet in `history.csv`. To see it grow while it trains,
# `train --log tensorboard` tells each epoch to TensorBoard. Anything else is three lines, since the training is a loop
# over records that you may write yourself:
#
# ```python
# from ptsa_lite.training.loop import train_epochs
#
# for record in train_epochs(model, train_set, val_set, tasks, config, folder):
#     wandb.log({"loss": record["loss"], **(record["metrics"] or {})}, record["epoch"])
# ```

# %%
from ptsa_lite.training.checkpoints import read_history

history = read_history(own / "run")
curves = {name: [record["losses"][name] for record in history] for name in tasks}
figure = draw_curves(curves, title="The losses of tasks of our own, relative to the first epoch")
save_figure(figure, "09_losses", out_dir)
figure

# %% [markdown]
# The losses fall, that of *inside* after a rise in the first epochs. They flatten toward the end because the learning
# rate has by then fallen to almost nothing; whether more epochs would help, this run does not say.
#
# ## Adapters that travel
#
# What was trained is small beside the backbone, and it is all that has to move. `save_pretrained` writes it into a
# folder, with the description of the tasks and a model card that holds this run's numbers; `push_to_hub("you/name")`
# does the same on the Hugging Face hub. Anybody who has this package loads it in one line. The check is strict: the model
# that comes back must answer bit for bit as the one that was saved.

# %%
shutil.rmtree(own / "adapters", ignore_errors=True)
trained.save_pretrained(own / "adapters")
again = Pretrained.from_pretrained(own / "adapters")
with torch.inference_mode():
    answers = again.model(shown["image"].to(next(again.model.parameters()).device))
assert all(torch.equal(answers[name], said[name]) for name in tasks), "the adapters that came back are others"
for path in sorted((own / "adapters").iterdir()):
    print(f"{path.name:>20} {path.stat().st_size / 1e6:8.3f} MB")
words = (own / "adapters" / "README.md").read_text(encoding="utf-8")
print("\n".join(line for line in words.splitlines() if line.startswith(("#", "|"))))

# %% [markdown]
# And a picture from anywhere, of any size, by the model that came back:

# %%
from ptsa_lite.predict import paint, predict

photo = Image.fromarray(render_scene(2_000_000, seed=seed, size=(180, 240))["image"])
maps = predict(again.model, photo)
print({name: (values.shape, str(values.dtype)) for name, values in maps.items()})
figure = draw_grid([[np.asarray(photo), *(paint(described.tasks[name], maps[name]) for name in tasks)]],
                   ["picture", *tasks], tasks=tasks)
save_figure(figure, "09_answers", out_dir)
figure

# %% [markdown]
# It is a scene that no split contains, at a size and shape of its own. The person is found, with blurred outlines as before.
#
# For programs that do not know this package there is `python -m ptsa_lite export RUN model.onnx`, or `model.pt2` for
# `torch.export`, for all tasks or for some. The adapters are merged into the backbone then, any number of pictures may
# go in at once, and what was written is read again and compared with the model before you hear that it is done.
#
# ## Your own folder, in full
#
# Most readers have no Parquet but a folder of pictures, masks beside them, and a table. Say it is called `garden`, and
# `garden/labels.csv` begins with
#
# ```
# photo,seg,wet,height
# photos/1.jpg,seg/1.png,wet/1.png,height/1.png
# photos/2.jpg,seg/2.png,,height/2.png
# ```
#
# Paths go from the table's folder, and an empty cell is a label that is not there. `seg` holds classes 0 to 5, `wet` 0
# and 255, `height` millimetres in 16 bits. This is `garden.yaml`, whole:
#
# ```yaml
# data: {path: garden/labels.csv, columns: {image: photo, ground: seg}}
# tasks:
#   ground: {kind: segmentation, classes: 6, ignore: 255}
#   wet: {kind: binary, loss_weight: 5}
#   height: {kind: regression, unit: m, scale: 0.001}
# holdout: 4  # every fourth frame is measured on; or, for data, path: {train: garden/train.csv, val: garden/val.csv}
# img_size: 64
# rank: 4
# config: {epochs: 8, batch_size: 8, lr: 2.0e-3, warmup_epochs: 1}
# similarity: {epochs: 1, frames: 24, batch_size: 8}
# method: ptsa
# tree: [1, 1, 2, 3]
# ```
#
# And these are the commands, from the question whether all is there to a program for others:
#
# ```bash
# python -m ptsa_lite data verify garden.yaml
# python -m ptsa_lite train garden.yaml  # into runs/train/garden
# python -m ptsa_lite predict runs/train/garden some/pictures
# python -m ptsa_lite export runs/train/garden garden.onnx --tasks ground,wet
# ```
#
# Where photographs are turned by their EXIF, masks must lie on the pixels as they are stored; `data verify` counts such
# pictures. A folder with a `metadata.csv`, whose columns are `file_name` for pictures and `seg_file_name` and so on for
# masks, is read by the folder's path alone; its columns are called `image` and `seg` then.
#
# ## On your own
#
# 1. *Change one number.* Give *inside* the weight 0.5 instead of 5, then 50. Which tasks gain, which suffer? Does the tree
#    change?
# 2. *Extend one function.* Add the plain distance to the nearest edge, in pixels, as a sixth task, once with and once
#    without augmentation. Which has the smaller error on frames that are not zoomed?
# 3. *Question one claim.* "A frame without a label is silent about that task." Check it: the loss of a batch must not
#    change by adding frames without that label. (A solution is folded beneath.)

# %% tags=["solution"]
from ptsa_lite.losses import task_loss

task = described.tasks["inside"]
answer = torch.randn(4, 1, img_size, img_size)
target = shown["inside"].clone()
target[2:] = IGNORE  # as if two of the four frames had no such label
assert torch.isclose(task_loss(task, answer, target), task_loss(task, answer[:2], target[:2]))
print("the two frames without a label change nothing")

# %% [markdown]
# ## In practice
#
# - Begin with `data verify`, and with twenty frames. A mistake in a mask is cheaper to find than to train on.
# - A split that is missing: `holdout: 5` measures on every fifth training frame, and trains on the others.
# - Several data sets, each labelled for other tasks: give a list of paths. They are joined one after the other, so a
#   batch holds them by their sizes; with `mix: in turns` each set gives every other frame, and a small one comes round
#   more often. Similarity is then measured between tasks that may never meet on a frame, so look at the tree before you
#   believe it, or write a tree of your own into the settings.
# - Loss weights are the first thing to try when one task does badly. Losses in per cent and in metres do not add up by
#   themselves.
# - A pretrained backbone helps most where you have few frames: `--set backbone=swin_tiny_patch4_window7_224.ms_in1k`
#   fetches the paper's from the hub, if you are online.
#
# ## What we found

# %% tags=["hide-input"]
by_method = {row["method"]: row for row in table}
floor, ours, shared = (by_method[name] for name in ("decoders_only", "ptsa", "lora_shared"))
gains = {name: (ours["metrics"][name] - floor["metrics"][name]) / floor["metrics"][name] for name in tasks}
gains = {name: 100 * (gain if described.tasks[name].higher_is_better else -gain) for name, gain in gains.items()}
third = " | ".join("+".join(group) for group in tree.stages[2])
display(Markdown(f"""
- {len(tasks)} tasks, two of which the package had never met, were trained from two files and one description, in
  {(time.monotonic() - started) / 60:.1f} minutes; no file of the package was changed.
- In the third stage the similarity put the tasks together as `{third}`.
- The error of a task that nobody trained before, *inside*, is {ours['metrics']['inside']:.3f} with the tree; a constant
  would have {blind:.3f}.
- Against heads on the frozen backbone, adapters change the metrics by
  {", ".join(f"{gain:+.1f} % in {name}" for name, gain in gains.items())}, where plus is better.
- $\\Delta_m$ is {ours['delta_m']:+.1f} % with the tree, {shared['delta_m']:+.1f} % with one set of adapters for all, and
  {floor['delta_m']:+.1f} % with heads alone. That is one seed, so small differences mean nothing.
- What has to travel is {(own / 'adapters' / 'adapters.safetensors').stat().st_size / 1e6:.1f} MB, and it answered bit for
  bit as before.
"""))

# %% [markdown]
# Next: where the backbone of all this came from. [Distil a small Swin >](90_distil_a_small_swin.ipynb)

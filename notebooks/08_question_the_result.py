# %% [markdown]
# # Question the result
#
# *The study: what each part of the method buys.* [< previous: reproduce it on NYUD-v2](07_reproduce_nyud_v2.ipynb) |
# [next: bring your own tasks >](09_bring_your_own_tasks.ipynb)
#
# **What you'll do**
#
# - Ask three questions that a table of methods leaves open, and answer them from many small trainings: is it the
#   grouping or only more parameters? how much is chance? how stable is the similarity?
#
# **What you'll learn**
#
# - How to compare two methods seed by seed, and what an interval that holds zero means.
# - Which rivals a method needs before its gain can be called its own.
# - How many seeds a difference of one per cent takes, before you rent a GPU for it.
#
# **What you'll need**
#
# - Notebooks 04 and 05 for the words. Half a minute: nothing is trained here. The trainings were done by
#   `python -m ptsa_lite study`, for hours, and left one file each in `figures/results`. Do them again, or others, and
#   this notebook reads yours.

# %% [markdown]
# ## Where this sits in the paper
#
# The paper (arXiv 2509.19602) compares its method with others in one table, sweeps the rank, and sets its budget of
# groups per stage against performance (P). It prints one number per method. For a reader three questions stay open.
#
# 1. **Grouping or capacity?** A tree with four groups in its last stage has more adapters than one shared by all. Does
#    it gain because the *right* tasks are together, or because there is more to train?
# 2. **How much is chance?** Another seed gives another number. How far apart must two numbers be?
# 3. **How stable is the similarity?** The tree hangs on a matrix that was measured on a few frames, with heads that
#    were fitted for some time. Would other frames have given another tree?
#
# The design answers them by what is held equal. The picture below the parameters shows the rivals, by what they train.

# %% tags=["parameters"]
studies: list[str] = ["study_scenes", "study_nyud"]  # files of figures/results, as `ptsa_lite study` wrote them
sweeps: list[str] = ["ranks_scenes", "groups_scenes", "ranks_nyud", "groups_nyud"]  # the paper's two, where run
similarities: list[str] = ["similarity_scenes", "similarity_nyud"]  # and what `ptsa_lite similarity` wrote
out_dir: str = "runs/notebooks"  # where figures are written

# %%
from ptsa_lite.workshop.parameters import checked

checked(globals())

# %%
import json
import math

import numpy as np
from IPython.display import display
from ipywidgets import Dropdown

from ptsa_lite.methods import METHODS
from ptsa_lite.figures import (
    CHOSEN, OURS, Drawing, draw_capacities, draw_choices, draw_differences, draw_estimates, draw_ranked,
    draw_sweep, draw_task_gains, draw_tradeoff, save_figure, use_style,
)
from ptsa_lite.experiments.published import PASCAL_RESULTS, as_points
from ptsa_lite.experiments.reproduction import aligned
from ptsa_lite.experiments.results import collected
from ptsa_lite.experiments.statistics import paired_difference, seeds_needed
from ptsa_lite.experiments.tables import summarise
from ptsa_lite.tasks import select, suite
from ptsa_lite.tree import TaskTree, tree_score
from ptsa_lite.workshop.places import RESULTS
from ptsa_lite.workshop.widgets import interact

use_style()

# %%
PTSA, SHARED, SEPARATE = METHODS["ptsa"].title, METHODS["lora_shared"].title, METHODS["lora_separate"].title
EQUAL = "LoRA, shared, PTSA's parameters"
ROOMY = "LoRA, shared, PTSA's multiply-adds"
THIN = "LoRA, one per task, PTSA's parameters"
EARLY = "PTSA, (1, 2, 2, 4)"
OTHER = "PTSA, another tree"

# %%
four = tuple(suite("nyud"))
ALONE = " | ".join(four)
AS_ONE = "+".join(four)
halves = TaskTree.parse(f"{AS_ONE} > {AS_ONE} > semseg+depth | normals+edge > {ALONE}")  # an example of a tree, and
other_halves = TaskTree.parse(f"{AS_ONE} > {AS_ONE} > semseg+normals | depth+edge > {ALONE}")  # of another
rivals = [  # title, tree, ranks
    ("PTSA,\nthe tree by similarity", halves, (8, 8, 8, 8)),
    ("PTSA,\none of the six other trees", other_halves, (8, 8, 8, 8)),
    ("one pair for all,\nas many parameters", TaskTree.shared(four), (8, 8, 16, 32)),
    ("one pair per task,\nas many parameters", TaskTree.separate(four), (2, 2, 4, 8)),
    ("one pair for all,\nas many multiply-adds", TaskTree.shared(four), (29, 59, 118, 235)),
]


design = draw_capacities(rivals)
save_figure(design, "08_design", out_dir)
design

# %% [markdown]
# Each box is the adapter of one group, as high as its rank; the stripes are the tasks that train it. The first four
# panels have the same height in every stage, and so the same number of parameters: they differ only in *who shares
# what*. The first two have the same arithmetic as well. The last has one group everywhere and spends on rank what the
# first spends on running the frame twice and four times: the same multiply-adds, many times the parameters (its columns
# are cut off). So capacity can be had without grouping, in two currencies, and each question has its rivals.
#
# ## What has been run
#
# Every training is one file, and the collected ones are read here. A study that is not finished is shown as far as it
# is: what is missing is missing, not guessed.

# %%
def read_study(name):
    """{"rows": one for each condition, over its seeds; "results": single trainings; "left": how many are not done}."""
    path = RESULTS / f"{name}.json"
    found = collected(path)
    left = json.loads(path.read_text(encoding="utf-8"))["left"] if path.is_file() else None
    rows = [row for row in summarise(found) if row["delta_m"] is not None] if found else []
    return {"rows": rows, "results": found, "left": left, "by_label": {row["label"]: row for row in rows}}


data = {name: read_study(name) for name in studies}
for name, study in data.items():
    if not study["results"]:
        print(f"{name}: not run; python -m ptsa_lite study figures/grids/{name}.yaml")
        continue
    first, seeds = study["results"][0]["run"], sorted({r["run"]["seed"] for r in study["results"]})
    config, spent = first["config"], sum(r["seconds"] for r in study["results"]) / 3600
    print(f"{name}: {len(study['results'])} trainings done, {study['left']} left; seeds {seeds}; "
          f"{study['results'][0]['frames'][0]} frames of {first['img_size']} px, {config['epochs']} epochs of batches "
          f"of {config['batch_size']}; {spent:.1f} hours of one core")
shown = {name: study for name, study in data.items() if study["rows"]}
assert shown, "no study is in figures/results; run one of figures/grids first"

# %%
def table(study):
    """Every condition: delta_m with its spread over seeds, parameters, arithmetic."""
    order = sorted(study["rows"], key=lambda row: -row["delta_m"])
    return aligned(
        ("", "delta_m %", "± sd", "seeds", "trainable M", "GMACs"),
        [(row["label"] if row["label"] != OTHER else f"  {row['groups'].split(' > ')[2]}", f"{row['delta_m']:+.2f}",
          "" if row["delta_m_sd"] is None else f"{row['delta_m_sd']:.2f}", len(row["gains"]),
          f"{row['trainable'] / 1e6:.3f}", f"{row['gmacs']:.3f}") for row in order],
    )


for name, study in shown.items():
    print(f"{name}\n\n{table(study)}\n")

# %% [markdown]
# Indented rows are the other trees of (1, 1, 2, 4), named by the pairs or triples that stay together in stage three.
# $\Delta_m$ of a run is taken against the single-task models *of the same seed*.
#
# ## How to compare
#
# Two methods, $n$ seeds. The tempting way is to compare two means and their two spreads. The better way takes the
# difference within each seed first: the same heads, the same order of frames, the same augmentation, so whatever luck
# a seed brings to both falls out.
#
# $$d_k = a_k - b_k, \qquad \bar d \pm t_{n-1}\,\frac{s_d}{\sqrt n}$$
#
# $s_d$ is the standard deviation of the differences, and $t_{n-1}$ the 97.5 % point of Student's distribution: 4.3 for
# three seeds, 12.7 for two. If the interval holds zero, the study has not told the two apart. The function is the
# formula; `paired_difference` of the package must agree with it.
#
# **Predict.** Two methods share a seed's luck of ±3 and differ truly by 1, with own noise of ±0.5. How often will three
# seeds show the difference, unpaired and paired?

# %%
from scipy.stats import t as student


def paired(a, b):
    """(mean, half width) of the 95 % interval of a - b over seeds."""
    d = np.array([a[seed] - b[seed] for seed in a])
    n = len(d)
    return d.mean(), student.ppf(0.975, n - 1) * d.std(ddof=1) / math.sqrt(n)


one, two = {0: 3.0, 1: 5.5, 2: 4.0}, {0: 2.0, 1: 4.0, 2: 3.5}
mean, half = paired(one, two)
theirs = paired_difference(one, two)
assert math.isclose(mean, theirs["mean"]) and math.isclose(mean + half, theirs["high"]), "two formulas for one interval"

rng = np.random.default_rng(0)
luck, noise = rng.normal(0, 3, (20_000, 3)), rng.normal(0, 0.5, (2, 20_000, 3))
a, b = 1 + luck + noise[0], luck + noise[1]
alone = b.copy()
rng.permuted(alone, axis=0, out=alone)  # the same values, with the luck of other seeds


def found(x, y):
    d = x - y
    return np.mean(np.abs(d.mean(1)) > student.ppf(0.975, 2) * d.std(1, ddof=1) / math.sqrt(3))


print(f"a true difference of 1 is found by three seeds: paired {found(a, b):.0%}, unpaired {found(a, alone):.0%}")

# %% [markdown]
# Pairing does not make three seeds many. It keeps them from being wasted.
#
# ## Question one: is it the grouping, or the capacity?
#
# First the picture that papers draw: gain against cost. Points are single seeds, discs their means. GMACs are counted
# the paper's way, which leaves out low-rank products. That is why the shared LoRA with PTSA's multiply-adds stands as far
# left as the plain one: all that it spends is low-rank.
#
# **Predict.** If capacity were all that counts, what would the points of the first panel lie on? And where would the
# six other trees lie, which have exactly PTSA's parameters?

# %%
def without_other_trees(rows):
    return [row for row in rows if row["label"] != OTHER]


for name, study in shown.items():
    figure = Drawing(figsize=(8.6, 10.6))
    top, bottom = figure.subplots(2, 1)
    rows = without_other_trees(study["rows"])
    draw_tradeoff(rows, "trainable", f"{name}: gain against parameters", top)
    draw_tradeoff(rows, "gmacs", "gain against the arithmetic of one frame", bottom)
    figure.subplots_adjust(right=0.72, hspace=0.28)
    save_figure(figure, f"08_costs_{name}", out_dir)
    display(figure)

# %% [markdown]
# And the published points of this line of work, each with its mark. They have a picture of their own: other data, a
# backbone nine times as large, pictures of 448 pixels, hundreds of epochs. Only the pattern can be compared.
#
# **Predict.** Does training more bring more? In the published points, on our scenes, on our real frames?

# %%
figure = draw_tradeoff(as_points(PASCAL_RESULTS), "trainable", "Published: PASCAL-Context, 448 px, Swin-Tiny")
save_figure(figure, "08_published", out_dir)
display(figure)

# %% [markdown]
# In the published points it does not: full fine-tuning trains several times what the better adapters train, and gains
# less than they do. And in ours? Four methods that train less, each against it.

# %%
def verdict(row):
    """One sentence on a paired difference."""
    if row["low"] is None:
        return f"{row['label']}: {row['mean']:+.2f}, from one seed, which tells nothing apart"
    told = "above zero" if row["low"] > 0 else "below zero" if row["high"] < 0 else "not told apart"
    return f"{row['label']}: {row['mean']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}], {row['n']} seeds: {told}"


FULL = METHODS["full_finetune"].title
for name, study in shown.items():
    full, few = study["by_label"].get(FULL), (METHODS["decoders_only"].title, METHODS["bitfit"].title, SHARED, PTSA)
    rows = [study["by_label"][label] for label in few if full and label in study["by_label"]]
    print(name, *("  " + verdict({"label": f"{row['label']} − {FULL}"} | paired_difference(row["gains"], full["gains"]))
                  for row in rows if row["gains"].keys() & full["gains"].keys()), sep="\n")

# %% [markdown]
# On real frames all four lie above it, two of them beyond chance: the two that leave every matrix of the backbone
# frozen. On scenes all four lie below it, all beyond chance, and those two come last of all. The backbone learned from
# photographs; what it knows of drawn scenes has to be adapted more (I). Whoever ranks methods ranks them on a data set.
#
# Now the grouping alone. All seven trees of (1, 1, 2, 4) have the same parameters, the same arithmetic, the same
# recipe and the same seeds. They differ in who sits with whom in stage three. The tree that the similarity chose is
# marked; the vertical lines are the shared and the separate LoRA at the same number of parameters.
#
# **Predict.** Where will the marked one be? By lot, it is first once in seven times.

# %%
def seven(study):
    """(rows, names, the chosen one's name) of the trees of (1, 1, 2, 4) in a study."""
    rows = [row for row in study["rows"] if row["label"] in (PTSA, OTHER)]
    names = [row["groups"].split(" > ")[2] for row in rows]
    return rows, names, next((n for n, row in zip(names, rows, strict=True) if row["label"] == PTSA), "")


for name, study in shown.items():
    rows, names, chosen = seven(study)
    if len(rows) < 2:
        print(f"{name}: the other trees are not trained yet")
        continue
    place = 1 + sum(row["delta_m"] > study["by_label"][PTSA]["delta_m"] for row in rows)
    references = [study["by_label"][label] for label in (EQUAL, THIN) if label in study["by_label"]]
    title = f"{name}: the similarity's tree is number {place} of {len(rows)}; by lot, {(len(rows) + 1) / 2:g}"
    figure = draw_ranked(rows, names, chosen, references, title)
    save_figure(figure, f"08_trees_{name}", out_dir)
    display(figure)

# %% [markdown]
# A rank says nothing about distance. So here are the paired differences that the question needs, each from the seeds
# that both have. Grey intervals hold zero. Read the first line as "is the chosen tree better than an average one?",
# the next two as "is grouping better than the same number of parameters spent otherwise?", the fourth as the same for
# arithmetic, and the fifth as what was asked in the paper's own table.

# %%
def average_tree(study):
    """{seed: mean delta_m over the trees that were not chosen}, for seeds that have all of them."""
    rows = [row for row in seven(study)[0] if row["label"] == OTHER]
    seeds = set.intersection(*(set(row["gains"]) for row in rows)) if rows else set()
    return {seed: float(np.mean([row["gains"][seed] for row in rows])) for seed in sorted(seeds)}


def comparisons(study):
    """The paired differences that question one needs, as far as both sides were run."""
    gains = {label: row["gains"] for label, row in study["by_label"].items()}
    mine, others = gains.get(PTSA, {}), average_tree(study)
    rest = f"mean of the other {sum(row['label'] == OTHER for row in study['rows'])}"
    pairs = [(f"chosen tree − {rest}", mine, others),
             ("PTSA − shared, equal parameters", mine, gains.get(EQUAL, {})),
             ("PTSA − one per task, equal parameters", mine, gains.get(THIN, {})),
             ("PTSA − shared, equal multiply-adds", mine, gains.get(ROOMY, {})),
             ("PTSA − shared, equal rank", mine, gains.get(SHARED, {})),
             ("PTSA − one per task, equal rank", mine, gains.get(SEPARATE, {})),
             (f"{rest} − shared, equal parameters", others, gains.get(EQUAL, {})),
             ("(1, 2, 2, 4) − (1, 1, 2, 4)", gains.get(EARLY, {}), mine)]
    return [{"label": label} | paired_difference(a, b) for label, a, b in pairs if a.keys() & b.keys()]

# %%
answers = {name: comparisons(study) for name, study in shown.items()}
for name, rows in answers.items():
    if rows:
        told = sum(row["low"] is not None and not row["low"] <= 0 <= row["high"] for row in rows)
        figure = draw_differences(rows, f"{name}: {told} of {len(rows)} intervals leave zero out")
        save_figure(figure, f"08_differences_{name}", out_dir)
        display(figure)
        print(name, *(f"  {verdict(row)}" for row in rows), sep="\n")

# %% [markdown]
# Whatever the lines say, two cautions hold. Eight comparisons are made at once: at 95 % each, one in twenty would leave
# zero by luck alone, so a single coloured interval at the edge is weak. And "not told apart" is not "equal": look at
# how wide the interval is before you conclude anything from it.
#
# $\Delta_m$ adds up tasks that may move in opposite ways. The next figure takes it apart.

# %%
for name, study in shown.items():
    single = study["by_label"].get(METHODS["single_task"].title)
    run = study["results"][0]["run"]
    if single is None:
        continue
    tasks = select(suite(run["data"]), run["tasks"])
    rows = [row for row in without_other_trees(study["rows"]) if row is not single]
    figure = draw_task_gains(rows, single, tasks, f"{name}: who gains and who pays")
    save_figure(figure, f"08_tasks_{name}", out_dir)
    display(figure)

# %% [markdown]
# ## The paper's two sweeps
#
# More rank, or more groups? In the first figure only the rank moves. In the second the number of parameters stays and
# the groups move: twice the groups, half the rank, so that what is bought is arithmetic alone.
#
# **Predict.** The rank of a shared adapter and the rank of a grouped one: whose curve should flatten first?

# %%
swept = {name: summarise(base["results"] + collected(RESULTS / f"{name}.json"))
         for name in sweeps
         for base in [data.get("study_" + name.split("_")[1], {"results": []})]
         if collected(RESULTS / f"{name}.json")}
curves = {}
for name, rows in swept.items():
    if not name.startswith("ranks"):
        continue
    lines = curves[name] = {}
    for method in ("ptsa", "lora_shared", "single_task_lora"):
        points = [(row["rank"], row) for row in rows if row["method"] == method and isinstance(row["rank"], int)
                  and row["label"] == METHODS[method].title and row["delta_m"] is not None]
        if len(points) > 1:
            lines[METHODS[method].title] = sorted(points, key=lambda point: point[0])
    if lines:
        figure = draw_sweep(lines, "rank, the same in every stage", f"{name}: the rank alone")
        figure.axes[0].set_xscale("log", base=2)
        figure.axes[0].xaxis.set_major_formatter("{x:g}")
        save_figure(figure, f"08_{name}", out_dir)
        display(figure)

# %%
def verdicts(name, pairs):
    """One line for each (label, row, other row) that have a seed in common."""
    return "\n".join([name, *(f"  {verdict({'label': label} | paired_difference(one['gains'], other['gains']))}"
                              for label, one, other in pairs if one["gains"].keys() & other["gains"].keys())])


def rank_pairs(lines):
    """What a higher rank buys each method, and what grouping buys at each rank."""
    yield from ((f"{label}, rank {line[-1][0]} − rank {line[0][0]}", line[-1][1], line[0][1])
                for label, line in lines.items())
    grouped, shared = dict(lines.get(PTSA, ())), dict(lines.get(SHARED, ()))
    yield from ((f"rank {rank}, PTSA − shared", grouped[rank], shared[rank]) for rank in grouped if rank in shared)


for name, lines in curves.items():
    print(verdicts(name, rank_pairs(lines)))

# %% [markdown]
# On scenes a larger rank helps, until about 16, and from 2 to 32 all three rises are told from zero. As for the
# prediction: a grouped adapter has more pairs at each rank. If pairs were what the shared one lacked, the grouped one
# would lead at rank 2 and flatten first. It does neither: the two curves lie on each other.

# %%
def groups_of(row):
    return {"lora_shared": "(1, 1, 1, 1)", "lora_separate": "(4, 4, 4, 4)"}.get(row["method"], row["tree"])


def at_equal_parameters(rows):
    """From sharing all to sharing nothing, at PTSA's number of parameters: (GMACs, row)."""
    size = next((row["trainable"] for row in rows if row["label"] == PTSA), None)
    equal = [row for row in rows if size and abs(row["trainable"] / size - 1) < 0.005 and row["delta_m"] is not None
             and row["label"] not in (OTHER, ROOMY) and row["method"] in ("ptsa", "lora_shared", "lora_separate")]
    return sorted(((row["gmacs"], row) for row in equal), key=lambda point: point[0])


for name, rows in swept.items():
    if name.startswith("groups") and len(points := at_equal_parameters(rows)) > 1:
        figure = draw_sweep({"equal parameters": points}, "GMACs, one frame", f"{name}: groups at equal parameters")
        figure.axes[0].margins(0.07, 0.2)
        for k, (x, row) in enumerate(points):
            place = (x, 0.03 + 0.06 * (k % 2))  # in two lines, below all points
            figure.axes[0].annotate(groups_of(row), place, xycoords=figure.axes[0].get_xaxis_transform(), ha="center",
                                    fontsize=8)
        save_figure(figure, f"08_{name}", out_dir)
        display(figure)
        first = points[0][1]
        print(verdicts(name, [(f"{groups_of(row)} − {groups_of(first)}", row, first) for _, row in points[1:]]))

# %% [markdown]
# From left to right a frame costs up to twice as much. If arithmetic were worth having at this size, the points would
# rise. On scenes they rise once, where only the last stage parts, and then fall, the last two until their intervals lie
# below zero: with parameters held equal, more groups are thinner groups (I). On real frames all five means lie a little
# below sharing, and none is told apart from it. Remember how many intervals were drawn: ten.

# %% [markdown]
# ## Question two: how much is chance?
#
# One number per method hides the seed. Here is how far a method's $\Delta_m$ moves from seed to seed, and what follows
# for a difference that one would like to see. A study finds a true difference $\delta$ when its interval leaves zero
# out. Where the interval's half width is just $\delta$, that happens in one study of two: half of all means fall below
# the truth. To find it in four of five takes, were $s_d$ known,
#
# $$n \;\geq\; \Bigl(\frac{(1.96 + 0.84)\, s_d}{\delta}\Bigr)^2 \quad\text{seeds,}$$
#
# with 1.96 the 97.5 % point of the normal distribution and 0.84 its 80 % point; and two or three more, because $s_d$ is
# estimated from the same seeds. `seeds_needed` counts them by Student's noncentral distribution, and the cell plays
# 20,000 such studies to see that the count is right.
#
# **Predict.** With a spread of differences of one per cent, how many seeds does a difference of one per cent take? Of
# half a per cent?

# %%
enough = seeds_needed(1.0, sd=1.0)
played = rng.normal(1.0, 1.0, (20_000, enough))  # studies whose differences are 1 in truth, with a spread of 1
half = student.ppf(0.975, enough - 1) * played.std(1, ddof=1) / math.sqrt(enough)
seen = np.mean(played.mean(1) > half)
assert 0.78 < seen < 0.9, "four studies of five should find it"
print(f"spread 1.0: {enough} seeds for a difference of 1.0 (found by {seen:.0%} of studies), {seeds_needed(0.5, 1.0)} for 0.5")
for name, study in shown.items():
    spreads = [row["delta_m_sd"] for row in study["rows"] if row["delta_m_sd"] is not None and row["delta_m"]]
    paired_spreads = [np.std(list(row["differences"].values()), ddof=1) for row in answers[name] if row["n"] > 1]
    if not spreads or not paired_spreads:
        print(f"{name}: one seed so far, no spread yet")
        continue
    typical, between = float(np.median(spreads)), float(np.median(paired_spreads))
    print(f"{name}: delta_m of a method moves by {typical:.2f} from seed to seed (median sd), a paired difference by "
          f"{between:.2f}; one per cent takes {seeds_needed(1.0, between)} seeds, half a per cent "
          f"{seeds_needed(0.5, between)}")

# %% [markdown]
# A part of the movement comes from the *references*: $\Delta_m$ divides by single-task models, which have seeds too. In
# a paired difference they mostly cancel. In a published table they do not, since a whole line of papers shares one set
# of references that nobody has trained again.
#
# ## Question three: how stable is the similarity?
#
# The same measurement under other choices, one changed at a time: other frames (redrawn from those measured), heads
# drawn from another seed or fitted for longer, other loss weights. Each time the tree is chosen anew.
#
# **Predict.** From how many frames on will the choice be the same nine times in ten?

# %%
def read_similarity(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def stage_three(tree):
    return tree.split(" > ")[2]


measured = {name: content for name in similarities if (content := read_similarity(name))}
CHOICE = "plain, same"  # reading and pairs, as in notebooks 03 and 04
for name, content in measured.items():
    base = content["conditions"][0]
    trees = {tree: stage_three(tree) for row in base["bootstrap"] for tree in row["trees"]}
    figure = draw_choices(base["bootstrap"], trees, f"{name}: which tree would n frames have chosen?")
    save_figure(figure, f"08_frames_{name}", out_dir)
    display(figure)

# %%
def position(tree, condition):
    """The place of a tree among all by the score of the first condition, 1 is its choice."""
    return 1 + list(condition["trees"][CHOICE]["scores"]).index(tree)


for name, content in measured.items():
    base = content["conditions"][0]
    lines = []
    for condition in content["conditions"]:
        found_there = condition["trees"][CHOICE]
        by_stage = [stage_three(tree) for tree in found_there["from each stage alone"]]
        lines.append((condition["name"], stage_three(found_there["tree"]), position(found_there["tree"], base),
                      sum(one == stage_three(found_there["tree"]) for one in by_stage)))
    print(f"{name}\n{aligned(('condition', 'stage three', 'place', 'stages that agree'), lines)}\n")
    same = sum(place == 1 for _, _, place, _ in lines)
    print(f"the same tree under {same} of {len(lines)} choices; other readings of the first: " + "; ".join(
        f"{key}: {stage_three(found_there['tree'])}" for key, found_there in base["trees"].items() if key != CHOICE))
    print()

# %% [markdown]
# "Place" is where the tree stands in the *first* condition's ranking; 1 means nothing changed. In the figure below the
# discs stand in the order of the table, loss weights left out. The order in which tasks
# are named never matters (that is checked in the module, for every matrix). Loss weights cannot matter for the plain
# reading, since a cosine does not see lengths: any change there would be a mistake of ours.

# %%
for name, content in measured.items():
    for condition in content["conditions"]:
        if "loss" in condition["name"]:
            change = np.abs(np.subtract(condition["similarity"][CHOICE]["matrix"],
                                        content["conditions"][0]["similarity"][CHOICE]["matrix"])).max()
            assert change < 1e-4, f"{name}: {condition['name']} moved a plain cosine by {change}"
    kept = {c["name"]: (c["similarity"][CHOICE]["matrix"], c["similarity"][CHOICE]["error"])
            for c in content["conditions"] if "loss" not in c["name"]}
    figure = draw_estimates(kept, content["setting"]["tasks"], f"{name}: square, as in notebook 03; discs, others")
    save_figure(figure, f"08_cosines_{name}", out_dir)
    display(figure)

# %% [markdown]
# And the question behind the question: **does a higher score train better?** Seven trees have a score from the
# similarity and a $\Delta_m$ from training. If the similarity says something about training, the points must rise.
#
# The number beneath is Spearman's rank correlation. With seven trees it must exceed 0.79 to be told from chance.

# %%
from scipy.stats import spearmanr


def scores_and_gains(study, content):
    """[(score of the tree, its delta_m row)] for the trees of (1, 1, 2, 4) that were trained."""
    matrix, names = content["conditions"][0]["similarity"][CHOICE]["matrix"], content["setting"]["tasks"]
    return [(tree_score(TaskTree.parse(row["groups"]), matrix, names), row) for row in seven(study)[0]]


pairs = [(f"study_{d}", f"similarity_{d}") for d in ("scenes", "nyud")]
pairs = [(s, m) for s, m in pairs if s in shown and m in measured and len(seven(shown[s])[0]) > 2]
figure = Drawing(figsize=(5.2 * max(1, len(pairs)), 3.8))
for axes, (s, m) in zip(np.atleast_1d(figure.subplots(1, max(1, len(pairs)))), pairs, strict=False):
    points = scores_and_gains(shown[s], measured[m])
    for score, row in points:
        axes.plot([score] * len(row["gains"]), list(row["gains"].values()), ".", color=OURS, alpha=0.4)
        axes.plot(score, row["delta_m"], "o", markersize=9, color=CHOSEN if row["label"] == PTSA else OURS)
    rho = spearmanr([score for score, _ in points], [row["delta_m"] for _, row in points]).statistic
    axes.set(xlabel="score by similarity", ylabel="Δm, %", title=f"{s}: rank correlation {rho:+.2f}")
if pairs:
    figure.subplots_adjust(wspace=0.3)
    save_figure(figure, "08_score_and_gain", out_dir)
    display(figure)
else:
    print("not enough trees are trained yet for both a score and a gain")

# %% [markdown]
# ## Compare for yourself
#
# Any two conditions, seed by seed: their difference in $\Delta_m$, and in each task. First a drawing with the question
# that the paper leaves most open; then choose your own.

# %%
def short(row):
    return row["label"] if row["label"] != OTHER else f"tree {row['groups'].split(' > ')[2]}"


def draw_pair(name, one, other):
    """Paired difference of two conditions of a study, in delta_m and in the gain of each task."""
    study = shown[name]
    rows = {short(row): row for row in study["rows"]}
    a, b = rows[one], rows[other]
    if not a["gains"].keys() & b["gains"].keys():
        print(f"{one} and {other} have no seed in common yet")
        return
    lines = [{"label": f"Δm: {one} − {other}"} | paired_difference(a["gains"], b["gains"])]
    display(draw_differences(lines, f"{name}: {one}, against {other}"))
    print(verdict(lines[0]))
    print(aligned(("", *a["metrics"]), [(short(row), *(f"{value:.3f}" for value in row["metrics"].values()))
                                        for row in (a, b)]))


start = list(shown)[0]
labels = [short(row) for row in shown[start]["rows"]]
draw_pair(start, PTSA if PTSA in labels else labels[0], EQUAL if EQUAL in labels else labels[-1])

# %%
interact(lambda one, other: draw_pair(start, one, other),
         one=Dropdown(options=labels, value=PTSA if PTSA in labels else labels[0]),
         other=Dropdown(options=labels, value=EQUAL if EQUAL in labels else labels[-1]))

# %% [markdown]
# ## Would a GPU tell the same?
#
# Fourteen of the trainings on real frames were done again on an H100: the same seeds, frames, initial weights and order,
# in float32. **Predict.** To how many digits do the metrics agree? Does it depend on what is trained?

# %%
there = {result["name"]: result for result in collected(RESULTS / "gpu_nyud.json")}
pairs = {}  # label -> [(metrics on the processor, on the GPU)], seed by seed
for here in collected(RESULTS / "study_nyud.json"):
    if here["name"] in there:
        label = here["run"]["label"] or METHODS[here["run"]["method"]].title
        pairs.setdefault(label, []).append((here["metrics"], there[here["name"]]["metrics"]))


def apart(one, other):
    return [abs(other[task] / value - 1) for task, value in one.items()]


rows = []
for label, ((first, again), (second, once_more)) in pairs.items():
    devices, seeds = apart(first, again) + apart(second, once_more), apart(first, second)
    rows.append((label, *(f"{value:.2%}" for v in (devices, seeds) for value in (np.mean(v), max(v)))))
print(aligned(("relative difference of metrics", "devices, mean", "largest", "seeds, mean", "largest"), rows))

# %% [markdown]
# To the third or fourth digit where little is trained. A deeper training is not smooth: rounding (a GPU's convolutions
# round their inputs to ten bits, by PyTorch's default) and dropout, which each device draws for itself, send it
# elsewhere, by about as much as another seed would. So a table from a GPU and one from a processor may be compared as
# two seeds may, and no more exactly.
#
# ## What full size would need
#
# All of this is small: a small Swin, small frames, short trainings. Three things change with size, and each could turn
# an answer around. A short training favours what learns fast; a small backbone has less to share; with few frames the
# single-task models, which are the reference, overfit or underfit in ways of their own. So these answers are about
# *this* setting. The same grid at full size is a file away (`figures/grids`, with `backbone`, `img_size` and `config`
# changed), and its price can be told beforehand.

# %%
from ptsa_lite.experiments.settings import read_run
from ptsa_lite.experiments.reproduction import FRAMES, GPUS, cost, hours, training_flops

steps = json.loads((RESULTS / "gpu_step.json").read_text(encoding="utf-8"))["steps"]
price = {}
for row, step in (("lora_shared", "LoRA, shared"), ("ptsa_1124", "PTSA"), ("lora_separate", "PTSA")):  # its own: unmeasured
    what, share = cost(read_run("pascal", row)), steps[f"{step}, bfloat16"]["utilisation"]
    flops = training_flops(what["macs"]["all"], FRAMES["pascal"], 300, 20)
    price[row] = hours(flops, GPUS["H100 SXM"], share)
    print(f"{what['label']:>18}: {price[row]:4.1f} hours of one H100 at {share:.1%} of its peak, three seeds {3 * price[row]:4.1f}")
print(f"the seven trees with three seeds: {21 * price['ptsa_1124']:.0f} hours")

# %% [markdown]
# ## Summary

# %%
for name, study in shown.items():
    print(f"{name} ({len(study['results'])} trainings, {study['left']} left)")
    for row in answers[name][:5]:
        print("  ", verdict(row))
for name, content in measured.items():
    last = content["conditions"][0]["bootstrap"][-1]
    print(f"{name}: the choice is the same in {max(last['trees'].values()):.0%} of redraws of {last['n']} frames")

# %% [markdown]
# - A gain belongs to a method only after it is compared with the same cost spent otherwise.
# - Seeds are paired before they are averaged; an interval that holds zero is an answer too.
# - What the similarity would choose is one question, whether that choice trains better another.
#
# ## On your own
#
# 1. *Change one number.* Give the intervals 80 % instead of 95 %. Which verdicts change, and would you print them?
# 2. *Extend one function.* `comparisons` looks at $\Delta_m$. Do the same for one task's metric, semantic segmentation.
#    Does the first line keep its sign?
# 3. *Question one claim.* "The chosen tree was the best of seven, so the similarity works." By how much would the best
#    of seven trees beat their mean if they were all equally good and only the seeds differed?
#
# Solutions follow.

# %% tags=["solution"]
for name, study in shown.items():
    mine, rival = (study["by_label"].get(label, {"gains": {}})["gains"] for label in (PTSA, EQUAL))
    if len(mine.keys() & rival.keys()) > 1:
        for confidence in (0.95, 0.8):
            row = {"label": f"{name}, {confidence:.0%}"} | paired_difference(mine, rival, confidence)
            print(verdict(row))
print("An interval of 80 % leaves zero by luck once in five times: with eight comparisons, more often than not.")

# %% tags=["solution"]
def metric_by_seed(study, label, task):
    found = [r for r in study["results"] if (r["run"]["label"] or METHODS[r["run"]["method"]].title) == label]
    return {r["run"]["seed"]: r["metrics"][task] for r in found}


for name, study in shown.items():
    mine, rival = (metric_by_seed(study, label, "semseg") for label in (PTSA, EQUAL))
    if mine.keys() & rival.keys():
        print(name, verdict({"label": "semseg mIoU, PTSA − shared, equal parameters"} | paired_difference(mine, rival)))

# %% tags=["solution"]
def own_noise(gains):
    """(trees, seeds) -> sd of what neither a tree's mean nor a seed's luck explains, for a mean over the seeds."""
    n, k = gains.shape
    rest = gains - gains.mean(1, keepdims=True) - gains.mean(0) + gains.mean()
    return math.sqrt((rest**2).sum() / ((n - 1) * (k - 1)) / k)


draws = np.random.default_rng(0).normal(0, 1, (10_000, 7))
lead = float(np.mean(draws.max(1) - draws.mean(1)))
print(f"the best of seven equal trees leads their mean by {lead:.2f} standard deviations of a mean over seeds")
for name, study in shown.items():
    rows = seven(study)[0]
    seeds = sorted(set.intersection(*(set(row["gains"]) for row in rows))) if len(rows) == 7 else []
    if len(seeds) > 1:
        gains = np.array([[row["gains"][seed] for seed in seeds] for row in rows])
        print(f"{name}: the best leads by {gains.mean(1).max() - gains.mean():.2f}, luck alone would give "
              f"{lead * own_noise(gains):.2f}")

# %% [markdown]
# ## In practice
#
# Marks: **P** the paper's own text, **C** read in public code, **I** inferred.
#
# - The paper's text, as far as we have it, gives no spread over seeds. We report the last epoch, never the best on the
#   frames that are measured on.
# - Learning rates were chosen once, on a slice of *training* frames: on real frames with four tries for each method
#   (`figures/grids/rates_nyud.yaml`), on scenes with three or four for each family (`rates_scenes.yaml`). The widest LoRA
#   has four of its own on both: at the rate of its thin relatives it falls apart on real frames.
# - The paper's groups per stage are (1, 1, 2, 4) (P); its trees are not known. Trying all of them is possible because
#   there are only seven.
# - At 448 pixels, with Swin-Tiny and 300 epochs, the answers may differ (I). Nobody has run that grid.
#
# Next: [the same with your pictures and your labels >](09_bring_your_own_tasks.ipynb)

"""The packaged configurations against the recipe and the costs that the paper and its line state (facts, section 3)."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.experiments.published import GMACS, PARAMETERS, row
from ptsa_lite.experiments.reproduction import row_settings
from ptsa_lite.experiments.run import build, run_config, run_tasks
from ptsa_lite.experiments.settings import read_plan, read_run, read_runs, rows_of
from ptsa_lite.methods import METHODS
from ptsa_lite.recipe import learning_rate
from ptsa_lite.tasks import suite
from ptsa_lite.training.step import Stepper, parameter_groups
from ptsa_lite.tree import TaskTree
from ptsa_lite.workshop import notebooks
from ptsa_lite.workshop.parameters import accept
from ptsa_lite.workshop.reproduce import Request, read_settings

GRIDS = Path(__file__).resolve().parents[2] / "figures" / "grids"
DATA = ("pascal", "nyud")
STEPS = 4998 // 32


@pytest.fixture(scope="module")
def swin_t():
    with torch.device("meta"):
        return load_backbone("swin_tiny_patch4_window7_224", "random", 448)


def model_of(run, swin_t):
    with torch.device("meta"):
        return build(run, swin_t)


@pytest.mark.parametrize("data", DATA)
def test_every_method_has_a_row_and_the_paper_s_groups_have_theirs(data):
    runs = [read_run(data, name) for name in rows_of(data)]
    assert {run.method for run in runs} == set(METHODS)
    assert {run.groups for run in runs if run.method == "ptsa"} == {(1, 1, 2, 4), (1, 2, 2, 4)}
    assert all(run.data == data and list(run.tasks) == list(suite(data))[:4] for run in runs)


@pytest.mark.parametrize("data", DATA)
def test_the_recipe_is_that_of_the_line(data):
    for name in rows_of(data):
        run = read_run(data, name)
        config = run_config(run)
        assert (run.img_size, run.backbone) == (448, "swin_tiny_patch4_window7_224.ms_in1k")
        assert (run.drop_path, run.dropout, run.scale) == (0.2, 0.05, 4.0)
        assert (config.epochs, config.batch_size, config.eval_every, config.warmup_epochs) == (300, 32, 20, 20)
        assert (config.weight_decay, config.betas, config.clip_norm) == (0.05, (0.9, 0.999), 5)


def test_rates_at_the_steps_that_matter():
    config = run_config(read_run("pascal", "ptsa_1124"))
    warm, total = 20 * STEPS, 300 * STEPS
    assert STEPS == 156
    rates = [learning_rate(step, config, STEPS) for step in (0, 1, warm, (warm + total) // 2, total)]
    peak, first, last = 3.125e-5, 5e-7 / 16, 5e-6 / 16
    assert rates == pytest.approx([first, first + (peak - first) / warm, peak, (peak + last) / 2, last], rel=1e-12)


def test_loss_weights_are_the_recipe_s():
    weights = {"semseg": 1, "human_parts": 2, "saliency": 5, "normals": 10, "edge": 50, "depth": 1}
    for data in DATA:
        assert all(task.loss_weight == weights[name] for name, task in suite(data).items())


def test_edges_of_nyud_are_measured_by_odsf_where_they_are_a_task():
    assert {run_tasks(run)["edge"].metric for run in read_runs("nyud")} == {"odsF"}
    without = read_run("nyud", "bitfit", {"tasks": ["semseg", "depth"]})
    assert run_tasks(without).keys() == {"semseg", "depth"} and not without.metrics
    with pytest.raises(ValueError, match="unknown task of this run 'edges'; did you mean 'edge'"):
        read_run("nyud", "bitfit", {"metrics.edges": "odsF", "tasks": ["semseg", "edge"]})


def test_the_optimiser_s_groups_spare_norms_biases_and_position_tables(swin_t):
    run = read_run("pascal", "mtlora_r16")
    model = model_of(run, swin_t)
    stepper = Stepper(model, run_tasks(run), run_config(run), parameter_groups(model, 0.05))
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, spared = ({names[id(p)] for p in g["params"]} for g in stepper.optimizer.param_groups)
    assert [g["weight_decay"] for g in stepper.optimizer.param_groups] == [0.05, 0.0]
    assert all(g["betas"] == (0.9, 0.999) for g in stepper.optimizer.param_groups)
    without = re.compile(r"bias$|bias_table$|norm\d?\.weight$")
    assert spared == {name for name in decayed | spared if without.search(name)}
    assert any("lora_A" in n for n in decayed) and any("task_B" in n for n in decayed)
    assert any("downsample.reduction" in n for n in decayed) and any("patch_embed.proj.weight" in n for n in decayed)
    assert len(decayed | spared) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("groups", ["1124", "1224"])
def test_rows_cost_what_is_published(swin_t, data, groups):
    model = model_of(read_run(data, f"ptsa_{groups}"), swin_t)
    published = row(GMACS, f"{data} ({', '.join(groups)})").values["gmacs"]
    assert count_macs(model) / 1e9 == pytest.approx(published, abs=5e-4)


def test_rows_train_what_is_published(swin_t):
    for name, published in (("ptsa_1124", "tglora (1, 1, 2, 4), ranks (64, 64, 16, 16)"), ("mtlora_r16", "mtlora r16"),
                            ("mtlora_r32", "mtlora r32"), ("mtlora_r64", "mtlora r64")):  # fmt: skip
        model = model_of(read_run("pascal", name), swin_t)
        assert count_parameters(model)["trainable"] == row(PARAMETERS, published).values["parameters"]


@pytest.mark.parametrize("name", ["nyud_224", "pascal_224"])
def test_rivals_of_equal_cost_in_the_larger_grids_cost_the_same(name):
    """Parameters to half a per cent; where a rank can be so large, multiply-adds, low-rank ones too, to 0.1 %."""
    runs = {run.label: run for run in read_runs(GRIDS / f"{name}.yaml", {"seed": 0})}
    with torch.device("meta"):
        small = load_backbone(weights="random", img_size=224)
    ours = model_of(runs[read_plan(GRIDS / f"{name}.yaml")["primary"][0]], copy.deepcopy(small))
    rivals = {label: model_of(run, copy.deepcopy(small)) for label, run in runs.items() if "PTSA's" in label}
    assert len(rivals) >= 3
    for label, model in rivals.items():
        if label.endswith("parameters"):
            wanted = count_parameters(ours)["trainable"]
            assert count_parameters(model)["trainable"] == pytest.approx(wanted, rel=5e-3), label
        else:
            assert count_macs(model, "all") == pytest.approx(count_macs(ours, "all"), rel=1e-3), label


def test_a_third_of_the_planned_trees_adapters_serve_edges_alone():
    """As the plan and notebook 08 say of the report that leaves edges out."""
    path = GRIDS / "nyud_224.yaml"
    runs = {run.label: run for run in read_runs(path, {"seed": 0})}
    with torch.device("meta"):
        model = model_of(runs[read_plan(path)["primary"][0]], load_backbone(weights="random", img_size=224))
    adapters = [
        layer.lora_A[0].numel() + layer.lora_B[0].numel() for _, _, _, layer in model.backbone.adapted_linears()
    ]
    stages = [stage for stage, _, _, _ in model.backbone.adapted_linears()]
    whole = sum(n * model.tree.n_groups[stage] for n, stage in zip(adapters, stages, strict=True))
    alone = sum(n for n, stage in zip(adapters, stages, strict=True) if ("edge",) in model.tree.stages[stage])
    assert alone / whole == pytest.approx(1 / 3, abs=0.02)


def test_the_tree_of_a_larger_grid_is_that_of_its_similarity():
    results = GRIDS.parent / "results"
    measured = json.loads((results / "similarity_pascal_224.json").read_text())["conditions"]
    trees = {"pascal": {condition["trees"]["plain, same"]["tree"] for condition in measured}}
    trees["nyud"] = {json.loads((results / "similarity_nyud_224.json").read_text())["tree"]}
    for data, found in trees.items():
        ours = read_plan(GRIDS / f"{data}_224.yaml")["primary"][0]
        assert found == {str(TaskTree.from_dict(run.tree)) for run in read_runs(GRIDS / f"{data}_224.yaml")
                         if run.label == ours}  # fmt: skip


@pytest.mark.parametrize("number", ["06", "07"])
def test_the_notebooks_overlay_for_the_paper_is_the_recipe(number):
    folder = Path(__file__).resolve().parents[2] / "notebooks"
    source = notebooks.choose(folder, [number])[0]
    given = read_settings(Request(settings="paper"), folder)[1][source.stem]
    given = accept(given, notebooks.declared(source), source.stem)
    run = read_run(DATA[int(number) - 6], "ptsa_1124")
    config = run_config(run)
    for name in ("epochs", "batch_size", "warmup_epochs", "eval_every"):
        assert given[name] == getattr(config, name), name
    for name in ("backbone", "weights", "img_size", "drop_path"):
        assert given[name] == getattr(run, name), name
    assert (given["limit"] or None) == run.n_frames
    assert given["lr"] == 0 and given["ranks"] == [] and set(given["rows"]) <= set(rows_of("pascal"))
    values = {name: parameter.default for name, parameter in notebooks.declared(source).items()} | given
    changed = read_run(DATA[int(number) - 6], "ptsa_1124", row_settings(values, run.tasks))
    assert changed.rank == run.rank and run_config(changed).lr == config.lr and changed.tasks == run.tasks

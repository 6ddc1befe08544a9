import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny import tiny_backbone

from figures import study_similarity as script
from figures.study_similarity import Condition, bootstrap, command, margin, study_similarity
from ptsa_lite.experiments import run as one_run
from ptsa_lite.experiments.run import weights_content
from ptsa_lite.similarity import READINGS, Similarity
from ptsa_lite.tree import TaskTree

NAMES = ("a", "b", "c", "d")
RESULTS = Path(__file__).resolve().parents[1] / "figures" / "results"


def drawn(n=64, noise=0.0):
    """Draws in which a and b belong together, c and d a little."""
    matrix = np.eye(4)
    matrix[0, 1] = matrix[1, 0] = 0.5
    matrix[2, 3] = matrix[3, 2] = 0.3
    noise = np.random.default_rng(0).normal(0, noise, (n, 5, 4, 4))
    draws = matrix + (noise + noise.swapaxes(2, 3)) / 2
    return Similarity(NAMES, {(reading, pairs): draws for reading in READINGS for pairs in ("same", "different")})


def test_redrawn_samples_agree_where_there_is_no_noise_and_spread_as_one_over_root_n_where_there_is():
    (*_, last) = bootstrap(drawn(), "plain", "same")
    assert list(last["trees"].values()) == [1.0] and last["spread"] < 1e-12 and last["n"] == 64
    few, many = (row for row in bootstrap(drawn(noise=1.0), "plain", "same") if row["n"] in (4, 64))
    assert few["spread"] / many["spread"] == pytest.approx(4, rel=0.25)
    assert len(few["trees"]) > 1


def test_the_lead_of_the_chosen_tree_and_its_error():
    exact = margin(drawn(), "plain", "same")
    assert exact["next"] == "a+b+c+d > a+b+c+d > a+b+c | d > a | b | c | d" and exact["error"] < 1e-12
    assert exact["ahead"] == pytest.approx(((0.5 + 0.3) / 2 - 0.5 / 3) / 3)  # of three stages, one differs
    few, many = (margin(drawn(n, noise=0.1), "plain", "same")["error"] for n in (16, 256))
    assert few / many == pytest.approx(4, rel=0.3)


def groups(matrix, names):
    tree = TaskTree.from_similarity(matrix, names, (1, 1, 2, 4))
    return [{frozenset(group) for group in stage} for stage in tree.stages]


@pytest.mark.parametrize("data", ["scenes", "nyud"])
def test_the_order_of_tasks_chooses_no_tree_under_any_condition_that_was_measured(data):
    content = json.loads((RESULTS / f"similarity_{data}.json").read_text())
    names = content["setting"]["tasks"]
    for condition in content["conditions"]:
        for measured in condition["similarity"].values():
            matrix = np.array(measured["matrix"])
            for order in (np.arange(4)[::-1], *(np.roll(np.arange(4), k) for k in (1, 2, 3))):
                turned = groups(matrix[np.ix_(order, order)], [names[i] for i in order])
                assert turned == groups(matrix, names), condition["name"]


def test_a_study_of_conditions_goes_on_where_it_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(one_run, "load_backbone", lambda name, weights, img_size, **_: tiny_backbone(img_size))
    monkeypatch.setattr(script, "conditions", lambda tasks, n: [
        Condition(epochs=1, n_samples=n), Condition("weights 1", 1, 0, dict.fromkeys(tasks, 1.0), n)])  # fmt: skip
    path, lines = tmp_path / "similarity.json", []
    settings = dict(img_size=64, n_frames=6, n_samples=4, command="make it")
    first = study_similarity("scenes", "", path, report=lines.append, **settings)
    assert first["command"] == "make it" and len(first["conditions"]) == len(lines) == 2
    one, other = (c["similarity"] for c in first["conditions"])
    assert np.allclose(one["plain, same"]["matrix"], other["plain, same"]["matrix"], atol=1e-4)  # a factor is no angle
    assert not np.allclose(one["elementwise, same"]["matrix"], other["elementwise, same"]["matrix"], atol=1e-3)
    path.write_text(json.dumps(first | {"conditions": first["conditions"][:1]}))
    again = study_similarity("scenes", "", path, report=lines.append, **settings)
    assert len(lines) == 3 and again["conditions"] == first["conditions"]
    with pytest.raises(ValueError, match="move it away"):
        study_similarity("scenes", "", path, **settings | {"n_frames": 5})
    monkeypatch.setattr(one_run, "weights_content", lambda *_: "other weights")
    with pytest.raises(ValueError, match="move it away"):
        study_similarity("scenes", "", path, **settings)


@pytest.mark.parametrize("data", ["scenes", "nyud"])
def test_the_files_of_this_project_are_of_the_packaged_weights(data):
    assert json.loads((RESULTS / f"similarity_{data}.json").read_text())["setting"]["weights"] == weights_content()


def test_the_file_names_the_whole_command_that_made_it(monkeypatch, tmp_path):
    told, asked = [], []

    def study(*args, command, **settings):
        told.append(command)
        asked.append((*args, settings["names"], settings["n_conditions"]))
        return {"conditions": []}

    monkeypatch.setattr(script, "study_similarity", study)
    out = tmp_path / "found.json"
    few = ["--limit", "5", "--size", "64", "--samples", "4", "--conditions", "2", "--tasks", "semseg,edge"]
    for words in (["scenes"], ["nyud", "--root", "/data/nyud", *few]):
        assert CliRunner().invoke(command, ["--data", *words, "--out", str(out)]).exit_code == 0
    start = "python figures/study_similarity.py --data"
    assert told == [f"{start} scenes", f"{start} nyud --root PATH " + " ".join(few)]
    assert asked == [("scenes", "", out, 128, None, 96, (), None),
                     ("nyud", "/data/nyud", out, 64, 5, 4, ["semseg", "edge"], 2)]  # fmt: skip


def test_a_few_conditions_of_three_tasks(monkeypatch, tmp_path):
    monkeypatch.setattr(one_run, "load_backbone", lambda name, weights, img_size, **_: tiny_backbone(img_size))
    names = ("semseg", "saliency", "normals")
    settings = dict(img_size=64, n_frames=6, n_samples=4, names=names, n_conditions=1, report=lambda line: None)
    (found,) = study_similarity("scenes", "", tmp_path / "similarity.json", **settings)["conditions"]
    chosen = TaskTree.parse(found["trees"]["plain, same"]["tree"])
    assert chosen.n_groups == (1, 1, 2, 3) and chosen.tasks == names
    assert len(found["trees"]["plain, same"]["scores"]) == 3 and found["margin"]["ahead"] >= 0


def test_the_script_tells_bad_input_in_one_sentence():
    words = [sys.executable, script.__file__, "--data", "bogus"]
    said = subprocess.run(words, capture_output=True, text=True, cwd=Path(script.__file__).parents[1])
    assert said.returncode == 1 and said.stderr.startswith("study_similarity: unknown data set 'bogus'")
    assert said.stderr.count("\n") == 1

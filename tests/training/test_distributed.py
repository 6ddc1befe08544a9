"""Two processes of torchrun on this machine's CPU against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from several_processes import CONFIG, TASKS, losses_of, make, rows, seen_by_batch_norm, sets

from ptsa_lite.training import distributed
from ptsa_lite.training import loop as training

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What either of two processes saw."""
    out = tmp_path_factory.mktemp("two")
    sets()  # drawn once
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": f"{HERE}:{HERE.parent}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(HERE / "several_processes.py"), str(out)], env=environment,
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((out / f"saw-{rank}.json").read_text()) for rank in (0, 1)] + [out / "run"]


@pytest.fixture(scope="module")
def one():
    return losses_of(CONFIG)


def test_two_processes_have_the_losses_of_one_over_twenty_steps(two, one):
    steps = one[0]
    assert len(steps) == 20
    for k, step in enumerate(steps):
        a, b = two[0]["steps"][k], two[1]["steps"][k]
        assert a["frames"] + b["frames"] == step["frames"]
        for name in ("loss", *TASKS):
            assert a[name] == b[name] == pytest.approx(step[name], rel=1e-4, abs=1e-4), (k, name)


def test_metrics_merged_over_two_processes_are_exactly_those_of_one(two):
    alone = training.evaluate(make(), sets()[1], TASKS, 4)
    assert two[0]["untrained"] == two[1]["untrained"] == alone
    assert two[0]["metrics"] == two[1]["metrics"]


def test_batch_norm_over_two_processes_is_that_of_the_whole_batch(two):
    whole = seen_by_batch_norm(rows())
    for key in ("y", "dx"):
        parts = torch.tensor(two[0]["norm"][key] + two[1]["norm"][key])
        torch.testing.assert_close(parts, torch.tensor(whole[key]), rtol=1e-4, atol=1e-3 if key == "dx" else 1e-5)
    for key in ("mean", "var"):
        assert two[0]["norm"][key] == two[1]["norm"][key] == pytest.approx(whole[key], rel=1e-5)


def test_a_training_of_two_processes_is_read_by_one_which_measures_the_same(two):
    _, _, model = losses_of(CONFIG, two[2], val=False)  # finished: nothing is trained, the weights are restored
    assert training.evaluate(model, sets()[1], TASKS, CONFIG.batch_size) == two[0]["metrics"]


def test_more_processes_than_gpus_are_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    sentence = "process 2 has no GPU; torchrun can take --nproc_per_node 2 here"
    with pytest.raises(ValueError, match=sentence), distributed.processes():
        pass


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (dict.fromkeys(("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")),
         "WORLD_SIZE is set in the environment, and LOCAL_RANK, MASTER_ADDR, MASTER_PORT not; start several"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two' in the environment; torchrun sets numbers"),
        ({"RANK": ""}, "RANK is '' in the environment"),
        ({"MASTER_PORT": "29x"}, "MASTER_PORT is '29x' in the environment"),
        ({"RANK": "4"}, "RANK is 4 in the environment, and WORLD_SIZE 4; they count from 0 to 3"),  # it hung
    ],
)  # fmt: skip
def test_what_torchrun_sets_set_by_halves_or_wrongly_is_told_in_one_sentence(monkeypatch, changed, sentence):
    whole = {"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in (whole | changed).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=sentence), distributed.processes():
        pass

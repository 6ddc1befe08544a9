"""An answer is judged rightly, and every answer of the table is what the package computes."""

import itertools
import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import count_macs
from ptsa_lite.experiments.published import PASCAL_RESULTS, row
from ptsa_lite.experiments.statistics import seeds_needed
from ptsa_lite.methods import build_model
from ptsa_lite.metrics import delta_m
from ptsa_lite.tasks import PASCAL, select
from ptsa_lite.tree import TaskTree
from ptsa_lite.workshop.exercises import check, exercises, guess, reveal


def gain(n: int) -> float:
    some = select(PASCAL, list(PASCAL)[:n])
    base = dict.fromkeys(some, 50.0)
    return round(delta_m(base | {"semseg": 60.0}, base, some), 6)


@pytest.fixture(scope="module")
def computed() -> dict:
    with torch.device("meta"):
        swin_t = load_backbone("swin_tiny_patch4_window7_224", "random", 448)
        trees = list(TaskTree.enumerate(tuple(PASCAL), (1, 2, 3, 4)))
        macs = count_macs(build_model("ptsa", swin_t, PASCAL, trees[0], 16)) / 1e9
    tables = [p for name, p in swin_t.named_parameters() if "relative_position_bias_table" in name]
    late = [p for name, p in swin_t.named_parameters() if name.startswith(("layers.2", "layers.3"))
            and ("norm" in name or name.endswith(".bias"))]  # fmt: skip
    one, ten = torch.tensor([1.0, 2.0]), torch.tensor([20.0, 10.0])
    both = one + ten
    full, alone = (row(PASCAL_RESULTS, name).values for name in ("full fine-tuning", "single task"))
    return {
        "01.1": sum(p.numel() // 13**2 * (23**2 - 13**2) for p in tables), "01.2": sum(p.numel() for p in late),
        "02.1": 128 * 512 / (128 + 512), "02.2": [128 + 3 * 128, 3 * (128 + 128)],
        "03.4": [float(F.cosine_similarity(a, b, dim=0)) for a, b in ((one, ten), (one / both, ten / both))],
        "04.1": len(trees), "04.2": macs, "05.1": [gain(4), gain(2)], "05.3": delta_m(full, alone, PASCAL),
        "08.1": seeds_needed(0.4, sd=0.5),
    }  # fmt: skip


def test_every_answer_is_what_the_package_computes(computed, capsys):
    assert set(computed) == set(exercises())
    for name, answer in computed.items():
        check(name, answer)
        assert capsys.readouterr().out == f"{name}: right. {exercises()[name]['why']}\n"


JUDGED = [(17, "too low"), (19, "too high"), (18, "right"), (18.0, "right"), (None, "None")]


@pytest.mark.parametrize("answer, said", JUDGED)
def test_an_answer_is_right_too_high_or_too_low_and_a_wrong_one_gets_a_hint(answer, said, capsys):
    check("04.1", answer)
    words = capsys.readouterr().out
    assert said in words and ("Think of S(4, 4)" in words) == said.startswith("too")
    assert "18" not in words or answer == 18, "the answer is not given away"


def test_each_of_several_answers_is_judged(capsys):
    check("05.1", [5, 9])
    assert capsys.readouterr().out.startswith("05.1: the first is right, the second is too low. Think of")


@pytest.mark.parametrize("answer", ["18", [18, 1], [], "no"])
def test_what_is_no_answer_is_refused_in_one_sentence(answer):
    with pytest.raises(ValueError, match="exercise 04.1 asks for a number"):
        check("04.1", answer)
    with pytest.raises(ValueError, match="unknown exercise '04.9'; did you mean"):
        check("04.9", answer)


def test_the_hints_do_not_hold_the_answer():
    for entry in exercises().values():
        truths = entry["answer"] if isinstance(entry["answer"], list) else [entry["answer"]]
        assert not [t for t, word in itertools.product(truths, entry["hint"].split()) if word.strip(".,") == str(t)]


def test_a_guess_is_shown_beside_the_result_whichever_comes_first_and_without_one_nothing_is_said(capsys):
    guess("the rank")
    reveal("the rank", 2)
    assert capsys.readouterr().out == ""
    guess("the rank", 8)
    assert capsys.readouterr().out == "the rank: you said 8, it is 2.\n"
    reveal("the rank", 27_517_818.126)
    assert capsys.readouterr().out == "the rank: you said 8, it is 27,517,818.13.\n"
    guess("the rank", None)
    assert capsys.readouterr().out == ""


def test_every_guess_of_a_notebook_is_answered_further_down_and_nobody_has_guessed_yet():
    found = 0
    for source in (Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.py"):
        text = source.read_text(encoding="utf-8")
        calls = re.findall(r'(?m)^ *(guess|reveal)\("([^"]+)", (.*)\)', text)
        names = [name for call, name, value in calls if call == "guess" and value == "None"]
        assert calls == [pair for name in names for pair in calls if pair[1] == name], source.stem
        assert [call for call, _, _ in calls] == ["guess", "reveal"] * len(names), source.stem
        found += len(names)
    assert found >= 5

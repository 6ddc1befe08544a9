"""Exercises that say whether an answer is right, and do not give it away; guesses that are shown beside the result."""

import math
from collections.abc import Sequence
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

import yaml

from ptsa_lite.checks import known

ANSWERS = Path(__file__).resolve().parents[1] / "assets" / "exercises.yaml"
PLACES = ("the first", "the second", "the third")
_guesses: dict[str, float | None] = {}  # in this kernel: name -> what the reader said
_results: dict[str, float | None] = {}  # and what it is


@cache
def exercises() -> dict[str, dict[str, Any]]:
    """Every exercise by its name, notebook and number, such as "02.1"."""
    return yaml.safe_load(ANSWERS.read_text(encoding="utf-8"))


def check(name: str, answer: float | Sequence[float] | None = None) -> None:
    """Print what there is to say of an answer: right and why; or too high, too low, and a hint.

    Raises ValueError where there is no such exercise, or where it asks for another number of numbers.
    """
    entry = exercises()[known(name, exercises(), "exercise")]
    if answer is None:
        print(f"{name}: write your answer in place of None, and run the cell again.")
        return
    truths, answers = (list(a) if isinstance(a, Sequence) else [a] for a in (entry["answer"], answer))
    if len(answers) != len(truths) or not all(isinstance(a, Real) for a in answers):
        wanted = "a number" if len(truths) == 1 else f"{len(truths)} numbers in a list"
        raise ValueError(f"exercise {name} asks for {wanted}; got {answer!r}")
    said = ["right" if math.isclose(own, truth, rel_tol=0, abs_tol=entry.get("within", 0) * abs(truth)) else
            "too high" if own > truth else "too low" for own, truth in zip(answers, truths, strict=True)]  # fmt: skip
    if set(said) == {"right"}:
        print(f"{name}: right. {entry['why']}")
    else:
        words = said if len(said) == 1 else (f"{place} is {one}" for place, one in zip(PLACES, said, strict=False))
        print(f"{name}: {', '.join(words)}. Think of {entry['hint']}")


def guess(name: str, value: float | None = None) -> None:
    """Keep a reader's guess at what `reveal` shows later under the same name; None is no guess."""
    _keep(_guesses, name, value)


def reveal(name: str, result: float) -> None:
    """Print "you said 8, it is 2" beside a result that was guessed at, and nothing where it was not."""
    _keep(_results, name, result)


def _keep(where: dict[str, float | None], name: str, value: float | None) -> None:
    where[name] = value
    said, found = _guesses.get(name), _results.get(name)
    if said is not None and found is not None:  # in either order: a guess may be changed and its cell run again
        print(f"{name}: you said {_plain(said)}, it is {_plain(found)}.")


def _plain(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")

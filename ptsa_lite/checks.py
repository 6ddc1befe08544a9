"""What a value may be, and the one sentence that says so where it is something else."""

import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

Rule = tuple[Callable[[Any], bool], str]


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def number(value: Any) -> bool:
    return whole(value) or (isinstance(value, float) and math.isfinite(value))


COUNT: Rule = (lambda v: whole(v) and v >= 1, "a whole number of at least 1")
SIZE: Rule = (lambda v: whole(v) and v >= 0, "a whole number of at least 0")
POSITIVE: Rule = (lambda v: number(v) and v > 0, "a number above 0")
AT_LEAST_0: Rule = (lambda v: number(v) and v >= 0, "a number of at least 0")
SHARE: Rule = (lambda v: number(v) and 0 <= v < 1, "a number from 0 to below 1")
FLAG: Rule = (lambda v: isinstance(v, bool), "True or False")
TEXT: Rule = (lambda v: isinstance(v, str), "a text")


def or_none(rule: Rule) -> Rule:
    return lambda v: v is None or rule[0](v), f"None or {rule[1]}"


def check(rules: Mapping[str, Rule], values: Mapping[str, Any]) -> None:
    """Raises ValueError in one sentence for the first value that its rule refuses."""
    for name, (fits, wanted) in rules.items():
        if name in values and not fits(value := values[name]):
            looks_like_a_number = isinstance(value, str) and re.fullmatch(r"[-+.\de]*\d", value)
            hint = " (a text: YAML takes 5e-4 for one, and 5.0e-4 for a number)" if looks_like_a_number else ""
            raise ValueError(f"{name} must be {wanted}, not {reprlib.repr(value)}{hint}")


def known(name: str, choices: Iterable[str], what: str) -> str:
    """The name itself if it is one of the choices; else ValueError with all of them and the nearest one."""
    choices = list(choices)
    if name in choices:
        return name
    near = get_close_matches(str(name), choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"unknown {what} {name!r:.80}{hint} Choose from: {', '.join(choices)}")

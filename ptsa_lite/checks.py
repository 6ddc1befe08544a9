"""What a setting may be: a test of its value, and the words for it."""

import reprlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

Rule = tuple[Callable[[Any], bool], str]


def whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


COUNT: Rule = (lambda v: whole(v) and v >= 1, "a whole number of at least 1")
SIZE: Rule = (lambda v: whole(v) and v >= 0, "a whole number of at least 0")
POSITIVE: Rule = (lambda v: number(v) and v > 0, "a number above 0")
AT_LEAST_0: Rule = (lambda v: number(v) and v >= 0, "a number of at least 0")
SHARE: Rule = (lambda v: number(v) and 0 <= v < 1, "a number from 0 to below 1")
FLAG: Rule = (lambda v: isinstance(v, bool), "True or False")
TEXT: Rule = (lambda v: isinstance(v, str), "a text")


def check(rules: Mapping[str, Rule], values: Mapping[str, Any]) -> None:
    """Raises ValueError in one sentence for the first value that its rule refuses."""
    for name, (fits, wanted) in rules.items():
        if name in values and not fits(values[name]):
            raise ValueError(f"{name} must be {wanted}, not {reprlib.repr(values[name])}{_hint(values[name])}")


def _hint(value) -> str:
    try:
        float(value if isinstance(value, str) else "")
    except ValueError:
        return ""
    return " (a text: YAML takes 5e-4 for one, and 5.0e-4 for a number)"

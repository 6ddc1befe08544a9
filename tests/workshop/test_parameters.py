"""The parameters cell: what it may hold, and what may be passed to it."""

import nbformat
import pytest

from ptsa_lite.workshop.parameters import accept, declared


def notebook(source: str, cells: int = 1):
    made = [nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]}) for _ in range(cells)]
    return nbformat.v4.new_notebook(cells=made)


CELL = """rank: int = 4  # LoRA rank
rate: float = 1e-3
tasks: list[str] = ["semseg", "depth"]  # in this order
groups: dict[str, list[str]] = {"a": ["b"]}
augment: bool = False
out_dir: "str" = "runs"
"""


def test_declared_parameters_carry_kind_default_and_help():
    found = declared(notebook(CELL), "00_try")
    assert list(found) == ["rank", "rate", "tasks", "groups", "augment", "out_dir"]
    assert (found["rank"].kind, found["rank"].default, found["rank"].help) == ("int", 4, "LoRA rank")
    assert found["out_dir"].kind == "str" and found["tasks"].help == "in this order"


@pytest.mark.parametrize(
    "line",
    ["rank = 4", "rank: int = 2 * 2", "rank: int | None = None", "rank: int = f()", "import os", "rank: int",
     "tasks: list[thing] = []"],
)
def test_a_line_that_papermill_would_misread_is_refused_with_the_line_itself(line):
    with pytest.raises(ValueError, match="notebook 00_try: the parameters cell holds '" + line[:4]):
        declared(notebook(line), "00_try")


def test_a_default_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="default 4.5 of rank is no int"):
        declared(notebook("rank: int = 4.5"), "00_try")


def test_two_tagged_cells_are_refused():
    with pytest.raises(ValueError, match="2 cells are tagged parameters"):
        declared(notebook("rank: int = 4", cells=2), "00_try")


def test_an_undeclared_parameter_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'rnak'; did you mean 'rank'"):
        accept({"rnak": 8}, declared(notebook(CELL), "00_try"), "00_try")


@pytest.mark.parametrize(
    ("name", "value"),
    [("rank", 7.5), ("rank", "8"), ("rank", True), ("rank", None), ("rate", "fast"), ("augment", 1),
     ("tasks", "semseg"), ("tasks", [1]), ("groups", {"a": "b"}), ("out_dir", 3)],
)
def test_a_value_of_another_kind_is_refused(name, value):
    with pytest.raises(ValueError, match=f"notebook 00_try: parameter {name} takes"):
        accept({name: value}, declared(notebook(CELL), "00_try"), "00_try")


def test_values_of_the_right_kind_pass_and_an_int_becomes_a_float_where_one_is_wanted():
    given = {"rank": 8, "rate": 1, "tasks": ["depth"], "groups": {"x": []}, "augment": True, "out_dir": ""}
    accepted = accept(given, declared(notebook(CELL), "00_try"), "00_try")
    assert accepted == given and isinstance(accepted["rate"], float)

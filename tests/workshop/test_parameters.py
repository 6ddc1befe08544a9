"""The parameters cell: what it may hold, what may be passed to it, and the check that runs whoever executes it."""

import pytest

from ptsa_lite.checks import COUNT
from ptsa_lite.workshop import places
from ptsa_lite.workshop.parameters import FRAMES, GROUPS, RATES, SIDE, SOME, accept, among, between, checked, read_cell

CELL = """rank: int = 4  # LoRA rank, where a=b
rate: float = 1e-3
tasks: list[str] = ["semseg", "depth"]  # in this order
groups: dict[str, list[str]] = {"a": ["b"]}
augment: bool = False
out_dir: str = "runs"
"""


def test_declared_parameters_carry_kind_and_default():
    found = read_cell(CELL)
    assert list(found) == ["rank", "rate", "tasks", "groups", "augment", "out_dir"]
    assert [str(parameter) for parameter in found.values()] == [
        "int", "float", "list[str]", "dict[str, list[str]]", "bool", "str"]  # fmt: skip
    assert found["rank"].default == 4


@pytest.mark.parametrize(
    "line",
    [
        "rank = 4",
        "rank: int = 2 * 2",
        "rank: int | None = None",
        "rank: int = f()",
        "import os",
        "rank: int",
        "tasks: list[thing] = []",
    ],
)
def test_a_line_that_declares_no_parameter_is_refused_with_the_line_itself(line):
    with pytest.raises(ValueError, match="the parameters cell holds '" + line[:4]):
        read_cell(line)


def test_a_default_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="default 4.5 of rank is no int"):
        read_cell("rank: int = 4.5")


def test_an_undeclared_parameter_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="parameter of notebook 00_try 'rnak'; did you mean 'rank'"):
        accept({"rnak": 8}, read_cell(CELL), "00_try")


WRONG = [("rank", 7.5), ("rank", "8"), ("rank", True), ("rank", None), ("rate", "fast"), ("augment", 1),
         ("tasks", "semseg"), ("tasks", [1]), ("groups", {"a": "b"}), ("groups", {1: []}), ("out_dir", 3)]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_of_another_kind_is_refused_before_a_run_and_in_it(name, value):
    with pytest.raises(ValueError, match=f"notebook 00_try: parameter {name} takes"):
        accept({name: value}, read_cell(CELL), "00_try")
    names = {key: parameter.default for key, parameter in read_cell(CELL).items()}
    with pytest.raises(ValueError, match=f"^parameter {name} takes"):
        checked(names | {name: value, "In": ["", CELL, f"{name} = {value!r}"]})


def test_a_parameter_that_there_is_not_is_refused_in_the_run_too():
    """Papermill itself injects it all the same, with a warning that nobody reads."""
    names = {key: parameter.default for key, parameter in read_cell(CELL).items()}
    with pytest.raises(ValueError, match="unknown parameter 'rnak'; did you mean 'rank'"):
        checked(names | {"rnak": 8, "In": ["", CELL, "# Parameters\nrate = 0.1\nrnak = 8\n"]})


def test_a_notebook_without_the_results_that_it_reads_says_so_first(tmp_path, monkeypatch):
    """As where the package was installed as a copy, and the notebooks are run from a clone."""
    monkeypatch.setattr(places, "ROOT", tmp_path / "site-packages")
    with pytest.raises(FileNotFoundError, match="without its notebooks and their results.*pip install -e"):
        checked({"In": ["", CELL]})


def test_values_of_the_right_kind_pass_and_an_int_becomes_a_float_where_one_is_wanted():
    given = {"rank": 8, "rate": 1, "tasks": ["depth"], "groups": {"x": []}, "augment": True, "out_dir": ""}
    accepted = accept(given, read_cell(CELL), "00_try")
    assert accepted == given and isinstance(accepted["rate"], float)
    checked(given | {"In": ["", "%%bash", CELL, "x: Thing = 1"]}, rank=COUNT)


def test_a_value_out_of_range_is_refused_by_its_rule():
    names = {key: parameter.default for key, parameter in read_cell(CELL).items()} | {"In": [CELL]}
    with pytest.raises(ValueError, match="rank must be a whole number of at least 1, not 0"):
        checked(names | {"rank": 0}, rank=COUNT)


@pytest.mark.parametrize("groups", [[1, 2, 4], [1, 1, 4, 2], [0, 1, 2, 4], []])
def test_groups_are_four_and_never_fall(groups):
    assert not GROUPS[0](groups) and GROUPS[0]([1, 1, 2, 4])


@pytest.mark.parametrize("rates", [{}, {"full": 0.1}, {"low rank": 1, "full": 1, "biases": 1, "decoders": 0}])
def test_there_is_a_rate_for_each_family(rates):
    assert not RATES[0](rates) and RATES[0]({"low rank": 1e-3, "full": 1, "biases": 1, "decoders": 0.1})


def test_a_side_can_be_halved_five_times_and_a_list_holds_something():
    assert [SIDE[0](side) for side in (0, 50, 64)] == [False, False, True]
    assert [FRAMES[0](limit) for limit in (-1, 0, 7, 8)] == [False, True, False, True]
    assert not SOME[0]([]) and SOME[0](["ptsa_1124"])
    assert among("plain", "elementwise")[0]("plain") and not among("plain", "elementwise")[0]("plian")
    assert [between(8, 9)[0](n) for n in (7, 8, 9, 10)] == [False, True, True, False]

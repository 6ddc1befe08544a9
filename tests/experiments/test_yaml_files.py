"""YAML as plain values: nothing is executed, nothing is kept twice, and what is no map of settings is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptsa_lite.experiments.yaml_files import parse_yaml, read_yaml

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize("text, words", [
    ("!!python/object/apply:os.mkdir [it_ran]", "is no YAML: could not determine a constructor"),
    ("rank: 4\nrank: 8", "'rank' stands twice in one map"),
    ("a: {b: 1, c: 2, b: 3}", "'b' stands twice"),
    (BOMB, "more than 100,000 values, or refers to itself"),
    ("a: &a [*a]", "refers to itself"),
    ("[" * 500, "is no YAML"),
    ("day: 2020-99-99", "is no YAML: month must be in 1..12"),
    ("- 1\n- 2", "must map settings to values"),
    ("just words", "must map settings to values"),
    ("1: 2", "must map settings to values"),
    ("a: [1", "is no YAML"),
    ("\xff", "is no text in UTF-8"),
], ids=lambda text: text[:12])  # fmt: skip
def test_a_wrong_file_is_refused_in_one_sentence_and_nothing_in_it_runs(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"x\.yaml .*") as error:
        read_yaml("x.yaml")
    assert words in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500
    assert not (tmp_path / "it_ran").exists()


def test_anchors_and_merged_maps_are_read_and_an_empty_file_is_empty(tmp_path):
    (tmp_path / "x.yaml").write_text("base: &b {lr: 1, rank: 2}\nrun:\n  <<: *b\n  rank: 3\n")
    assert read_yaml(tmp_path / "x.yaml")["run"] == {"lr": 1, "rank": 3}
    (tmp_path / "x.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "x.yaml") == {}


@given(st.text(max_size=60))
@settings(max_examples=50, deadline=None)
def test_any_text_is_a_value_or_one_sentence(text):
    try:
        parse_yaml(text, "here")
    except ValueError as error:
        assert str(error).startswith("here ") and "\n" not in str(error)

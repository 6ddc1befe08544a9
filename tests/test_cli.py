"""python -m ptsa_lite: what it says of itself, and how it answers mistakes."""

import subprocess
import sys
import time

import pytest

from ptsa_lite import __main__


def test_help_answers_at_once_without_importing_anything_heavy():
    code = "import sys; from ptsa_lite.__main__ import parser; parser().format_help(); print(*sys.modules)"
    start = time.monotonic()
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert time.monotonic() - start < 5
    assert not {"torch", "numpy", "timm", "papermill", "matplotlib", "yaml"} & set(loaded)


@pytest.mark.parametrize(
    "words",
    [[], ["reproduce"], ["notebooks"], ["notebooks", "build"], ["notebooks", "check"], ["notebooks", "run"], ["data"],
     ["data", "verify"], ["data", "prepare"], ["train"], ["evaluate"], ["predict"]],
)  # fmt: skip
def test_every_command_has_a_help(words, capsys):
    with pytest.raises(SystemExit) as left:
        __main__.main([*words, "--help"])
    assert left.value.code == 0 and len(capsys.readouterr().out) > 150


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["reproduce", "--data", "nyu"], "unknown data 'nyu'; did you mean 'nyud'?"),
        (["reproduce", "--data", "nyud"], "--data nyud needs --root"),
        (["reproduce", "--data", "nyud", "--root", "nowhere"], "--root nowhere is no folder"),
        (["reproduce", "--resume", "nowhere"], "no run began there"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence_with_status_2(words, sentence, capsys, monkeypatch):
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    assert __main__.main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith("ptsa_lite: ") and sentence in told and told.count("\n") == 1


def test_the_traceback_is_there_for_who_asks(monkeypatch):
    monkeypatch.setenv("PTSA_TRACEBACK", "1")
    with pytest.raises(ValueError, match="needs --root"):
        __main__.main(["reproduce", "--data", "nyud"])


def test_outside_a_clone_the_missing_folder_is_told_in_one_sentence(tmp_path, monkeypatch, capsys):
    from ptsa_lite.workshop import notebooks

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebooks, "__file__", str(tmp_path / "site" / "ptsa_lite" / "notebooks.py"))
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    assert __main__.main(["notebooks", "check"]) == 2
    assert "run from the root of a clone" in capsys.readouterr().err


def test_check_exits_with_1_and_prints_what_is_wrong(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_try_it.py").write_text("# %%\n1\n")
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["notebooks", "check"]) == 1
    assert "00_try_it: the first cell is no title" in capsys.readouterr().out


def test_a_failing_build_exits_with_1_and_names_the_cell(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_try_it.py").write_text("# %%\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["notebooks", "build"]) == 1
    assert "ptsa_lite: notebook 00_try_it stopped in cell [1]" in capsys.readouterr().err


def test_one_notebook_runs_with_other_parameters(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "notebooks"
    (folder / "settings").mkdir(parents=True)
    (folder / "00_try_it.py").write_text(
        '# %% tags=["parameters"]\na: int = 1  # one\nb: int = 1  # two\n\n# %%\nprint(a, b, flush=True)\n'
    )
    (folder / "settings" / "more.yaml").write_text("00_try_it: {a: 2, b: 2}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    assert __main__.main(["notebooks", "run", "00", "--settings", "more", "--set", "b=3"]) == 0
    assert "2 3" in capsys.readouterr().out and (tmp_path / "runs" / "00_try_it.ipynb").is_file()
    assert __main__.main(["notebooks", "run", "00", "--set", "c=3"]) == 2
    assert "'c'" in capsys.readouterr().err

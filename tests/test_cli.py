"""python -m ptsa_lite: what it says of itself, and how it answers mistakes."""

import os
import subprocess
import sys
import time

import click
import pytest

from ptsa_lite import __main__
from ptsa_lite.experiments.results import collected
from ptsa_lite.experiments.train import run_of
from ptsa_lite.workshop import places
from ptsa_lite.workshop.border import sentence, status


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository of its own, with a folder for notebooks; the working directory is elsewhere."""
    (tmp_path / "clone" / "notebooks" / "settings").mkdir(parents=True)
    (tmp_path / "clone" / "pyproject.toml").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(places, "ROOT", tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    return tmp_path / "clone"


def started(*words, **options):
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "ptsa_lite", *words], text=True, **options)


def test_help_answers_at_once_without_importing_anything_heavy():
    code = "import sys; from ptsa_lite.__main__ import main; main(['train', '--help']); print(*sys.modules)"
    start = time.monotonic()
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert time.monotonic() - start < 5
    assert not {"torch", "numpy", "timm", "papermill", "matplotlib", "yaml"} & set(loaded)


@pytest.mark.parametrize(
    "words",
    [[], ["reproduce"], ["notebooks"], ["notebooks", "build"], ["notebooks", "check"], ["notebooks", "run"], ["data"],
     ["data", "verify"], ["data", "prepare"], ["study"], ["compare"], ["train"], ["evaluate"],
     ["predict"], ["export"], ["distil"]],
)  # fmt: skip
def test_every_command_has_a_help(words, capsys):
    assert __main__.main([*words, "--help"]) == 0 and len(capsys.readouterr().out) > 150


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["reproduce", "--data", "nyu"], "unknown data 'nyu'; did you mean 'nyud'?"),
        (["reproduce", "--data", "nyud"], "--data nyud needs --root"),
        (["reproduce", "--data", "nyud", "--root", "nowhere"], "--root nowhere is no folder"),
        (["reproduce", "--resume", "nowhere"], "no run began there"),
        (["reproduce", "--limit", "few"], "'few' is not a valid integer"),
        ([], "Missing command; see `python -m ptsa_lite --help`"),
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'CONFIG'"),
        (["notebooks", "run", "02", "--set", "epochs"], "--set 'epochs' sets nothing"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence_with_status_2(words, told, capsys, clone):
    (clone / "notebooks" / "02_try_it.py").touch()
    assert __main__.main(words) == 2
    found = capsys.readouterr().err
    assert found.startswith("ptsa_lite: ") and told in found and found.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ValueError("two\nlines"), 2, "two lines"),
        (FileNotFoundError("no such file"), 2, "no such file"),
        (OSError("the disk is full"), 1, "the disk is full"),
        (PermissionError(13, "Permission denied", "there/a.json"), 1, "there/a.json: Permission denied"),
        (KeyError("RANK"), 1, "'RANK' (KeyError; --traceback shows where it comes from)"),
        (RuntimeError("word " * 1000), 1, "... (RuntimeError; --traceback shows where it comes from)"),
        (MemoryError(), 1, "it stopped (MemoryError; --traceback shows where it comes from)"),
    ],
)
def test_whatever_comes_is_one_sentence_and_a_status_by_whose_fault_it_is(error, code, told, monkeypatch, capsys):
    @click.command()
    def fail():
        raise error

    monkeypatch.setattr(__main__, "cli", fail)
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    assert __main__.main([]) == status(error) == code
    found = capsys.readouterr().err
    assert told in found and sentence(error) in found and found.count("\n") == 1 and len(found) < 600


@pytest.mark.parametrize("by", ["a variable", "an option", "an option at the end"])
def test_the_traceback_is_there_for_who_asks(by, monkeypatch):
    monkeypatch.setenv("PTSA_TRACEBACK", "1" if by == "a variable" else "")
    words = ["reproduce", "--data", "nyud"]
    words = {"an option": ["--traceback", *words], "an option at the end": [*words, "--traceback"]}.get(by, words)
    with pytest.raises(ValueError, match="needs --root"):
        __main__.main(words)


@pytest.mark.parametrize("out", ["cp1252", "ascii", "full", "closed", "nobody reads"])
def test_no_print_fails_a_command_whatever_becomes_of_its_words(out, tmp_path):
    code = ("import sys; from ptsa_lite import __main__ as m; from ptsa_lite.workshop.border import Words\n"
            "sys.stdout, sys.stderr = Words(sys.stdout), Words(sys.stderr)\n"
            "for _ in range(2000): m.say('mIoU \\u2191 m\\u00e4\\u00dfig')\n"
            "open('done', 'w').close()")  # fmt: skip
    command = [sys.executable, "-c", code]
    options = dict(cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": out if out in ("cp1252", "ascii") else "utf-8"})
    if out == "nobody reads":
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
            process.stdout.close()
            process.wait(60)
        code = process.returncode
    elif out == "full" and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    else:
        target = open("/dev/full", "w") if out == "full" else open(tmp_path / "log", "w")  # noqa: SIM115
        close = {"preexec_fn": lambda: os.close(1)} if out == "closed" else {}
        code = subprocess.run(command, stdout=target, **options, **close).returncode
    assert code == 0 and (tmp_path / "done").is_file()


def test_without_its_notebooks_the_package_says_how_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(places, "ROOT", tmp_path / "site-packages")
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    assert __main__.main(["notebooks", "check"]) == 2
    assert "came without its notebooks and their results; clone the repository" in capsys.readouterr().err


def test_another_projects_notebooks_are_left_alone(clone, capsys):
    """In the root of somebody's own project, whose notebooks are called alike."""
    (clone / "notebooks" / "02_ours_here.py").write_text('# %% tags=["parameters"]\ndata: str = "scenes"\n')
    os.mkdir("notebooks")
    with open("notebooks/01_clean_table.py", "w") as theirs:
        theirs.write("# %%\nopen('harm', 'w')\n")
    assert __main__.main(["notebooks", "run", "01"]) == 2 and "02_ours_here" in capsys.readouterr().err
    assert __main__.main(["reproduce", "--out", "run"]) == 0
    assert sorted(os.listdir()) == ["notebooks", "run"] and os.path.isfile("run/02_ours_here.ipynb")


def test_another_projects_modules_do_not_stand_for_the_libraries(tmp_path):
    for name in ("click.py", "datasets.py", "torch.py"):
        (tmp_path / name).write_text("raise SystemExit('the other project ran')")
    environment = os.environ | {"PYTHONPATH": str(places.ROOT)}
    done = started("train", "nyud", "no_row", cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 2 and "unknown row of nyud.yaml 'no_row'" in done.stderr, done.stderr


def test_the_projects_grids_find_their_results_and_its_run_is_found_wherever_you_stand(tmp_path, monkeypatch):
    grids = places.ROOT / "figures" / "grids"
    monkeypatch.chdir(tmp_path)
    os.mkdir("tour")
    assert collected(__main__._results(grids / "study_scenes.yaml"))
    assert __main__._results("mine.yaml").as_posix() == "figures/results/mine.json"
    assert run_of("tour").data == "scenes" and os.listdir() == ["tour"]
    monkeypatch.chdir(places.ROOT)
    assert __main__._results("figures/grids/mine.yaml").as_posix() == "figures/results/mine.json"


def test_check_exits_with_1_and_prints_what_is_wrong(clone, capsys):
    (clone / "notebooks" / "00_try_it.py").write_text("# %%\n1\n")
    assert __main__.main(["notebooks", "check"]) == 1
    assert "00_try_it: 00_try_it.ipynb is missing" in capsys.readouterr().out


def test_a_failing_build_exits_with_1_and_names_the_cell(clone, capsys):
    (clone / "notebooks" / "00_try_it.py").write_text("# %%\n1 / 0\n")
    assert __main__.main(["notebooks", "build"]) == 1
    assert "ptsa_lite: notebook 00_try_it stopped in cell [1]" in capsys.readouterr().err


def test_one_notebook_runs_where_you_stand_with_other_parameters(clone, capsys):
    folder = clone / "notebooks"
    (folder / "00_try_it.py").write_text(
        '# %% tags=["parameters"]\na: int = 1  # one\nb: int = 1  # two\n\n'
        "# %%\nimport os\nprint(a, b, os.path.basename(os.getcwd()), flush=True)\n"
    )
    (folder / "settings" / "more.yaml").write_text("00_try_it: {a: 2, b: 2}\n")
    assert __main__.main(["notebooks", "run", "00", "--settings", "more", "--set", "b=3"]) == 0
    assert "2 3 elsewhere" in capsys.readouterr().out and os.path.isfile("runs/00_try_it-b=3.ipynb")
    assert __main__.main(["notebooks", "run", "00", "--set", "b=4"]) == 0
    assert sorted(os.listdir("runs")) == ["00_try_it-b=3.ipynb", "00_try_it-b=4.ipynb"], "none replaces another"
    assert __main__.main(["notebooks", "run", "00", "--set", "c=3"]) == 2
    assert "'c'" in capsys.readouterr().err

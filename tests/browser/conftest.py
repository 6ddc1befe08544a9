"""JupyterLab in a real browser: a server on a folder of small notebooks, and a page that can open and run them.

These tests take minutes and need two things that the others do not: playwright (`pip install -e ".[browser]"`) and a
Chromium (Debian: `apt-get install chromium`). Plain `pytest` leaves them out; `python -m pytest tests/browser` runs
them. With PTSA_SHOTS=1 pictures of every page, and of every widget before and after it was moved, are kept in
runs/browser/ to be looked at; without it, of the end of each notebook alone.
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from ptsa_lite.workshop import notebooks
from ptsa_lite.workshop.kernel import environment
from ptsa_lite.workshop.parameters import accept
from ptsa_lite.workshop.reproduce import Request, read_settings

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "runs" / "browser"
ALL_SHOTS = bool(os.environ.get("PTSA_SHOTS"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip


def pytest_collection_modifyitems(config, items):
    mine = [item for item in items if Path(__file__).parent in Path(item.path).parents]
    if not any("browser" in str(argument) for argument in config.args):
        for item in mine:
            item.add_marker(pytest.mark.skip(reason="minutes in a real browser: python -m pytest tests/browser"))


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[browser]"')
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; Debian has it as the package chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(browser, cache, tmp_path_factory):
    """The address of a JupyterLab on copies of the notebooks: in notebooks/ each with its smallest setting injected and
    not executed, in built/ as they come, and trusted, because their scripts are not run otherwise."""
    folder = tmp_path_factory.mktemp("lab")
    write_small_notebooks(folder / "notebooks", folder / "run")
    shutil.copytree(ROOT / "notebooks", folder / "built", ignore=shutil.ignore_patterns("*.py"))
    (folder / "data").mkdir()
    notary = NotebookNotary(data_dir=str(folder / "data"))
    for path in (folder / "built").glob("*.ipynb"):
        notary.sign(nbformat.read(path, nbformat.NO_CONVERT))
    (folder / "figures").symlink_to(ROOT / "figures")
    quiet = {
        "notebook-extension/tracker": {"windowingMode": "none"},  # cells stay in the page while out of sight
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }  # no question on top
    for name, setting in quiet.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(setting))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
               f"--port={port}", "--ServerApp.token=", "--ServerApp.password=", "--LabApp.news_url=",
               "--ServerApp.disable_check_xsrf=True", "--LabApp.expose_app_in_browser=True",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    if importlib.util.find_spec("notebook"):  # the same server shows Notebook 7 as well
        command.append("--ServerApp.jpserver_extensions={'notebook': True, 'jupyterlab': True}")
    paths = {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_CONFIG_DIR": str(folder / "config"),
             "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "IPYTHONDIR": str(folder / "ipython"),
             "JUPYTER_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(ROOT)}  # fmt: skip
    log = (folder / "server.log").open("w")
    server = subprocess.Popen(command, cwd=folder, env=environment() | paths, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address + "/api", server, folder / "server.log")
        yield address
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address: str, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    """Until the server answers."""
    for _ in range(int(seconds / 0.2)):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not answer in {seconds:g} s: {log.read_text()[-2000:]}")


def write_small_notebooks(folder: Path, out_dir: Path) -> None:
    """Every notebook, not yet executed, with a cell of the tests' settings after its parameters."""
    folder.mkdir(parents=True)
    settings = read_settings(Request(settings="smoke"), ROOT / "notebooks")[1]
    for source in notebooks.sources(ROOT / "notebooks"):
        notebook = notebooks.read(source)
        parameters = notebooks.declared(source)
        given = dict(settings.get(source.stem, {})) | ({"out_dir": str(out_dir)} if "out_dir" in parameters else {})
        lines = [f"{name} = {value!r}" for name, value in accept(given, parameters, source.stem).items()]
        place = notebook.cells.index(notebooks.cell_with_parameters(notebook)) + 1
        notebook.cells.insert(place, nbformat.v4.new_code_cell("\n".join(lines)))
        nbformat.write(notebook, folder / f"{source.stem}.ipynb")


@pytest.fixture(scope="session")
def reader(browser):
    """One reader for all notebooks, whose browser keeps what JupyterLab consists of from page to page."""
    return browser.new_context(viewport={"width": 1280, "height": 1000})


@pytest.fixture
def page(reader, lab, shots, request):
    """An empty page; when the test is over no request may have left it, and its kernels are shut down, so that one
    notebook is in memory at a time."""
    page, asked = reader.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    where = "_notebook7" if "notebook_7" in request.node.name else ""
    page.screenshot(path=shots / f"{request.node.callspec.id[:2]}{where}_end.png")
    page.close()
    for kernel in kernels(lab):
        gone = urllib.request.Request(f"{lab}/api/kernels/{kernel['id']}", method="DELETE")
        urllib.request.urlopen(gone).close()
    assert [url for url in asked if not url.startswith((lab, "data:", "blob:"))] == []


def kernels(lab: str) -> list[dict]:
    """What the server says of its kernels: `execution_state`, idle or busy, among it."""
    with urllib.request.urlopen(f"{lab}/api/kernels", timeout=60) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def shots(request):
    """The folder of a file's screenshots, emptied."""
    folder = SHOTS / request.module.__name__.rpartition(".")[2]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def shoot(what, path: Path, **how) -> None:
    """A picture of a page or a part of one, where they are asked for: a page's whole length takes seconds."""
    if ALL_SHOTS:
        what.screenshot(path=path, **how)

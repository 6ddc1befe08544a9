"""JupyterLab and Notebook 7 open a notebook, run it to its end, and every widget answers with another picture; it is
whole at each width, in light and dark."""

import base64
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ptsa_lite.workshop import notebooks

from .conftest import ROOT, kernels, shoot

RUN = 240  # seconds for all cells of one notebook in its smallest setting, on a busy machine
ANSWER = 60  # seconds for a widget, on a busy machine; most take a tenth of one
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent)"
# What a widget shows: its pictures and texts, without the sliders' own numbers.
LOOK = """cell => [...cell.querySelectorAll('img, .jp-RenderedText, .widget-html-content, .widget-label, svg text')]
    .map(part => part.tagName === 'IMG' ? part.src : part.textContent).join('|')"""


def holding(words: str) -> list[str]:
    """The stems of the notebooks in whose source these words stand."""
    return [path.stem for path in notebooks.sources(ROOT / "notebooks") if words in path.read_text(encoding="utf-8")]


WITH_WIDGETS = sorted({*holding("from ipywidgets import"), *holding("workshop.widgets import")})
WITH_EXPLORABLES = [stem for stem in holding("Explorable(") if stem not in WITH_WIDGETS]


def open_and_run(page, address: str, ready: str) -> None:
    """Run All Cells, wait for the last, and fail with the first error. ready: what shows that there is a kernel."""
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_selector(ready, timeout=60_000)  # earlier, it would ask for a kernel
    until_begun(page, time.monotonic() + 120)
    page.wait_for_function(f"!({PROMPTS}).some(text => text.includes('*'))", timeout=1000 * RUN)
    errors = page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
    assert not errors, errors[0][-1500:]
    prompts = page.evaluate(PROMPTS)
    assert all(text[1:-2].isdigit() for text in prompts), f"cells that did not run: {prompts}"


def until_begun(page, end: float) -> None:
    """Asks for all cells until one has a number or a star.

    Notebook 7 shows its kernel's name before there is one, and may ask which to take: the one that it offers.
    """
    which = page.locator(".jp-Dialog button.jp-mod-accept:has-text('Select')")
    while time.monotonic() < end:
        page.click("#jp-MainMenu >> text=Run")
        page.click(".lm-Menu-item:has-text('Run All Cells') >> nth=0")
        asked = time.monotonic()
        while time.monotonic() - asked < 20:
            if page.evaluate(f"({PROMPTS}).some(text => text !== '[ ]:')"):
                return
            if which.count():
                which.click()
            time.sleep(0.2)
    raise AssertionError("no cell was run in two minutes after Run All Cells")


def answer(cell, move) -> float | None:
    """Seconds from a move to another look of the cell; moved again where the kernel has come to rest and nothing came,
    as on a map's coarse tokens."""
    before, end = still(cell), time.monotonic() + ANSWER
    while time.monotonic() < end:
        move()
        start = time.monotonic()
        while time.monotonic() - start < 2 or busy(cell.page):
            if cell.evaluate(LOOK) != before:
                return time.monotonic() - start
            time.sleep(0.02)
    return None


def busy(page) -> bool:
    return any(kernel["execution_state"] == "busy" for kernel in kernels(page.evaluate("location.origin")))


def still(cell, look: str = LOOK, seconds: float = 0.5) -> str:
    """What the cell shows once the kernel rests and nothing has changed for so long."""
    last, since = cell.evaluate(look), time.monotonic()
    end = since + ANSWER
    while time.monotonic() - since < seconds:
        now = cell.evaluate(look)
        if now != last or busy(cell.page):
            last, since = now, time.monotonic()
            assert since < end, f"it has not come to rest in {ANSWER} s"
        time.sleep(0.05)
    return last


def hurry(cell, number: int) -> None:
    """Move everything at once: drawings that run into each other in the kernel have left an empty picture before."""
    for _, move in moves(cell):
        move()
    still(cell)
    for source in cell.evaluate("cell => [...cell.querySelectorAll('img')].map(img => img.src)"):
        kind, _, text = source.partition(";base64,")
        if kind == "data:image/png":
            darkness = np.asarray(Image.open(BytesIO(base64.b64decode(text))).convert("L")) < 200
            assert darkness.mean() > 0.01, f"widget {number}: after quick moves its picture is all but empty"


def moves(cell):
    """(what, a function that moves it one step) for every slider, menu, row of toggle buttons and upload of a cell."""
    for number, handle in enumerate(cell.locator(".noUi-handle").all()):
        yield f"slider {number + 1}", lambda handle=handle: push(handle)
    for number, menu in enumerate(cell.locator("select").all()):
        yield f"menu {number + 1}", lambda menu=menu: choose(menu)
    for number, row in enumerate(cell.locator(".widget-toggle-buttons").all()):
        yield f"toggle {number + 1}", lambda row=row: row.locator("button:not(.mod-active)").last.click()
    for number, button in enumerate(cell.locator("button.widget-upload").all()):
        yield f"upload {number + 1}", lambda button=button: upload(button)


def play(cell) -> None:
    """Notebook 05's training: started, it draws epoch after epoch; stopped, it rests; it goes on; it is thrown away."""
    press = lambda words: cell.locator(f"button:has-text('{words}')").click()  # noqa: E731
    words, picture = cell.locator(".widget-html-content"), cell.locator("img")
    epoch = lambda said: int(said.split()[1].rstrip(",")) if said.startswith("epoch") else 0  # noqa: E731

    def until(holds, press_what: str) -> None:
        press(press_what)
        end = time.monotonic() + ANSWER
        while not holds(found := words.inner_text()):
            assert time.monotonic() < end, f"{ANSWER} s after {press_what} it says {found!r}"
            time.sleep(0.1)

    assert not picture.is_visible()
    until(lambda said: epoch(said) >= 2, "Train")
    picture.wait_for(state="visible")
    press("Stop")
    held = epoch(still(words, "label => label.textContent", 3))  # after the epoch in progress
    assert 2 <= held < 40, "it goes on after Stop, to the end"
    until(lambda said: epoch(said) > held, "Train")
    until(lambda said: said.startswith("not started"), "Start again")
    assert still(words, "label => label.textContent", 1).startswith("not started"), "it goes on after Start again"


def push(handle) -> None:
    """Dragged across the middle, as by a hand: Notebook 7 takes the arrow keys for itself."""
    handle.scroll_into_view_if_needed()
    whole, knob, mouse = handle.locator("xpath=../..").bounding_box(), handle.bounding_box(), handle.page.mouse
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    far = whole["x"] + whole["width"] * (0.8 if x < whole["x"] + whole["width"] / 2 else 0.2)
    mouse.move(x, y)
    mouse.down()
    mouse.move(far, y, steps=3)
    mouse.up()


def upload(button) -> None:
    with button.page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files(ROOT / "figures" / "00_labels.png")


def choose(menu) -> None:
    options, index = menu.locator("option").count(), menu.evaluate("menu => menu.selectedIndex")
    menu.select_option(index=(index + 1) % options)


@pytest.mark.parametrize("stem", WITH_WIDGETS)
def test_a_notebook_runs_in_jupyterlab_and_each_of_its_widgets_answers(stem, page, lab, shots):
    open_and_run(page, f"{lab}/lab/tree/notebooks/{stem}.ipynb?reset", "text=Python 3 (ipykernel) | Idle")
    move_widgets(page, shots, stem[:2])
    look_at_widgets(page, shots, stem[:2])


@pytest.mark.parametrize("stem", WITH_EXPLORABLES)
def test_what_needs_no_kernel_answers_in_a_built_notebook(stem, page, lab, shots):
    page.goto(f"{lab}/lab/tree/built/{stem}.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .explore .facts dd", timeout=60_000)
    look_at_widgets(page, shots, stem[:2])


@pytest.mark.parametrize("stem", ["01_freeze_a_swin"])
def test_a_notebook_runs_in_notebook_7_and_each_of_its_widgets_answers(stem, page, lab, shots):
    pytest.importorskip("notebook", reason='no Notebook 7: pip install -e ".[browser]"')
    address = f"{lab}/notebooks/notebooks/{stem}.ipynb"
    open_and_run(page, address, ".jp-Toolbar-kernelName:has-text('Python 3'), .jp-KernelName")
    move_widgets(page, shots, f"{stem[:2]}_notebook7")


def move_widgets(page, shots: Path, name: str) -> None:
    """Move everything that moves, keep pictures of before and after, and the seconds that each took to answer."""
    cells = page.locator(".jp-CodeCell:has(.jp-OutputArea .jupyter-widgets)").all()
    answered = []
    for number, cell in enumerate(cells, 1):
        cell.scroll_into_view_if_needed()
        still(cell)
        if cell.locator("button:has-text('Start again')").count():
            play(cell)
            answered.append(f"the training of widget {number}")
        shoot(cell, shots / f"{name}_widget{number}_before.png")
        for what, move in moves(cell):
            seconds = answer(cell, move)
            assert seconds is not None, f"widget {number}: {what} was moved and nothing changed"
            answered.append(f"{what} of widget {number} {seconds:.2f} s")
        hurry(cell, number)
        shoot(cell, shots / f"{name}_widget{number}_after.png")
        errors = cell.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
        assert not errors, errors[0][-1500:]
    (shots / f"{name}_seconds.txt").write_text("\n".join(answered) + "\n")
    assert answered or not cells, "there are widgets, and none could be moved"


LOOKS = [(width, theme) for theme in ("Dark", "Light") for width in (1400, 800, 400)]  # the last is left to the next
# As a reader with so narrow a screen would: the list of files away.
WEAR = """async ([width, theme]) => {
    await jupyterapp.commands.execute('apputils:change-theme', {theme: `JupyterLab ${theme}`});
    if (jupyterapp.shell.leftCollapsed !== width < 500)
        await jupyterapp.commands.execute('application:toggle-left-area');
}"""
FAULTS = Path(__file__).with_name("faults.js").read_text(encoding="utf-8")


def look_at_widgets(page, shots: Path, name: str) -> None:
    """At each width, in light and dark: every widget is whole, and what needs no kernel answers, as on the site, where
    its numbers are checked."""
    widgets = page.locator(".explore, .jp-OutputArea-output > .jupyter-widgets").all()
    for turn, (width, theme) in enumerate(LOOKS if widgets else ()):
        page.set_viewport_size({"width": width, "height": 1000})
        page.evaluate(WEAR, [width, theme])
        for number, widget in enumerate(widgets, 1):
            widget.scroll_into_view_if_needed()
            page.wait_for_timeout(300)  # drawn anew where its room has changed
            if widget.evaluate("widget => widget.matches('.explore')"):
                move_explorable(widget, f"{name}: explorable {number}", turn % 2)
            assert widget.evaluate(FAULTS) == [], f"{name}: widget {number} at {width} px, {theme}"
            shoot(widget, shots / f"{name}_{width}_{theme}_{number}.png")


def move_explorable(explorable, name: str, back: int) -> None:
    facts = explorable.locator(".facts")
    facts.locator("dd").first.wait_for()  # some wait for their pictures first
    before = facts.inner_text()
    if explorable.locator("select").count():
        choose(explorable.locator("select").last)
    else:
        way = "less" if back else "more"
        explorable.locator(f".choice button:not([aria-pressed=true]), .stepper [aria-label={way}]").first.click()
    assert facts.inner_text() != before, f"{name} was moved and nothing changed"

"""The site and a run's report in a real browser: whole at each width, in light and dark; no request leaves a page; each
explorable is moved, and its numbers are those of the package."""

import itertools
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from nbformat import v4
from torch.nn import functional as F

from ptsa_lite.experiments.statistics import paired_difference
from ptsa_lite.figures.style import COLOURS
from ptsa_lite.tree import TaskTree, tree_score
from ptsa_lite.workshop.explore import Explorable, letters, likeness_data, rank_data
from ptsa_lite.workshop.notebooks import sources
from ptsa_lite.workshop.pages import page as page_of
from ptsa_lite.workshop.report import write_report
from ptsa_lite.workshop.site import build_site

from .conftest import ROOT, shoot

pytest.importorskip("latex2mathml", reason='no latex2mathml: pip install -e ".[site]"')
NAMES = ("semseg", "human_parts", "saliency", "normals")
LOOKS = {"tasks": NAMES, "colours": [COLOURS[name] for name in NAMES]}
NOTEBOOKS = [source.stem for source in sources(ROOT / "notebooks")]
EXPLORABLES = ["rank", "tree", "likeness", "price", "ranks", "similarity", "compare"]
# What sticks out of the page and stands in nothing that could be scrolled.
WIDER = """() => [...document.querySelectorAll('body *')].filter(node => {
    for (let up = node.parentElement; up !== document.body && up; up = up.parentElement)
        if (getComputedStyle(up).overflowX !== 'visible') return false;
    return node.getBoundingClientRect().right > innerWidth + 1;
}).map(node => `${node.tagName} ${node.textContent.slice(0, 60)}`)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages: the series, a report, and a page for each explorable on small numbers."""
    folder = tmp_path_factory.mktemp("site")
    build_site(ROOT / "notebooks", folder, say=lambda line: None)
    run = tmp_path_factory.mktemp("run")
    columns = [("semseg", "mIoU", True), ("depth", "RMSE (m)", False), ("normals", "mean angle (°)", False)]
    tasks = [dict(name=name, metric=metric, higher_is_better=better) for name, metric, better in columns]
    row = dict(method="ptsa", tree="(1, 1, 2, 4)", rank=8, delta_m=1.5, trainable=2_139_123, gmacs=0.159, seconds=75,
               metrics={"semseg": 17.55, "depth": 0.8677, "normals": 40.85})  # fmt: skip
    rows = [row | {"label": label} for label in ("PTSA (TGLoRA)", "LoRA, one per task, PTSA's parameters")]
    (run / "results.json").write_text(json.dumps({"data": "scenes", "tasks": tasks, "methods": rows}))
    state = dict(request={"data": "scenes"}, command="python -m ptsa_lite reproduce", started="now", notebooks={})
    (run / "run.json").write_text(json.dumps(state))
    write_report(run).rename(folder / "report.html")
    for name, data in zip(EXPLORABLES, (pairs(), trees(), tokens(), PRICE, RANKS, MATRICES, STUDIES), strict=True):
        output = v4.new_output("display_data", data={"text/html": Explorable(name, data)._repr_html_()})
        notebook = v4.new_notebook(cells=[v4.new_code_cell("", outputs=[output])])
        (folder / f"{name}.html").write_text(page_of(notebook, title=name, series="tests"), encoding="utf-8")
    return folder


def pairs() -> dict:
    updates = F.normalize(torch.randn(4, 24, 16, generator=torch.manual_seed(0)).flatten(1)).view(4, 24, 16)
    return rank_data(updates, 16, [4, 8, 16, 32, 64]) | LOOKS


SIMILARITY = np.array([[1, 0.1, 0.2, 0.3], [0.1, 1, 0.4, 0.5], [0.2, 0.4, 1, 0.6], [0.3, 0.5, 0.6, 1]])
HALVES = TaskTree.parse(
    "semseg+human_parts+saliency+normals > semseg+human_parts+saliency+normals > semseg+human_parts | saliency+normals"
    " > semseg | human_parts | saliency | normals"
)
SHARED = TaskTree.shared(NAMES)


def trees() -> dict:
    found = [{"tree": letters(SHARED, NAMES), "delta_m": 0.5, "sd": 1.25},
             {"tree": letters(HALVES, NAMES), "delta_m": -1.0, "sd": None}]  # fmt: skip
    return LOOKS | {"rank": 2, "stages": [3, 3, 8, 3], "fixed": 4, "per_rank": [10, 20, 30, 40], "trained": found,
                    "similarity": SIMILARITY.tolist(), "presets": [["all", letters(SHARED, NAMES)],
                                                                   ["halves", letters(HALVES, NAMES)]]}  # fmt: skip


MAPS = {name: [torch.randn(3, 12, 12, 8, generator=torch.manual_seed(seed)) for _ in range(2)]
        for seed, name in enumerate(("distilled", "random"))}  # fmt: skip


def tokens() -> dict:
    grey = [np.full((24, 24, 3), shade, np.uint8) for shade in (80, 120, 160)]
    return likeness_data(MAPS, grey) | {"start": {"stage": 1, "frame": 1, "row": 0.5, "column": 0.5}}


STAGES = {"groups": [1, 1, 2, 4], "per_rank": [10, 20, 30, 40], "shades": ["#8fbfdc"] * 4}
PRICE = STAGES | {"rank": 16, "ranks": [4, 8, 16], "n": 4, "paper": 30, "stages": [3, 3, 8, 3], "fixed": 4,
                  "trained": [["heads", 0.5, "#3d4a54"]]}  # fmt: skip
RANKS = STAGES | {"ranks": [1, 2, 4], "start": 2,
                  "reach": [[0.1, 0.2, 0.3, 0.4], [0.2] * 4, [0.3] * 4, [0.5, 0.6, 0.7, 0.8]]}  # fmt: skip


def matrices(seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    one, error = generator.normal(0, 0.2, (4, 4)), generator.uniform(0.05, 0.2, (4, 4))
    return [((one + one.T) / 2).round(3), ((error + error.T) / 2).round(3)]


WAYS = itertools.product(("plain", "elementwise"), ("same", "different"), (4, 8))
MEASURED = {f"{reading} {pairs} {frames}": [matrices(10 * k + stage) for stage in range(3)]
            for k, (reading, pairs, frames) in enumerate(WAYS)}  # fmt: skip
AS_LISTS = {way: [[one.tolist() for one in two] for two in stages] for way, stages in MEASURED.items()}
MATRICES = LOOKS | {"frames": [4, 8], "most": 0.3, "measured": AS_LISTS,
                    "start": {"reading": "plain", "pairs": "same", "stage": 1, "frames": 4}}  # fmt: skip
TWO = {"PTSA": {0: 1.0, 1: 2.0, 2: 4.0}, "LoRA": {0: 0.5, 1: 1.0, 2: 1.5}, "BitFit": {0: -1.0, 1: -2.0, 2: -1.5}}
MEANS = {"PTSA": [20, 0.9], "LoRA": [19, 0.8], "BitFit": [18, 1]}
STUDIES = {"start": ["scenes", "PTSA", "LoRA"], "studies": {name: {
    "metrics": ["semseg, mIoU", "depth, RMSE (m)"], "means": MEANS,
    "pairs": {f"{one}|{other}": paired_difference(TWO[one], TWO[other]) | {"verdict": f"{one} and {other} on {name}"}
              for one, other in itertools.combinations(TWO, 2)}} for name in ("scenes", "frames")}}  # fmt: skip


@pytest.fixture
def opened(browser, site):
    """Opens a page; when the test is over no request may have left it, and no script may have failed."""
    gone, failed, tabs = [], [], []

    def go(name, width=1400, scheme="light"):
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.on("request", lambda request: gone.append(request.url))
        tab.on("pageerror", lambda error: failed.append(str(error)))
        tab.goto((site / f"{name}.html").as_uri())
        tabs.append(tab)
        return tab

    yield go
    for tab in tabs:
        tab.close()
    assert [url for url in gone if not url.startswith(("file:", "data:"))] == [] and failed == []


@pytest.mark.parametrize("name", ["index", *NOTEBOOKS, "report", *EXPLORABLES])
def test_a_page_is_whole_at_each_width_in_light_and_dark_and_fetches_nothing(name, opened, shots):
    """Opened at each width, in light or in dark; then the system changes to the other, and the page with it."""
    for width, schemes in ((1400, ("light", "dark")), (800, ("dark", "light")), (400, ("light", "dark"))):
        tab = opened(name, width, schemes[0])
        for scheme in schemes:
            tab.emulate_media(color_scheme=scheme)
            tab.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")  # told with the next frame
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, tab.evaluate(WIDER)
            assert tab.evaluate(WIDER) == []
            ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
            shoot(tab, shots / f"{name[:8]}_{width}_{scheme}.png", full_page=True)


def test_the_switches_change_the_look_and_unfold_the_code(opened):
    tab = opened("02_group_a_lora")
    tab.click("#theme")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.locator("details.code[open]").count() == 4  # the layer and its insertion, which a cell's tag holds open
    tab.click("#unfold")
    assert tab.locator("details.code[open]").count() == tab.locator("details.code").count() > 10
    tab.click("nav a:has-text('03')")
    tab.wait_for_url("**/03_measure*")  # a click does not wait for the page that it leads to
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.locator("#theme").inner_text() == "light"


def test_a_figure_made_smaller_to_fit_stands_at_its_own_size_after_a_tap_and_the_page_keeps_its_width(opened):
    tab = opened("02_group_a_lora", 400)
    figure = tab.locator(".output_png img").first
    tab.wait_for_selector(".output_png img.small")  # told when its size is known
    fitted = figure.bounding_box()["width"]
    figure.click()
    assert figure.bounding_box()["width"] == figure.evaluate("image => image.naturalWidth") > 2 * fitted
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    figure.click()
    assert figure.bounding_box()["width"] == fitted


def test_printed_sentences_are_wrapped_and_a_printed_table_keeps_its_columns_and_scrolls(opened):
    tab = opened("09_bring_your_own_tasks", 800)
    sentence = tab.locator(".output_text pre:has-text('unknown column for task')")
    assert sentence.evaluate("pre => pre.scrollWidth <= pre.clientWidth")
    table = tab.locator(".output_text pre:has-text('expected found missing')").first
    lines = table.inner_text().rstrip("\n").count("\n") + 1
    line = table.evaluate("pre => parseFloat(getComputedStyle(pre).lineHeight)")
    assert table.bounding_box()["height"] < (lines + 3) * line and table.evaluate(
        "pre => pre.scrollWidth > pre.clientWidth"
    )


def test_every_link_leads_to_a_page_and_to_a_place_on_it(site):
    pages = {path.name: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in site.glob("*.html")}
    places = {name: {tag["id"] for tag in page.select("[id]")} | {""} for name, page in pages.items()}
    for name, page in pages.items():
        for link in page.select("a[href]:not([href*=':'])"):
            path, _, place = link["href"].partition("#")
            assert unquote(place) in places.get(path or name, ()), f"{name}: {link}"
        assert all(picture.has_attr("alt") for picture in page.select("img"))


def test_a_dark_page_is_printed_light_and_whole(opened):
    tab = opened("08_question_the_result", 720, "dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate(WIDER) == [] and not tab.locator("header").is_visible()


def test_whoever_wants_less_motion_gets_a_still_to_play_and_the_first_key_skips_to_the_text(opened):
    tab = opened("index")
    moving = "main img[src^='data:image/gif']"
    assert tab.locator(moving).is_visible()
    tab.emulate_media(reduced_motion="reduce")
    tab.reload()
    tab.wait_for_selector("button.still")
    assert not tab.locator(moving).count()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert tab.url.endswith("#text")
    tab.locator("button.still").press("Enter")
    assert tab.locator(moving).is_visible()


def facts(tab) -> list[str]:
    tab.wait_for_selector(".explore .facts dd")  # drawn where its width is known, or its pictures are read
    return tab.locator(".explore .facts dd").all_inner_texts()


def test_rank_reaches_what_the_singular_values_say(opened):
    tab, data = opened("rank"), pairs()

    def reach(*groups, budget):
        return sum(len(group) / 4 * sum(data["spectra"]["+".join(map(str, group))][: budget // len(groups)])
                   for group in groups)  # fmt: skip

    expect = [((0, 1), (2, 3)), ((0, 1, 2, 3),), ((0,), (1,), (2,), (3,))]
    assert facts(tab)[:3] == [f"{100 * reach(*groups, budget=16):.0f} %" for groups in expect]
    assert facts(tab)[3:] == ["640", "8"]
    tab.locator(".explore input").press("ArrowRight")  # 32
    tab.locator(".explore button:has-text('saliency')").press("Enter")  # to a pair of its own
    assert tab.evaluate("document.activeElement.textContent") == "saliency", "the next key finds it again"
    assert facts(tab)[0] == f"{100 * reach((0, 1), (2,), (3,), budget=32):.0f} %"
    tab.click(".explore button:has-text('saliency')")  # to the pair of the first two
    assert facts(tab)[0] == f"{100 * reach((0, 1, 2), (3,), budget=32):.0f} %"
    tab.click(".explore button:has-text('normals')")  # alone, so it joins the others
    assert facts(tab)[0] == facts(tab)[1] and facts(tab)[4] == "32"


def test_a_clicked_tree_has_the_packages_costs_and_score(opened):
    tab = opened("tree")
    dot = lambda task, stage: tab.click(f"[data-dot='{NAMES.index(task)} {stage - 1}']")  # noqa: E731
    assert facts(tab) == ["(1, 1, 1, 1)", "21.00", "0 %", "200", f"+{tree_score(SHARED, SIMILARITY, NAMES):.3f}",
                          "+0.50 % ± 1.25"]  # fmt: skip
    dot("normals", 3)
    assert facts(tab)[:4] == ["(1, 1, 2, 2)", "32.00", "22 %", "340"], "what separates in a stage stays separated"
    alone = TaskTree.parse(
        "semseg+human_parts+saliency+normals > semseg+human_parts+saliency+normals"
        " > semseg+human_parts+saliency | normals > semseg+human_parts+saliency | normals"
    )
    assert facts(tab)[4:] == [f"+{tree_score(alone, SIMILARITY, NAMES):.3f}", "not trained"]
    dot("normals", 4)
    assert "stay separated" in tab.locator(".explore [role=status]").inner_text() and facts(tab)[0] == "(1, 1, 2, 2)"
    dot("normals", 3)
    assert facts(tab)[0] == "(1, 1, 1, 2)", "it is back in stage 3, and still alone in stage 4"
    tab.click(".explore button:has-text('halves')")
    assert facts(tab)[0] == "(1, 1, 2, 4)" and facts(tab)[5] == "−1.00 %"
    dot("saliency", 3)
    assert facts(tab)[0] == "(1, 1, 3, 4)"
    dot("saliency", 3)
    assert facts(tab)[0] == "(1, 1, 2, 4)" and facts(tab)[5] == "not trained", "it has joined the other half"
    tab.locator(".explore .gallery button").first.press("Enter")
    assert tab.evaluate("document.activeElement.ariaPressed") == "true"
    assert facts(tab)[5] == "+0.50 % ± 1.25"


def test_a_token_finds_as_many_as_the_features_say(opened):
    tab = opened("likeness")

    def alike(stage, frame, row, column):
        texts = []
        for maps in MAPS.values():
            unit = F.normalize(maps[stage - 1] - maps[stage - 1].mean((0, 1, 2)), dim=-1)
            others = (unit @ unit[frame, row, column])[[f for f in range(3) if f != frame]]
            texts.append(f"{100 * (others > 0.5).float().mean():.0f}")
        return texts

    def near(found, true):
        return all(abs(int(a.removesuffix(" %")) - int(b)) <= 1 for a, b in zip(found, true, strict=True))

    assert near(facts(tab), alike(1, 1, 6, 6))
    tab.click(".explore button:has-text('2')")
    canvas = tab.locator(".explore canvas").nth(2)
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 2.5 / 12, "y": box["height"] * 10.5 / 12})
    assert near(facts(tab), alike(2, 2, 10, 2))
    canvas.press("ArrowUp")
    assert near(facts(tab), alike(2, 2, 9, 2))


def more(tab, stage: str, way: str = "more") -> None:
    tab.click(f".explore [aria-label='{stage}'] [aria-label='{way}']")


def test_groups_and_rank_have_their_price_and_groups_never_join_again(opened):
    tab = opened("price")
    assert facts(tab) == ["38.00", "1.81", "4,000", "0.50 M"]
    more(tab, "stage 2")
    assert facts(tab)[0] == "41.00" and "(1, 2, 2, 4)" in tab.locator(".explore").inner_text()
    more(tab, "stage 1")
    more(tab, "stage 1")
    assert "(3, 3, 3, 4)" in tab.locator(".explore").inner_text(), "later stages have as many groups at least"
    more(tab, "stage 4", "less")
    more(tab, "stage 4", "less")
    assert "(2, 2, 2, 2)" in tab.locator(".explore").inner_text(), "earlier ones as many at most"
    more(tab, "rank", "less")
    assert facts(tab)[2] == f"{8 * 2 * 100:,}"


def test_a_rank_for_each_stage_has_its_numbers_and_what_it_reaches(opened):
    tab = opened("ranks")
    assert facts(tab) == ["32.5 %", "500", "32.5 %", "500"]
    more(tab, "stage 1")
    more(tab, "stage 4", "less")
    assert facts(tab) == ["35.0 %", f"{4 * 10 + 2 * 20 + 2 * 60 + 160}", "32.5 %", "500"]


def test_a_similarity_is_told_in_every_way_that_it_was_measured(opened):
    tab = opened("similarity")

    def told(way, stage):
        (matrix, error), pairs = MEASURED[way][stage], list(itertools.combinations(range(4), 2))
        best = max(pairs, key=lambda pair: matrix[pair])
        clear = sum(abs(matrix[pair]) > 2 * error[pair] for pair in pairs)
        return [f"{matrix[best]:+.2f} ± {error[best]:.2f}".replace("-", "−"), f"{clear} of 6",
                f"{np.mean([error[pair] for pair in pairs]):.3f}"]  # fmt: skip

    assert facts(tab) == told("plain same 4", 1)
    for word in ("all", "elementwise", "different", "8"):
        tab.click(f".explore button:text-is('{word}')")
    assert facts(tab) == told("elementwise different 8", 0)
    corner = MEASURED["elementwise different 8"][0][0][0, 1]
    assert tab.locator(".explore td").nth(2).inner_text().split()[0] == f"{corner:.2f}".replace("-", "−")


def test_two_conditions_differ_as_the_package_says_and_turned_round_by_the_opposite(opened):
    tab = opened("compare")
    found = paired_difference(TWO["PTSA"], TWO["LoRA"])
    signed = lambda value: f"{value:+.2f}".replace("-", "−")  # noqa: E731
    assert facts(tab) == [signed(found["mean"]), f"{signed(found['low'])} to {signed(found['high'])}", "3"]
    menus = tab.locator(".explore select")
    menus.nth(1).select_option("LoRA")  # which was the second, so that the two change places
    assert [menu.input_value() for menu in menus.all()] == ["scenes", "LoRA", "PTSA"]
    assert facts(tab)[:2] == [signed(-found["mean"]), f"{signed(-found['high'])} to {signed(-found['low'])}"]
    menus.nth(0).select_option("frames")
    menus.nth(2).select_option("BitFit")
    assert tab.locator(".explore [role=status]").inner_text() == "LoRA and BitFit on frames."
    assert tab.locator(".explore table").inner_text().split() == [
        "LoRA", "BitFit", "semseg,", "mIoU", "19.000", "18.000", "depth,", "RMSE", "(m)", "0.800", "1.000"]  # fmt: skip

"""The page in a real browser: it works, it asks nothing of the network, and no run can write markup into it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cebctl.render.state_styles import STATE_STYLES
from cebctl.report.page.build import script_json
from experiments.benchmarks import Clean, Information, Pgd
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import PlannedRun
from jobs.journal.files import Journal
from jobs.journal.records import Failed, Measure, Metrics, Result, Started, Succeeded
from jobs.paths import Home

ROOT = Path(__file__).parents[3]
EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'`{{7*7}}&lt;<!--"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install the package chromium")

MATRIX = """
title: "Small </title><script>window.pwned=1</script>"
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: [5, 3, 1, 0]}
evaluate: [clean, information, pgd: {norm: linf, eps: 0.1, steps: 3}]
report: {figures: [v1-1], notes: ["<b onmouseover=window.pwned=1>a note</b>"]}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests here."""
    with playwright.sync_playwright() as driver:
        # In a container there is neither a sandbox nor much shared memory; no GPU.
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@dataclass
class Opened:
    """A page and what went wrong in it."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file and note every error, warning and request."""
    pages: list[Any] = []

    def opened(file: Path, fragment: str = "", **options: Any) -> Opened:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
        pages.append(page)
        tab = Opened(page)
        page.on("console", lambda message: tab.problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: tab.problems.append(str(error)))
        page.on("request", lambda request: tab.requests.append(request.url))
        page.goto(file.as_uri() + fragment)
        return tab

    yield opened
    for page in pages:
        page.close()


def _write(home: Home, run: PlannedRun, clean: int) -> None:
    """A trained and evaluated run, with a log and metrics."""
    numbers = {Clean: ("clean", "accuracy"), Pgd: ("pgd_linf", "accuracy")}
    with Journal(home.run(run.run_id).journal("train", 1)) as journal:
        points = [Metrics(step=step, epoch=step / 10, values={"loss": 2 / step, "lr": 0.1}) for step in range(1, 9)]
        journal.write(Started(host=EVIL), *points, Succeeded())
    with Journal(home.run(run.run_id).journal("evaluate", 1)) as journal:
        journal.write(Started())
        for benchmark in run.benchmarks:
            if isinstance(benchmark, Information):
                measures = [Measure(name=n, unit="nats", total=360, value=v, std=0.5) for n, v in
                         (("rate", clean / 100), ("conditional_entropy", 0.3))]  # fmt: skip
            else:
                name, unit = numbers[type(benchmark)]  # type: ignore[index]
                measures = [Measure(name=name, unit=unit, total=360, correct=clean)]
            evaluation = evaluation_id(benchmark, "digits")
            journal.write(Result(evaluation_id=evaluation, benchmark=benchmark, data_digest="d", checkpoint_step=1,
                                 engine="e", measures=measures))  # fmt: skip
        journal.write(Succeeded())
    log = home.run(run.run_id).log("evaluate", 1)
    log.parent.mkdir()
    log.write_text(f"the log {EVIL}\n")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of four evaluated runs and one that failed with markup in its error and traceback."""
    folder = tmp_path_factory.mktemp("page")
    matrix, home = folder / "m.yaml", Home(folder / "home")
    matrix.write_text(MATRIX)
    runs = load(matrix).runs
    for run, clean in zip(runs[:-1], (350, 358, 344, 352), strict=True):
        _write(home, run, clean)
    with Journal(home.run(runs[-1].run_id).journal("train", 1)) as journal:
        journal.write(Started(), Failed(error=f"an error {EVIL}", traceback=f"Traceback {EVIL}"))
    command = [sys.executable, "-m", "cebctl.app", "report", str(matrix), "--html", str(folder / "page.html")]
    environment = os.environ | {"CEBCTL_HOME": str(home.folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "page.html"


def _column(page: Any, table: str, index: int) -> list[str]:
    texts: list[str] = page.locator(f"#{table} tbody tr:visible > :nth-child({index})").all_inner_texts()
    return [text.split()[0].rstrip("†*") for text in texts]


@needs_browser
def test_it_opens_without_complaint_and_without_a_request(opened: Callable[..., Opened], page_file: Path) -> None:
    tab = opened(page_file)
    for number, chart in enumerate(tab.page.locator("figure .chart").all()):
        chart.scroll_into_view_if_needed()
        tab.page.locator("figure .chart[data-drawn]").nth(number).wait_for()
    assert tab.page.locator("figure svg").count() == 3  # v1 Figure 1, the information plane, training
    assert tab.problems == []
    assert tab.requests == [page_file.as_uri()]


@needs_browser
def test_sorting_and_filtering(opened: Callable[..., Opened], page_file: Path) -> None:
    page = opened(page_file).page
    button = page.get_by_role("button", name="clean")
    button.press("Enter")
    assert _column(page, "grid-1", 3) == ["95.6", "97.2", "97.8", "99.4", "failed"]
    button.press("Enter")
    assert _column(page, "grid-1", 3) == ["99.4", "97.8", "97.2", "95.6", "failed"]  # what is missing comes last
    assert page.locator("#grid-1 th[aria-sort=descending]").count() == 1
    page.get_by_label("Filter").first.fill("rho=3")
    assert _column(page, "grid-1", 2) == ["3"]
    assert page.locator("#grid-1-count").inner_text() == "1 of 5"
    page.get_by_label("Filter").last.fill("failed")
    assert page.locator("details.run:visible").count() == 1


@needs_browser
def test_a_click_on_a_mark_opens_its_run(opened: Callable[..., Opened], page_file: Path) -> None:
    page = opened(page_file).page
    chart = page.locator("figure .chart").first
    chart.scroll_into_view_if_needed()
    mark = chart.locator("path[aria-roledescription=point]").first
    mark.wait_for()
    assert page.locator("details.run[open]").count() == 0
    mark.click(force=True)
    opened_run = page.locator("details.run[open]")
    assert opened_run.count() == 1
    opened_run.locator(".chart[data-drawn] svg").wait_for()
    assert "the log" in opened_run.inner_text() and "small_cnn" in opened_run.inner_text()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


@needs_browser
def test_nothing_that_a_run_wrote_is_markup(opened: Callable[..., Opened], page_file: Path) -> None:
    tab = opened(page_file)
    tab.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.page.wait_for_timeout(500)
    assert tab.page.evaluate("window.pwned") is None
    assert tab.page.locator("img, main script, main iframe, main style, main b[onmouseover]").count() == 0
    text = tab.page.locator("main").inner_text()
    assert f"an error {EVIL}" in text and f"Traceback {EVIL}" in text and f"the log {EVIL}" in text
    assert tab.page.title().startswith("Small </title><script>")
    assert tab.problems == []


@needs_browser
def test_the_policy_stops_what_would_slip_through(opened: Callable[..., Opened], page_file: Path) -> None:
    """Scripts, handlers, evaluated text and connections put into the page by hand do nothing."""
    tab = opened(page_file)
    tab.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.pwned = 1";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<button id=b onclick='window.pwned = 1'>b</button>");
          document.getElementById("b").click();
          document.body.insertAdjacentHTML("beforeend", "<img src='http://localhost:9/x.png'>");
        }"""
    )
    fetched = tab.page.evaluate("fetch('http://localhost:9/').then(() => 'reached', () => 'refused')")
    assert fetched == "refused"
    assert tab.page.evaluate("window.pwned") is None
    assert all("Content Security Policy" in problem for problem in tab.problems) and tab.problems


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_state_can_be_read_in_both_themes(opened: Callable[..., Opened], page_file: Path, theme: str) -> None:
    page = opened(page_file, color_scheme=theme).page
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for style in STATE_STYLES.values():
        assert _contrast(getattr(style, theme), paper) >= 4.5
    page.get_by_role("button", name="light and dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") != theme


def _contrast(colour: str, paper: str) -> float:
    """WCAG 2's ratio of `#rrggbb` to `rgb(r, g, b)`."""

    def luminance(channels: list[int]) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (channel / 255 for channel in channels)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    luminances = luminance([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    theirs = luminance([int(part) for part in paper.removeprefix("rgb(").rstrip(")").split(",")])
    return (max(luminances, theirs) + 0.05) / (min(luminances, theirs) + 0.05)


@needs_browser
def test_every_control_has_a_name_and_the_page_reads_without_scripts(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert "99.4" in page.locator("#grid-1").inner_text()
    for control in page.locator("button, input, a, [role=region], [role=img]").all():
        named = control.inner_text() or control.get_attribute("aria-label") or control.get_attribute("aria-labelledby")
        assert named or control.locator("xpath=ancestor::label").count()
    context.close()


@needs_browser
@pytest.mark.parametrize("width", [1300, 420])
def test_what_is_wider_than_the_window_is_scaled_or_shows_that_it_scrolls(
    opened: Callable[..., Opened], page_file: Path, width: int
) -> None:
    page = opened(page_file, color_scheme="light").page
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for number, chart in enumerate(page.locator(".chart").all()):
        chart.scroll_into_view_if_needed()
        page.locator(".chart[data-drawn]").nth(number).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    table = page.locator(".scroll").first
    page.evaluate("document.querySelector('.scroll table').style.minWidth = '2000px'")
    assert _edge(table) < 220
    table.evaluate("one => one.scrollTo(one.scrollWidth, 0)")
    assert _edge(table) > 220


def _edge(element: Any) -> int:
    """How light the rightmost pixels of an element are, at most 255."""
    with Image.open(io.BytesIO(element.screenshot())) as picture:
        grey = picture.convert("L")
        return min(grey.getpixel((grey.width - 2, y)) for y in range(grey.height // 2 - 5, grey.height // 2 + 5))


def test_embedded_json_holds_no_sign_that_html_reads() -> None:
    assert not set("<>&\u2028\u2029") & set(script_json({EVIL: [EVIL, "\u2028"]}))


@needs_browser
def test_the_demos_page(opened: Callable[..., Opened]) -> None:
    """What `make demo` wrote; with CEBCTL_WRITE_SCREENSHOT its picture is put into the README's place."""
    page_of_demo = Path(os.environ.get("CEBCTL_DEMO_PAGE", "nowhere"))
    if not page_of_demo.is_file():
        pytest.skip("no page in CEBCTL_DEMO_PAGE: `make demo` writes .cebctl/report.html")
    tab = opened(page_of_demo.absolute())
    tab.page.locator("figure").first.scroll_into_view_if_needed()
    tab.page.locator("figure .chart[data-drawn]").first.wait_for()
    assert tab.problems == []
    if os.environ.get("CEBCTL_WRITE_SCREENSHOT"):
        tab.page.evaluate("window.scrollTo(0, 0)")
        figure = tab.page.locator("figure").first.bounding_box()
        area = {"x": 0, "y": 0, "width": 1280, "height": figure["y"] + figure["height"]}
        place = ROOT / "cebctl" / "report" / "page" / "screenshot.png"
        tab.page.screenshot(path=place, full_page=True, clip=area)
        Image.open(place).convert("RGB").quantize(256).save(place, optimize=True)

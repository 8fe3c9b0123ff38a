"""The report in a headless browser: it works without network, by mouse and by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.collections import write_pairs
from support.studies import made_up_scores, write_study

from cluster.storage.store import Store
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from jobs.study.options import StudyReportOptions
from jobs.study.report import report_study

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="needs chromium and chromium-driver"
)

AUDIT = """
const problems = [];
for (const img of document.images) if (!img.hasAttribute('alt')) problems.push('alt ' + img.src);
for (const el of document.querySelectorAll('button, a'))
  if (!(el.textContent.trim() || el.getAttribute('aria-label'))) problems.push(el.outerHTML);
for (const svg of document.querySelectorAll('svg'))
  if (!svg.getAttribute('aria-label')) problems.push('svg');
for (const table of document.querySelectorAll('table.data'))
  if (!table.caption || !table.querySelector('th[scope]')) problems.push('table');
const levels = [...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]));
levels.forEach((level, n) => { if (n && level > levels[n - 1] + 1) problems.push('heading'); });
if (!document.documentElement.lang) problems.push('lang');
return problems;
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,900",
        "--force-prefers-reduced-motion",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study whose scores are given, and whose pictures can be read."""
    folder = tmp_path_factory.mktemp("study")
    scores = made_up_scores()
    images = tmp_path_factory.mktemp("images")
    write_pairs(images, len(scores["sharp"]))
    for number, label in enumerate(scores):
        for pair in range(len(scores[label])):
            size = ((48, 64), (33, 57), (64, 48))[pair % 3]
            image, _ = synthetic_pair(*size, seed=100 * number + pair)
            Store(f"{images}/{label}").write(f"{pair:04d}.png", encode_png(image))
    more = {("TNO", label): {"images": str(images)} for label in scores}
    write_study(folder, {"TNO": scores}, runs=more)
    report_study(StudyReportOptions(out=str(folder)))
    return folder / "report.html"


@pytest.fixture
def page(browser: Chrome, report: Path) -> Chrome:
    browser.get(report.as_uri())
    return browser


def texts(page: Chrome, selector: str) -> list[str]:
    found = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())",
        selector,
    )
    return list(found)


def click(page: Chrome, selector: str) -> None:
    page.find_element("css selector", selector).click()


def test_the_page_requests_nothing_and_reports_no_error(page: Chrome, report: Path) -> None:
    requested = [
        entry["message"]
        for entry in page.get_log("performance")
        if "Network.requestWillBeSent" in entry["message"]
    ]
    assert requested
    assert all(report.name in text or '"url":"data:' in text for text in requested)
    assert page.get_log("browser") == []


def test_everything_has_a_name_for_screen_readers(page: Chrome) -> None:
    assert page.execute_script(AUDIT) == []


def test_a_click_on_a_heading_sorts_a_table_and_another_one_reverses_it(page: Chrome) -> None:
    rows, heading = "#TNO-scores tbody th", "#TNO-scores thead th:nth-child(4) button"  # Nabf
    assert texts(page, rows) == ["sharp", "soft", "noisy"]
    click(page, heading)
    assert texts(page, rows) == ["noisy", "soft", "sharp"]
    sorted_by = page.find_element("css selector", "#TNO-scores thead th:nth-child(4)")
    assert sorted_by.get_attribute("aria-sort") == "ascending"
    click(page, heading)
    assert texts(page, rows) == ["sharp", "soft", "noisy"]


def test_a_picture_enlarges_and_arrow_keys_change_the_method(page: Chrome) -> None:
    from selenium.webdriver import ActionChains, Keys

    page.execute_script("document.querySelector('.picture').focus()")
    ActionChains(page).send_keys(Keys.ENTER).perform()
    viewer = page.find_element("css selector", "#viewer")
    assert viewer.get_attribute("open")
    assert texts(page, "#viewer span") == ["infrared"]
    ActionChains(page).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).perform()
    assert texts(page, "#viewer span") == ["sharp"]
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert not viewer.get_attribute("open")


def test_the_theme_can_be_chosen(page: Chrome) -> None:
    def ground() -> Any:
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    seen = {}
    for _ in range(3):
        click(page, "#theme")
        seen[texts(page, "#theme")[0]] = ground()
    assert seen["Theme: dark"] != seen["Theme: light"]
    assert set(seen) == {"Theme: light", "Theme: dark", "Theme: automatic"}


def test_nothing_is_wider_than_the_page_on_a_telephone(page: Chrome) -> None:
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        width = page.execute_script("return document.documentElement.scrollWidth")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 390


def test_the_page_prints(page: Chrome) -> None:
    import base64

    pdf = base64.b64decode(page.print_page())
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000

"""The page in a browser: headless Chromium opens it from a file; nothing fails, all is drawn, and all parts answer.

Pictures of the pages come with ``DEMITASSE_SCREENSHOTS=FOLDER``, at three widths, light and dark.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demitasse.compress import compress
from demitasse.demo import run_demo
from demitasse.report.page.page import write_page
from tests.report.page.runs import HOSTILE, compress_folder, hostile_file
from tests.zoo.recipes import SMALL

CHROMIUM = shutil.which("chromium")
WIDTHS = (400, 1200, 1920)
# without the network flags, Chromium asks for its own services at every start
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and shutil.which("chromedriver")), reason="chromium or its driver is missing"),
]
selenium = pytest.importorskip("selenium")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> a page: of the demo, of three recipes, of names that are hostile, and of a log."""
    folder = tmp_path_factory.mktemp("pages")
    run_demo(out=folder / "demo", quick=True, say=lambda line: None)
    recipes = []
    for sparsity in ("0.5", "0.8", "0.95"):
        name = f"zeros_{sparsity.partition('.')[2]}"
        text = SMALL.replace("sparsity = 0.9", f"sparsity = {sparsity}").replace('"4/8"', '"demi"')
        (folder / f"{name}.toml").write_text(text)
        compress(folder / f"{name}.toml", folder / "runs", say=lambda line: None)
        recipes.append(folder / "runs" / name)
    write_page(recipes, folder / "recipes.html")
    write_page([hostile_file(folder), compress_folder(folder, HOSTILE[0].replace("/", "_"))], folder / "hostile.html")
    log = next((folder / "demo").glob("*/dns_train.log"))
    write_page([log], folder / "log.html")
    found = {name: folder / f"{name}.html" for name in ("recipes", "hostile", "log")}
    return {"demo": folder / "demo/report.html", **found}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Open:
    """Opens a page by its name, for a screen of some width."""

    def open_page(name: str, width: int = 1200, dark: bool = False) -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
        browser.get(pages[name].as_uri())
        return browser

    return open_page


def all_of(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements(By.CSS_SELECTOR, selector)
    return found


def one_of(browser: Any, selector: str) -> Any:
    return next(element for element in all_of(browser, selector) if element.is_displayed())


def wait(browser: Any, condition: Callable[[Any], object]) -> None:
    WebDriverWait(browser, 10).until(condition)


def colour(browser: Any, selector: str = "body") -> str:
    return str(one_of(browser, selector).value_of_css_property("background-color"))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["demo", "recipes", "hostile", "log"])
def test_all_is_drawn_without_an_error(name: str, width: int, dark: bool, opened: Open) -> None:
    browser = opened(name, width, dark)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cards = all_of(browser, ".card")
    drawn = [svg for svg in all_of(browser, ".plot svg") if svg.is_displayed()]
    assert len(drawn) == len(cards) > 0
    for svg in drawn:
        assert svg.size["width"] > 200
        assert svg.size["height"] > 60
        assert svg.size["width"] <= width
        assert svg.find_elements(By.CSS_SELECTOR, "[role=graphics-symbol][aria-label]")
    for image in all_of(browser, ".weights img"):
        assert browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", image)
    assert (
        browser.execute_script(
            "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
        )
        == 0
    )
    if folder := os.environ.get("DEMITASSE_SCREENSHOTS"):
        size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path = Path(folder) / f"{name}_{width}_{'dark' if dark else 'light'}.png"
        path.write_bytes(base64.b64decode(shot["data"]))


def test_a_chart_says_its_values_to_pointer_and_keys(opened: Open) -> None:
    browser = opened("demo")
    plot, tip = all_of(browser, ".plot.wide")[1], browser.find_element(By.CSS_SELECTOR, ".tip")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    assert not tip.is_displayed()
    plot.send_keys(Keys.ARROW_RIGHT)
    assert tip.text.startswith("reference, iteration 0: test error ")
    plot.send_keys(Keys.END)
    assert tip.text.startswith("INQ 100 %, iteration 1: training loss ")
    plot.send_keys(Keys.HOME, Keys.ESCAPE)
    assert not tip.is_displayed()
    mark = plot.find_elements(By.CSS_SELECTOR, "[role=graphics-symbol][aria-label*=iteration]")[3]
    webdriver.ActionChains(browser).move_to_element(mark).perform()
    assert tip.text == mark.get_attribute("aria-label")
    webdriver.ActionChains(browser).move_to_element(one_of(browser, "h1")).perform()
    assert not tip.is_displayed()


def test_tables_are_sorted_by_click_and_by_key(opened: Open) -> None:
    browser = opened("recipes")

    def column() -> list[str]:
        return [
            cell.text for cell in all_of(browser, "table")[0].find_elements(By.CSS_SELECTOR, "tbody td:nth-child(5)")
        ]

    header = all_of(browser, "thead th")[4]
    button = header.find_element(By.TAG_NAME, "button")
    button.click()
    numbers = [int(text.replace(",", "")) for text in column()]
    assert len(set(numbers)) == 3
    assert numbers == sorted(numbers)
    assert header.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert [int(text.replace(",", "")) for text in column()] == sorted(numbers, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    all_of(browser, "thead th button")[0].click()
    assert header.get_attribute("aria-sort") is None


def test_light_and_dark(opened: Open) -> None:
    browser = opened("demo")
    light, switch = colour(browser), one_of(browser, "[data-theme-switch]")
    text = one_of(browser, ".plot svg text").value_of_css_property("fill")
    switch.click()
    dark = colour(browser)
    assert dark != light
    assert one_of(browser, ".plot svg text").value_of_css_property("fill") != text
    assert switch.get_attribute("aria-pressed") == "true"
    switch.send_keys(Keys.SPACE)
    assert colour(browser) == light
    opened("demo", dark=True)
    assert colour(browser) == dark
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert colour(browser) == "rgba(255, 255, 255, 1)"
    assert not all_of(browser, ".top nav")
    assert not one_of(browser, "h1").find_elements(By.CSS_SELECTOR, "[data-copy]")


def test_weights_can_be_looked_into(opened: Open) -> None:
    browser = opened("demo")
    first = all_of(browser, "[data-weights]")[0]
    first.send_keys(Keys.ENTER)
    dialog = browser.find_element(By.CSS_SELECTOR, "dialog")
    value = dialog.find_element(By.CSS_SELECTOR, ".value")
    wait(browser, lambda _: value.text)
    assert dialog.find_element(By.TAG_NAME, "h2").text == first.get_attribute("data-name") == "conv1.0"
    assert value.text.startswith("output 0, input 0, row 0, column 0: ")
    field = dialog.find_element(By.CSS_SELECTOR, ".field")
    assert browser.switch_to.active_element == field
    texts = set()
    for _ in range(3):
        texts.add(value.text)
        field.send_keys(Keys.ARROW_DOWN)
    assert len(texts) == 3
    assert value.text == ""  # the gap below a kernel of 3 x 3
    field.send_keys(Keys.ARROW_DOWN)
    assert value.text.startswith("output ")
    image = dialog.find_element(By.TAG_NAME, "img")
    width = image.size["width"]
    field.send_keys("+")
    assert image.size["width"] > width
    field.send_keys("-", "-")
    assert image.size["width"] < width
    dialog.find_element(By.CSS_SELECTOR, "[data-step='1']").click()
    wait(browser, lambda _: dialog.find_element(By.TAG_NAME, "h2").text == "conv2.0")
    image.click()
    assert value.text == "" or value.text.startswith("output ")
    field.send_keys(Keys.ESCAPE)
    wait(browser, lambda _: not dialog.is_displayed())
    # The browser gives the focus back first, and says "close" after that.
    wait(browser, lambda _: browser.switch_to.active_element.get_attribute("data-name") == "conv2.0")


def test_what_the_picture_says_is_what_the_file_holds(opened: Open, pages: dict[str, Path]) -> None:
    """Looks at the cells of a matrix in a row, and compares signs and powers with the packed file."""
    import numpy as np

    from demitasse.packed import load

    weight = load(next(pages["demo"].parent.glob("*/model.demi")))["ip2.0"]
    browser = opened("demo")
    button = next(found for found in all_of(browser, "[data-weights]") if found.get_attribute("data-name") == "ip2.0")
    button.click()
    value = browser.find_element(By.CSS_SELECTOR, ".value")
    wait(browser, lambda _: value.text)
    texts = browser.execute_script(
        "const value = document.querySelector('.value');"
        "return [...Array(arguments[0])].map((_, x) => { point(x, 3); return value.textContent; });",
        weight.shape[1],
    )
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    for column, (text, found) in enumerate(zip(texts, weight[3], strict=True)):
        place, _, said = text.partition(": ")
        assert place == f"output 3, input {column}"
        power = f"2{str(int(np.log2(abs(found)))).translate(superscript)}" if found else "0"
        assert said.removesuffix(" or smaller") == ("\N{MINUS SIGN}" if found < 0 else "") + power


def test_hostile_names_are_shown_as_text(opened: Open) -> None:
    browser = opened("hostile")
    assert browser.get_log("browser") == []  # no script of a name ran, and none was tried
    names = [button.get_attribute("data-name") for button in all_of(browser, "[data-weights]")]
    assert HOSTILE[0] in names
    assert HOSTILE[1] in names
    assert "line\\nbreak\\ttab.weight" in names
    shown = [name.text for name in all_of(browser, "tbody th")]
    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    all_of(browser, "[data-weights]")[0].click()
    wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, "dialog h2").text == HOSTILE[0])


def test_the_command_can_be_copied(opened: Open) -> None:
    browser = opened("demo")
    button = one_of(browser, "[data-copy]")
    button.click()
    wait(browser, lambda _: button.text in ("Copied", "Selected"))
    assert one_of(browser, ".command code").text == "demitasse demo --data digits --seed 1 --quick"


def test_without_scripts_all_is_readable(opened: Open, pages: dict[str, Path]) -> None:
    browser = opened("demo")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["demo"].as_uri())
        assert one_of(browser, "h1").text
        assert all(svg.is_displayed() for svg in all_of(browser, ".plot.wide svg"))
        assert not [button for button in all_of(browser, "button") if button.is_displayed() and button.is_enabled()]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

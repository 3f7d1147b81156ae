"""The web page in a real browser: type, choose a suggestion, look at results and the funnel, be another user."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import service
from tests.shop import Shop

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.mark.full
def test_a_shopper_searches_with_a_suggestion_and_sees_results_and_the_funnel(tiny_shop: Shop, tmp_path: Path) -> None:
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with (
        service("--bundle", str(tiny_shop.bundles), "--root", str(tmp_path / "root")) as url,
        playwright.sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(url)
        box = page.get_by_role("combobox")
        box.fill("sh")
        page.get_by_role("option").first.wait_for()
        box.press("ArrowDown")
        box.press("Enter")
        page.locator("#results > li").first.wait_for()
        assert page.locator("#results > li").count() >= 5
        assert box.input_value() != "sh"
        assert page.locator("#funnel tbody tr").count() >= 5
        page.screenshot(path=tmp_path / "page.png")
        browser.close()
    assert failures == []

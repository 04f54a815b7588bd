# SPDX-License-Identifier: Apache-2.0
"""The recipe in the Airflow UI, as a person sees it: its graph, a job's log, its definition."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from demo import pipeline
from tests.e2e.system import Scale

pytestmark = pytest.mark.browser

PATIENCE = 60
JOBS = ("unpack-scene", "make-geotiff", "detect-points", "hillshade", "statistics")
# Nothing of a browser that talks to its maker: the machine may have no way out.
FLAGS = (
    *("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--window-size=1500,1000", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-US"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A headless Chromium with an empty profile."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.fail(f"There is no {' and no '.join(missing)} here (Debian: chromium, chromium-driver).")
    profile = tempfile.mkdtemp(prefix="scale-browser-")
    options = Options()
    options.binary_location = str(programs["chromium"])
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        # Chromium's sandbox does not work for root; it sees this test's own pages alone.
        options.add_argument("--no-sandbox")
    driver = webdriver.Chrome(options=options, service=Service(str(programs["chromedriver"])))
    try:
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


class Pages:
    """Airflow's pages in a browser that is logged in."""

    def __init__(self, browser: webdriver.Chrome, scale: Scale):
        self.browser = browser
        self.url = scale.installation.url
        login = scale.installation.credentials
        self.open("/auth/login/")
        self.wait(By.CSS_SELECTOR, "input[name=username]").send_keys(login.username)
        browser.find_element(By.CSS_SELECTOR, "input[name=password]").send_keys(login.password)
        browser.find_element(By.CSS_SELECTOR, "input[type=submit], button[type=submit]").click()
        self.until(lambda: "/auth/login" not in browser.current_url, "login")

    def open(self, path: str) -> None:
        """Go to a page of the server."""
        self.browser.get(f"{self.url}{path}")

    def wait(self, by: str, place: str) -> WebElement:
        """Wait for an element."""
        found: list[WebElement] = self.until(lambda: self.browser.find_elements(by, place), place)
        return found[0]

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """Wait until there is something to see; an element may be replaced while it is looked at."""
        wait = WebDriverWait(
            self.browser, PATIENCE, poll_frequency=0.2, ignored_exceptions=(WebDriverException,)
        )
        return wait.until(lambda _: look(), f"there is still no {what} on {self.browser.current_url}")

    def text(self) -> str:
        """Return the page's text."""
        return self.browser.find_element(By.TAG_NAME, "body").text.replace("\xa0", " ")

    def has(self, *words: str) -> None:
        """Wait until the page shows every one of these."""
        for word in words:
            self.until(lambda word=word: word in self.text(), repr(word))

    def screenshot(self, name: str) -> None:
        """Keep a picture of the page where ``SCALE_SCREENSHOTS`` says."""
        folder = os.environ.get("SCALE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.fixture(scope="module")
def pages(browser: webdriver.Chrome, scale: Scale, terrain: dict[str, Any]) -> Pages:
    """A browser that is logged in, and a recipe to look at."""
    assert terrain
    return Pages(browser, scale)


@pytest.fixture(scope="module")
def dag_path() -> str:
    """The path of the recipe's page."""
    from scale_airflow.compiler.names import recipe_dag_id

    return f"/dags/{recipe_dag_id(*pipeline.RECIPE, 1)}"


@pytest.fixture(scope="module")
def run_path(dag_path: str, terrain: dict[str, Any]) -> str:
    """The path of the run's page."""
    from scale_airflow.compiler.names import recipe_run_id

    return f"{dag_path}/runs/{recipe_run_id(terrain['recipe']['id'])}"


def test_a_job_shows_what_its_program_wrote(pages: Pages, run_path: str) -> None:
    pages.open(f"{run_path}/tasks/detect-points")
    pages.has("summits that nothing within", "m at ")
    pages.screenshot("job-log")


def test_the_code_is_the_definition(pages: Pages, dag_path: str) -> None:
    pages.open(f"{dag_path}/code")
    pages.has("DEFINITION = {", '"input_data": [', '"name": "scene"', '"application/zip"', '"unpack-scene"')
    pages.screenshot("recipe-code")


def test_the_dag_names_recipe_and_revision(pages: Pages, dag_path: str) -> None:
    pages.open(f"{dag_path}/details")
    pages.has("terrain 1.0.0 (revision 1)", "revision 1")
    pages.screenshot("recipe-details")


def test_the_graph_shows_every_job(pages: Pages, run_path: str) -> None:
    pages.open(run_path)
    pages.has("terrain 1.0.0 (revision 1)", "Success")
    # Instead of the grid; the browser keeps that for all pages, so this test comes last.
    pages.wait(By.CSS_SELECTOR, "[aria-label^='Show Graph']").click()
    nodes = pages.until(lambda: pages.browser.find_elements(By.CSS_SELECTOR, ".react-flow__node"), "graph")
    shown = "\n".join(node.text for node in nodes)
    assert all(job in shown for job in JOBS)
    edges = pages.until(lambda: pages.browser.find_elements(By.CSS_SELECTOR, ".react-flow__edge"), "edges")
    assert len(edges) == 4
    pages.screenshot("recipe-graph")

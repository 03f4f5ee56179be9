"""The description of the API and its page /docs, which is tried in a real browser."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from snapengine.rest import examples, reference, routes
from tests import serving
from tests.serving import PASSWORD, Client, Server

BROWSER = [shutil.which(name) for name in ("chromium", "chromedriver")]
SECONDS = 60  # until something is on the page, on a busy machine


@pytest.fixture(scope="module")
def described(server: Server) -> Any:
    """Return the description that a running server gives."""
    return serving.get(f"{server.address}/openapi.json").json()


def test_the_description_is_valid(described: Any) -> None:
    assert described["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


def test_the_description_has_every_call_with_its_parameters_body_and_replies(described: Any) -> None:
    paths = {re.sub(r"{\w+}", "{}", path): methods for path, methods in described["paths"].items()}
    assert len(paths) == len(described["paths"])

    for call in routes.CALLS:
        operation = paths["/" + re.sub(r"{\w+}", "{}", call.path)][call.method.lower()]
        in_path = [each for each in operation.get("parameters", ()) if each["in"] == "path"]
        assert len(in_path) == call.path.count("{")
        assert call.name in operation["operationId"] or call.name in operation["description"]
        assert {"400", "500", "503"} <= set(operation["responses"])
        assert ("200" in operation["responses"]) == (call.special != "unsupported")
        assert ("202" in operation["responses"]) == (call.verb is not None or call.special == "job")
        assert (operation.get("security") == []) == call.open
        if call.key is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert [call.key] in [each["required"] for each in schema.get("anyOf", [schema])]
    for path in ("/healthz", "/metrics", "/openapi.json", "/docs"):
        assert described["paths"][path]["get"]["security"] == []
    assert set(described["components"]["securitySchemes"]) == {"session", "signature"}


def test_every_call_has_a_recorded_example_that_fits_what_is_described(described: Any) -> None:
    assert {call.name for call in routes.CALLS} == {each.call for each in examples.recorded()}

    checked = 0
    for operation in [each for path in described["paths"].values() for each in path.values() if isinstance(each, dict)]:
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for each in map(lambda each: resolved(described, each), contents):
            for kind, content in each.get("content", {}).items():
                for example in content.get("examples", {}).values():
                    assert kind == "application/json"
                    jsonschema.validate(example["value"], {**content["schema"], "components": described["components"]})
                    checked += 1
    assert checked > len(examples.recorded())


def resolved(described: Any, part: Any) -> Any:
    for name in part.get("$ref", "#").split("/")[1:]:
        described = described[name]
    return described if "$ref" in part else part


def test_the_page_comes_from_the_server_alone_and_needs_no_session(server: Server) -> None:
    html = serving.get(f"{server.address}/docs").text
    named = re.findall(r'(?:src|href)="([^"]+)"', html)

    assert named and {f"/{name}" for name in named} - {"/openapi.json"} < set(reference.FILES)
    for path in reference.FILES:
        reply = serving.get(f"{server.address}{path}")
        assert reply.status_code == 200 and reply.content
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert httpx.post(f"{server.address}/docs", timeout=serving.PATIENCE).headers["allow"] == "GET, HEAD"
    assert serving.get(f"{server.address}/docs/../board.py").status_code == 404
    assert serving.get(f"{server.address}/docs/README").status_code == 404


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """
    Return a real browser without a screen; only where there is none, and not in CI, the test is skipped.

    Its own directory has a short path: the browser makes a socket some way below it, and gives up where that is long.
    """
    if None in BROWSER and not os.environ.get("CI"):
        pytest.skip("no browser: install chromium and chromium-driver")
    own = tmp_path_factory.mktemp("b")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER[0])
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--disable-background-networking", f"--user-data-dir={own / 'profile'}"):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(str(BROWSER[1]), env={**os.environ, "TMPDIR": str(own)}))
    yield driver
    driver.quit()


def one(browser: webdriver.Chrome, selector: str, within: WebElement | None = None) -> WebElement:
    """Wait for an element that is shown, and return it."""

    def shown(_: object) -> WebElement | None:
        found = (within or browser).find_elements(By.CSS_SELECTOR, selector)
        return next((each for each in found if each.is_displayed()), None)

    waiting = WebDriverWait(browser, SECONDS, ignored_exceptions=[StaleElementReferenceException])  # drawn anew
    return waiting.until(shown, selector)  # type: ignore[return-value]


def log_in(browser: webdriver.Chrome, password: str) -> None:
    one(browser, "#login button:enabled")
    one(browser, "#password").clear()
    one(browser, "#password").send_keys(password)
    one(browser, "#login button").click()


def test_in_a_browser_wide_or_narrow_one_logs_in_tries_the_create_call_and_logs_out(
    server: Server, client: Client, browser: webdriver.Chrome
) -> None:
    volume = client.volume()
    browser.get(f"{server.address}/docs")

    log_in(browser, "wrong")
    assert one(browser, "#notice").text == "wrong account name or password"
    log_in(browser, PASSWORD)
    assert one(browser, "#who").text.startswith("admin, until ")

    call = one(browser, "#operations-Snapshots-createVolumeSnapshot")
    one(browser, ".opblock-summary-control", call).click()
    one(browser, 'input[placeholder="volumeUuid"]', call).send_keys(volume)
    one(browser, "button.execute", call).click()
    status = one(browser, ".live-responses-table tr.response .response-col_status", call).text
    shown = one(browser, ".live-responses-table .highlight-code code", call).text

    assert status.split()[0] == "200"
    made = client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}")["inventories"]
    assert json.loads(shown)["inventory"] == made[0] and made[0]["name"] == "Snapshot-1"

    browser.set_window_size(500, 900)
    narrow = "return window.innerWidth < 600 && document.documentElement.scrollWidth <= window.innerWidth"
    WebDriverWait(browser, SECONDS).until(lambda _: browser.execute_script(narrow))
    one(browser, "#logout").click()
    one(browser, "#login")
    one(browser, "button.execute", call).click()
    WebDriverWait(browser, SECONDS).until(lambda _: "400" in one(browser, ".live-responses-table", call).text)
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert all(name.startswith(server.address) for name in browser.execute_script(script))
    told = [each["message"] for each in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert [each for each in told if "Content Security Policy" in each] == []

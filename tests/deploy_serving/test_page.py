"""The page in a real browser: Debian's Chromium, without a window."""

import base64
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from deploy_serving.conftest import CLASSES
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from paddleseg_ext_tools.scenes import make_scene

pytestmark = pytest.mark.system


WAIT_S = 60
PIXEL = """
const canvas = document.getElementById("overlay");
return [...canvas.getContext("2d").getImageData(arguments[0], arguments[1], 1, 1).data];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the page's test needs {' and '.join(missing)}")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    folder = tmp_path_factory.mktemp("browser")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1240,860",
        f"--user-data-dir={folder}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    cv2.imwrite(str(path), make_scene(4, 150, 200)[0][:, :, ::-1])
    return path


@pytest.fixture
def page(browser, server):
    browser.get(server.url)
    return Page(browser)


class Page:
    """What a user does and sees."""

    def __init__(self, browser):
        self.browser = browser

    def part(self, name):
        return self.browser.find_element(By.ID, name)

    def wait(self, condition):
        WebDriverWait(self.browser, WAIT_S).until(lambda _: condition())

    def choose(self, path):
        self.part("file").send_keys(str(path))

    def legend(self):
        return self.browser.find_elements(By.CSS_SELECTOR, "#legend button")

    def pixel(self, x, y):
        return self.browser.execute_script(PIXEL, x, y)

    def is_done(self):
        return self.part("status").get_attribute("textContent").startswith("Done")


def test_a_photograph_and_its_labels(page, server, scene):
    page.choose(scene)
    page.wait(page.is_done)
    about = json.loads(server.ask("/predict?result=json", scene.read_bytes())[2])
    mask = cv2.imdecode(np.frombuffer(server.ask("/predict", scene.read_bytes())[2], "uint8"), cv2.IMREAD_COLOR)
    shown, photo = page.part("overlay"), page.part("photo")
    assert shown.is_displayed() and photo.is_displayed() and photo.rect == shown.rect and shown.rect["width"] > 300
    assert (shown.get_attribute("width"), shown.get_attribute("height")) == ("200", "150")
    for x, y in ((0, 0), (199, 149), (77, 31)):
        assert page.pixel(x, y) == [*mask[y, x, ::-1].tolist(), 255]
    entries = [button.text.splitlines() for button in page.legend()]
    assert [name for name, *_ in entries] == [one["name"] for one in about["classes"]]
    assert {name for name, *_ in entries} <= set(CLASSES) and len(entries) > 5
    share = 100 * about["classes"][0]["pixels"] / (200 * 150)
    assert entries[0][1] == (f"{share:.0f} %" if share >= 10 else f"{share:.1f} %")
    assert page.part("facts").text.startswith("200 × 150 pixels · model ") and " ms" in page.part("facts").text
    if path := os.environ.get("PAGE_SCREENSHOT"):
        page.browser.save_screenshot(path)


DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (char) => char.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], "scene.png", { type: "image/png" }));
for (const kind of ["dragover", "drop"]) {
  const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.firstElementChild.dispatchEvent(event);
}
"""


def test_a_photograph_that_is_dropped(page, server, scene):
    page.browser.execute_script(DROP, base64.b64encode(scene.read_bytes()).decode())
    page.wait(page.is_done)
    mask = cv2.imdecode(np.frombuffer(server.ask("/predict", scene.read_bytes())[2], "uint8"), cv2.IMREAD_COLOR)
    assert page.pixel(77, 31) == [*mask[31, 77, ::-1].tolist(), 255]


def test_one_class_by_keyboard_and_the_opacity(page, scene):
    page.choose(scene)
    page.wait(page.is_done)
    first, number = page.legend()[0], "return document.querySelectorAll('[aria-pressed=true]').length"
    count = """
    const canvas = document.getElementById("overlay");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return data.filter((value, at) => at % 4 === 3 && value === 255).length;
    """
    first.send_keys(Keys.ENTER)
    alone = page.browser.execute_script(count)
    assert page.browser.execute_script(number) == 1 and 0 < alone < 200 * 150
    first.send_keys(Keys.SPACE)
    assert page.browser.execute_script(number) == 0 and page.browser.execute_script(count) == 200 * 150
    page.part("opacity").send_keys(Keys.END)
    assert page.part("overlay").value_of_css_property("opacity") == "1"


def test_errors_are_shown_and_the_next_photograph_works(page, scene, tmp_path):
    text = tmp_path / "photo.png"
    text.write_text("This is no picture.")
    page.choose(text)
    page.wait(page.part("error").is_displayed)
    assert page.part("error").text == "the body is no picture: send a JPEG, PNG or WebP file as it is (415)"
    assert not page.part("overlay").is_displayed()
    page.choose(scene)
    page.wait(page.is_done)
    assert page.part("overlay").is_displayed() and not page.part("error").is_displayed()


def test_the_page_is_whole_and_loads_nothing_else(page, server, scene):
    """No request but for the page itself, nothing against its policy, and no control without a name."""
    loaded = page.browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert [line["message"] for line in page.browser.get_log("browser") if "policy" in line["message"].lower()] == []
    page.choose(scene)
    page.wait(page.is_done)
    for control in page.browser.find_elements(By.CSS_SELECTOR, "input, button, a, img, canvas"):
        assert control.accessible_name, control.get_attribute("outerHTML")
    policy = server.ask("/")[1]["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy

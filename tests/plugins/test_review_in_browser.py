"""Tests of the review pages in a browser: keyboard, two reviewers, themes and languages, speed, Airflow's tab."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.browser import Browser
from tests.plugins.conftest import DAG, REVIEWED_RUN, Site
from tests.plugins.review_forms import ROWS

from insurance_rag.core.run_folder import RunFolder

pytestmark = pytest.mark.browser


def take_picture(browser: Browser, name: str, folder: Path) -> None:
    """Save what the window shows. `PICTURES=docs/images` in the environment renews the pictures in the docs."""
    path = Path(os.environ.get("PICTURES", folder)) / name
    browser.screenshot(path)
    assert path.stat().st_size > 10_000


def open_page(browser: Browser, site: Site, user: str, query: str = "", path: str = ROWS) -> None:
    with site.client(user) as client:
        token = client.headers["Authorization"].removeprefix("Bearer ")
    browser.call("Network.setCookie", name="_token", value=token, url=site.url)
    browser.open(f"{site.url}{path}{query}")
    browser.wait("document.querySelector('main')")


def press(browser: Browser, key: str, then: str, *, code: str = "", modifiers: int = 0) -> None:
    """Press a key and wait until the condition `then` is true."""
    pressed = {"key": key, "code": code or f"Key{key.upper()}", "modifiers": modifiers}
    text = {"Enter": {"text": "\r"}}.get(key, {})
    browser.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
    browser.call("Input.dispatchKeyEvent", type="keyUp", **pressed)
    browser.wait(f"document.readyState === 'complete' && ({then})")


KEY_OF_ITEM = "document.querySelector('form[action$=\"/decide\"] [name=key]').value"


def test_keyboard_is_enough(site: Site, run: RunFolder) -> None:
    with Browser() as browser:
        open_page(browser, site, "kim")
        first = browser.run(KEY_OF_ITEM)
        press(browser, "j", f"{KEY_OF_ITEM} !== '{first}'")
        second = browser.run(KEY_OF_ITEM)
        press(browser, "k", f"{KEY_OF_ITEM} === '{first}'")
        press(browser, "a", f"{KEY_OF_ITEM} === '{second}'")

        press(browser, "r", "document.activeElement.name === 'reason'")
        browser.call("Input.insertText", text="금액이 약관과 다름")
        press(browser, "Enter", f"{KEY_OF_ITEM} !== '{second}'", code="Enter")
        third = browser.run(KEY_OF_ITEM)

        press(browser, "ㄷ", "document.activeElement.name === 'answer'", code="KeyE")  # with a Korean input method
        press(browser, "a", "true", modifiers=2)
        browser.run("document.activeElement.select()")
        browser.call("Input.insertText", text="키보드로 고친 답변입니다.")
        press(browser, "Enter", f"{KEY_OF_ITEM} !== '{third}'", code="Enter", modifiers=2)

        decisions = site.reviews().decisions()
        assert [decisions[key].action for key in (first, second, third)] == ["approve", "reject", "edit"]
        assert decisions[second].reason == "금액이 약관과 다름"
        assert decisions[third].fields == {"answer": "키보드로 고친 답변입니다."}

        press(browser, "u", f"{KEY_OF_ITEM} === '{third}'")
        assert third not in site.reviews().decisions()
        press(browser, "/", "document.activeElement.name === 'q'", code="Slash")
        browser.call("Input.insertText", text="이륜자동차")
        press(browser, "Enter", "location.search.includes('q=')", code="Enter")
        assert "이륜자동차" in browser.run("document.querySelector('.columns').innerText")
        assert browser.errors == []


def test_two_browsers_at_once(site: Site, run: RunFolder, tmp_path: Path) -> None:
    with Browser() as one, Browser() as other:
        open_page(one, site, "kim")
        key = one.run(KEY_OF_ITEM)
        open_page(other, site, "lee", f"?item={key}")
        assert "kim" in other.run("document.querySelector('main .note').innerText")
        press(one, "a", f"{KEY_OF_ITEM} !== '{key}'")
        press(other, "r", "document.activeElement.name === 'reason'")
        other.call("Input.insertText", text="약관에 근거가 없음")
        press(other, "Enter", "document.querySelector('h1')", code="Enter")
        assert "먼저 결정" in other.run("document.querySelector('h1').innerText")
        other.look(1200, 700)
        take_picture(other, "review-conflict.png", tmp_path)
        press(other, "j", f"!document.querySelector('h1') && {KEY_OF_ITEM} !== '{key}'")
    assert site.reviews().decisions()[key].reviewer == "kim"


def test_light_and_dark_in_both_languages(site: Site, run: RunFolder, tmp_path: Path) -> None:
    query = "?show=dropped&rule=unsupported_number"
    with Browser(1280, 860) as browser:
        open_page(browser, site, "kim", f"{query}&lang=ko&theme=light")
        paper = "getComputedStyle(document.body).backgroundColor"
        assert browser.run(paper) == "rgb(255, 255, 255)" and "거부" in browser.run("document.body.innerText")
        take_picture(browser, "review-dropped.png", tmp_path)
        browser.run("document.querySelector('nav a[href*=\"theme=dark\"]').click()")
        browser.wait(f"{paper} !== 'rgb(255, 255, 255)'")
        browser.run("document.querySelector('nav a[href*=\"lang=en\"]').click()")
        browser.wait("document.documentElement.lang === 'en'")
        open_page(browser, site, "kim", "?q=실손")
        assert browser.run(paper) == "rgb(20, 23, 26)", "language and theme are remembered"
        assert "Reject" in browser.run("document.body.innerText")
        take_picture(browser, "review-dark.png", tmp_path)
        assert not re.search("[가-힣]", browser.run("document.querySelector('.actions').innerText"))

        open_page(browser, site, "kim", "?q=암보험&theme=light&lang=ko")
        for key in "aaaa":
            before = browser.run(KEY_OF_ITEM)
            press(browser, key, f"{KEY_OF_ITEM} !== '{before}'")
        take_picture(browser, "review-item.png", tmp_path)
        open_page(browser, site, "kim", "?list=1&q=암보험")
        take_picture(browser, "review-list.png", tmp_path)
        for width in (390, 760, 1024, 1440):
            for page in ("", "?list=1", "?files=1", query, "?edit=1"):
                browser.look(width, 860)
                browser.open(f"{site.url}{ROWS}{page}")
                overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                assert browser.run(overflow) <= 0, (width, page)
        assert browser.errors == []


def test_forms_work_without_javascript(site: Site, run: RunFolder) -> None:
    with Browser() as browser:
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
        open_page(browser, site, "kim")
        key = browser.run(KEY_OF_ITEM)
        browser.run("document.querySelector('button[value=approve]').click()")
        browser.wait(f"document.readyState === 'complete' && {KEY_OF_ITEM} !== '{key}'")
    assert site.reviews().decisions()[key].action == "approve"


def test_a_thousand_rows_without_lag(site: Site, run: RunFolder) -> None:
    with Browser() as browser:
        open_page(browser, site, "kim")
        seconds = []
        for _ in range(20):
            before = browser.run(KEY_OF_ITEM)
            start = time.perf_counter()
            press(browser, "a", f"{KEY_OF_ITEM} !== '{before}'")
            seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[10] < 0.6, "from the key to the next row, of which 0.1 s are the wait between two looks"


def test_tab_of_the_run_in_airflow(site: Site, run: RunFolder, tmp_path: Path) -> None:
    with Browser(1440, 900) as browser:
        open_page(browser, site, "kim")
        browser.open(f"{site.url}/dags/{DAG}/runs/{quote(REVIEWED_RUN)}/plugin/review")
        frame = "document.querySelector('iframe').contentDocument"
        browser.wait(f"{frame}.querySelector('table.sets a')", timeout_s=60)
        browser.run(f"{frame}.querySelector('table.sets a').click()")
        browser.wait(f"{frame}.querySelector('button[value=approve]')")
        key = browser.run(f"{frame}.querySelector('[name=key]').value")
        browser.run(f"{frame}.querySelector('button[value=approve]').click()")
        browser.wait(f"{frame}.querySelector('[name=key]').value !== '{key}'")
        take_picture(browser, "review-tab.png", tmp_path)
    assert site.reviews().decisions()[key].action == "approve"

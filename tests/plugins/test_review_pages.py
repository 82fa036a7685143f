"""Tests of the review pages in a real api-server, by plain forms: rights, forgery, decisions, two reviewers, speed."""

from __future__ import annotations

import re
import time
from urllib.parse import quote, urlencode

import httpx
import pytest
from tests.plugins.conftest import DAG, REVIEWED_RUN, Site
from tests.plugins.review_forms import QUESTIONS, ROWS, current_key, decide, form_of
from tests.plugins.review_set import ATTACK

from insurance_rag.core.run_folder import RunFolder

SETS = f"/review/dags/{DAG}/runs/{quote(REVIEWED_RUN)}/"
READS = ("/review/", SETS, ROWS, QUESTIONS, f"{ROWS}?list=1", f"{ROWS}/export.csv", f"{ROWS}/export.jsonl")
WRITES = (f"{ROWS}/decide", f"{ROWS}/undo", f"{ROWS}/import")


# ---- rights and forgery


@pytest.mark.parametrize("route", [*READS, f"/review/rows?{urlencode({'dataset': '/etc'})}"])
def test_anonymous_reads_nothing(site: Site, run: RunFolder, route: str) -> None:
    with site.client() as client:
        response = client.get(route)
    assert response.status_code == 401 and "gemini_k1" not in response.text


@pytest.mark.parametrize("route", WRITES)
def test_anonymous_and_viewers_write_nothing(site: Site, run: RunFolder, route: str) -> None:
    with site.client() as client:
        assert client.post(route, data={"key": "x"}).status_code == 401
    with site.client("viewer") as client:
        page = client.get(ROWS)
        assert page.status_code == 200 and "/decide" not in page.text and "권한이 없어" in page.text
        assert client.post(route, data={"key": "x"}).status_code == 403
    assert site.reviews().decisions() == {}


def test_user_without_a_role_sees_nothing(site: Site, run: RunFolder) -> None:
    with site.client("stranger") as client:
        assert [client.get(route).status_code for route in READS] == [200, 403, 403, 403, 403, 403, 403]
        assert REVIEWED_RUN not in client.get("/review/").text
        assert client.get("/review/rows", params={"dataset": str(run.dataset)}).status_code == 404
        assert client.post(WRITES[0], data={"key": "x"}).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        f"/review/dags/{DAG}/runs/no_such_run/rows",
        f"/review/dags/no_such_dag/runs/{quote(REVIEWED_RUN)}/rows",
        f"/review/dags/{DAG}/runs/{quote(REVIEWED_RUN)}/secrets",
        f"/review/dags/{DAG}/runs/..%2F..%2Fetc/rows",
        f"/review/dags/{DAG}/runs/%2e%2e/rows",
        "/review/rows?dataset=/etc",
        "/review/docs",
        "/review/openapi.json",
        "/review/static/review.js",
    ],
)
def test_nothing_but_the_pages_is_served(site: Site, run: RunFolder, path: str) -> None:
    with site.client("admin") as client:
        assert client.get(path).status_code in (404, 403)


def test_link_of_the_approval_leads_to_the_dataset(site: Site, run: RunFolder) -> None:
    with site.client("kim") as client:
        response = client.get("/review/rows", params={"dataset": str(run.dataset)}, follow_redirects=True)
    assert response.status_code == 200 and str(response.url).endswith(ROWS)


def test_forged_forms_are_refused(site: Site, run: RunFolder) -> None:
    with site.client("kim") as kim, site.client("lee") as lee, site.client("kim") as other_browser:
        form = form_of(kim.get(ROWS).text, "decide") | {"action": "approve"}
        lee.get(ROWS)
        other_browser.get(ROWS)
        foreign = {"Origin": "https://evil.example"}
        refused = [
            kim.post(f"{ROWS}/decide", data={**form, "csrf": ""}),
            kim.post(f"{ROWS}/decide", data={**form, "csrf": form["csrf"][:-2]}),
            kim.post(f"{ROWS}/decide", data=form, headers=foreign),
            kim.post(f"{ROWS}/decide", data=form, headers={"Origin": "null"}),
            kim.post(f"{ROWS}/decide", data=form, headers={"Referer": "https://evil.example/x"}),
            kim.post(f"{ROWS}/decide", data=form, headers={"Sec-Fetch-Site": "cross-site"}),
            lee.post(f"{ROWS}/decide", data=form),
            other_browser.post(f"{ROWS}/decide", data=form),
            kim.post(f"{ROWS}/undo", data={**form, "csrf": ""}),
            kim.post(f"{ROWS}/import", data={"csrf": ""}, files={"file": ("r.csv", b"")}),
        ]
        assert [response.status_code for response in refused] == [403] * len(refused)
        assert site.reviews().decisions() == {}
        accepted = kim.post(f"{ROWS}/decide", data=form, headers={"Origin": site.url})
    assert accepted.status_code == 303 and len(site.reviews().decisions()) == 1


def test_texts_are_escaped_and_scripts_are_limited(site: Site, run: RunFolder) -> None:
    with site.client("viewer") as client:
        page = client.get(ROWS, params={"q": "<script>"})
    assert ATTACK not in page.text and "&lt;script&gt;document.title" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'self'" in policy
    cookie = page.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie


# ---- what reviewers do, by plain forms


def test_decisions_lead_to_the_next_row_and_can_be_undone(site: Site, run: RunFolder) -> None:
    with site.client("kim") as client:
        page = client.get(ROWS).text
        first = current_key(page)
        page = decide(client, page, "approve").text
        second = current_key(page)
        page = decide(client, page, "reject", reason="금액이 틀림").text
        third = current_key(page)
        assert len({first, second, third}) == 3
        page = decide(client, page, "edit", answer="고친 답변입니다.\r\n둘째 줄입니다.").text
        decisions = site.reviews().decisions()
        assert {key: (d.action, d.reason) for key, d in decisions.items()} == {
            first: ("approve", ""),
            second: ("reject", "금액이 틀림"),
            third: ("edit", ""),
        }
        assert decisions[third].fields == {"answer": "고친 답변입니다.\n둘째 줄입니다."}
        shown = client.get(ROWS, params={"item": third}).text
        assert "kim 수정" in shown and "둘째 줄입니다." in shown and "<del>" in shown
        undone = client.post(f"{ROWS}/undo", data=form_of(page, "/undo"), follow_redirects=True)
        assert current_key(undone.text) == third and third not in site.reviews().decisions()
        assert "kim 되돌림" in undone.text


def test_filters_and_search(site: Site, run: RunFolder) -> None:
    with site.client("kim") as client:

        def total(**query: str) -> int:
            found = re.search(r"<strong>[\d,]+ / ([\d,]+)</strong>", client.get(ROWS, params=query).text)
            return int(found[1].replace(",", "")) if found else 0

        kept, dropped = total(), total(show="dropped")
        assert kept >= 1000 and total(show="all") == kept + dropped
        assert total(show="dropped", rule="too_short") == 4
        assert sum(total(type=name) for name in ("fact", "scenario", "easy")) == kept
        assert sum(total(shard=f"shard {n}/4 · gemini_k{n}") for n in range(1, 5)) == kept
        assert total(q="<SCRIPT>") == 1 and total(q="nothing has this") == 0
        page = client.get(ROWS).text
        decide(client, page, "approve")
        assert total(status="open") == kept - 1 and total(status="mine") == total(status="approve") == 1


def test_rules_that_protect_the_evaluation_cannot_be_overruled_but_quality_rules_can(
    site: Site, run: RunFolder
) -> None:
    with site.client("kim") as client:
        page = client.get(ROWS, params={"show": "dropped", "rule": "too_short"}).text
        assert "승인하면 다음 데이터셋에 포함됩니다" in page
        decide(client, page, "approve")
    (decision,) = site.reviews().decisions().values()
    assert decision.action == "approve"


def test_second_of_two_reviewers_sees_the_first_decision(site: Site, run: RunFolder) -> None:
    with site.client("kim") as kim, site.client("lee") as lee:
        key = current_key(kim.get(ROWS).text)
        mine, theirs = (client.get(ROWS, params={"item": key}).text for client in (kim, lee))
        decide(kim, mine, "approve")
        conflict = decide(lee, theirs, "edit", answer="lee의 답변")
        assert conflict.status_code == 409
        assert "kim 승인" in conflict.text and "lee의 답변" in conflict.text
        assert site.reviews().decisions()[key].reviewer == "kim", "nothing is overwritten"
        replaced = lee.post(f"{ROWS}/decide", data=form_of(conflict.text, "decide"), follow_redirects=True)
        assert replaced.status_code == 200
    decision = site.reviews().decisions()[key]
    assert (decision.reviewer, decision.fields) == ("lee", {"answer": "lee의 답변"})
    assert [event.reviewer for event in site.reviews().state(key).history][-2:] == ["kim", "lee"]


def test_two_reviewers_start_at_different_rows(site: Site, run: RunFolder) -> None:
    with site.client("kim") as kim, site.client("lee") as lee:
        pages = [client.get(ROWS).text for client in (kim, lee)]
        assert current_key(pages[0]) != current_key(pages[1])
        for _ in range(5):
            answers = [decide(client, page, "approve") for client, page in zip((kim, lee), pages, strict=True)]
            assert [answer.status_code for answer in answers] == [200, 200]
            pages = [answer.text for answer in answers]
    assert len(site.reviews().decisions()) == 10


def test_files_go_out_and_come_back(site: Site, run: RunFolder) -> None:
    with site.client("kim") as client:
        exported = client.get(f"{ROWS}/export.csv")
        assert exported.headers["content-disposition"] == 'attachment; filename="review-rows.csv"'
        header, first, *_ = exported.content.split(b'\r\n"')
        assert header.startswith(b'\xef\xbb\xbf"key","version"') and first
        key = current_key(client.get(ROWS).text)
        csrf = form_of(client.get(ROWS, params={"files": "1"}).text, "/import")

        def send(content: str) -> httpx.Response:
            return client.post(f"{ROWS}/import", data=csrf, files={"file": ("r.csv", content.encode())})

        bad = send(f"key,version,action,reason\n{key},0,approve,\nunknown,0,maybe,\n")
        assert bad.status_code == 422 and "r.csv:3: unknown action" in bad.text and site.reviews().decisions() == {}
        good = send(f"key,version,action,reason\n{key},{site.reviews().state(key).version},reject,틀림\n")
        assert good.status_code == 200 and "1개를 기록" in good.text
        assert site.reviews().decisions()[key].reviewer == "kim"
        assert f'"id": "{key}"' in client.get(f"{ROWS}/export.jsonl").text


def test_questions_are_reviewed_like_rows(site: Site, run: RunFolder) -> None:
    with site.client("kim") as client:
        page = client.get(QUESTIONS).text
        assert "1 / 24" in page and "기준 답변" in page and "<mark>" in page
        form = form_of(page, "decide") | {"action": "edit", "reference_answer": "새 답", "required_numbers": "60일"}
        assert client.post(f"{QUESTIONS}/decide", data=form).status_code == 303
        assert "another chunk answers it" in client.get(QUESTIONS, params={"show": "dropped"}).text
    decision = site.reviews("question").decisions()[form["key"]]
    assert decision.kind == "question" and decision.fields["reference_answer"] == "새 답"


def test_a_thousand_rows_answer_quickly(site: Site, run: RunFolder) -> None:
    with site.client("kim") as client:
        page = client.get(ROWS).text
        seconds = []
        for _ in range(15):
            start = time.perf_counter()
            page = decide(client, page, "approve").text  # records the decision and loads the next row
            seconds.append(time.perf_counter() - start)
        assert sorted(seconds)[len(seconds) // 2] < 0.5
        assert len(page) < 60_000

"""The pages that the plugin serves under /review.

Airflow does not protect the app of a plugin, so each route checks which DAGs the user may read or trigger. Every action
is a plain HTML form that also works without JavaScript.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args
from urllib.parse import quote

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_authenticated
from airflow.models import DagRun
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.datastructures import FormData
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.orchestration.artifact_parts import fetch_for_list
from insurance_rag.orchestration.runs import run_folder
from insurance_rag.review.edits import new_decision
from insurance_rag.review.exchange import FileFormat, ImportSummary, export_items, import_decisions
from insurance_rag.review.pages.filters import Filters, Selection
from insurance_rag.review.pages.filters import select as select_items
from insurance_rag.review.pages.view import ConflictPage, Page, SetLine, SetPage
from insurance_rag.review.progress import count_decisions
from insurance_rag.review.records import EDITABLE_FIELDS, ReviewAction
from insurance_rag.review.store import ReviewConflictError
from review_pages.pages import item_page, list_page, next_url, run_url, shared_parts
from review_pages.place import Place, PlaceDep, known_run, may_decide, may_read, readable_dags, run_of_path
from review_pages.place import user_may_decide as user_may_decide_about
from review_pages.responses import as_pages, html, page_of
from review_pages.security import PostedForm, form_token, require_own_form
from review_pages.sets import KINDS, SetName, load_set, sets_of, store_of

MAX_SETS = 50
"""Maximum number of sets on the page that lists them."""
MAX_COUNTED = 5
"""Number of sets on that page whose decisions are counted, because counting reads the set."""
SET = "/dags/{dag_id}/runs/{run_id}/{name}"
FILE_TYPES: dict[FileFormat, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}

app = FastAPI(
    title="Review pages",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_authenticated())],
)
as_pages(app)

FiltersDep = Annotated[Filters, Depends(Filters)]
own_form = Depends(require_own_form)


@app.get("/")
def sets(request: Request, user: GetUserDep, session: SessionDep) -> Response:
    """Return the page that lists the sets of the latest runs that the user may read."""
    latest = session.execute(
        select(DagRun.dag_id, DagRun.run_id, DagRun.run_after)
        .where(DagRun.dag_id.in_(readable_dags(user, session)))
        .order_by(DagRun.run_after.desc())
        .limit(200)
    ).all()
    fetch_for_list(run_folder(dag_id, run_id) for dag_id, run_id, _ in latest)
    lines: list[SetLine] = []
    for dag_id, run_id, when in latest:
        lines += _lines_of(dag_id, run_id, when, counted=len(lines) < MAX_COUNTED)
    page = page_of(request, user, home="./")
    return html(request, "sets.html.j2", page, lines=lines[:MAX_SETS])


def _lines_of(dag_id: str, run_id: str, when: datetime, counted: bool) -> list[SetLine]:
    run = run_folder(dag_id, run_id)
    lines = []
    for name, file in sets_of(run):
        items = load_set(run, name, file).items if counted else ()
        kept = [item for item in items if not item.dropped] or items
        lines.append(
            SetLine(
                kind=KINDS[name],
                run=f"{dag_id} · {run_id}",
                url=f"dags/{quote(dag_id)}/runs/{quote(run_id)}/{name}",
                items=len(kept),
                time=when.astimezone(UTC).isoformat(),
                progress=count_decisions(kept, store_of(name).states()) if counted else None,
            )
        )
    return lines


@app.get("/rows")
def rows_of(dataset: str, user: GetUserDep, session: SessionDep) -> Response:
    """Redirect from the path of a dataset to the page that reviews it."""
    return _redirect_to(dataset, "rows", user, session)


@app.get("/questions")
def questions_of(questions: str, user: GetUserDep, session: SessionDep) -> Response:
    """Redirect from the path of a question file to the page that reviews it."""
    return _redirect_to(questions, "questions", user, session)


def _redirect_to(path: str, name: SetName, user: GetUserDep, session: SessionDep) -> Response:
    dag_id, run_id = run_of_path(path, user, session)
    return RedirectResponse(f"dags/{quote(dag_id)}/runs/{quote(run_id)}/{name}", 303)


@app.get("/dags/{dag_id}/runs/{run_id}/", dependencies=[may_read])
def run_sets(dag_id: str, run_id: str, request: Request, user: GetUserDep, session: SessionDep) -> Response:
    """Redirect to the only set of a run, or list its sets."""
    names = [name for name, _ in sets_of(known_run(dag_id, run_id, session))]
    if len(names) == 1:
        return RedirectResponse(names[0], 303)
    when = session.scalar(select(DagRun.run_after).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    lines = _lines_of(dag_id, run_id, when or datetime.now(UTC), counted=True)
    relative = [replace(line, url=line.url.rpartition("/")[2]) for line in lines]
    return html(request, "sets.html.j2", page_of(request, user, home="../../../../"), lines=relative)


@app.get(SET, dependencies=[may_read])
def show(
    place: PlaceDep,
    filters: FiltersDep,
    request: Request,
    user: GetUserDep,
    item: str = "",
    after: str = "",
    edit: bool = False,
    done: bool = False,
    list_items: Annotated[bool, Query(alias="list")] = False,
    files: bool = False,
    page: int = 1,
) -> Response:
    """Return the page with one item, the list of items, or the page for files.

    `item` is the key of the item to show. With `after`, the next undecided item after this key is shown.
    """
    shared, selection = _set_page(place, filters, request, user)
    if after:
        return RedirectResponse(next_url(place, place.name, filters, selection, after, user.get_name()), 303)
    if files:
        return html(request, "files.html.j2", shared.page, shared=shared, summary=None, problems=())
    if list_items:
        content = list_page(place, shared, selection, page)
        return html(request, "list.html.j2", shared.page, shared=shared, content=content)
    one = item_page(place, shared, selection, item, editing=edit, done=done)
    return html(request, "item.html.j2", shared.page, shared=shared, content=one)


@app.post(f"{SET}/decide", dependencies=[may_decide, own_form])
def decide(place: PlaceDep, form: PostedForm, request: Request, user: GetUserDep) -> Response:
    """Record a decision and lead to the next item. If somebody else decided first, show both decisions."""
    filters = Filters.parse(_text(form, "view"))
    item = place.loaded.by_key.get(_text(form, "key"))
    action, version = _text(form, "action"), _text(form, "version")
    if item is None or action not in get_args(ReviewAction) or not version.isdigit():
        raise HTTPException(422, "the form does not fit this set; reload the page, then decide again")
    if action == "approve" and item.dropped and not item.approvable:
        state = place.store.state(item.key)
        if not (state.decision and state.decision.action == "edit"):
            raise HTTPException(422, "approval cannot reverse this rule; edit or reject the item")
    texts = {name: _text(form, name) for name in EDITABLE_FIELDS[item.kind] if name in form}
    mine = new_decision(
        item,
        place.store.state(item.key).decision,
        action,  # type: ignore[arg-type]  # checked above
        reviewer=user.get_name(),
        reason=_text(form, "reason"),
        texts=texts,
    )
    try:
        place.store.decide(mine, int(version))
    except ReviewConflictError as conflict:
        shared, _ = _set_page(place, filters, request, user, posted=True)
        content = ConflictPage(shared, item, conflict.current, mine, texts)
        return html(request, "conflict.html.j2", shared.page, status=409, content=content)
    selection = select_items(place.loaded.items, place.store.states(), filters, user.get_name())
    return RedirectResponse(next_url(place, f"../{place.name}", filters, selection, item.key, user.get_name()), 303)


@app.post(f"{SET}/undo", dependencies=[may_decide, own_form])
def undo(place: PlaceDep, form: PostedForm, user: GetUserDep) -> Response:
    """Undo a decision and show its item."""
    key, version = _text(form, "key"), _text(form, "version")
    if key not in place.loaded.by_key or not version.isdigit():
        raise HTTPException(422, "the form does not fit this set; reload the page, then undo again")
    try:
        place.store.undo(key, user.get_name(), int(version))
    except ReviewConflictError as conflict:
        raise HTTPException(409, f"{conflict}; nothing was undone") from None
    return RedirectResponse(f"../{place.name}?{Filters.parse(_text(form, 'view')).query(item=key)}", 303)


@app.get(f"{SET}/export.{{form}}", dependencies=[may_read])
def export(place: PlaceDep, form: Literal["csv", "jsonl"]) -> Response:
    """Return all items with the decisions about them as a file."""
    content = export_items(place.loaded.items, place.store, form)
    name = f"review-{place.name}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=FILE_TYPES[form], headers={**headers, "Cache-Control": "no-store"})


@app.post(f"{SET}/import", dependencies=[may_decide, own_form])
def import_file(place: PlaceDep, form: PostedForm, request: Request, user: GetUserDep) -> Response:
    """Record the decisions in an uploaded file, or list its invalid lines."""
    upload = form.get("file")
    if upload is None or isinstance(upload, str) or not upload.filename:
        raise HTTPException(422, "the form has no file; choose one, then import again")
    summary: ImportSummary | None = None
    problems: list[str] = []
    try:
        summary = import_decisions(
            upload.file.read(), upload.filename, place.loaded.items, place.store, user.get_name()
        )
    except InvalidInputError as e:
        problems = e.problems
    except ReviewConflictError as e:
        problems = [str(e)]
    shared, _ = _set_page(place, Filters(), request, user, posted=True)
    status = 422 if problems else 200
    return html(request, "files.html.j2", shared.page, status=status, shared=shared, summary=summary, problems=problems)


def _set_page(
    place: Place, filters: Filters, request: Request, user: GetUserDep, posted: bool = False
) -> tuple[SetPage, Selection]:
    """Return what the pages about a set have in common, and the selected items.

    `posted` says that the page answers a form, whose URL is one level below the set's page.
    """
    up = "../" if posted else ""
    home = f"{up}../../../../"
    heading = f"{place.dag_id} · {place.run_id}"
    here = f"{up}{place.name}" if posted else ""
    page: Page = page_of(request, user, home=home, here=here, run_url=run_url(place, home), heading=heading)
    selection = select_items(place.loaded.items, place.store.states(), filters, page.user)
    csrf = form_token(request, user)
    allowed = user_may_decide_about(place.dag_id, user)
    return shared_parts(place, page, filters, selection, csrf, allowed, f"{up}{place.name}"), selection


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""

"""Turns pages into responses: language, theme, security headers, and error pages."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qsl, urlencode

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from insurance_rag.core.errors import PipelineError
from insurance_rag.review.pages.render import content_security_policy, render_page
from insurance_rag.review.pages.texts import Language, Theme, page_text, preferred_language
from insurance_rag.review.pages.view import Page
from review_pages.security import set_session_cookie

LANGUAGE_COOKIE, THEME_COOKIE = "review_lang", "review_theme"
YEAR_S = 365 * 24 * 3600
#: Response headers. The referrer is kept within this server, because without it browsers send the header Origin as
#: `null`, and the check of the forms needs this header.
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def page_of(
    request: Request, user: BaseUser | None, home: str, here: str = "", run_url: str = "", heading: str = ""
) -> Page:
    """Return what every page has in common. The language and the theme come from the URL, a cookie or the browser."""
    language = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
    theme = request.query_params.get("theme") or request.cookies.get(THEME_COOKIE, "")
    query = [(name, value) for name, value in parse_qsl(request.url.query) if name not in ("lang", "theme")]
    return Page(
        language=preferred_language(language, request.headers.get("accept-language", "")),
        theme=cast(Theme, theme if theme in ("light", "dark") else ""),
        user=str(user.get_name()) if user else "",
        home=home,
        here=here,
        query=urlencode(query),
        run_url=run_url,
        heading=heading,
    )


def html(request: Request, template: str, page: Page, status: int = 200, **values: object) -> Response:
    """Return a rendered page, with the cookies that keep the language, the theme and the token of the forms."""
    headers = {**HEADERS, "Content-Security-Policy": content_security_policy()}
    response = HTMLResponse(render_page(template, page, **values), status, headers=headers)
    path = request.scope.get("root_path") or "/"
    for cookie, name, value in ((LANGUAGE_COOKIE, "lang", page.language), (THEME_COOKIE, "theme", page.theme)):
        if name in request.query_params and value:
            response.set_cookie(cookie, value, max_age=YEAR_S, samesite="lax", path=path)
    set_session_cookie(request, response)
    return response


def as_pages(app: FastAPI) -> None:
    """Show errors as pages to browsers, and as JSON to other clients."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _unreadable_request)
    app.add_exception_handler(PipelineError, _pipeline_error)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(request, error.status_code, [str(error.detail)])


def _unreadable_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    in_path = any(problem["loc"][0] == "path" for problem in error.errors())
    messages = [f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in error.errors()]
    return _error(request, 404 if in_path else 422, messages)


def _pipeline_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PipelineError)
    return _error(request, 422 if error.exit_code == 2 else 503, getattr(error, "problems", [str(error)]))


def _error(request: Request, status: int, problems: list[str]) -> Response:
    home = f"{request.scope.get('root_path', '')}/"
    page = page_of(request, None, home=home, here=home)
    language: Language = page.language
    shown = [page_text(problem, language, fallback=problem) for problem in problems]
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": "\n".join(shown)}, status, headers=HEADERS)
    return html(request, "message.html.j2", page, status=status, problems=shown, back="")

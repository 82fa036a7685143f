"""Protects the forms of the review pages against requests that other sites send in a user's name.

Each form contains a signed token. It is valid only for the user for whom the page was made, and only together with a
cookie that was set in the same browser. A form that another site sends has no such token, and its header Origin names
the other site. That Airflow's own cookie is marked SameSite is not relied on.
"""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request, Response
from fastapi.datastructures import FormData
from itsdangerous import BadSignature, URLSafeTimedSerializer

COOKIE = "review_session"
MAX_AGE_S = 24 * 3600
"""How long a form is valid. A page that was opened earlier must be loaded again."""
MAX_BODY_BYTES = 64 * 1024 * 1024
FORM_ERROR = "error_form"
"""Key of the text that a user sees if a form is rejected."""


async def posted_form(request: Request) -> FormData:
    """Return the form in the body of the request. Raises an HTTP error if the body is too large."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise HTTPException(413, f"the form has no length or more than {MAX_BODY_BYTES:,} bytes; send a smaller file")
    return await request.form(max_files=1, max_fields=50)


PostedForm = Annotated[FormData, Depends(posted_form)]


def require_own_form(request: Request, form: PostedForm, user: GetUserDep) -> None:
    """Raise an HTTP error unless the form comes from a page of this site that was made for this user and browser."""
    if not _same_origin(request):
        raise HTTPException(403, FORM_ERROR)
    nonce = request.cookies.get(COOKIE)
    try:
        signed = _serializer().loads(str(form.get("csrf") or ""), max_age=MAX_AGE_S)
    except BadSignature:
        raise HTTPException(403, FORM_ERROR) from None
    if not nonce or signed != [user.get_id(), nonce]:
        raise HTTPException(403, FORM_ERROR)


def form_token(request: Request, user: BaseUser) -> str:
    """Return the token for the forms of a page. The response must then set the cookie that belongs to it."""
    request.state.review_session = request.cookies.get(COOKIE) or secrets.token_urlsafe(32)
    return str(_serializer().dumps([user.get_id(), request.state.review_session]))


def set_session_cookie(request: Request, response: Response) -> None:
    """Set the cookie that the tokens of a page need, unless the page has no form or the browser has the cookie."""
    nonce: str | None = getattr(request.state, "review_session", None)
    if nonce and request.cookies.get(COOKIE) != nonce:
        secure = request.url.scheme == "https" or conf.get("api", "base_url", fallback="").startswith("https:")
        path = request.scope.get("root_path") or "/"
        response.set_cookie(COOKIE, nonce, httponly=True, samesite="lax", secure=secure, path=path)


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="review-pages")


def _same_origin(request: Request) -> bool:
    """Return whether the request comes from a page of this server, as far as its headers say.

    The scheme is not compared, because a proxy may encrypt the connection. A client that sends none of the headers is
    not a browser, and still needs the token.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    source = request.headers.get("origin") or request.headers.get("referer")
    if source is None:
        return True
    own = {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="")).netloc}
    return urlsplit(source).netloc in own - {""}

"""Toasts: what gateway.web.toast() said is added to the answer, or to the page that follows a redirect."""

import base64
import hashlib
import hmac
import json

from flask import Response, g, get_template_attribute, request
from markupsafe import Markup

from gateway.auth import drop_cookie, set_cookie

COOKIE = "q_toasts"
KEPT_S = 60
COOKIE_MAX_CHARACTERS = 2000
_PLACE = '<div class="toasts-q" id="toasts" aria-live="polite"></div>'


def send(response: Response) -> Response:
    """Adds the toasts to an HTML answer; keeps them for the next page where this one is a redirect."""
    person = g.get("signed_in")
    if person is None:
        return response
    said = list(g.get("toasts", ()))
    is_whole_page = response.mimetype == "text/html" and not response.is_streamed and response.status_code == 200
    if (300 <= response.status_code < 400 or "HX-Redirect" in response.headers) and said:
        kept = _seal(said, person.csrf_token)
        if len(kept) <= COOKIE_MAX_CHARACTERS:
            set_cookie(response, COOKIE, kept, KEPT_S)
        return response
    if not is_whole_page:
        return response
    if request.cookies.get(COOKIE):
        said = _open(request.cookies[COOKIE], person.csrf_token) + said
        drop_cookie(response, COOKIE)
    if not said:
        return response
    markup = "".join(_markup(text, undo_href) for text, undo_href in said)
    body = response.get_data(as_text=True)
    if _PLACE in body:
        inner = markup.replace('<div hx-swap-oob="beforeend:#toasts">', "<div>")
        body = body.replace(_PLACE, _PLACE.removesuffix("</div>") + inner + "</div>", 1)
    elif request.headers.get("HX-Request") == "true":
        body += markup
    response.set_data(body)
    return response


def _markup(text: str, undo_href: str) -> Markup:
    return Markup(get_template_attribute("ui/macros.html", "toast")(text, undo_href))  # noqa: S704 - a macro's own output


def _seal(said: list[tuple[str, str]], secret: str) -> str:
    raw = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    return raw + "." + _signature(raw, secret)


def _open(kept: str, secret: str) -> list[tuple[str, str]]:
    raw, _, signature = kept.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(raw, secret).encode()):
        return []
    return [(text, undo_href) for text, undo_href in json.loads(base64.urlsafe_b64decode(raw))]


def _signature(raw: str, secret: str) -> str:
    return hmac.new(secret.encode(), raw.encode(), hashlib.sha256).hexdigest()

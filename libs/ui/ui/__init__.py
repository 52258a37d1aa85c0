"""The design system: Jinja macros, styles, scripts, icons, catalogs.

An application says `ui.register(app, ...)` once and extends `ui/layout.html` (workspace) or `ui/portal_layout.html`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from flask import Blueprint, Flask, Response, current_app, g, request, send_from_directory, url_for
from jinja2 import ChoiceLoader, PackageLoader

from ui import filters, icons
from ui.brand import brand_css, contrast
from ui.i18n import LANGUAGE_COOKIE, LANGUAGES, Languages, speaking
from ui.shell import (
    PHONE_KEYS,
    Entity,
    Freshness,
    NavGroup,
    NavLink,
    Portal,
    PortalLanguage,
    Shell,
    User,
    workspace_navigation,
)

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "LANGUAGES",
    "LANGUAGE_COOKIE",
    "Entity",
    "Freshness",
    "NavGroup",
    "NavLink",
    "Portal",
    "PortalLanguage",
    "Shell",
    "User",
    "brand_css",
    "contrast",
    "is_part",
    "register",
    "security_headers",
    "speaking",
    "workspace_navigation",
]

STATIC = Path(__file__).parent / "static"
THEME_COOKIE = "q_theme"
YEAR_S = 365 * 24 * 3600

# What every page is tested under. No inline script, no inline style, nothing from elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; frame-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

is_part = filters.is_part


@dataclass(frozen=True)
class _Ui:
    """What register() keeps on the application, under extensions["ui"]."""

    version: str
    languages: Languages
    shell: Callable[[], Any]


@lru_cache(maxsize=1)
def _version() -> str:
    """Changes with any served file, the same on every replica; part of every address, so that files are kept long."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file() and path.suffix in {".css", ".js", ".woff2"}:
            digest.update(path.relative_to(STATIC).as_posix().encode() + path.read_bytes())
    digest.update(icons.sprite().encode())
    return digest.hexdigest()[:12]


def _static_blueprint() -> Blueprint:
    blueprint = Blueprint("ui", __name__, url_prefix="/ui-static")

    def kept(response: Response, version: str) -> Response:
        if version == current_app.extensions["ui"].version and not current_app.debug:
            response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        return response

    @blueprint.get("/<version>/icons.svg")
    def sprite(version: str) -> Response:
        return kept(Response(icons.sprite(), mimetype="image/svg+xml"), version)

    @blueprint.get("/<version>/<path:filename>")
    def static(version: str, filename: str) -> Response:
        return kept(send_from_directory(STATIC, filename), version)

    return blueprint


def register(
    app: Flask,
    *,
    domain: Literal["workspace", "portal"] = "workspace",
    shell: Callable[[], Shell | Portal] | None = None,
    catalogs: Sequence[Path] = (),
    languages: Sequence[str] = LANGUAGES,
    language_of: Callable[[], str | None] | None = None,
    zone_of: Callable[[], tzinfo | None] | None = None,
    business_date: Callable[[], date] | None = None,
) -> None:
    """Gives the application the templates `ui/*`, the static files under /ui-static, filters, globals and texts.

    Args: shell, called once per request, fills what stands around the page; catalogs, the application's own
        translation folders; language_of and zone_of, the signed-in person's choice or None; business_date, the day ages
        count from (the shell's business date, else none, when not given).
    """

    def current_shell() -> Shell | Portal:
        if "ui_shell" not in g:
            g.ui_shell = shell() if shell else (Portal(name="") if domain == "portal" else Shell())
        return g.ui_shell

    def current_business_date() -> date | None:
        return business_date() if business_date else current_shell().business_date

    chosen = Languages(catalogs, languages, language_of, zone_of)
    app.extensions["ui"] = _Ui(_version(), chosen, current_shell)
    app.register_blueprint(_static_blueprint())
    app.jinja_loader = ChoiceLoader(  # type: ignore[assignment]
        [loader for loader in (app.jinja_loader, PackageLoader("ui", "templates")) if loader]
    )
    filters.install(app, chosen, filters.Filters(chosen, current_business_date, inline_icons=domain == "portal"))
    app.jinja_env.globals.update(
        ui_shell=current_shell,
        ui_static=lambda filename: url_for("ui.static", version=app.extensions["ui"].version, filename=filename),
        ui_theme=lambda: theme if (theme := request.cookies.get(THEME_COOKIE)) in ("light", "dark") else "",
        ui_words=lambda: _words(chosen),
        phone_keys=PHONE_KEYS,
        business_date=current_business_date,
    )


def _words(languages: Languages) -> dict[str, str]:
    """The few texts the scripts say themselves."""
    t = languages.gettext
    return {
        "all": t("All %(count)s ticked"),
        "moved": t("%(name)s, row %(row)s of %(rows)s"),
        "copied": t("Copied"),
        "sending": t("Sending…"),
        "uploading": t("%(percent)s sent, %(rate)s per second"),
        "reading": t("Reading the file…"),
        "tooLarge": t("This file has %(size)s; at most %(most)s can be read at once."),
        "wrongType": t("This kind of file cannot be read here: %(name)s"),
        "failed": t("The file did not arrive. Nothing was changed. Try again."),
        "lost": t("The server did not answer. Nothing was changed. Try again."),
        "refused": t("This was not done. Reload the page and try again."),
        "signIn": t("Your session has ended. Sign in again; this page stays open."),
        "noDate": t("This is not a date. Write it like 22/9, +7 or fri."),
        "noDay": t("%(month)s has %(days)s days."),
        "left": t("%(time)s left"),
        "of": t("%(done)s of %(total)s"),
        "noChart": t("The picture could not be drawn; the table has the same figures."),
        "undo": t("Undo"),
        "close": t("Close"),
        "dark": t("Switch to dark appearance"),
        "light": t("Switch to light appearance"),
        "calendar": t("Choose from a calendar"),
        "days": t("sun mon tue wed thu fri sat"),
        "today": t("today"),
        "tomorrow": t("tomorrow"),
    }


def security_headers(app: Flask, policy: str = CONTENT_SECURITY_POLICY) -> None:
    """Sends the policy the pages are made for, and the headers that belong to it, with every response."""

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        return response

"""Signing in and out, and the person's own page."""

import hashlib
import hmac
import logging
import secrets
from urllib.parse import urlsplit

from flask import Blueprint, g, make_response, redirect, render_template, request, url_for

import ui
from gateway import domain, store, usecases
from gateway.auth import (
    CSRF_FIELD,
    address,
    check_origin,
    drop_cookie,
    gate,
    pre_cookie,
    session_cookie,
    set_cookie,
)
from gateway.passwords import passwords
from gateway.web import gettext as _
from gateway.web import home_href, me, settings, signed_in, toast
from kit.clock import utc_now
from kit.errors import Code, Refused

log = logging.getLogger(__name__)
blueprint = Blueprint("session", __name__)

PRE_COOKIE_S = 3600
LANGUAGE_COOKIE_S = 365 * 24 * 3600


@blueprint.get("/")
@signed_in
def home():
    """The first page of the person's role."""
    return redirect(home_href(), 303)


@blueprint.get("/sign-in")
def sign_in():
    """The sign-in page; somebody who is signed in already goes on."""
    if gate().signed_in() is not None:
        return redirect(_target(), 303)
    return _form()


@blueprint.post("/sign-in")
def enter():
    """Signs in with address and password."""
    check_origin()
    seed = request.cookies.get(pre_cookie(), "")
    sent = request.form.get(CSRF_FIELD, "")
    if not seed or not hmac.compare_digest(sent.encode(), _form_token(seed).encode()):
        # The form was open for long, or cookies are off: show it again rather than a wall.
        return _form(error=_("This page had been open for too long. Sign in again."), status=403)
    email, password = request.form.get("email", ""), request.form.get("password", "")
    who = hashlib.sha256(f"{domain.normal_email(email)}|{address()}".encode()).hexdigest()
    wait_s = gate().limiter.wait_s(gate().sign_in_rate, who) or gate().limiter.wait_s(gate().address_rate, address())
    if wait_s > 0:
        minutes = max(round(wait_s / 60), 1)
        response = _form(email, _("Too many tries. Wait %(minutes)s min, then try again.", minutes=minutes), status=429)
        response.headers["Retry-After"] = str(max(int(wait_s), 1))
        return response
    token = ""
    try:
        with gate().database.system_transaction() as session:
            token = usecases.start_session(
                session, settings(), passwords(settings()), email, password, address(), utc_now()
            )
    except Refused as refused:
        if refused.code is not Code.UNAUTHENTICATED:
            raise
        log.info("sign-in failed from %s", address())
        return _form(email, _("Address or password is wrong."), status=401)
    _end_present_session()
    response = redirect(_target(), 303)
    # Whatever the cookie held before is worth nothing from now on.
    g.new_session_token = token
    drop_cookie(response, pre_cookie())
    return response


@blueprint.post("/sign-out")
@signed_in
def sign_out():
    """Ends the session on the server, and makes the browser forget what it kept."""
    _end_present_session()
    g.new_session_token = ""
    response = redirect(url_for("session.sign_in"), 303)
    drop_cookie(response, session_cookie())
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@blueprint.get("/profile")
@signed_in
def profile():
    """What the person may do, and his own choices."""
    role = domain.ROLES.get(me().role)
    return render_template("session/profile.html", role=role, languages=_languages())


@blueprint.post("/profile")
@signed_in
def change_profile():
    """Keeps the language of the pages and, where both passwords are given, the new password."""
    person = me()
    language = request.form.get("language", "")
    current, new = request.form.get("current_password", ""), request.form.get("new_password", "")
    hasher = passwords(settings())
    try:
        with gate().database.transaction() as session:
            user = store.user(session, person.user_id, for_update=True)
            assert user is not None, "a session has its user"
            if language in ui.LANGUAGES:
                user.language = language
            if new:
                gate().limiter.take(gate().sign_in_rate, f"change:{person.user_id}")
                if not hasher.verify(user.password_hash, current[: domain.PASSWORD_MAX]):
                    raise Refused(Code.INVALID_ARGUMENT, "PASSWORD_WRONG", _("The present password is wrong."))
                domain.check_password(new, user.email)
                user.password_hash = hasher.hash(new)
                # Whoever else is signed in as this person is not any more.
                store.end_other_sessions(session, person.user_id, person.session_id)
    except Refused as refused:
        if refused.code is not Code.INVALID_ARGUMENT:
            raise
        text = _weak_password() if refused.reason == "PASSWORD_WEAK" else refused.message
        role = domain.ROLES.get(person.role)
        page = render_template("session/profile.html", role=role, languages=_languages(), error=text)
        return page, 400
    g.pop("signed_in", None)
    toast(_("Kept."))
    response = redirect(url_for("session.profile"), 303)
    if language in ui.LANGUAGES:
        set_cookie(response, ui.LANGUAGE_COOKIE, language, LANGUAGE_COOKIE_S)
    return response


def _weak_password() -> str:
    return _(
        "A password has %(least)s to %(most)s characters, with three of: small letters, capitals, digits, other signs.",
        least=domain.PASSWORD_MIN,
        most=domain.PASSWORD_MAX,
    )


def _languages() -> list[tuple[str, str]]:
    names = {"en": "English", "fr": "Français", "de": "Deutsch", "es": "Español"}
    return [(code, names[code]) for code in ui.LANGUAGES]


def _form(email: str = "", error: str = "", status: int = 200):
    chosen = request.args.get("lang", "")
    if chosen in ui.LANGUAGES:
        g.ui_language = chosen
    seed = request.cookies.get(pre_cookie(), "")
    fresh = "" if 20 <= len(seed) <= 100 else secrets.token_urlsafe(24)
    page = render_template(
        "session/sign_in.html",
        email=email,
        error=error,
        next=_target(),
        form_token=_form_token(fresh or seed),
        languages=_languages(),
    )
    response = make_response(page, status)
    if fresh:
        set_cookie(response, pre_cookie(), fresh, PRE_COOKIE_S)
    if chosen in ui.LANGUAGES:
        set_cookie(response, ui.LANGUAGE_COOKIE, chosen, LANGUAGE_COOKIE_S)
    return response


def _form_token(seed: str) -> str:
    return hashlib.sha256(f"quittance sign-in form {seed}".encode()).hexdigest()


def _target() -> str:
    """Where to go on; only an address of our own."""
    target = request.values.get("next", "") or "/"
    parts = urlsplit(target)
    # Browsers read a backslash as a slash: //elsewhere must not come in by that door.
    is_ours = not parts.scheme and not parts.netloc and target.startswith("/") and not target.startswith("//")
    if not is_ours or "\\" in target or any(ord(sign) < 32 for sign in target) or parts.path == "/sign-in":
        return "/"
    return target


def _end_present_session() -> None:
    person = gate().signed_in()
    if person is not None:
        with gate().database.system_transaction() as session:
            store.delete_session(session, person.caller.tenant_id, person.session_id)
        g.signed_in = None

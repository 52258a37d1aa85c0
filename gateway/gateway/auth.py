"""Who is asking: an API key, or a person's session; both become a short-lived token that every service verifies."""

import hmac
import logging
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request
from werkzeug.wrappers import Response as BaseResponse

from gateway import domain, usecases
from gateway.config import Settings
from gateway.limits import Limiter, Rate
from gateway.usecases import SignedIn
from kit import auth as kit_auth
from kit.clock import utc_now
from kit.context import Caller, acting_as, speaking
from kit.db import Database
from kit.errors import Code, Refused

log = logging.getLogger(__name__)

TOKEN_TTL_S = 5 * 60
# A token is handed out again until it has this much of its life left.
TOKEN_SPARE_S = 90
TOKENS_MAX = 10_000

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
_COOKIE = "q_session"
_PRE_COOKIE = "q_pre"


class Tokens:
    """Mints tokens for callers and keeps each for most of its five minutes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[tuple, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def for_caller(self, caller: Caller) -> Caller:
        """The caller with a token that has at least 90 s to live; a change of rights is seen at once."""
        key = (caller.tenant_id, caller.subject, caller.name, caller.permissions, caller.entity_codes)
        now = time.monotonic()
        with self._lock:
            until, token = self._kept.get(key, (0.0, ""))
        if until < now:
            token = kit_auth.signer(self._settings).mint(
                tenant_id=caller.tenant_id,
                subject=caller.subject,
                name=caller.name,
                permissions=caller.permissions,
                entity_codes=caller.entity_codes,
                ttl_s=TOKEN_TTL_S,
            )
            with self._lock:
                if len(self._kept) >= TOKENS_MAX:
                    self._kept.clear()
                self._kept[key] = (now + TOKEN_TTL_S - TOKEN_SPARE_S, token)
        return replace(caller, token=token)


class Gate:
    """Everything about who may come in; one per application, under extensions["gate"]."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.tokens = Tokens(settings)
        self.limiter = Limiter(settings.redis_url)
        self.api_rate = Rate("api", settings.api_rate_per_s, settings.api_rate_burst)
        self.address_rate = Rate("address", settings.address_rate_per_s, settings.address_rate_burst)
        self.sign_in_rate = Rate("sign-in", settings.sign_in_tries / settings.sign_in_window_s, settings.sign_in_tries)

    # ---- programs ----------------------------------------------------------------------------------------------------

    def api_caller(self) -> Caller:
        """Who calls the API: a bearer key, else the web app's session with its CSRF token for anything that changes.

        Refuses: UNAUTHENTICATED KEY_MISSING, KEY_INVALID; PERMISSION_DENIED CSRF_FAILED;
        RESOURCE_EXHAUSTED RATE_LIMITED.
        """
        header = request.headers.get("Authorization", "")
        if header:
            caller = self._key_caller(header)
        else:
            signed_in = self.signed_in()
            if signed_in is None:
                raise Refused(
                    Code.UNAUTHENTICATED, "KEY_MISSING", "sign in, or send an API key: Authorization: Bearer qk_..."
                )
            self.check_csrf(signed_in)
            caller = signed_in.caller
        self.limiter.take(self.api_rate, f"{caller.tenant_id}:{caller.subject}")
        speak()
        return self.tokens.for_caller(caller)

    def _key_caller(self, header: str) -> Caller:
        scheme, _, secret = header.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Refused(Code.UNAUTHENTICATED, "KEY_INVALID", "send Authorization: Bearer <key>")
        caller = None
        if secret.startswith(domain.API_KEY_PREFIX) and len(secret) <= 100:
            with self.database.system_transaction() as session:
                caller = usecases.caller_for_key(session, secret, utc_now())
        if caller is None:
            self.limiter.take(self.address_rate, address())
            raise Refused(Code.UNAUTHENTICATED, "KEY_INVALID", "this key is unknown, revoked or over")
        return caller

    # ---- people ------------------------------------------------------------------------------------------------------

    def signed_in(self) -> SignedIn | None:
        """The person behind the request's cookie, looked up once per request."""
        if "signed_in" not in g:
            g.signed_in = None
            token = request.cookies.get(session_cookie(), "")
            if 20 <= len(token) <= 100:
                with self.database.system_transaction() as session:
                    g.signed_in = usecases.resume_session(session, self.settings, token, utc_now())
                if g.signed_in is None:
                    g.drop_session_cookie = True
                elif g.signed_in.new_token:
                    g.new_session_token = g.signed_in.new_token
        return g.signed_in

    def check_csrf(self, signed_in: SignedIn) -> None:
        """Refuses PERMISSION_DENIED CSRF_FAILED for a change that does not carry the session's own token."""
        if request.method in SAFE_METHODS:
            return
        check_origin()
        sent = request.headers.get(CSRF_HEADER) or (request.form.get(CSRF_FIELD, "") if _is_form() else "")
        if not hmac.compare_digest(sent.encode(), signed_in.csrf_token.encode()):
            raise csrf_failed()

    def web_caller(self, signed_in: SignedIn) -> Caller:
        """The person as the services know him, with a token."""
        return self.tokens.for_caller(signed_in.caller)


def csrf_failed() -> Refused:
    return Refused(
        Code.PERMISSION_DENIED, "CSRF_FAILED", "this did not come from a page of ours: reload the page and try again"
    )


def check_origin() -> None:
    """Refuses a change that a browser says was asked for by another site."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if site in ("cross-site", "same-site"):
        raise csrf_failed()
    origin = request.headers.get("Origin", "")
    if origin and origin != "null" and not site and urlsplit(origin).netloc != request.host:
        raise csrf_failed()


def _is_form() -> bool:
    return request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data")


def gate() -> Gate:
    """The gate of the current application."""
    return current_app.extensions["gate"]


def address() -> str:
    """Where the request comes from, as far as the trusted proxies tell."""
    return request.remote_addr or "unknown"


def session_cookie() -> str:
    """The cookie's name: bound to this host alone where the connection is encrypted, plain on a loopback address."""
    return f"__Host-{_COOKIE}" if request.is_secure else _COOKIE


def pre_cookie() -> str:
    """The cookie that ties the sign-in form to the browser it was shown in."""
    return f"__Host-{_PRE_COOKIE}" if request.is_secure else _PRE_COOKIE


def set_cookie(response: BaseResponse, name: str, value: str, max_age_s: int | None = None) -> None:
    """A cookie that scripts cannot read and other sites do not send."""
    response.set_cookie(
        name, value, max_age=max_age_s, secure=request.is_secure, httponly=True, samesite="Lax", path="/"
    )


def drop_cookie(response: BaseResponse, name: str) -> None:
    """Makes the browser forget a cookie."""
    response.delete_cookie(name, path="/", secure=request.is_secure, httponly=True, samesite="Lax")


def act_as(caller: Caller) -> None:
    """The rest of this request is done for the caller: calls to services carry his token."""
    speak()
    _stack().enter_context(acting_as(caller))


def speak() -> None:
    """Every call of this request to a service asks for answers in the language of the request, see language()."""
    if not g.get("speaks"):
        g.speaks = True
        _stack().enter_context(speaking(language()))


def language() -> str:
    """The language of this request: the person's own choice, else what his browser or program asks for; en or fr."""
    return current_app.extensions["ui"].languages.language()


def _stack() -> ExitStack:
    return g.setdefault("acting", ExitStack())


def register(app: Flask, settings: Settings, database: Database) -> None:
    """Gives the application its gate, and the cookies their changes."""
    app.extensions["gate"] = Gate(settings, database)

    @app.after_request
    def cookies(response: Response) -> Response:
        if g.get("new_session_token"):
            set_cookie(response, session_cookie(), g.new_session_token)
        elif g.get("drop_session_cookie"):
            drop_cookie(response, session_cookie())
        return response

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        stack = g.pop("acting", None)
        if stack is not None:
            stack.close()

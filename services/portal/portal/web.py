"""The customer's pages. A link is exchanged for a cookie; reading changes nothing; every form is one answer."""

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, g, make_response, redirect, render_template, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

import ui
from kit import crypto, downloads, telemetry
from kit.clock import add_working_days, business_today, utc_now
from kit.context import acting_as, service_caller
from kit.db import Database
from kit.errors import Refused
from portal import domain, store, wire
from portal.config import Settings
from portal.domain import AccountFact, DocumentFact, Form, ItemFact, Kind, State
from portal.usecases import Counter

log = logging.getLogger(__name__)

LANGUAGES = {"en": "English", "fr": "Français"}
BODY_MAX_BYTES = 512 * 1024
FIELDS_MAX = 3 * domain.LINES_MAX
NONCE_BYTES = 16
ANSWERS_SHOWN = 10
PROPOSED_WORKING_DAYS = 5
_ABOUT = "portal-session"


def N_(message: str) -> str:
    """Marks a message for the catalogs; it is translated where it is shown."""
    return message


# The customer's words for the reasons of a dispute.
REASON_WORDS = {
    "PRICE": N_("The price is not as agreed"),
    "QUANTITY": N_("The quantity is wrong"),
    "QUALITY": N_("The goods or the service have a fault"),
    "NOT_RECEIVED": N_("We never received it"),
    "ADMINISTRATIVE": N_("The invoice itself is wrong (address, order number, VAT)"),
    "DELIVERY": N_("Something went wrong with the delivery"),
    "TERMS": N_("The payment terms are not as agreed"),
    "RETURNED": N_("We returned the goods"),
    "OTHER": N_("Something else"),
}
ERROR_WORDS = {
    ("answer", "MISSING"): N_("Choose one of the answers."),
    ("items", "NONE"): N_("Choose at least one invoice."),
    ("items", "TOO_MANY"): N_("Choose at most 500 invoices for one answer."),
    ("items", "CHANGED"): N_(
        "Something has changed in the meantime: some of these invoices are paid or answered. Choose again."
    ),
    ("on", "MISSING"): N_("Give a day."),
    ("on", "PAST"): N_("This day is past. Give today or a later day."),
    ("on", "FUTURE"): N_("This day is still to come. Give the day on which it was paid."),
    ("on", "FAR"): N_("This day is too far away."),
    ("reason", "MISSING"): N_("Choose what is wrong."),
    ("comment", "MISSING"): N_("Say in a few words what is wrong."),
    ("comment", "LONG"): N_("Use at most 2,000 characters."),
    ("reference", "LONG"): N_("Use at most 100 characters."),
    ("amount", "AMOUNT"): N_("Write an amount such as 1,234.50."),
    ("amount", "HIGH"): N_("This is more than is open."),
}
ANSWER_WORDS = {
    Kind.PROMISE.value: (N_("Say when we pay"), "calendar-check"),
    Kind.ALREADY_PAID.value: (N_("Already paid"), "cash"),
    Kind.DISPUTE.value: (N_("Something is wrong"), "message-2-exclamation"),
}
STATE_WORDS = {
    State.RECEIVED.value: N_("we check it"),
    State.ACCEPTED.value: N_("noted"),
    State.AMENDED.value: N_("noted, with a change"),
    State.REJECTED.value: N_("not accepted"),
    State.EXPIRED.value: N_("run out"),
}
NUMBER_WORDS = (
    N_("One"),
    N_("Two"),
    N_("Three"),
    N_("Four"),
    N_("Five"),
    N_("Six"),
    N_("Seven"),
    N_("Eight"),
    N_("Nine"),
    N_("Ten"),
)


# ---- who is here -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Visit:
    """What the one strictly needed cookie says, sealed: which link, since when, in which language."""

    tenant_id: str
    link_id: str
    session_id: str
    until_s: int
    language: str = ""

    def seal(self, settings: Settings) -> str:
        """The cookie's value; unreadable and unchangeable without the platform's key."""
        said = [self.tenant_id, self.link_id, self.session_id, self.until_s, self.language]
        return crypto.encrypt(settings, json.dumps(said), about=_ABOUT)

    @classmethod
    def unseal(cls, settings: Settings, value: str) -> "Visit | None":
        """The visit behind a cookie; None when it is over, changed, or none of ours."""
        try:
            visit = cls(*json.loads(crypto.decrypt(settings, value, about=_ABOUT)))
        except (ValueError, TypeError):
            return None
        return visit if visit.until_s > utc_now().timestamp() else None

    @property
    def csrf_token(self) -> str:
        """What every form of this visit carries."""
        return hashlib.sha256(b"csrf:" + self.session_id.encode()).hexdigest()


class Limiter:
    """A bucket per client address: so many requests a minute, the oldest addresses forgotten first."""

    ADDRESSES_MAX = 20_000

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, address: str) -> bool:
        """Whether one more request is within the limit; counts it if so."""
        now = time.monotonic()
        with self._lock:
            left, at = self._left.pop(address, (float(self._per_minute), now))
            left = min(left + (now - at) * self._per_minute / 60, float(self._per_minute))
            is_admitted = left >= 1
            self._left[address] = (left - 1 if is_admitted else left, now)
            if len(self._left) > self.ADDRESSES_MAX:
                self._left.popitem(last=False)
        return is_admitted


def create_app(settings: Settings | None = None, database: Database | None = None) -> Flask:
    """The web application; granian's workers call it without arguments."""
    if settings is None:
        settings = Settings()
        telemetry.setup(settings)
    app = Flask("portal", template_folder=str(Path(__file__).parent / "templates"), static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=BODY_MAX_BYTES, MAX_FORM_PARTS=FIELDS_MAX, MAX_FORM_MEMORY_SIZE=BODY_MAX_BYTES)
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=settings.trusted_proxies)  # type: ignore[method-assign]
    counter = Counter(database or Database(settings), settings)
    app.extensions["portal"] = counter
    app.extensions["portal_limits"] = (Limiter(settings.pages_per_minute), Limiter(settings.wrong_links_per_minute))
    brand_css = ui.brand_css(settings.brand_color, settings.brand_ink)
    ui.register(
        app,
        domain="portal",
        shell=_shell,
        catalogs=[Path(__file__).parent / "translations"],
        languages=tuple(LANGUAGES),
        language_of=_chosen_language,
        business_date=business_today,
    )
    ui.security_headers(app)
    _private_headers(app)
    app.jinja_env.globals.update(reason_words=REASON_WORDS, answer_words=ANSWER_WORDS, state_words=STATE_WORDS)
    app.add_url_rule("/brand.css", "brand", lambda: Response(brand_css, mimetype="text/css"))
    app.add_url_rule("/robots.txt", "robots", lambda: Response("User-agent: *\nDisallow: /\n", mimetype="text/plain"))
    app.add_url_rule("/healthz", "health", _health)
    app.add_url_rule("/l/<token>", "open_link", _open_link)
    app.add_url_rule("/p", "page", _visiting(_page))
    app.add_url_rule("/p/answer", "answer", _visiting(_answer), methods=["POST"])
    app.add_url_rule("/p/thanks", "thanks", _visiting(_thanks))
    app.add_url_rule("/p/documents/<uuid:document_id>", "document", _document)
    app.add_url_rule("/d/<token>", "download", _download)
    app.before_request(_limit)
    app.register_error_handler(404, lambda _: _ended())
    app.register_error_handler(405, lambda _: _ended())
    app.register_error_handler(413, lambda _: _away(413))
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(500, lambda _: _away(500))
    return app


def _counter() -> Counter:
    return current_app.extensions["portal"]


def gettext(message: str, **values: Any) -> str:
    """A text in the language of this page."""
    text = current_app.extensions["ui"].languages.gettext(message)
    return text % values if values else text


def _private_headers(app: Flask) -> None:
    """No trace of a visit elsewhere: no referrer, no index, no cache."""

    @app.after_request
    def add(response: Response) -> Response:
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=()"
        if not request.path.startswith("/ui-static/"):
            response.headers["Cache-Control"] = "no-store"
        if _counter().settings.is_https:
            response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        return response


def _limit() -> Response | None:
    if request.path.startswith("/ui-static/") or request.path == "/healthz":
        return None
    pages, _ = current_app.extensions["portal_limits"]
    return None if pages.admits(request.remote_addr or "") else _too_fast()


def _cookie_name() -> str:
    # The prefix makes browsers refuse the cookie from anywhere but this host over TLS.
    return "__Host-visit" if _counter().settings.is_https else "visit"


def _visit() -> Visit | None:
    if "visit" not in g:
        value = request.cookies.get(_cookie_name(), "")
        g.visit = Visit.unseal(_counter().settings, value) if value else None
    return g.visit


def _keep(response: Any, visit: Visit) -> Any:
    settings = _counter().settings
    # Lax, not strict: the first request comes from a mail, and its redirect must carry the cookie.
    response.set_cookie(
        _cookie_name(), visit.seal(settings), httponly=True, samesite="Lax", secure=settings.is_https, path="/"
    )
    return response


def _chosen_language() -> str | None:
    asked = request.args.get("lang", "")
    if asked in LANGUAGES:
        return asked
    visit = g.get("visit")
    return visit.language if visit is not None and visit.language in LANGUAGES else None


def _shell() -> ui.Portal:
    account: AccountFact | None = g.get("account")
    visit: Visit | None = g.get("visit")
    here = url_for("page") if account else request.path
    languages = tuple(ui.PortalLanguage(code, name, f"{here}?lang={code}") for code, name in LANGUAGES.items())
    return ui.Portal(
        name=account.entity_name if account else "",
        home_href=url_for("page"),
        theme_href=url_for("brand"),
        # On pages that reveal nothing there is nothing to switch back to: the address may hold a token.
        languages=languages if account else (),
        business_date=business_today(),
        csrf_token=visit.csrf_token if visit else "",
    )


def _visiting(view: Callable[[store.LinkRow, AccountFact], Any]) -> Callable[[], Any]:
    """A page of somebody who came by a link that still works; everybody else sees the page for ended links."""

    @wraps(view)
    def guarded() -> Any:
        visit = _visit()
        if visit is None:
            return _ended()
        with acting_as(service_caller(visit.tenant_id, "portal")):
            link = _counter().live_link(visit.link_id)
            if link is None:
                g.visit = None
                return _ended()
            g.account = _counter().neighbours.look(link.account_id)
            return view(link, g.account)

    return guarded


# ---- pages -----------------------------------------------------------------------------------------------------------
def _health() -> Response:
    is_well = _counter().database.ping()
    return Response(
        json.dumps({"status": "ok" if is_well else "no database"}), 200 if is_well else 503, mimetype="application/json"
    )


def _open_link(token: str) -> Any:
    """Exchanges a link for a cookie and a clean address. HEAD, as scanners send it, notes nothing."""
    counter = _counter()
    read = domain.read_token(token)
    link = None
    if read is not None:
        tenant_id, token_sha256 = read
        with acting_as(service_caller(tenant_id, "portal")):
            if request.method == "HEAD":
                return Response(status=200) if counter.peek_link(token_sha256) else _wrong_link()
            link = counter.open_link(token_sha256)
    if read is None or link is None:
        return _wrong_link()
    until_s = int(min(utc_now().timestamp() + counter.settings.session_hours * 3600, link.expires_at.timestamp()))
    visit = Visit(read[0], link.link_id, secrets.token_hex(16), until_s, link.language)
    return _keep(redirect(url_for("page"), 303), visit)


def _wrong_link() -> Response:
    _, wrong = current_app.extensions["portal_limits"]
    return _ended() if wrong.admits(request.remote_addr or "") else _too_fast()


def _page(link: store.LinkRow, account: AccountFact) -> Any:
    response = make_response(_page_html(link, account, {}))
    visit = _visit()
    if visit is not None and request.args.get("lang", "") in LANGUAGES:
        _keep(response, Visit(visit.tenant_id, visit.link_id, visit.session_id, visit.until_s, request.args["lang"]))
    return response


def _page_html(
    link: store.LinkRow, account: AccountFact, errors: dict[str, str], chosen: tuple[str, ...] | None = None
) -> str:
    with _counter().database.transaction() as session:
        answers = store.answers_of_account(session, account.account_id, 500)
    by_item: dict[str, store.ResponseRow] = {}
    for answer in reversed(answers):
        if answer.state in (State.RECEIVED, State.ACCEPTED, State.AMENDED):
            by_item.update({line["item_id"]: answer for line in answer.lines})
    debits = [item for item in account.items if not item.is_credit]
    waiting = [item for item in debits if item.waits]
    ticked = {item.item_id for item in waiting} if chosen is None else set(chosen)
    picked = [item for item in debits if item.can_be_answered and item.item_id in ticked]
    return render_template(
        "portal/page.html",
        link=link,
        account=account,
        collector=domain.first_name(account.collector),
        title=_title(len(waiting)),
        items=[(item, _chip(item, by_item.get(item.item_id))) for item in debits],
        documents=_documents(account),
        credits=[item for item in account.items if item.is_credit],
        ticked=ticked,
        count=len(picked),
        total=domain.sums([item.collectable for item in picked]),
        answers=[answer for answer in answers if answer.stage != "PLACING"][:ANSWERS_SHOWN],
        bank=_counter().settings.bank_accounts.get(account.entity_code),
        proposed_on=add_working_days(business_today(), PROPOSED_WORKING_DAYS),
        nonce=secrets.token_hex(NONCE_BYTES),
        errors=_error_words(errors),
    )


def _documents(account: AccountFact) -> dict[str, list[DocumentFact]]:
    """What may be fetched, by item; nothing while that service does not answer: the page is more than its files."""
    try:
        found = _counter().neighbours.documents(account) if account.items else ()
    except (Refused, LookupError) as error:
        log.warning("no documents on this page: %s", error)
        return {}
    by_item: dict[str, list[DocumentFact]] = {}
    for document in found:
        for item_id in document.item_ids:
            by_item.setdefault(item_id, []).append(document)
    return by_item


def _document(document_id: uuid.UUID) -> Any:
    """Leads to a file of this account, by an address of its own for a few minutes."""

    def lead(link: store.LinkRow, account: AccountFact) -> Any:
        try:
            token = _counter().neighbours.document_token(str(document_id), account)
        except Refused as error:
            if error.is_transient:
                raise
            return _gone()
        return redirect(url_for("download", token=token), 303)

    return _visiting(lead)()


def _download(token: str) -> Any:
    """A file by its signed address, or the range of it that is asked for."""
    settings = _counter().settings
    asked = request.headers.get("Range", "")
    found = downloads.answer(settings, token, "documents", asked, settings.document_store_url)
    if found is None:
        # Guessing is slowed down as it is for links.
        _, wrong = current_app.extensions["portal_limits"]
        return _gone() if wrong.admits(request.remote_addr or "") else _too_fast()
    return Response(found.body, found.status, found.headers, direct_passthrough=True)


def _gone() -> Response:
    return make_response(render_template("portal/gone.html"), 404)


def _answer(link: store.LinkRow, account: AccountFact) -> Any:
    """A button of the page: shows the short form of an answer, or takes the answer when it was sent."""
    visit = _visit()
    assert visit is not None
    if not hmac.compare_digest(request.form.get("csrf_token", ""), visit.csrf_token) or _is_foreign():
        return _page_html(link, account, {"items": "CHANGED"}), 400
    nonce = request.form.get("nonce", "")
    if len(nonce) != 2 * NONCE_BYTES or not nonce.isalnum():
        return _page_html(link, account, {"items": "CHANGED"}), 400
    form = _form()
    if not form.kind:
        return _page_html(link, account, {"answer": "MISSING"}, form.item_ids), 422
    known = _counter().sent_before(link.link_id, nonce)
    if known is not None:
        return redirect(url_for("thanks", answer=known.response_id), 303)
    if "send" not in request.form:
        return _form_html(link, account, form, nonce, {}), 200
    answer = domain.read_answer(form, account.items, business_today())
    if isinstance(answer, domain.Wrong):
        return _form_html(link, account, form, nonce, dict(answer.errors)), 422
    try:
        row = _counter().answer(link, nonce, account, answer)
    except Refused as error:
        if error.is_transient:
            raise
        log.info("an answer was not taken: %s", error)
        g.account = account = _counter().neighbours.look(link.account_id)
        return _form_html(link, account, form, secrets.token_hex(NONCE_BYTES), {"items": "CHANGED"}), 409
    return redirect(url_for("thanks", answer=row.response_id), 303)


def _form() -> Form:
    fields = request.form
    kind = fields.get("send", "") or fields.get("answer", "")
    return Form(
        kind=kind if kind in ANSWER_WORDS else "",
        item_ids=tuple(fields.getlist("item")),
        on=fields.get("on", ""),
        reference=fields.get("reference", ""),
        reason=fields.get("reason", ""),
        comment=fields.get("comment", ""),
        amounts={name.removeprefix("amount-"): value for name, value in fields.items() if name.startswith("amount-")},
    )


def _form_html(link: store.LinkRow, account: AccountFact, form: Form, nonce: str, errors: dict[str, str]) -> str:
    chosen = [item for item in account.items if item.item_id in form.item_ids and item.can_be_answered]
    if not chosen and "items" not in errors:
        errors = {**errors, "items": "NONE"}
    if "items" in errors and not chosen:
        return _page_html(link, account, errors, ())
    today = business_today()
    on = (
        form.on
        or (today if form.kind == Kind.ALREADY_PAID else add_working_days(today, PROPOSED_WORKING_DAYS)).isoformat()
    )
    if form.kind == Kind.ALREADY_PAID and "send" not in request.form:
        on = today.isoformat()
    return render_template(
        "portal/answer.html",
        link=link,
        account=account,
        collector=domain.first_name(account.collector),
        kind=form.kind,
        form=form,
        on=on,
        today=today,
        chosen=chosen,
        total=domain.sums([item.collectable for item in chosen]),
        reasons=[(code, gettext(REASON_WORDS[code])) for code in domain.REASONS],
        nonce=nonce,
        errors=_error_words(errors),
    )


def _thanks(link: store.LinkRow, account: AccountFact) -> Any:
    with _counter().database.transaction() as session:
        row = store.response(session, _uuid(request.args.get("answer", "")))
    if row is None or row.link_id != link.link_id:
        return redirect(url_for("page"), 303)
    total = domain.sums([line.amount for line in wire.lines_from_json(row.lines)])
    return render_template(
        "portal/thanks.html", account=account, answer=row, total=total, collector=domain.first_name(account.collector)
    )


# ---- pages that reveal nothing ---------------------------------------------------------------------------------------
def _ended() -> Response:
    """One page for links that ended, were revoked, were changed or never existed: nobody learns which."""
    g.account = None
    return make_response(render_template("portal/ended.html"), 404)


def _too_fast() -> Response:
    g.account = None
    response = make_response(render_template("portal/away.html", status=429), 429)
    response.headers["Retry-After"] = "60"
    return response


def _away(status: int) -> Response:
    g.account = None
    return make_response(render_template("portal/away.html", status=status), status)


def _refused(error: Refused) -> Response:
    """A neighbour said no. An account that is gone is an ended link; everything else is our trouble."""
    if error.reason == "ACCOUNT_UNKNOWN":
        return _ended()
    log.warning("a page could not be made: %s", error)
    return _away(503)


# ---- small parts -----------------------------------------------------------------------------------------------------
def _is_foreign() -> bool:
    """Whether a browser says that a page of another site sends this. Origin is null without referrers."""
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")


def _title(count: int) -> str:
    languages = current_app.extensions["ui"].languages
    if not count:
        return gettext("No invoice waits for your answer")
    number = gettext(NUMBER_WORDS[count - 1]) if count <= len(NUMBER_WORDS) else str(count)
    ngettext = languages.ngettext
    text = ngettext("%(number)s invoice waits for your answer", "%(number)s invoices wait for your answer", count)
    return text % {"number": number}


def _chip(item: ItemFact, answer: store.ResponseRow | None) -> tuple[str, str] | None:
    """What is known about an item beside its amount: kind of chip and words; None when nothing is."""
    text = current_app.jinja_env.globals
    kinds = {hold.kind: hold for hold in item.holds}
    day: Callable[..., str] = text["date_text"]  # type: ignore[assignment]
    amount: Callable[..., str] = text["amount"]  # type: ignore[assignment]
    if "DISPUTE" in kinds:
        disputed = sum(hold.amount.minor_units for hold in item.holds if hold.kind == "DISPUTE")
        if item.can_be_answered:
            return "dispute", gettext("%(amount)s more disputed, we check", amount=amount(disputed, item.open.currency))
        return "dispute", gettext("Disputed, we check")
    if "PAYMENT_ANNOUNCED" in kinds:
        if answer is not None and answer.paid_on:
            return "paid", gettext("You paid on %(day)s, on its way", day=day(answer.paid_on))
        return "paid", gettext("Payment announced, on its way")
    if "PROMISE" in kinds:
        promised_on = answer.promised_on if answer is not None and answer.promised_on else kinds["PROMISE"].until_on
        return "promise", gettext("You pay on %(day)s", day=day(promised_on)) if promised_on else gettext(
            "You promised to pay"
        )
    if "RESPONSE" in kinds:
        return "answer", gettext("You answered, we check")
    if "PAYMENT_PLAN" in kinds:
        return "plan", gettext("In your payment plan")
    if kinds:
        return "out", gettext("Nothing to do for now")
    return None


def _error_words(errors: dict[str, str]) -> dict[str, str]:
    return {field: gettext(ERROR_WORDS[field.partition(":")[0], code]) for field, code in errors.items()}


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.UUID(int=0))

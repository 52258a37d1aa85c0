"""The web workspace: what every page uses. A page is a module of this package with a `blueprint`; see the README."""

import importlib
import logging
import pkgutil
import threading
import time
from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from flask import Blueprint, Flask, Response, current_app, g, redirect, request, url_for
from markupsafe import Markup

import ui
from gateway import domain
from gateway.auth import CSRF_FIELD, SAFE_METHODS, act_as, gate
from gateway.config import Settings
from gateway.usecases import SignedIn
from kit.clock import business_today
from kit.context import current_caller
from kit.errors import Code, Refused
from kit.grpc_client import channel
from quittance.credit_risk.v1.credit_risk_service_pb2_grpc import CreditRiskServiceStub
from quittance.dispute.v1.dispute_service_pb2_grpc import DisputeServiceStub
from quittance.gateway.v1.identity_service_pb2_grpc import IdentityServiceStub
from quittance.importer.v1 import import_service_pb2
from quittance.importer.v1.import_service_pb2_grpc import ImportServiceStub
from quittance.ledger.v1 import ledger_service_pb2
from quittance.ledger.v1.customer_service_pb2_grpc import CustomerServiceStub
from quittance.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from quittance.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from quittance.portal.v1.portal_service_pb2_grpc import PortalServiceStub
from quittance.reporting.v1 import reporting_service_pb2
from quittance.reporting.v1.reporting_service_pb2_grpc import ReportingServiceStub
from quittance.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub

log = logging.getLogger(__name__)

# Pass it with every call of a stub: a page that waits longer has lost its reader.
RPC_TIMEOUT_S = 10.0
# The entity switcher changes rarely; asking the ledger for every page would double the calls.
ENTITIES_KEPT_S = 30.0
FRESHNESS_KEPT_S = 10.0
AROUND_TIMEOUT_S = 2.0
# What waits for somebody: one question in so many seconds for all who see the same, and none twice while nobody answers.
COUNTS_KEPT_S = 10.0
COUNTS_TIMEOUT_S = 1.0
KEPT_MAX = 1000

# Mails bring their own inline styles; nothing else of theirs comes alive.
FRAME_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)

P = ParamSpec("P")
R = TypeVar("R")

# Key of the rail (fixed by the design) -> address and the permission without which it is not shown.
RAIL: dict[str, tuple[str, str]] = {
    "agenda": ("/agenda", "actions:read"),
    "answers": ("/answers", "responses:read"),
    "promises": ("/promises", "promises:read"),
    "accounts": ("/accounts", "accounts:read"),
    "disputes": ("/disputes", "cases:read"),
    "credit-risk": ("/credit-risk", "credit:read"),
    "dashboard": ("/dashboard", "reports:read"),
    "aging": ("/aging", "reports:read"),
    "forecast": ("/forecast", "reports:read"),
    "reports": ("/reports", "reports:read"),
    "imports": ("/imports", "imports:read"),
    "scenarios": ("/scenarios", "scenarios:read"),
    "templates": ("/templates", "templates:read"),
    "settings": ("/settings", "users:read"),
}
# The first page of a role (guide, section 2); everybody else starts on the first page he may open.
HOME_BY_ROLE = {
    "collector": "agenda",
    "credit_manager": "dashboard",
    "financial_controller": "dashboard",
    "executive": "dashboard",
    "administrator": "agenda",
    "sales_manager": "accounts",
    "sales_administration": "accounts",
}


class Stubs:
    """One stub per service; every call carries the token of the person whose request this is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def _of(self, stub: type[R], peer: str) -> R:
        return stub(channel(self._settings, peer))  # type: ignore[call-arg]

    @cached_property
    def ledger(self) -> LedgerServiceStub:
        return self._of(LedgerServiceStub, "ledger")

    @cached_property
    def customers(self) -> CustomerServiceStub:
        return self._of(CustomerServiceStub, "ledger")

    @cached_property
    def importer(self) -> ImportServiceStub:
        return self._of(ImportServiceStub, "import")

    @cached_property
    def scenario(self) -> ScenarioServiceStub:
        return self._of(ScenarioServiceStub, "scenario")

    @cached_property
    def notification(self) -> NotificationServiceStub:
        return self._of(NotificationServiceStub, "notification")

    @cached_property
    def portal(self) -> PortalServiceStub:
        return self._of(PortalServiceStub, "portal")

    @cached_property
    def dispute(self) -> DisputeServiceStub:
        return self._of(DisputeServiceStub, "dispute")

    @cached_property
    def credit_risk(self) -> CreditRiskServiceStub:
        return self._of(CreditRiskServiceStub, "credit-risk")

    @cached_property
    def reporting(self) -> ReportingServiceStub:
        return self._of(ReportingServiceStub, "reporting")

    @cached_property
    def identity(self) -> IdentityServiceStub:
        return self._of(IdentityServiceStub, "gateway")


def stubs() -> Stubs:
    """The stubs of all services, made lazily, for use inside a signed-in request."""
    if "stubs" not in current_app.extensions:
        current_app.extensions["stubs"] = Stubs(current_app.config["QUITTANCE"])
    return current_app.extensions["stubs"]


def settings() -> Settings:
    """The gateway's settings."""
    return current_app.config["QUITTANCE"]


# ---- who may see a page ----------------------------------------------------------------------------------------------


def signed_in(view: Callable[P, R]) -> Callable[P, R]:
    """Lets a view run for a person with a session only; changes also need the page's CSRF token.

    Everybody else is sent to the sign-in page and comes back afterwards.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        answer = _admit()
        return view(*args, **kwargs) if answer is None else answer

    return guarded  # type: ignore[return-value]


def needs(permission: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """signed_in, and the permission on top: @needs("actions:read"). Others get a page that says so."""
    if permission not in domain.all_permissions():
        raise ValueError(f"no role holds {permission!r}")

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            answer = _admit()
            if answer is not None:
                return answer
            if not can(permission):
                raise Refused(
                    Code.PERMISSION_DENIED,
                    "PERMISSION_MISSING",
                    f"this needs the permission {permission}",
                    permission=permission,
                )
            return view(*args, **kwargs)

        return guarded  # type: ignore[return-value]

    return decorate


def _admit() -> Any:
    if g.get("admitted"):
        return None
    person = gate().signed_in()
    if person is None:
        target = url_for("session.sign_in", next=_here())
        if request.headers.get("HX-Request") == "true":
            # A part of a page cannot show the sign-in page: the whole window goes there.
            return "", 401, {"HX-Redirect": target}
        return redirect(target, 303)
    gate().check_csrf(person)
    act_as(gate().web_caller(person))
    g.admitted = True
    return None


def _here() -> str:
    if request.method not in SAFE_METHODS:
        return "/"
    return request.full_path.rstrip("?") if request.query_string else request.path


def me() -> SignedIn:
    """The person whose page this is (inside signed_in); `me().caller.subject` is the address that agendas name."""
    person = gate().signed_in()
    assert person is not None, "me() belongs inside @signed_in"
    return person


def can(permission: str) -> bool:
    """Whether the person may do this; a template global, to leave out buttons that would be refused."""
    person = gate().signed_in()
    return person is not None and person.caller.can(permission)


# ---- parts, forms, messages ------------------------------------------------------------------------------------------


def wants_part(name: str) -> bool:
    """Whether htmx asks for this part of the page: ?part=<name>, or the element with this id as the target."""
    if not ui.is_part():
        return False
    target = request.headers.get("HX-Target", "").rpartition("#")[2]
    return name in (request.args.get("part", ""), target)


def csrf_token() -> str:
    """The session's token; empty outside of one."""
    person = gate().signed_in() if "gate" in current_app.extensions else None
    return person.csrf_token if person else ""


def csrf_field() -> Markup:
    """The hidden field every form with method="post" needs (htmx sends the header by itself)."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, csrf_token())


def toast(text: str, undo_href: str = "") -> None:
    """Says what was done, on this page or on the next one after a redirect; never for errors. Templates do nothing."""
    g.setdefault("toasts", []).append((text, undo_href))


def framed(html: str) -> Response:
    """A document of its own for q.mail_frame (a mail as its reader sees it): it runs nothing and loads nothing."""
    return Response(html, mimetype="text/html", headers={"Content-Security-Policy": FRAME_POLICY})


def gettext(message: str, **values: Any) -> str:
    """A message in the reader's language: gettext("%(count)s items", count=3). Import it as _ for extraction."""
    text = current_app.extensions["ui"].languages.gettext(message)
    return text % values if values else text


def formatter(name: str) -> Callable[..., str]:
    """A format of the design system for use in a view: formatter("date_text")(day, "year")."""
    return cast("Callable[..., str]", current_app.jinja_env.globals[name])


def language() -> str:
    """The language of this page: en or fr."""
    return current_app.extensions["ui"].languages.language()


# ---- what stands around a page ---------------------------------------------------------------------------------------


def selected_entity() -> str:
    """Code of the entity chosen in the header (?entity=FR01); empty: all the person may see."""
    code = request.args.get("entity", "")
    return code if code in {entity.code for entity in entities()} else ""


class _Kept:
    """Answers that stand around every page, kept for a while per caller's scope."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple, tuple[float, Any]] = {}

    def get(self, name: str, keep_s: float, ask: Callable[[], Any]) -> Any:
        """The kept answer, or a new one; an empty one is asked for again next time."""
        caller = current_caller()
        key = (name, caller.tenant_id, caller.entity_codes)
        with self._lock:
            until, known = self._kept.get(key, (0.0, None))
        if until > time.monotonic():
            return known
        answer = ask()
        with self._lock:
            if len(self._kept) > KEPT_MAX:
                self._kept.clear()
            self._kept[key] = (time.monotonic() + (keep_s if answer else 0.0), answer)
        return answer


def _kept(name: str, permission: str, keep_s: float, ask: Callable[[], tuple]) -> tuple:
    """What stands around a page, once per request; empty while its service does not answer."""
    if name not in g:
        setattr(g, name, ())
        if can(permission):
            kept: _Kept = current_app.extensions.setdefault("kept", _Kept())
            try:
                setattr(g, name, kept.get(name, keep_s, ask))
            except (Refused, LookupError) as error:
                # The page itself says what does not work; what stands around it is no reason to lose it.
                log.warning("no %s around this page: %s", name, error)
    return g.get(name)


def entities() -> tuple:
    """The entities (ledger messages) the person may see; empty while the ledger does not answer."""

    def ask() -> tuple:
        request_ = ledger_service_pb2.ListEntitiesRequest(page_size=500)
        return tuple(stubs().ledger.ListEntities(request_, timeout=AROUND_TIMEOUT_S).entities)

    return _kept("entities", "entities:read", ENTITIES_KEPT_S, ask)


def _freshness() -> ui.Freshness | None:
    """When the newest file was applied, and whether all its rows were: the foot of the rail."""

    def ask() -> tuple:
        request_ = import_service_pb2.ListImportsRequest(page_size=1, filter="state=APPLIED")
        return tuple(stubs().importer.ListImports(request_, timeout=AROUND_TIMEOUT_S).imports)

    newest = _kept("newest_import", "imports:read", FRESHNESS_KEPT_S, ask)
    if not newest:
        return None
    counts = newest[0].row_counts
    number = formatter("number")
    rejected = number(counts.rejected) if counts.rejected else gettext("none")
    return ui.Freshness(
        text=gettext("Ledger of %(when)s", when=formatter("moment_text")(newest[0].applied_at)),
        detail=gettext("%(read)s rows read, %(rejected)s rejected", read=number(counts.read), rejected=rejected),
        level="warn" if counts.rejected else "good",
        href=f"/imports/{newest[0].import_id}",
    )


def counts_of(figures: reporting_service_pb2.GetDashboardResponse) -> dict[str, int]:
    """What waits for a person, by key of the rail, from the dashboard's figures."""
    return {
        "agenda": figures.actions_due,
        "answers": figures.answers_waiting,
        "promises": figures.promises_due,
        "disputes": figures.cases_open,
    }


def _nav_counts() -> dict[str, int]:
    """The counts in the rail: the view's own (g.nav_counts), else one kept answer of reporting over all entities."""

    def ask() -> tuple:
        try:
            found = stubs().reporting.GetDashboard(
                reporting_service_pb2.GetDashboardRequest(), timeout=COUNTS_TIMEOUT_S
            )
        except Refused as error:
            # Kept as well: while reporting is away no page waits for it twice.
            log.warning("no counts in the rail: %s", error)
            return (("", 0),)
        return tuple(counts_of(found).items())

    own = g.get("nav_counts")
    return own if own is not None else dict(_kept("rail_counts", "reports:read", COUNTS_KEPT_S, ask))


def home_href() -> str:
    """The first page of the person's role."""
    person = gate().signed_in()
    if person is None:
        return "/"
    links = _rail()
    return links.get(HOME_BY_ROLE.get(person.role, ""), "") or next(iter(links.values()), "/profile")


def _rail() -> dict[str, str]:
    known = current_app.extensions["page_paths"]
    return {key: href for key, (href, permission) in RAIL.items() if href in known and can(permission)}


def _shell() -> ui.Shell:
    """What libs/ui shows around the page. A view that knows the counts of the rail sets g.nav_counts."""
    person = gate().signed_in() if "gate" in current_app.extensions else None
    if person is None or not g.get("admitted"):
        return ui.Shell(csrf_token=csrf_token())
    french = language() == "fr"
    role = domain.ROLES.get(person.role)
    all_entities = entities()
    chosen = request.args.get("entity", "")
    choices = tuple(ui.Entity(each.code, each.name, each.currency) for each in all_entities)
    everything = ui.Entity("", gettext("All entities"))
    current = next((choice for choice in choices if choice.code == chosen), everything)
    if len(choices) == 1:
        current = choices[0]
    return ui.Shell(
        navigation=ui.workspace_navigation(_rail(), _nav_counts()),
        home_href=home_href(),
        business_date=business_today(),
        entity=current if choices else None,
        entities=(everything, *choices) if len(choices) > 1 else choices,
        freshness=_freshness(),
        user=ui.User(
            name=person.caller.name,
            role=(role.label_fr if french else role.label) if role else "",
            href=url_for("session.profile"),
            sign_out_href=url_for("session.sign_out"),
        ),
        search_href="/search",
        csrf_token=person.csrf_token,
        banners=tuple(g.get("banners", ())),
    )


# ---- putting it together ---------------------------------------------------------------------------------------------


def pages() -> list[Blueprint]:
    """The blueprints of all modules of this package, in the order of their names; names with _ are no pages."""
    found = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"{__name__}.{module.name}")
            blueprint = getattr(loaded, "blueprint", None)
            if blueprint is not None:
                found.append(blueprint)
    return found


def register(app: Flask) -> None:
    """Adds the design system and all pages to the application."""
    folder = Path(__file__).parent
    ui.register(
        app,
        shell=_shell,
        catalogs=[folder.parent / "translations"],
        language_of=_language_of_person,
        business_date=business_today,
    )
    app.jinja_env.globals.update(
        can=can, csrf_field=csrf_field, csrf_token=csrf_token, me=me, selected_entity=selected_entity
    )
    for blueprint in pages():
        app.register_blueprint(blueprint)
    app.extensions["page_paths"] = frozenset(rule.rule for rule in app.url_map.iter_rules())
    # Imported here: the module asks this one for the person behind the request.
    from gateway.web import _toasts

    app.after_request(_toasts.send)


def _language_of_person() -> str | None:
    person = gate().signed_in() if "gate" in current_app.extensions else None
    return person.language or None if person else None

"""Every part of the design system on real pages, in both appearances and languages, under the strict policy.

    python -m ui.gallery [--port 8099]

People look at it, page builders copy from its templates, the tests walk through it in a browser. All data are invented.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template, request

import ui

TODAY = date(2026, 9, 15)
PAGES = ("components", "agenda", "account", "dashboard", "wizard", "forms", "case", "composer")

_ITEMS: tuple[tuple[Any, ...], ...] = (
    # number, order, due, initial, open, collectable, currency, (kind, text, icon)
    ("FA-260588", "4500-7781", "2026-08-12", 4218000, 4218000, 4218000, "EUR", "sent"),
    ("FA-260597", "4500-7794", "2026-08-18", 3670000, 3670000, 1835000, "EUR", "dispute"),
    ("FA-260604", "4500-7802", "2026-08-20", 2745540, 2103240, 2103240, "EUR", "sent"),
    ("FA-260611", "4500-7815", "2026-08-31", 900000, 900000, 0, "EUR", "promise"),
    ("FA-260623", "4500-7830", "2026-09-04", 4000000, 4000000, 4000000, "EUR", "new"),
    ("FA-260631", "UK-2217", "2026-09-11", 648000, 648000, 0, "GBP", "paid"),
    ("FA-260640", "4500-7844", "2026-09-28", 1824400, 1824400, 1824400, "EUR", "due"),
    ("FA-260655", "4500-7851", "2026-10-12", 2238360, 2238360, 2238360, "EUR", "due"),
    ("FA-260660", "UK-2231", "2026-10-11", 421500, 421500, 421500, "GBP", "due"),
    ("AV-260071", "", "2026-09-03", -312000, -312000, -312000, "EUR", "credit"),
)


def _items() -> list[dict[str, Any]]:
    names = ("number", "order", "due_on", "initial", "open", "collectable", "currency", "state")
    items = [dict(zip(names, row, strict=True)) for row in _ITEMS]
    for item in items:
        for name in ("initial", "open", "collectable"):
            item[name] = (item[name], item["currency"])
        item["days_late"] = (TODAY - date.fromisoformat(item["due_on"])).days
    return items


_ACTIONS: tuple[tuple[Any, ...], ...] = (
    # group, code, name, profile, alert, channel, step, of, mode, why, age, overdue, collectable, holds, contact
    ("late", "C-10077", "Ateliers Fauvel & Fils", 1, ("P", "hi", "Promise broken"), "call", "Call after broken promise",
     "3/7", "", "Promised 20,000.00 for 10 Sep; 12,000.00 came in", 47, [(3820416, "EUR")], [(3820416, "EUR")],
     [("bad", "Broken")], ("E-mail", "2026-09-10")),
    ("late", "C-20915", "Kupferbach Werkzeuge GmbH", 1, ("I", "md", "Insurer must be told by 24 Sep"), "legal",
     "Formal notice, 8 days", "6/7", "", "KW-25-3307 is 96 d late; two reminders and two calls unanswered", 96,
     [(6170000, "EUR")], [(6170000, "EUR")], [], ("Letter", "2026-08-27")),
    ("today", "C-10482", "Norrland Papper AB", 2, ("L", "hi", "Over credit limit by EUR 12,751.34"), "email",
     "Reminder 2", "5/7", "confirm",
     "FA-260588 is 34 d late; step due at D+25, waited for 4 days after the last call", 34,
     [(14891240, "EUR"), (648000, "GBP")], [(12156240, "EUR")], [("dispute", "1"), ("promise", "22 Sep")],
     ("Call", "2026-09-11")),
    ("today", "C-30261", "Quaystone Marine Ltd", 3, None, "call", "Call, accounts payable", "3/7", "",
     "Oldest open invoice 12 d late; e-mail of 7 Sep read, not answered", 12, [(2641000, "GBP")],
     [(2641000, "GBP")], [], ("E-mail", "2026-09-07")),
    ("today", "C-10139", "Laiteries du Val Brun", 3, None, "email", "Reminder 1", "2/7", "auto",
     "FA-260619 is 6 d late; the two answered items are left out", 6, [(1990480, "EUR")], [(731000, "EUR")],
     [("answer", "2")], ("Answer", "2026-09-13")),
    ("today", "C-30048", "Grindleford Castings Ltd", 2, ("I", "md", "Insurer must be told by 22 Sep"), "letter",
     "Letter, penalties shown", "4/6", "", "68 d late; no answer to three e-mails", 68, [(1487520, "GBP")],
     [(1487520, "GBP")], [], ("E-mail", "2026-09-04")),
    ("today", "C-10554", "Hôtels Belle-Cime", 4, None, "email", "Reminder 1", "2/4", "auto", "FA-260627 is 4 d late", 4,
     [(824055, "EUR")], [(824055, "EUR")], [], ("E-mail", "2026-09-04")),
    ("today", "C-10391", "Oleificio Tre Pini SpA", 3, None, "internal", "Ask sales: Paolo Verdi", "4/7", "",
     "19 d late; D+17 asks the salesperson first", 19, [(2706600, "EUR")], [(2106600, "EUR")], [("plan", "2 of 4")],
     ("Call", "2026-09-08")),
    ("today", "C-10020", "Verrerie Saint-Aubret", 1, ("T", "lo", "No contact for 30 days"), "legal",
     "Propose litigation", "7/7", "",
     "Formal notice of 4 Sep expired without an answer", 131, [(2231800, "EUR")], [(2231800, "EUR")], [],
     ("Notice", "2026-09-04")),
    ("today", "C-10701", "Zandkamp Agro BV", 4, None, "email", "Reminder 1", "2/4", "auto",
     "6 d late, in two currencies", 6, [(512000, "EUR"), (331000, "GBP")],
     [(512000, "EUR"), (331000, "GBP")], [], ("E-mail", "2026-09-02")),
    ("today", "C-10810", "Papeterie de l’Aubrelle", 5, None, "call", "Courtesy call before due", "1/6", "",
     "Largest invoice, 45,000.00, is due in 7 d", -7, [], [], [], ("None yet", "")),
)  # fmt: skip
_ACTION_NAMES = "group code name profile alert channel step of mode why age overdue collectable holds contact".split()


def _actions() -> list[dict[str, Any]]:
    return [dict(zip(_ACTION_NAMES, row, strict=True)) for row in _ACTIONS]


_MONTHS = ("Oct", "Nov", "Dec", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep")
_AGING = (
    (2105, 401, 198, 117, 74, 61), (2198, 388, 214, 122, 70, 66), (1984, 452, 236, 131, 82, 64),
    (2052, 471, 249, 140, 88, 71), (2126, 436, 231, 146, 91, 74), (2217, 412, 205, 128, 84, 69),
    (2188, 398, 196, 112, 72, 58), (2240, 371, 181, 104, 66, 52), (2302, 352, 170, 96, 58, 47),
    (2351, 344, 166, 92, 51, 40), (2297, 331, 151, 84, 46, 37), (2271, 322, 143, 78, 41, 33),
)  # fmt: skip
_CASH = (
    ("14 Sep", 72400, 188200, 0), ("21 Sep", 96300, 241500, 0), ("28 Sep", 28000, 312800, 42000),
    ("5 Oct", 41500, 286900, 61000), ("12 Oct", 0, 254300, 49000), ("19 Oct", 18000, 222100, 38500),
    ("26 Oct", 0, 198400, 31000), ("2 Nov", 0, 176900, 22300),
)  # fmt: skip
_DSO = ((81.9, 58.1), (82.4, 58.9), (84.6, 57.2), (85.1, 57.4), (83.0, 57.8), (79.8, 58.0), (77.1, 57.0), (75.8, 57.3),
        (74.7, 57.1), (73.9, 57.0), (72.9, 56.8), (72.0, 56.5))  # fmt: skip


def _shell() -> ui.Shell:
    return ui.Shell(
        navigation=ui.workspace_navigation(
            {
                "agenda": "/agenda", "answers": "/components", "promises": "/components", "accounts": "/account",
                "disputes": "/case", "credit-risk": "/components", "dashboard": "/dashboard", "aging": "/dashboard",
                "forecast": "/dashboard", "reports": "/components", "imports": "/wizard", "scenarios": "/forms",
                "templates": "/composer", "settings": "/forms",
            },
            {"agenda": 31, "answers": 6, "promises": 3, "disputes": 14, "credit-risk": 4},
        ),
        business_date=TODAY,
        entity=ui.Entity("FR01", "Brindle France SAS", "EUR"),
        entities=(
            ui.Entity("FR01", "Brindle France SAS", "EUR"),
            ui.Entity("GB01", "Brindle UK Ltd", "GBP"),
            ui.Entity("*", "All entities"),
        ),
        freshness=ui.Freshness("Ledger of today, 06:42", "412 rows read, none rejected"),
        user=ui.User("Inès Caradec", "Collector"),
        bell_href="/components",
        bell_count=2,
        csrf_token="gallery",  # noqa: S106 - the gallery keeps nothing.
    )  # fmt: skip


def create_app() -> Flask:
    """The workspace's pages at /, the customer's under /portal/ (an application of its own, as in production)."""
    app = Flask("gallery", static_folder=None)
    ui.register(app, shell=_shell, language_of=lambda: request.args.get("lang"))
    ui.security_headers(app)

    @app.get("/")
    def home() -> Any:
        return redirect("/components")

    @app.get("/<any({}):page>".format(",".join(PAGES)))
    def page(page: str) -> str:
        return render_template(
            f"gallery/{page}.html", items=_items(), actions=_actions(), months=_MONTHS, aging=_AGING, cash=_CASH,
            dso=_DSO, stamp=datetime(2026, 9, 11, 14, 20, tzinfo=UTC), errors=request.args.get("errors"),
        )  # fmt: skip

    @app.get("/agenda/preview/<code>")
    def preview(code: str) -> str:
        chosen = next(action for action in _actions() if action["code"] == code)
        return render_template("gallery/_preview.html", chosen=chosen, items=_items())

    @app.get("/signin")
    def signin() -> str:
        return render_template("gallery/signin.html")

    @app.get("/error/<int:status>")
    def error(status: int) -> tuple[str, int]:
        return render_template("ui/error.html", status=status, reference="7f3a-12"), status

    @app.post("/upload")
    def upload() -> Any:
        file = request.files["file"]
        if file.filename and file.filename.endswith(".bad.csv"):
            return jsonify(message=f"{file.filename}: row 3 has 4 columns, the head has 7."), 422
        return jsonify(href="/wizard?uploaded=1", size=len(file.read()))

    @app.post("/act")
    def act() -> str:
        return render_template("gallery/_acted.html")

    @app.post("/fail")
    def fail() -> Any:
        return Response("no", 503)

    @app.get("/progress")
    def progress() -> Response:
        def events() -> Iterator[str]:
            for done in range(0, 101, 20):
                state = {"done": done * 12, "total": 1204, "text": "Reading rows", "leftSeconds": 10 - done // 10}
                yield f"event: progress\ndata: {json.dumps(state)}\n\n"
                time.sleep(0.05)
            yield 'event: progress\ndata: {"done": 1204, "total": 1204, "text": "All rows read"}\n\n'
            yield "event: done\ndata: {}\n\n"

        return Response(events(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.get("/mail")
    def mail() -> Response:
        response = Response(render_template("gallery/mail.html"))
        response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'self'"
        return response

    app.wsgi_app = _Mounted(app.wsgi_app, {"/portal": _portal()})  # type: ignore[method-assign]
    return app


class _Mounted:
    """Sends addresses below a prefix to another application."""

    def __init__(self, outer: Any, inner: dict[str, Flask]):
        self._outer, self._inner = outer, inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        for prefix, app in self._inner.items():
            if environ["PATH_INFO"].startswith(prefix + "/"):
                inner = {
                    **environ,
                    "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + prefix,
                    "PATH_INFO": environ["PATH_INFO"][len(prefix) :],
                }
                return app(inner, start_response)
        return self._outer(environ, start_response)


def _portal() -> Flask:
    app = Flask("gallery_portal", static_folder=None)

    def shell() -> ui.Portal:
        return ui.Portal(
            name="Brindle France",
            logo_href="/portal/logo.svg",
            home_href="/portal/",
            theme_href="/portal/theme.css",
            languages=(
                ui.PortalLanguage("en", "English", "?lang=en"),
                ui.PortalLanguage("fr", "Français", "?lang=fr"),
            ),
            business_date=TODAY,
            csrf_token="gallery",  # noqa: S106
        )

    ui.register(app, domain="portal", shell=shell, language_of=lambda: request.args.get("lang"))
    ui.security_headers(app)

    @app.get("/")
    def home() -> str:
        return render_template("gallery/portal.html", items=_items()[:7])

    @app.get("/thanks")
    def thanks() -> str:
        return render_template("gallery/portal_thanks.html")

    @app.get("/theme.css")
    def theme() -> Response:
        return Response(ui.brand_css("#1d4d4a", "#ffffff"), mimetype="text/css")

    @app.get("/logo.svg")
    def logo() -> Response:
        from ui import icons

        return Response(
            '<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24" fill="none" '
            'stroke="#fff" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">'
            f"{icons.shapes().get('propeller', '')}</svg>",
            mimetype="image/svg+xml",
        )

    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ui.gallery")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    create_app().run(host=options.host, port=options.port, threaded=True)


if __name__ == "__main__":
    main()

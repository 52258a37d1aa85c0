"""Jinja filters and globals: the formats of ui.formats as markup, in the language of the request."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from flask import Flask, current_app, g, request, url_for
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from ui import formats, icons
from ui.i18n import Languages
from ui.shell import initials

_DROPPED_ON_CHANGE = ("page", "page_token", "part")


def _minor_and_currency(amount: Any, currency: str | None) -> tuple[int, str]:
    """(minor units, code) of a Money of either kind, a (minor, code) pair, or a number beside its code."""
    if hasattr(amount, "minor_units"):
        return int(amount.minor_units), str(amount.currency)
    if isinstance(amount, tuple | list):
        minor, currency = amount
    else:
        minor = amount
    if isinstance(minor, float | Decimal) or currency is None:
        raise TypeError("an amount is a Money, (minor_units, currency) or minor_units with a currency; never a float")
    return int(minor), currency


class Filters:
    """The filters of one application; they know its languages and its business date."""

    def __init__(self, languages: Languages, business_date: Callable[[], date | None], inline_icons: bool):
        self._languages = languages
        self._business_date = business_date
        self._inline_icons = inline_icons

    # ---- money -------------------------------------------------------------------------------------------------------
    def money(
        self, amount: Any, currency: str | None = None, *, decimals: int | None = None, code: bool = True
    ) -> Markup:
        """<span class="amt">: code small and grey on the side the language wants. None shows nothing.

        With fewer decimals than the currency has, the exact amount stands in the tooltip.
        """
        if amount is None:
            return Markup("")
        minor, ccy = _minor_and_currency(amount, currency)
        language = self._languages.language()
        text = formats.minor_text(minor, ccy, language, decimals)
        exact = formats.money_text(minor, ccy, language)
        title = (
            Markup(' title="{}"').format(exact)
            if decimals is not None and decimals < formats.exponent(ccy)
            else Markup("")
        )
        if not code:
            return Markup('<span class="amt"{}>{}</span>').format(title, text)
        if formats.code_after(language):
            return Markup('<span class="amt"{}>{}<span class="ccy after">\u00a0{}</span></span>').format(
                title, text, ccy
            )
        return Markup('<span class="amt"{}><span class="ccy">{}\u00a0</span>{}</span>').format(title, ccy, text)

    def moneys(self, amounts: Iterable[Any] | None, *, decimals: int | None = None, join: str = "br") -> Markup:
        """One amount per currency, each on its own line (`join="br"`) or in one line (`join="line"`)."""
        between = Markup("<br>") if join == "br" else Markup(" \u00a0")
        return between.join(self.money(amount, decimals=decimals) for amount in amounts or ())

    def money_text(self, amount: Any, currency: str | None = None, *, decimals: int | None = None) -> str:
        """The same as text, for sentences and attributes: EUR 12,480.50."""
        if amount is None:
            return ""
        return formats.money_text(*_minor_and_currency(amount, currency), self._languages.language(), decimals)

    def amount(self, amount: Any, currency: str | None = None, *, decimals: int | None = None) -> str:
        """The figure without its code, for columns of one currency: 12,480.50."""
        if amount is None:
            return ""
        return formats.minor_text(*_minor_and_currency(amount, currency), self._languages.language(), decimals)

    # ---- numbers -----------------------------------------------------------------------------------------------------
    def number(self, value: Any, decimals: int = 0, *, signed: bool = False) -> str:
        if value is None:
            return ""
        return formats.number_text(value, self._languages.language(), decimals, signed=signed)

    def percent(self, ratio: Any, decimals: int = 1, *, signed: bool = False) -> str:
        """A ratio as percent: 0.215 gives 21.5 %."""
        return "" if ratio is None else formats.percent_text(ratio, self._languages.language(), decimals, signed=signed)

    def dso(self, days: Any) -> str:
        """DSO always has one decimal."""
        return "" if days is None else formats.number_text(days, self._languages.language(), 1)

    def compact(self, value: Any) -> str:
        return "" if value is None else formats.compact_text(value, self._languages.language())

    def file_size(self, size_bytes: int) -> str:
        """312 KB, 4.1 MB; decimal units as file managers show them."""
        language = self._languages.language()
        byte = "o" if language == "fr" else "B"
        if size_bytes >= 1_000_000:
            return formats.number_text(size_bytes / 1_000_000, language, 1) + formats.NO_BREAK + "M" + byte
        if size_bytes >= 1_000:
            return formats.number_text(size_bytes / 1_000, language, 0) + formats.NO_BREAK + "K" + byte
        return formats.number_text(size_bytes, language, 0) + formats.NO_BREAK + byte

    def duration(self, seconds: float) -> str:
        """How long something takes, in one unit: 40 s, 3 min, 2 h."""
        language = self._languages.language()
        value, unit = (
            (seconds, "s") if seconds < 60 else (seconds / 60, "min") if seconds < 3600 else (seconds / 3600, "h")
        )
        return formats.number_text(round(value), language) + formats.NO_BREAK + unit

    # ---- dates -------------------------------------------------------------------------------------------------------
    def date_text(self, value: Any, style: str = "short") -> str:
        """12 Aug; the year comes along when it is not the business year. Styles: see ui.formats.date_text."""
        day = formats.as_date(value)
        if day is None:
            return ""
        today = self._business_date()
        return formats.date_text(day, self._languages.language(), style, today.year if today else None)

    def date(self, value: Any, style: str = "short") -> Markup:
        """The same inside <time datetime>."""
        day = formats.as_date(value)
        if day is None:
            return Markup("")
        return Markup('<time datetime="{}">{}</time>').format(day.isoformat(), self.date_text(day, style))

    def moment_text(self, value: Any, style: str = "short") -> str:
        """11 Sep, 14:20 in the reader's time zone."""
        moment = formats.as_datetime(value, self._languages.zone())
        return f"{self.date_text(moment, style)}, {formats.time_text(moment)}" if moment else ""

    def moment(self, value: Any, style: str = "short") -> Markup:
        """The same inside <time datetime>, with the zone in the tooltip."""
        moment = formats.as_datetime(value, self._languages.zone())
        if moment is None:
            return Markup("")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            moment.isoformat(timespec="seconds"), moment.tzname() or "", self.moment_text(value, style)
        )

    def time_of_day(self, value: Any) -> str:
        """06:42 in the reader's time zone."""
        moment = formats.as_datetime(value, self._languages.zone())
        return formats.time_text(moment) if moment else ""

    # ---- ages --------------------------------------------------------------------------------------------------------
    def days_late(self, due_on: Any, on: Any = None) -> int | None:
        """Days from the due date to `on` (the business date): above zero is late, None without a due date."""
        due, day = formats.as_date(due_on), formats.as_date(on) or self._business_date()
        return (day - due).days if due and day else None

    def age_text(self, days_late: int | None) -> str:
        """34 d, in 13 d, today."""
        if days_late is None:
            return ""
        t = self._languages.gettext
        if days_late == 0:
            return t("today")
        if days_late < 0:
            return t("in %(days)s d") % {"days": self.number(-days_late)}
        return t("%(days)s d") % {"days": self.number(days_late)}

    def age(self, days_late: int | None, edges_days: tuple[int, ...] = formats.AGE_EDGES_DAYS) -> Markup:
        """The coloured age of an item; nothing when it has no due date."""
        if days_late is None:
            return Markup("")
        return Markup('<span class="age age-{}">{}</span>').format(
            formats.age_step(days_late, edges_days), self.age_text(days_late)
        )

    def unknown(self, reason: str) -> Markup:
        """n/a with the reason, as tooltip and for screen readers."""
        return Markup('<span class="muted" title="{0}">{1}<span class="sr">: {0}</span></span>').format(
            reason, self._languages.gettext("n/a")
        )

    # ---- parts -------------------------------------------------------------------------------------------------------
    def icon(self, name: str, cls: str = "", label: str = "") -> Markup:
        """An outline icon; `label` names it where it stands alone, else screen readers skip it."""
        icons.known(name)
        shape = (
            Markup(icons.shapes().get(name, ""))  # noqa: S704 - from our own vendored files.
            if self._inline_icons
            else Markup('<use href="{}#{}"/>').format(url_for("ui.sprite", version=g_version()), name)
        )
        spoken = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
        return Markup('<svg class="icon{}" viewBox="0 0 24 24" {}>{}</svg>').format(
            " " + cls if cls else "", spoken, shape
        )

    def days_iso(self, value: Any) -> str:
        """2026-08-12, for form fields and data attributes."""
        day = formats.as_date(value)
        return day.isoformat() if day else ""


def g_version() -> str:
    return current_app.extensions["ui"].version


def here(**changes: Any) -> str:
    """This page's address with some arguments changed; None drops one, a list gives several.

    A change of anything drops the page number: another filter starts at its first page.
    """
    arguments: dict[str, list[str]] = {key: values for key, values in request.args.lists() if key != "part"}
    if not set(changes) & {"page", "page_token"}:
        for key in _DROPPED_ON_CHANGE:
            arguments.pop(key, None)
    for key, value in changes.items():
        if value is None:
            arguments.pop(key, None)
        else:
            arguments[key] = [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]
    query = urlencode([(key, value) for key, values in arguments.items() for value in values])
    return request.path + ("?" + query if query else "")


def is_part() -> bool:
    """Whether htmx asks for a part of the page, and not a browser for all of it (back, reload, history)."""
    return (
        request.headers.get("HX-Request") == "true" and request.headers.get("HX-Request-Type", "partial") == "partial"
    )


def amounts_data(amounts: Any) -> str:
    """One amount or several for the scripts, in minor units with the currency's decimals: "EUR 4218000 2; GBP 0 2"."""
    if hasattr(amounts, "minor_units") or (
        isinstance(amounts, tuple) and len(amounts) == 2 and isinstance(amounts[0], int)
    ):
        amounts = [amounts]
    pairs = [_minor_and_currency(amount, None) for amount in amounts]
    return "; ".join(f"{currency} {minor} {formats.exponent(currency)}" for minor, currency in pairs)


_ids = "ui_ids"


def next_id(prefix: str = "q") -> str:
    """An id no other macro of this response uses."""
    count = g.get(_ids, 0) + 1
    setattr(g, _ids, count)
    # Parts that htmx adds later must not meet the ids of the page they come into.
    salt = format(abs(hash(request.full_path)) % 0xFFFF, "x") if request.headers.get("HX-Request") else ""
    return f"{prefix}{salt}-{count}"


def _not_folded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps Jinja from computing a filter of constants when it compiles: {{ 34 | age }} depends on the reader."""

    @pass_context
    @functools.wraps(function)
    def filter_(_context: Context, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return filter_


def install(app: Flask, languages: Languages, filters: Filters) -> None:
    """Puts everything into the application's Jinja environment."""
    env = app.jinja_env
    env.add_extension("jinja2.ext.i18n")
    env.add_extension("jinja2.ext.do")
    env.install_gettext_callables(  # type: ignore[attr-defined]
        languages.gettext, languages.ngettext, newstyle=True, pgettext=languages.pgettext, npgettext=languages.npgettext
    )
    for name in (
        "money moneys money_text amount number percent dso compact file_size duration date date_text moment "
        "moment_text time_of_day days_late age age_text unknown"
    ).split():
        env.filters[name] = _not_folded(getattr(filters, name))
        env.globals[name] = getattr(filters, name)
    env.filters["initials"] = initials
    env.filters["iso"] = filters.days_iso
    env.filters["age_class"] = lambda days: f"age-{formats.age_step(days)}"
    env.filters["json_text"] = lambda value: json.dumps(value, ensure_ascii=False)
    env.globals.update(
        t=env.globals["gettext"],
        icon=filters.icon,
        icon_=filters.icon,  # The same, for macros with an argument named icon.
        amounts_data=amounts_data,
        here=here,
        is_part=is_part,
        next_id=next_id,
        language=languages.language,
        exponent=formats.exponent,
        code_after=lambda: formats.code_after(languages.language()),
        escape=escape,
    )

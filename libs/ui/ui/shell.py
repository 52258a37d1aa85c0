"""What stands around every page of the workspace: rail, header, foot. Plain data, filled by the application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from markupsafe import Markup


def N_(message: str) -> str:
    """Marks a message for the catalogs; it is translated where it is shown."""
    return message


@dataclass(frozen=True)
class NavLink:
    """One entry of the rail. `count` is shown only where a person has something to do."""

    key: str
    label: str
    icon: str
    href: str
    count: int | None = None


@dataclass(frozen=True)
class NavGroup:
    title: str
    links: tuple[NavLink, ...]


@dataclass(frozen=True)
class Entity:
    """One choice of the entity switcher; `href` shows the same page for that entity."""

    code: str
    name: str
    currency: str = ""
    href: str = ""


@dataclass(frozen=True)
class Freshness:
    """The foot of the rail: how old the ledger is. `level` is good, warn or bad."""

    text: str
    detail: str = ""
    level: str = "good"
    href: str = ""


@dataclass(frozen=True)
class User:
    name: str
    role: str = ""
    href: str = ""
    sign_out_href: str = ""

    @property
    def initials(self) -> str:
        return initials(self.name)


@dataclass(frozen=True)
class Shell:
    """Everything `ui/layout.html` shows around a page. All but `navigation` may stay empty."""

    navigation: tuple[NavGroup, ...] = ()
    home_href: str = "/"
    business_date: date | None = None
    business_date_href: str = ""
    entity: Entity | None = None
    entities: tuple[Entity, ...] = ()
    freshness: Freshness | None = None
    user: User | None = None
    search_href: str = "/search"
    bell_href: str = ""
    bell_count: int = 0
    rehearsal: bool = False
    csrf_token: str = ""
    banners: tuple[Markup, ...] = field(default=())


@dataclass(frozen=True)
class PortalLanguage:
    """One choice of the language switch; `label` in that language itself (English, Français)."""

    code: str
    label: str
    href: str


@dataclass(frozen=True)
class Portal:
    """What stands around a page of the customer's portal: the creditor's own name and looks, never Quittance's.

    `theme_href` serves ui.brand_css(...) of the entity; `logo_href` an image of its own, else its name alone is shown.
    """

    name: str
    logo_href: str = ""
    home_href: str = "/"
    theme_href: str = ""
    languages: tuple[PortalLanguage, ...] = ()
    business_date: date | None = None
    csrf_token: str = ""


# Guide, section 2: four groups, never deeper than one level. Keys, labels and icons are part of the design.
_GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        N_("Today"),
        (
            ("agenda", N_("Agenda"), "list-check"),
            ("answers", N_("Answers"), "inbox"),
            ("promises", N_("Promises"), "calendar-check"),
        ),
    ),
    (
        N_("Customers"),
        (
            ("accounts", N_("Accounts"), "building"),
            ("disputes", N_("Disputes"), "message-2-exclamation"),
            ("credit-risk", N_("Credit risk"), "shield-check"),
        ),
    ),
    (
        N_("Figures"),
        (
            ("dashboard", N_("Dashboard"), "chart-bar"),
            ("aging", N_("Aging"), "hourglass"),
            ("forecast", N_("Cash forecast"), "chart-line"),
            ("reports", N_("Reports"), "report-money"),
        ),
    ),
    (
        N_("Set-up"),
        (
            ("imports", N_("Imports"), "upload"),
            ("scenarios", N_("Scenarios"), "route"),
            ("templates", N_("Templates"), "template"),
            ("settings", N_("Settings"), "settings"),
        ),
    ),
)
PHONE_KEYS = ("agenda", "answers", "accounts", "dashboard")


def workspace_navigation(hrefs: Mapping[str, str], counts: Mapping[str, int] | None = None) -> tuple[NavGroup, ...]:
    """The rail in its fixed order, with the links of `hrefs` only: what a role may not use, it does not see.

    Args: hrefs by key (agenda answers promises accounts disputes credit-risk dashboard aging forecast reports imports
        scenarios templates settings); counts by the same keys, zero is not shown.
    Raises: KeyError for a key the guide does not know.
    """
    known = {key for _, links in _GROUPS for key, _, _ in links}
    if strange := set(hrefs) - known:
        raise KeyError(f"not in the rail: {sorted(strange)}")
    groups = []
    for title, links in _GROUPS:
        shown = tuple(
            NavLink(key, label, icon, hrefs[key], (counts or {}).get(key) or None)
            for key, label, icon in links
            if key in hrefs
        )
        if shown:
            groups.append(NavGroup(title, shown))
    return tuple(groups)


def initials(name: str) -> str:
    """Two letters for the round badge: "Inès Caradec" gives IC, "Madonna" gives MA, nothing gives a question mark."""
    words = [word for word in name.replace("-", " ").split() if word[:1].isalpha()]
    if not words:
        return "?"
    return (words[0][0] + words[-1][0] if len(words) > 1 else words[0][:2]).upper()

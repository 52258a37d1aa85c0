"""The icons the design system uses: outlines of @tabler/icons, one sprite, one list.

An icon that is not in ICONS does not exist: `icon("typo")` raises, so that a page with a missing picture
fails its first test and not its first user. To add one, add its name here and run `make assets`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static" / "vendor" / "icons"

ICONS: tuple[str, ...] = (
    "adjustments-horizontal", "alert-triangle", "archive", "arrow-back-up", "arrow-down", "arrow-left", "arrow-right",
    "arrow-up", "arrows-sort", "at", "ban", "bell", "bold", "bookmark", "building", "building-bank", "calendar",
    "calendar-check", "calendar-plus", "calendar-repeat", "calendar-time", "calendar-x", "cash", "chart-bar",
    "chart-line", "check", "checks", "chevron-down", "chevron-left", "chevron-right", "circle-check",
    "circle-dashed", "clock-hour-4", "copy", "credit-card", "currency", "database", "device-desktop", "device-mobile",
    "dots", "download", "equal", "external-link", "eye", "eye-off", "file", "file-invoice", "file-spreadsheet",
    "file-text", "file-type-pdf", "file-upload", "filter", "flag", "gavel", "grip-vertical", "hash", "help",
    "history", "home", "hourglass", "inbox", "info-circle", "key", "keyboard", "language", "link", "list",
    "list-check", "lock", "login", "logout", "mail", "mail-forward", "mail-opened", "mail-x", "map-pin", "menu-2",
    "message", "message-2-exclamation", "message-question", "messages", "minus", "moon", "note", "paperclip",
    "pencil", "phone", "photo", "player-pause", "player-play", "player-skip-forward", "player-track-next", "plug",
    "plus", "printer", "propeller", "receipt", "receipt-2", "refresh", "repeat", "report-money", "route", "scale",
    "search", "send", "settings", "share", "shield", "shield-check", "shield-x", "sitemap", "star", "sun", "table",
    "tag", "template", "trash", "upload", "user", "user-check", "user-plus", "users", "users-group", "webhook",
    "world", "x",
)  # fmt: skip

_KNOWN = frozenset(ICONS)
_NO_SHAPE = "M0 0h24v24H0z"  # Every outline carries an invisible square of this shape first.


@lru_cache(maxsize=1)
def shapes() -> dict[str, str]:
    """Path markup per icon name; empty before `make assets`, so that pages still render in tests without it.

    Raises FileNotFoundError when the assets are there but one name of ICONS is not among them.
    """
    if not FOLDER.exists():
        return {}
    return {
        name: "".join(
            f'<path d="{d}"/>'
            for d in re.findall(r'<path d="([^"]+)"', (FOLDER / f"{name}.svg").read_text("utf-8"))
            if d != _NO_SHAPE
        )
        for name in ICONS
    }


@lru_cache(maxsize=1)
def sprite() -> str:
    """All icons as one SVG with a symbol each, referred to by <use href="/ui-static/icons.svg#name">."""
    symbols = (f'<symbol id="{name}" viewBox="0 0 24 24">{paths}</symbol>' for name, paths in shapes().items())
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def known(name: str) -> str:
    """The name itself. Raises KeyError when the icon is not in ICONS."""
    if name not in _KNOWN:
        raise KeyError(f"icon {name!r} is not in ui.icons.ICONS")
    return name

"""Languages: which one this request speaks, and the texts of it.

Catalogs are read from their .po files when the application starts, so nothing has to be compiled before and nothing
is written. Each application adds its own folders (`<folder>/<language>/LC_MESSAGES/*.po`) to those of the design
system; where two say the same message, the application's text wins. ui.catalogs keeps them complete.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, tzinfo
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from flask import g, has_request_context, request

LANGUAGES = ("en", "fr")
OWN_CATALOGS = Path(__file__).parent / "translations"
LANGUAGE_COOKIE = "q_lang"

_forced: ContextVar[str | None] = ContextVar("ui_language", default=None)


@lru_cache(maxsize=64)
def load(language: str, folders: tuple[Path, ...]) -> Translations:
    """All messages of one language. A language without any catalog speaks the English of the source."""
    merged = Translations()
    for folder in folders:
        for path in sorted((folder / language / "LC_MESSAGES").glob("*.po")):
            with path.open("rb") as file:
                catalog = read_po(file, locale=language)
            compiled = BytesIO()
            write_mo(compiled, catalog)
            compiled.seek(0)
            translations = Translations(compiled, domain=None)
            if not merged.files and not merged._catalog:  # The first one also brings the plural rule.
                merged = translations
            else:
                merged.merge(translations)
    return merged


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """Renders in this language whatever the request says: a preview as the customer reads it, a test, a letter."""
    token = _forced.set(language)
    try:
        yield
    finally:
        _forced.reset(token)


class Languages:
    """Knows the language, the time zone and the texts of the current request."""

    def __init__(
        self,
        folders: Sequence[Path] = (),
        languages: Sequence[str] = LANGUAGES,
        language_of: Callable[[], str | None] | None = None,
        zone_of: Callable[[], tzinfo | None] | None = None,
    ):
        self.folders = (OWN_CATALOGS, *folders)
        self.languages = tuple(languages)
        self._language_of = language_of
        self._zone_of = zone_of

    def language(self) -> str:
        """The code of the language to speak: forced, the application's choice, the cookie, the browser's, English."""
        if (forced := _forced.get()) is not None:
            return forced
        if not has_request_context():
            return self.languages[0]
        if "ui_language" not in g:
            chosen = self._language_of() if self._language_of else None
            chosen = chosen or request.cookies.get(LANGUAGE_COOKIE)
            if chosen not in self.languages:
                # By the first part of the tag: somebody who asks for fr-CA reads our French before any English.
                wanted = (tag.partition("-")[0].lower() for tag in request.accept_languages.values())
                chosen = next((tag for tag in wanted if tag in self.languages), self.languages[0])
            g.ui_language = chosen
        return g.ui_language

    def zone(self) -> tzinfo:
        """The reader's time zone; UTC where nobody said."""
        return (self._zone_of() if self._zone_of and has_request_context() else None) or UTC

    def texts(self) -> Translations:
        return load(self.language(), self.folders)

    def gettext(self, message: str) -> str:
        return self.texts().ugettext(message) if message else ""

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self.texts().ungettext(one, many, count)

    def pgettext(self, context: str, message: str) -> str:
        return self.texts().upgettext(context, message)

    def npgettext(self, context: str, one: str, many: str, count: int) -> str:
        return self.texts().unpgettext(context, one, many, count)


if __name__ == "__main__":
    from ui.catalogs import main

    sys.exit(main())

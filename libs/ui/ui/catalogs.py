"""Keeps message catalogs complete: finds what a package can say, adds it to its .po files, tells what has no text yet.

python -m ui.catalogs gateway/gateway            # adds new messages to gateway/gateway/translations/*/LC_MESSAGES
python -m ui.catalogs gateway/gateway --check    # fails when a message has no French, changes nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from ui.i18n import LANGUAGES, OWN_CATALOGS

_METHODS = [("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2")]
_KEYWORDS = {
    "_": None,
    "t": None,
    "gettext": None,
    "N_": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
_OPTIONS = {
    "**.html": {"extensions": "jinja2.ext.i18n,jinja2.ext.do", "silent": "false"},
    "**.txt": {"silent": "false"},
}


_HEAD = r"""msgid ""
msgstr ""
"Language: {language}\n"
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals={count}; plural={rule};\n"

"""


def extract(package: Path) -> Catalog:
    """Every message a package's Python files and templates can say, tests and the gallery apart."""
    catalog = Catalog(charset="utf-8")
    for name, line, message, comments, context in extract_from_dir(
        str(package), method_map=_METHODS, options_map=_OPTIONS, keywords=_KEYWORDS, comment_tags=("translators:",),
        directory_filter=lambda path: Path(path).name not in {"tests", "gallery", "static", "node_modules"},
    ):  # fmt: skip
        if message and name != "gallery.py":
            catalog.add(message, None, [(name, line)], auto_comments=comments, context=context)
    return catalog


def missing(package: Path, language: str) -> list[str]:
    """Messages of the package without a text in this language; the catalogs of ui count as well."""
    known: dict[tuple[str | None, str], bool] = {}
    for folder in (OWN_CATALOGS, package / "translations"):
        for path in (folder / language / "LC_MESSAGES").glob("*.po"):
            with path.open("rb") as file:
                for message in read_po(file, locale=language):
                    if message.id:
                        texts = message.string if isinstance(message.string, tuple | list) else (message.string,)
                        key = message.id[0] if isinstance(message.id, tuple | list) else message.id
                        done = all(texts) and not message.fuzzy
                        known[message.context, key] = known.get((message.context, key), False) or done
    wanted = ((m.context, m.id[0] if isinstance(m.id, tuple | list) else m.id) for m in extract(package) if m.id)
    return sorted(key for context, key in wanted if not known.get((context, key)))


def update(package: Path, languages: Sequence[str] = LANGUAGES) -> None:
    """Adds new messages to the package's catalogs and drops those nobody says any more; texts are kept."""
    template = extract(package)
    for language in languages:
        path = package / "translations" / language / "LC_MESSAGES" / "messages.po"
        path.parent.mkdir(parents=True, exist_ok=True)
        catalog = Catalog(locale=language, charset="utf-8", fuzzy=False)
        if path.exists():
            with path.open("rb") as file:
                catalog = read_po(file, locale=language)
        catalog.update(template, no_fuzzy_matching=True)
        body = BytesIO()
        write_po(body, catalog, omit_header=True, sort_output=True, no_location=True, ignore_obsolete=True, width=120)
        # A head of our own: Babel's has dates and tools that change with every run and tell nothing.
        head = _HEAD.format(language=language, count=catalog.num_plurals, rule=catalog.plural_expr)
        path.write_bytes(head.encode() + body.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ui.i18n", description="Keep message catalogs complete.")
    parser.add_argument("package", type=Path, help="folder of the package, with its templates and translations/")
    parser.add_argument("--check", action="store_true", help="only say what is missing; exit 1 if anything is")
    options = parser.parse_args(arguments)
    if not options.check:
        update(options.package)
    lacking = {language: missing(options.package, language) for language in LANGUAGES if language != "en"}
    for language, messages in lacking.items():
        for message in messages:
            print(f"{language}: {message!r}")
    return 1 if options.check and any(lacking.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""#Hashtags: a fixed list of names, one pass over the text, values that are never read again.

There is no language behind the sign: no expressions, no conditions, nothing a template's author could run.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

import nh3

# A sign inside a word, an address (page#part) or another sign is text; so is one before a digit.
_TAG = re.compile(r"(?<![\w&/#])#(today\+\d{1,3}(?!\d)|[A-Za-z][A-Za-z0-9_]*)", re.IGNORECASE)
# Line ends stay until the sink decides; the rest of C0/C1 and the marks that turn the reading direction go.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")

BODY_TAGS = frozenset({"a", "b", "blockquote", "br", "em", "h2", "h3", "i", "li", "ol", "p", "s", "strong", "u", "ul"})
_VOID = frozenset({"br"})
_TEXT_BLOCKS = frozenset({"blockquote", "h2", "h3", "ol", "p", "ul"})


@dataclass(frozen=True)
class Hashtag:
    """One name a template may use; html: it becomes a block and cannot stand in a subject."""

    name: str
    family: str
    description: str
    description_fr: str
    html: bool = False


@dataclass(frozen=True)
class Value:
    """What a hashtag becomes here: text, and for blocks also finished HTML (ours, already escaped)."""

    text: str
    html: str | None = None
    # Only a link has an address; it may then stand in href as well.
    href: str = ""


@dataclass(frozen=True)
class Rendered:
    """A text with all its hashtags replaced; unknown and empty name those that were not, each once, in order."""

    html: str
    text: str
    unknown: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


HASHTAGS: tuple[Hashtag, ...] = (
    Hashtag("customer_name", "customer", "Name of the customer", "Nom du client"),
    Hashtag("customer_number", "customer", "Customer number", "Numéro de client"),
    Hashtag("customer_code", "customer", "Customer number", "Numéro de client"),
    Hashtag("customer_address", "customer", "Address (custom field “address”)", "Adresse (champ libre « address »)"),
    Hashtag("customer_country", "customer", "Country of the customer, as a code", "Pays du client, en code"),
    Hashtag("customer_legal_id", "customer", "Registration number", "Numéro d'immatriculation"),
    Hashtag("customer_legal_unit", "customer", "Name of the legal unit", "Nom de l'unité légale"),
    Hashtag("customer_payment_terms", "customer", "Payment terms", "Conditions de paiement"),
    Hashtag("contact_name", "customer", "Name of the first addressee", "Nom du premier destinataire"),
    Hashtag("contact_first_name", "customer", "First name of the first addressee", "Prénom du premier destinataire"),
    Hashtag(
        "contact_last_name", "customer", "Last name of the first addressee", "Nom de famille du premier destinataire"
    ),
    Hashtag(
        "contact_salutation",
        "customer",
        "Greeting with the name where it is known",
        "Formule d'appel avec le nom s'il est connu",
    ),
    Hashtag("items_list", "items", "Table of all open items", "Tableau de toutes les pièces ouvertes", html=True),
    Hashtag("items_list_overdue", "items", "Table of the overdue items", "Tableau des pièces échues", html=True),
    Hashtag("items_list_not_due", "items", "Table of the items not yet due", "Tableau des pièces à échoir", html=True),
    Hashtag(
        "items_list_selected",
        "items",
        "Table of the items of this message",
        "Tableau des pièces de ce message",
        html=True,
    ),
    Hashtag(
        "items_list_overdue_exclude_late_penalties",
        "items",
        "Table of the overdue items without late interest",
        "Tableau des pièces échues hors pénalités de retard",
        html=True,
    ),
    Hashtag("items_amount_open", "items", "Open in all, per currency", "Encours total, par devise"),
    Hashtag(
        "items_amount_overdue",
        "items",
        "Overdue without late interest, per currency",
        "Échu hors pénalités, par devise",
    ),
    Hashtag(
        "items_amount_overdue_include_late_penalties",
        "items",
        "Overdue with late interest, per currency",
        "Échu, pénalités comprises, par devise",
    ),
    Hashtag(
        "items_amount_late_penalties",
        "items",
        "Late interest claimed, per currency",
        "Pénalités de retard réclamées, par devise",
    ),
    Hashtag(
        "items_amount_selected",
        "items",
        "Sum of the items of this message, per currency",
        "Somme des pièces de ce message, par devise",
    ),
    Hashtag("items_count", "items", "Number of items of this message", "Nombre de pièces de ce message"),
    Hashtag("items_count_overdue", "items", "Number of overdue items", "Nombre de pièces échues"),
    Hashtag(
        "oldest_due_date",
        "items",
        "Due date of the oldest item of this message",
        "Échéance la plus ancienne de ce message",
    ),
    Hashtag(
        "days_late",
        "items",
        "Days late of the oldest item of this message",
        "Jours de retard de la pièce la plus ancienne",
    ),
    Hashtag("currency", "items", "Currencies of this message", "Devises de ce message"),
    Hashtag(
        "interactive_page_button", "items", "Button to the customer's page", "Bouton vers la page du client", html=True
    ),
    Hashtag("interactive_page_link", "items", "Link to the customer's page", "Lien vers la page du client", html=True),
    Hashtag("my_company_name", "company", "Name of our company", "Nom de notre société"),
    Hashtag("my_company_logo", "company", "Our logo, else our name", "Notre logo, sinon notre nom", html=True),
    Hashtag("my_company_country", "company", "Our country, as a code", "Notre pays, en code"),
    Hashtag("collector_name", "company", "Name of the collector", "Nom du chargé de recouvrement"),
    Hashtag(
        "collector_email", "company", "E-mail address of the collector", "Adresse e-mail du chargé de recouvrement"
    ),
    Hashtag("collector_phone", "company", "Telephone of the collector", "Téléphone du chargé de recouvrement"),
    Hashtag(
        "collector_signature", "company", "Signature of the collector", "Signature du chargé de recouvrement", html=True
    ),
    Hashtag("bank_details", "company", "Our bank details", "Nos coordonnées bancaires"),
    Hashtag("today", "company", "Date of today; #today+8 is in eight days", "Date du jour ; #today+8 dans huit jours"),
)
_BY_NAME = {hashtag.name: hashtag for hashtag in HASHTAGS}
# The customer must know whom it is about, so these are never silently dropped: an empty one is a warning.
LINK_TAGS = frozenset({"interactive_page_button", "interactive_page_link"})


def tokens(text: str) -> Iterator[tuple[bool, str]]:
    """The text in pieces, in one pass: (False, plain text) and (True, name of a hashtag in lower case)."""
    at = 0
    for match in _TAG.finditer(text):
        if match.start() > at:
            yield False, text[at : match.start()]
        yield True, match[1].lower()
        at = match.end()
    if at < len(text):
        yield False, text[at:]


def is_known(name: str) -> bool:
    """Whether the name (without its sign) is on the list; today+N counts."""
    return name in _BY_NAME or name.startswith("today+")


def is_block(name: str) -> bool:
    """Whether the hashtag becomes a block of HTML."""
    hashtag = _BY_NAME.get(name)
    return hashtag is not None and hashtag.html


def names_in(subject: str, body: str) -> frozenset[str]:
    """Names of all hashtags, known or not, of a subject and an HTML body."""
    found = {name for is_tag, name in tokens(subject) if is_tag}
    return frozenset(found | _Names.of(sanitise(body)))


def wrong_tags(subject: str, body: str) -> list[str]:
    """Hashtags nobody knows, and blocks that stand in the subject; each with its sign, sorted."""
    in_subject = {name for is_tag, name in tokens(subject) if is_tag}
    return sorted(
        {f"#{name}" for name in names_in(subject, body) if not is_known(name)}
        | {f"#{name}" for name in in_subject if is_block(name)}
    )


def sanitise(body: str) -> str:
    """The HTML that may stand in a body: paragraphs, lists, emphasis and links; everything else goes."""
    return nh3.clean(
        body.replace("\x00", ""),
        tags=set(BODY_TAGS),
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
        strip_comments=True,
    )


def clean_value(text: str) -> str:
    """A value without control characters and without marks that turn the reading direction."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_line(text: str) -> str:
    """A value for one line, such as a header: line ends become spaces."""
    # Not str.split: the no-break spaces of amounts stay what they are.
    return re.sub("[ \t\n]+", " ", clean_value(text)).strip(" ")


def render_subject(source: str, values: Mapping[str, Value]) -> Rendered:
    """A subject with its hashtags replaced; always one line, whatever the values hold."""
    parts: list[str] = []
    unknown: dict[str, None] = {}
    empty: dict[str, None] = {}
    for is_tag, piece in tokens(source):
        if not is_tag:
            parts.append(piece)
            continue
        value = values.get(piece)
        if value is None or value.html is not None:
            unknown[f"#{piece}"] = None
            parts.append(f"#{piece}")
            continue
        if not value.text.strip():
            empty[f"#{piece}"] = None
        parts.append(value.text)
    text = clean_line("".join(parts))
    return Rendered(escape(text), text, tuple(unknown), tuple(empty))


def render_body(source: str, values: Mapping[str, Value]) -> Rendered:
    """An HTML body with its hashtags replaced, as HTML and as plain text. The source is sanitised first.

    Values are escaped and never looked at again: a customer called "#items_list <b>" stays exactly that.
    """
    writer = _Writer(values)
    writer.feed(sanitise(source))
    writer.close()
    return Rendered(writer.finished_html(), writer.finished_text(), tuple(writer.unknown), tuple(writer.empty))


class _Names(HTMLParser):
    """Collects the hashtags of sanitised HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[str] = set()

    @classmethod
    def of(cls, body: str) -> set[str]:
        parser = cls()
        parser.feed(body)
        parser.close()
        return parser.found

    def handle_data(self, data: str) -> None:
        self.found.update(name for is_tag, name in tokens(data) if is_tag)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for _, value in attrs:
            if value and value.startswith("#"):
                self.handle_data(value)


class _Writer(HTMLParser):
    """Walks sanitised HTML once and writes it anew, text beside HTML, with values in place of hashtags."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__(convert_charrefs=True)
        self._values = values
        self._html: list[str] = []
        self._text: list[str] = []
        self._open: list[str] = []
        self._hrefs: list[str] = []
        self._list_counts: list[int | None] = []
        self.unknown: dict[str, None] = {}
        self.empty: dict[str, None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self._html.append(f"<{tag}>")
            self._text.append("\n")
            return
        self._open.append(tag)
        if tag == "a":
            href = self._address(dict(attrs).get("href") or "")
            self._hrefs.append(href)
            self._html.append(f'<a href="{escape(href)}">' if href else "<a>")
            return
        if tag in ("ol", "ul"):
            self._list_counts.append(0 if tag == "ol" else None)
        if tag == "li":
            self._text.append(self._bullet())
        self._html.append(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._open:
            return
        while self._open and (top := self._open.pop()):
            self._html.append(f"</{top}>")
            if top == "a" and (href := self._hrefs.pop()):
                self._text.append(f" ({href})")
            elif top == "li":
                self._text.append("\n")
            elif top in _TEXT_BLOCKS:
                self._text.append("\n\n")
            if top in ("ol", "ul"):
                self._list_counts.pop()
            if top == tag:
                return

    def handle_data(self, data: str) -> None:
        for is_tag, piece in tokens(data):
            if not is_tag:
                self._html.append(escape(piece))
                self._text.append(" ".join(piece.split("\n")))
                continue
            value = self._values.get(piece)
            if value is None:
                self.unknown[f"#{piece}"] = None
                self._html.append(escape(f"#{piece}"))
                self._text.append(f"#{piece}")
                continue
            if not value.text.strip():
                self.empty[f"#{piece}"] = None
            if value.html is None:
                self._html.append(escape(value.text).replace("\n", "<br>"))
                self._text.append(value.text)
            else:
                self._block(value)

    def _block(self, value: Value) -> None:
        # A table inside a paragraph is no valid HTML: what is open is closed around it and opened again after it.
        is_inline = "<table" not in (value.html or "") and "<div" not in (value.html or "")
        closing = [] if is_inline else [tag for tag in self._open if tag != "a"]
        self._html.extend(f"</{tag}>" for tag in reversed(closing))
        self._html.append(value.html or "")
        self._html.extend(f"<{tag}>" for tag in closing)
        self._text.append(value.text if is_inline else f"\n{value.text}\n")

    def _address(self, href: str) -> str:
        """The address of a link: as written, or that of a hashtag which is a link; any other hashtag opens nothing."""
        if not href.startswith("#"):
            return href
        name = href[1:].lower()
        value = self._values.get(name)
        if value is None or not value.href:
            self.unknown[href] = None
            return ""
        return value.href

    def _bullet(self) -> str:
        if self._list_counts and (count := self._list_counts[-1]) is not None:
            self._list_counts[-1] = count + 1
            return f"{count + 1}. "
        return "- "

    def finished_html(self) -> str:
        """The HTML without the empty paragraphs that closing around blocks leaves."""
        return re.sub(r"<(p|h2|h3|li|b|i|em|strong|u|s|blockquote)></\1>", "", "".join(self._html)).strip()

    def finished_text(self) -> str:
        """The plain text with at most one empty line in a row."""
        lines = [line.rstrip() for line in "".join(self._text).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

"""From what is true of an account to the values of the hashtags: selection, sums, tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from html import escape

from babel import Locale
from babel.dates import format_date

from kit.money import Money, format_amount
from notification.domain.hashtags import Value, clean_line, clean_value
from notification.domain.words import PRE_DUE_KEY, WORDS, Words

# Stands where the personal link will be, in stored bodies and in previews; .invalid never resolves (RFC 2606).
LINK_PLACEHOLDER = "https://personal-link.invalid/"
PRE_DUE_HORIZON_DAYS = 15
DEADLINE_MAX_DAYS = 999
_MINUS = "\u2212"
_NO_BREAK = "\u00a0"
_DATE_PATTERN = {"en": "d MMM yyyy", "fr": "d MMM yyyy", "de": "d. MMM yyyy", "es": "d MMM yyyy"}
_CODE_AFTER = frozenset({"fr", "es"})
_LATE_INTEREST = "LATE_INTEREST"
_CELL = "padding:6px 8px;border-bottom:1px solid #e4e7ec;text-align:{align};font-size:14px"
_HEAD = (
    "padding:6px 8px;border-bottom:1px solid #98a2b3;text-align:{align};font-size:13px;font-weight:600;color:#475467"
)


@dataclass(frozen=True)
class ItemFact:
    """One open item as the ledger sees it this moment."""

    item_id: str
    number: str
    kind: str
    due_on: date | None
    days_late: int
    open: Money
    held: Money
    collectable: Money
    order_number: str = ""
    hold_kinds: frozenset[str] = frozenset()

    @property
    def is_credit(self) -> bool:
        """Whether it lowers what is owed."""
        return self.open.minor_units < 0

    @property
    def is_overdue(self) -> bool:
        """Whether it is a debit past its due date; without a due date nothing is ever overdue."""
        return not self.is_credit and self.due_on is not None and self.days_late > 0


@dataclass(frozen=True)
class ContactFact:
    """Somebody at the customer."""

    contact_id: str
    name: str
    email: str
    role: str
    language: str
    valid: bool


@dataclass(frozen=True)
class AccountFact:
    """The account, its entity and its contacts."""

    account_id: str
    number: str
    name: str
    country: str
    language: str
    payment_terms: str
    legal_unit_name: str
    registration_number: str
    address: str
    collector: str
    entity_code: str
    entity_name: str
    entity_country: str
    entity_language: str
    contacts: tuple[ContactFact, ...] = ()


@dataclass(frozen=True)
class Sender:
    """Who writes: the collector in charge, else the person who sends, else nobody by name."""

    name: str = ""
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class Picture:
    """All that a text may speak of; link is the customer's page or the placeholder."""

    account: AccountFact
    items: tuple[ItemFact, ...]
    selected: tuple[ItemFact, ...]
    sender: Sender
    contact_name: str
    language: str
    today: date
    link: str = LINK_PLACEHOLDER
    brand: Mapping[str, str] = field(default_factory=lambda: {"color": "#1d4d4a", "ink": "#ffffff"})


def selection(items: Sequence[ItemFact], wanted: Iterable[str], template_key: str) -> tuple[ItemFact, ...]:
    """The items a message is about: what is collectable of those wanted, else all that is overdue.

    A pre-due message without wish takes what falls due within 15 days. Order: oldest due date first.
    """
    ids = frozenset(wanted)
    chosen = [item for item in items if not item.is_credit and item.collectable.minor_units > 0]
    if ids:
        chosen = [item for item in chosen if item.item_id in ids]
    elif template_key == PRE_DUE_KEY:
        chosen = [item for item in chosen if item.due_on and -PRE_DUE_HORIZON_DAYS <= item.days_late <= 0]
    else:
        chosen = [item for item in chosen if item.is_overdue]
    return tuple(sorted(chosen, key=lambda item: (item.due_on or date.max, item.number, item.item_id)))


def sums(amounts: Iterable[Money]) -> list[Money]:
    """One sum per currency, in the order of their codes; currencies are never added together."""
    by_currency: dict[str, Money] = {}
    for amount in amounts:
        known = by_currency.get(amount.currency)
        by_currency[amount.currency] = amount if known is None else known + amount
    return [by_currency[currency] for currency in sorted(by_currency)]


def amount_text(amount: Money, language: str, with_code: bool = True) -> str:
    """EUR 12,480.50 in English and German, 12 480,50 EUR in French and Spanish; minus is U+2212."""
    symbols = Locale.parse(language).number_symbols["latn"]
    whole, _, fraction = format_amount(abs(amount.minor_units), amount.currency).partition(".")
    # Spanish groups from five digits on, the others from four.
    groups_from = 5 if language == "es" else 4
    if len(whole) >= groups_from:
        whole = f"{int(whole):,}".replace(",", str(symbols["group"]))
    text = whole + (f"{symbols['decimal']}{fraction}" if fraction else "")
    text = (_MINUS if amount.minor_units < 0 else "") + text
    if not with_code:
        return text
    code = amount.currency
    return f"{text}{_NO_BREAK}{code}" if language in _CODE_AFTER else f"{code}{_NO_BREAK}{text}"


def amounts_text(amounts: Sequence[Money], language: str) -> str:
    """Several sums in one line, one per currency."""
    return " + ".join(amount_text(amount, language) for amount in amounts)


def date_text(day: date | None, language: str) -> str:
    """12 Aug 2026 as letters write it; nothing for no date."""
    return format_date(day, _DATE_PATTERN[language], locale=language) if day else ""


def values(picture: Picture) -> dict[str, Value]:
    """The value of every hashtag for one account, one language and one day, today+0 to today+999 included."""
    account, language, words = picture.account, picture.language, WORDS[picture.language]
    debits = [item for item in picture.items if not item.is_credit]
    overdue = [item for item in debits if item.is_overdue and item.collectable.minor_units > 0]
    not_due = [item for item in debits if not item.is_overdue and item.collectable.minor_units > 0]
    interest = [item for item in overdue if item.kind == _LATE_INTEREST]
    principal = [item for item in overdue if item.kind != _LATE_INTEREST]
    oldest = next((item for item in picture.selected if item.due_on), None)
    first, _, last = clean_line(picture.contact_name).rpartition(" ")
    if not first:
        first, last = last, ""

    def collectable(items: Iterable[ItemFact]) -> str:
        return amounts_text(sums(item.collectable for item in items), language)

    plain: dict[str, str] = {
        "customer_name": account.name,
        "customer_number": account.number,
        "customer_code": account.number,
        "customer_address": account.address,
        "customer_country": account.country,
        "customer_legal_id": account.registration_number,
        "customer_legal_unit": account.legal_unit_name,
        "customer_payment_terms": account.payment_terms,
        "contact_name": picture.contact_name,
        "contact_first_name": first,
        "contact_last_name": last,
        "contact_salutation": salutation(picture.contact_name, words),
        "items_amount_open": amounts_text(sums(item.open for item in picture.items), language),
        "items_amount_overdue": collectable(principal),
        "items_amount_overdue_include_late_penalties": collectable(overdue),
        "items_amount_late_penalties": collectable(interest),
        "items_amount_selected": collectable(picture.selected),
        "items_count": str(len(picture.selected)),
        "items_count_overdue": str(len(overdue)),
        "oldest_due_date": date_text(oldest.due_on, language) if oldest else "",
        "days_late": str(max(oldest.days_late, 0)) if oldest else "",
        "currency": ", ".join(amount.currency for amount in sums(item.collectable for item in picture.selected)),
        "my_company_name": account.entity_name,
        "my_company_country": account.entity_country,
        "collector_name": picture.sender.name,
        "collector_email": picture.sender.email,
        "collector_phone": picture.sender.phone,
        "bank_details": "",
    }
    found = {name: Value(clean_value(text)) for name, text in plain.items()}
    tables: dict[str, tuple[Sequence[ItemFact], bool]] = {
        "items_list": (picture.items, True),
        "items_list_overdue": (overdue, False),
        "items_list_not_due": (not_due, False),
        "items_list_selected": (picture.selected, False),
        "items_list_overdue_exclude_late_penalties": (principal, False),
    }
    for name, (items, with_parts) in tables.items():
        found[name] = table(items, language, with_parts=with_parts)
    name = clean_line(account.entity_name)
    found["my_company_logo"] = Value(name, f'<span style="font-size:20px;font-weight:700">{escape(name)}</span>')
    found["interactive_page_link"] = Value(
        picture.link, f'<a href="{escape(picture.link)}">{escape(words.button)}</a>', picture.link
    )
    found["interactive_page_button"] = Value(
        f"{words.button}: {picture.link}", _button(words.button, picture.link, picture.brand), picture.link
    )
    found["collector_signature"] = _signature(picture, words)
    found["today"] = Value(date_text(picture.today, language))
    return _WithDays(found, picture.today, language)


class _WithDays(dict[str, Value]):
    """The values, and those of #today+N made when they are asked for."""

    def __init__(self, found: Mapping[str, Value], today: date, language: str) -> None:
        super().__init__(found)
        self._today = today
        self._language = language

    def get(self, key: str, default: Value | None = None) -> Value | None:  # type: ignore[override]
        """The value of a hashtag; default when its name is not on the list."""
        if key.startswith("today+"):
            days = int(key.removeprefix("today+"))
            return Value(date_text(self._today + timedelta(days=days), self._language))
        return super().get(key, default)


def salutation(name: str, words: Words) -> str:
    """The greeting, with the name where it is known."""
    name = clean_line(name)
    return words.salutation.replace("{name}", name) if name else words.salutation_unknown


def table(items: Sequence[ItemFact], language: str, *, with_parts: bool) -> Value:
    """A table of items, one block per currency with its own total.

    with_parts: credits are shown, and overdue, not due and credits have their own sums; items that are wholly under a
    hold stand below, outside the total. Amounts are what may be collected: the undisputed part.
    """
    words = WORDS[language]
    answered = [
        item for item in items if not item.is_credit and item.collectable.minor_units <= 0 and item.open.minor_units > 0
    ]
    shown = [item for item in items if item.is_credit or item.collectable.minor_units > 0]
    if not with_parts:
        shown = [item for item in shown if not item.is_credit]
    if not shown and not answered:
        return Value(words.nothing, f"<span>{escape(words.nothing)}</span>")
    html: list[str] = []
    text: list[str] = []
    with_orders = any(item.order_number for item in shown)
    for currency in sorted({item.open.currency for item in shown}):
        block = [item for item in shown if item.open.currency == currency]
        _write_block(html, text, block, currency, language, with_orders, with_parts)
    if answered:
        numbers = ", ".join(f"{clean_line(item.number)} ({amount_text(item.open, language)})" for item in answered)
        note = words.answered.replace("{numbers}", numbers)
        html.append(f'<p style="font-size:13px;color:#475467">{escape(note)}</p>')
        text.append(note)
    return Value("\n".join(text), f"<div>{''.join(html)}</div>")


def _shown(item: ItemFact) -> Money:
    return item.open if item.is_credit else item.collectable


def _write_block(
    html: list[str],
    text: list[str],
    block: Sequence[ItemFact],
    currency: str,
    language: str,
    with_orders: bool,
    with_parts: bool,
) -> None:
    words = WORDS[language]
    heads = [
        words.invoice,
        *([words.order] if with_orders else []),
        words.due,
        words.days_late,
        f"{words.amount} {currency}",
    ]
    aligns = ["left", *(["left"] if with_orders else []), "left", "right", "right"]
    html.append(
        '<table role="table" cellspacing="0" cellpadding="0" '
        'style="border-collapse:collapse;width:100%;margin:8px 0 4px"><thead><tr>'
    )
    html.extend(
        f'<th scope="col" style="{_HEAD.format(align=align)}">{escape(head)}</th>'
        for head, align in zip(heads, aligns, strict=True)
    )
    html.append("</tr></thead><tbody>")
    notes: list[str] = []
    for item in block:
        mark = ""
        if not item.is_credit and item.held.minor_units > 0:
            mark = " " + "*" * (len(notes) + 1) if len(notes) < 3 else f" *{len(notes) + 1}"
            wording = words.without_disputed if item.hold_kinds == {"DISPUTE"} else words.without_held
            notes.append(
                f"{mark.strip()} {clean_line(item.number)}: "
                + wording.replace("{amount}", amount_text(item.held, language))
            )
        late = str(item.days_late) if item.is_overdue else ""
        due = date_text(item.due_on, language) or words.no_due_date
        cells = [
            clean_line(item.number),
            *([clean_line(item.order_number)] if with_orders else []),
            due,
            late,
            amount_text(_shown(item), language, with_code=False) + mark,
        ]
        html.append("<tr>")
        html.extend(
            f'<td style="{_CELL.format(align=align)}">{escape(cell)}</td>'
            for cell, align in zip(cells, aligns, strict=True)
        )
        html.append("</tr>")
        lateness = f", {words.days_late}: {late}" if late else ""
        text.append(f"{cells[0]}: {words.due} {due}{lateness}, {amount_text(_shown(item), language)}{mark}")
    html.append("</tbody><tfoot>")
    for label, amount in _totals(block, currency, words, with_parts):
        html.append(
            f'<tr><th scope="row" colspan="{len(heads) - 1}" style="{_CELL.format(align="left")}">{escape(label)}</th>'
            f'<td style="{_CELL.format(align="right")};font-weight:600">'
            f"{escape(amount_text(amount, language, with_code=False))}</td></tr>"
        )
        text.append(f"{label}: {amount_text(amount, language)}")
    html.append("</tfoot></table>")
    for note in notes:
        html.append(f'<p style="font-size:13px;color:#475467;margin:2px 0">{escape(note)}</p>')
        text.append(note)


def _totals(block: Sequence[ItemFact], currency: str, words: Words, with_parts: bool) -> list[tuple[str, Money]]:
    """The sums under a block; parts only where there is more than one of them. Parts always add up to the total."""
    parts = {
        words.overdue: [item for item in block if item.is_overdue],
        words.not_due: [item for item in block if not item.is_credit and not item.is_overdue],
        words.credits: [item for item in block if item.is_credit],
    }
    filled = {label: items for label, items in parts.items() if items}
    lines = []
    if with_parts and len(filled) > 1:
        lines = [(label, sums(_shown(item) for item in items)[0]) for label, items in filled.items()]
    total = Money(currency, sum(_shown(item).minor_units for item in block))
    return [*lines, (words.total, total)]


def _button(label: str, link: str, brand: Mapping[str, str]) -> str:
    return (
        f'<a href="{escape(link)}" style="display:inline-block;padding:12px 18px;border-radius:6px;'
        f'text-decoration:none;font-weight:600;background:{escape(brand["color"])};color:{escape(brand["ink"])}">{escape(label)}</a>'
    )


def _signature(picture: Picture, words: Words) -> Value:
    contact = ", ".join(
        part for part in (picture.account.entity_name, picture.sender.phone, picture.sender.email) if part
    )
    lines = [clean_line(line) for line in (words.regards, picture.sender.name, contact) if line]
    return Value("\n".join(lines), "<br>".join(escape(line) for line in lines))


def document(body_html: str, subject: str, language: str) -> str:
    """The body as a whole HTML document for the mail: readable width, system fonts, no script, no picture."""
    return (
        f'<!doctype html><html lang="{escape(language)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(subject)}</title></head>"
        '<body style="margin:0;padding:24px;background:#ffffff;color:#1c2430;'
        'font:15px/1.5 -apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif">'
        f'<div style="max-width:640px;margin:0 auto">{body_html}</div></body></html>'
    )

"""The sample group: three entities, two currencies, two years of invented history, the same on every machine.

Everything hangs on the business date and one seed, so the same day gives the same books. No person or company of
this group exists: names are made of invented syllables, addresses end in the domains that RFC 2606 keeps for examples,
and registration numbers are from ranges that no register gives out.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

HISTORY_DAYS = 730
SEED = 20240229


@dataclass(frozen=True)
class SampleEntity:
    """One legal company of the group; volume is how many accounts it gets."""

    code: str
    name: str
    country: str
    currency: str
    time_zone: str
    language: str
    volume: int
    number_format: str


ENTITIES: tuple[SampleEntity, ...] = (
    SampleEntity("FR01", "Sample Outillage SAS", "FR", "EUR", "Europe/Paris", "fr", 26, "FA-{year:02d}{serial:04d}"),
    SampleEntity("DE01", "Sample Technik GmbH", "DE", "EUR", "Europe/Berlin", "en", 18, "RE-{year:02d}-{serial:04d}"),
    SampleEntity("US01", "Sample Tools Inc.", "US", "USD", "America/New_York", "en", 18, "INV-{year:02d}{serial:04d}"),
)


@dataclass(frozen=True)
class Habit:
    """How a customer pays: days after the due date (mean and spread), share paid in parts, share never explained."""

    name: str
    mean_days: float
    spread_days: float
    part_share: float = 0.03
    credit_share: float = 0.03
    growth_days: float = 0.0
    stopped_days_ago: int = 0


HABITS: dict[str, Habit] = {
    "prompt": Habit("prompt", -3, 3),
    "usual": Habit("usual", 4, 5),
    "slow": Habit("slow", 19, 9, part_share=0.06),
    "late": Habit("late", 42, 16, part_share=0.12, credit_share=0.05),
    "worsening": Habit("worsening", 2, 7, part_share=0.08, growth_days=48),
    "arguing": Habit("arguing", 14, 12, part_share=0.15, credit_share=0.12),
    "stopped": Habit("stopped", 25, 10, stopped_days_ago=95),
}
# Out of twenty accounts, in this order; what the two worst do is seen on the first page of the agenda.
MIX = ("usual", "slow", "prompt", "late", "usual", "worsening", "prompt", "usual", "arguing", "slow", "usual", "prompt",
       "late", "usual", "stopped", "slow", "prompt", "usual", "worsening", "late")  # fmt: skip

FIRST = tuple(
    "Alden Brun Corv Delm Estr Fael Gorm Havel Ister Jorv Kelm Lorv Marn Norv Ostr Pelm "
    "Quern Rost Sarn Thel Ulm Verl Wolm Yster Zarn".split()
)
SECOND = tuple("moor vale ane eth ique ona wick ier and olt une esk".split())
TRADE = {
    "FR": ("Outillage", "Négoce", "Mécanique", "Emballages", "Distribution", "Fonderie", "Transports", "Bâtiment"),
    "DE": ("Maschinenbau", "Handel", "Werkzeuge", "Verpackung", "Logistik", "Anlagenbau"),
    "US": ("Supply", "Fasteners", "Industrial", "Packaging", "Freight", "Components"),
    "BE": ("Distribution", "Négoce"),
    "IT": ("Meccanica", "Forniture"),
    "AT": ("Handel", "Technik"),
    "NL": ("Groothandel", "Techniek"),
    "CA": ("Supply", "Distribution"),
}
FORM = {"FR": "SAS", "DE": "GmbH", "US": "LLC", "BE": "SRL", "IT": "Srl", "AT": "GmbH", "NL": "BV", "CA": "Ltd"}
ABROAD = {"FR": ("BE", "IT"), "DE": ("AT", "NL"), "US": ("CA",)}
CITIES = {
    "FR": ("Lyon", "Lille", "Nantes", "Dijon", "Tours"),
    "DE": ("Kassel", "Ulm", "Bremen", "Essen"),
    "US": ("Columbus", "Tulsa", "Omaha", "Albany"),
    "BE": ("Namur",),
    "IT": ("Bergamo",),
    "AT": ("Linz",),
    "NL": ("Breda",),
    "CA": ("Hamilton",),
}
TERMS: tuple[tuple[str, int, bool], ...] = (
    ("30 days net", 30, False),
    ("45 days net", 45, False),
    ("60 days net", 60, False),
    ("30 days end of month", 30, True),
    ("14 days net", 14, False),
)
# Who is asked: a function, never a person.
DESKS = {
    "ACCOUNTS_PAYABLE": {"en": "Accounts payable", "fr": "Comptabilité fournisseurs"},
    "BUYER": {"en": "Purchasing desk", "fr": "Service achats"},
    "MANAGEMENT": {"en": "Finance management", "fr": "Direction financière"},
}


@dataclass
class SampleItem:
    """One line of the items file. Amounts in the entity's currency."""

    number: str
    kind: str
    issue_on: date
    due_on: date | None
    amount: Decimal
    open_amount: Decimal
    settled_on: date | None
    reference: str


@dataclass
class SampleAccount:
    """One customer as one entity knows it."""

    entity: SampleEntity
    number: str
    name: str
    country: str
    language: str
    registration: str
    parent: str
    city: str
    terms: tuple[str, int, bool]
    habit: Habit
    collector: str
    scale: float
    items: list[SampleItem] = field(default_factory=list)
    limit: Decimal | None = None

    @property
    def domain(self) -> str:
        """A domain below those that RFC 2606 reserves: no mail can reach anybody."""
        stem = "".join(c for c in self.name.split()[0].lower() if c.isascii() and c.isalpha())
        return f"{stem}.example.{('com', 'org', 'net')[len(self.number + self.name) % 3]}"

    def contacts(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Name, role, e-mail, telephone, language of each contact."""
        desks = ["ACCOUNTS_PAYABLE"]
        serial = int(self.number[-3:])
        if serial % 3 == 0:
            desks.append("BUYER")
        if serial % 5 == 0:
            desks.append("MANAGEMENT")
        for desk in desks:
            local = {"ACCOUNTS_PAYABLE": "ap", "BUYER": "purchasing", "MANAGEMENT": "finance"}[desk]
            # 555-01xx is kept for fiction in North America; 01 99 00 xx xx is in France.
            phone = (
                f"+1 202 555 01{serial % 100:02d}"
                if self.country in ("US", "CA")
                else f"+33 1 99 00 {serial % 100:02d} 10"
            )
            yield DESKS[desk][self.language], desk, f"{local}@{self.domain}", phone, self.language


COLLECTORS = {
    "FR01": ("collector.fr@example.com",),
    "DE01": ("collector.de@example.com",),
    "US01": ("collector.us@example.com",),
}


def build(today: date) -> list[SampleAccount]:
    """The whole group as of a business date; the same date gives the same group, to the cent."""
    chance = random.Random(SEED)  # noqa: S311
    accounts: list[SampleAccount] = []
    names = [first + second for first in FIRST for second in SECOND]
    chance.shuffle(names)
    shared = [(names.pop(), "FR"), (names.pop(), "DE"), (names.pop(), "US")]
    for entity in ENTITIES:
        for index in range(entity.volume):
            accounts.append(_account(chance, entity, index, names, shared, len(accounts)))
    for account in accounts:
        account.items = list(_history(chance, account, today))
        account.limit = _limit(chance, account)
    _number_items(accounts)
    return accounts


def _registration(country: str, serial: int) -> str:
    """A number in the country's form from a range that its register does not use."""
    if country == "FR":
        body = f"0000{serial:04d}"
        return body + _luhn_digit(body)
    if country == "DE":
        return f"HRB 99{serial:04d}"
    if country == "US":
        return f"00-000{serial:04d}"
    return f"{country}-0000{serial:04d}"


def _luhn_digit(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _account(
    chance: random.Random,
    entity: SampleEntity,
    index: int,
    names: list[str],
    shared: Sequence[tuple[str, str]],
    serial: int,
) -> SampleAccount:
    """One account; the first of each entity belong to companies that several entities sell to."""
    if index < len(shared):
        stem, country = shared[index]
        registration, parent = _registration(country, 900 + index), f"G{index + 1:03d}"
        trade = TRADE[country][0]
    else:
        country = chance.choice(ABROAD[entity.country]) if index % 7 == 6 else entity.country
        stem, registration, parent = names.pop(), _registration(country, 100 + serial), ""
        trade = TRADE[country][index % len(TRADE[country])]
    language = "fr" if country in ("FR", "BE") else "en"
    prefix = {"FR01": "C", "DE01": "K", "US01": "A"}[entity.code]
    return SampleAccount(
        entity=entity,
        number=f"{prefix}{10000 + index * 7 + 3:05d}",
        name=f"{stem} {trade} {FORM[country]}",
        country=country,
        language=language,
        registration=registration,
        parent=parent,
        city=CITIES[country][index % len(CITIES[country])],
        terms=TERMS[(index * 2 + serial) % len(TERMS)],
        habit=HABITS[MIX[(index + ENTITIES.index(entity) * 3) % len(MIX)]],
        collector=COLLECTORS[entity.code][index % len(COLLECTORS[entity.code])],
        scale=chance.choice((600.0, 1200.0, 1800.0, 2600.0, 4200.0, 9000.0)),
    )


def _due(issue_on: date, days: int, end_of_month: bool) -> date:
    due = issue_on + timedelta(days=days)
    if end_of_month:
        due = (due.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return due


def _working(day: date) -> date:
    """The day itself or the next Monday: nobody books on a weekend."""
    return day + timedelta(days=max(0, 7 - day.weekday())) if day.weekday() > 4 else day


def _history(chance: random.Random, account: SampleAccount, today: date) -> Iterator[SampleItem]:
    """Invoices, credit notes and payments of two years, oldest first, none issued after today."""
    habit, first = account.habit, today - timedelta(days=HISTORY_DAYS)
    pause_days = chance.choice((21, 28, 30, 35, 42))
    day = first + timedelta(days=chance.randrange(pause_days))
    _, term_days, end_of_month = account.terms
    while True:
        issue_on = _working(day)
        if issue_on > today:
            break
        # August is quiet and the year ends strongly, as in most trades.
        season = {8: 0.6, 11: 1.15, 12: 1.3}.get(issue_on.month, 1.0)
        amount = Decimal(str(round(account.scale * season * chance.lognormvariate(0.0, 0.55), 2)))
        due_on = _due(issue_on, term_days, end_of_month)
        age_share = (issue_on - first).days / HISTORY_DAYS
        delay = chance.gauss(habit.mean_days + habit.growth_days * age_share**2, habit.spread_days)
        pays_on = _working(max(issue_on + timedelta(days=2), due_on + timedelta(days=round(delay))))
        if habit.stopped_days_ago and pays_on > today - timedelta(days=habit.stopped_days_ago):
            pays_on = date.max
        reference = f"PO-{chance.randrange(10000, 99999)}"
        yield _invoice(chance, habit, issue_on, due_on, amount, pays_on, today, reference)
        if chance.random() < habit.credit_share:
            yield _credit_note(chance, issue_on, amount, pays_on, today, reference)
        day += timedelta(days=max(4, round(chance.gauss(pause_days, pause_days / 6))))
    if habit.name in ("slow", "arguing") and chance.random() < 0.5:
        # Cash that came without saying what for.
        got_on = _working(today - timedelta(days=chance.randrange(6, 25)))
        if got_on <= today:
            amount = -Decimal(str(round(account.scale * chance.uniform(0.15, 0.5), 2)))
            yield SampleItem("", "payment", got_on, None, amount, amount, None, "")


def _invoice(
    chance: random.Random,
    habit: Habit,
    issue_on: date,
    due_on: date,
    amount: Decimal,
    pays_on: date,
    today: date,
    reference: str,
) -> SampleItem:
    open_amount, settled_on = amount, None
    if pays_on <= today:
        open_amount, settled_on = Decimal("0.00"), pays_on
        # Some of the newest are settled but for a part that is argued about.
        if (today - pays_on).days < 120 and chance.random() < habit.part_share:
            open_amount, settled_on = (
                (amount * Decimal(str(round(chance.uniform(0.08, 0.45), 2)))).quantize(Decimal("0.01")),
                None,
            )
    elif due_on < today and chance.random() < habit.part_share * 2:
        open_amount = (amount * Decimal(str(round(chance.uniform(0.3, 0.7), 2)))).quantize(Decimal("0.01"))
    return SampleItem("", "invoice", issue_on, due_on, amount, open_amount, settled_on, reference)


def _credit_note(
    chance: random.Random, invoiced_on: date, amount: Decimal, pays_on: date, today: date, reference: str
) -> SampleItem:
    issue_on = min(_working(invoiced_on + timedelta(days=chance.randrange(5, 30))), today)
    credit = -(amount * Decimal(str(round(chance.uniform(0.05, 0.3), 2)))).quantize(Decimal("0.01"))
    settled_on = max(pays_on, issue_on) if max(pays_on, issue_on) <= today else None
    return SampleItem(
        "", "credit note", issue_on, issue_on, credit, Decimal("0.00") if settled_on else credit, settled_on, reference
    )


def _limit(chance: random.Random, account: SampleAccount) -> Decimal | None:
    """A limit near two months of sales, too small for customers who have grown worse; one in six has none."""
    if chance.random() < 0.16:
        return None
    factor = {"late": 1.6, "worsening": 1.8, "stopped": 1.2}.get(account.habit.name, 5.0)
    return Decimal(max(1, round(account.scale * factor / 500))) * 500


def _number_items(accounts: Sequence[SampleAccount]) -> None:
    """Gives the documents of each entity consecutive numbers by date, a new series each year."""
    for entity in ENTITIES:
        mine = [(item.issue_on, account.number, place, item) for account in accounts if account.entity is entity
                for place, item in enumerate(account.items)]  # fmt: skip
        serials: dict[tuple[int, str], int] = {}
        for issue_on, _, _, item in sorted(mine, key=lambda row: row[:3]):
            year = issue_on.year % 100
            serial = serials[year, item.kind] = serials.get((year, item.kind), 0) + 1
            number = entity.number_format.format(year=year, serial=serial)
            item.number = {
                "invoice": number,
                "credit note": f"CN-{year:02d}{serial:04d}",
                "payment": f"PAY-{year:02d}{serial:04d}",
            }[item.kind]


# ---- files -----------------------------------------------------------------------------------------------------------
def _csv(header: Sequence[str], rows: Iterator[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def accounts_file(accounts: Sequence[SampleAccount], code: str) -> bytes:
    """The customers of one entity, as its ERP would export them (UTF-8, comma)."""
    header = ("Customer number", "Customer name", "Country", "Language", "Registration number", "Payment terms",
              "Parent number", "Collector")  # fmt: skip
    return _csv(
        header,
        (
            (a.number, a.name, a.country, a.language, a.registration, a.terms[0], a.parent, a.collector)
            for a in accounts
            if a.entity.code == code
        ),
    )


def contacts_file(accounts: Sequence[SampleAccount], code: str) -> bytes:
    """The contacts of one entity's customers."""
    header = ("Customer number", "Contact name", "Role", "E-mail", "Phone", "Language")
    return _csv(header, ((a.number, *contact) for a in accounts if a.entity.code == code for contact in a.contacts()))


def items_file(accounts: Sequence[SampleAccount], code: str) -> bytes:
    """Two years of documents of one entity, settled ones with the day they were settled."""
    header = ("Customer number", "Document number", "Document type", "Document date", "Due date", "Currency", "Amount",
              "Open amount", "Clearing date", "Order reference")  # fmt: skip
    return _csv(
        header,
        (
            (
                account.number,
                item.number,
                item.kind,
                item.issue_on.isoformat(),
                item.due_on.isoformat() if item.due_on else "",
                account.entity.currency,
                f"{item.amount:.2f}",
                f"{item.open_amount:.2f}",
                item.settled_on.isoformat() if item.settled_on else "",
                item.reference,
            )
            for account in accounts
            if account.entity.code == code
            for item in account.items
        ),
    )

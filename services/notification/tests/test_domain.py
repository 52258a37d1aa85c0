"""Rules of messages: tokens, escaping, tables, selection, what stops a message. No I/O."""

from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.money import Money
from notification.domain import delivery, hashtags, words
from notification.domain.delivery import Addressee, look_again, recipients, stale_words
from notification.domain.hashtags import HASHTAGS, Value, render_body, render_subject, sanitise, tokens, wrong_tags
from notification.domain.rendering import (
    AccountFact,
    ContactFact,
    ItemFact,
    Picture,
    Sender,
    amount_text,
    date_text,
    selection,
    sums,
    table,
    values,
)

TODAY = date(2026, 9, 15)


def item(number: str, minor: int = 10_000, held: int = 0, late: int = 30, currency: str = "EUR", **more) -> ItemFact:
    due = more.pop("due_on", date.fromordinal(TODAY.toordinal() - late))
    collectable = max(minor - held, 0) if minor > 0 else 0
    return ItemFact(
        f"id-{number}",
        number,
        more.pop("kind", "INVOICE"),
        due,
        late,
        Money(currency, minor),
        Money(currency, held),
        Money(currency, collectable),
        **more,
    )


ACCOUNT = AccountFact(
    "a-1",
    "C-10482",
    "Norrland & Söner <AB>",
    "SE",
    "",
    "30 days",
    "Norrland AB",
    "5560",
    "Storgatan 1",
    "ines.caradec@brindle.example",
    "FR01",
    "Brindle France",
    "FR",
    "fr",
    (
        ContactFact("c-1", "Maja Lindgren", "maja@norrland.example", "ACCOUNTS_PAYABLE", "en", True),
        ContactFact("c-2", "Erik Sandahl", "erik@norrland.example", "MANAGEMENT", "", True),
        ContactFact("c-3", "Old Post", "old@norrland.example", "ACCOUNTS_PAYABLE", "", False),
    ),
)


def picture(items=(), selected=None, language="en", **more) -> Picture:
    chosen = tuple(items) if selected is None else tuple(selected)
    return Picture(
        ACCOUNT,
        tuple(items),
        chosen,
        Sender("Inès Caradec", "ines@brindle.example"),
        "Maja Lindgren",
        language,
        TODAY,
        **more,
    )


# ---- tokens ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Dear #contact_name, see #items_list.", ["contact_name", "items_list"]),
        ("by #today+8, or #TODAY+10!", ["today+8", "today+10"]),
        ("#items_count+3", ["items_count"]),
        ("no. #1, C#sharp, a/b#part, &#39; and ##x", []),
        ("#today+1000", ["today"]),
        ("##customer_name", []),
    ],
)
def test_tokens_are_found_where_a_person_means_them(text, names):
    assert [name for is_tag, name in tokens(text) if is_tag] == names


@given(st.text(max_size=200))
def test_no_character_is_lost_between_tokens(text):
    again = "".join(f"#{piece}" if is_tag else piece for is_tag, piece in tokens(text))
    assert again.lower() == text.lower()


def test_every_hashtag_has_a_value_and_every_shipped_text_only_known_ones():
    found = values(picture([item("FA-1")]))
    assert set(found) == {hashtag.name for hashtag in HASHTAGS}
    for text in words.SHIPPED:
        assert wrong_tags(text.subject, text.body) == [], (text.key, text.language)
        assert "#interactive_page_button" in text.body
    assert {(text.key, text.language) for text in words.SHIPPED} == {
        (key, language) for key in words.KEYS for language in words.LANGUAGES
    }


def test_unknown_tags_and_blocks_in_the_subject_are_named():
    assert wrong_tags("#items_list #custmer_name", "<p>#customer_name #nix</p>") == [
        "#custmer_name",
        "#items_list",
        "#nix",
    ]


# ---- escaping: values are text, whatever they hold -------------------------------------------------------------------
NASTY = [
    "#items_list",
    "{{7*7}}",
    "${x}",
    "{% raw %}",
    "<script>alert(1)</script>",
    "a\r\nBcc: x@y.z",
    "\u202egnp.exe",
    "&lt;b&gt;",
    "#",
    '" onmouseover="x',
]


@pytest.mark.parametrize("nasty", NASTY)
def test_a_value_is_never_read_again_nor_run(nasty):
    account = replace(ACCOUNT, name=nasty)
    found = values(replace(picture([item("FA-1")]), account=account))
    body = render_body("<p>For #customer_name, thanks</p>", found)
    assert body.unknown == ()
    assert body.text == f"For {hashtags.clean_value(nasty)}, thanks"
    assert "<script" not in body.html
    assert _visible(body.html) == f"For {hashtags.clean_value(nasty)}, thanks"
    subject = render_subject("To #customer_name", found)
    assert "\n" not in subject.text
    assert "\r" not in subject.text
    assert "\u202e" not in subject.text


@given(value=st.text(max_size=300), around=st.text(alphabet="abc .,;", max_size=10))
def test_any_value_comes_out_as_the_text_it_is(value, around):
    cleaned = hashtags.clean_value(value)
    body = render_body(f"<p>{around}x#customer_name</p>".replace("x#", " #"), {"customer_name": Value(cleaned)})
    assert _visible(body.html).strip() == f"{around} {cleaned}".strip()
    line = render_subject("#customer_name", {"customer_name": Value(cleaned)}).text
    assert line == hashtags.clean_line(value)
    assert "\n" not in line


def test_a_megabyte_is_one_value():
    big = "#items_list {{x}} " * 60_000
    assert render_subject("#customer_name", {"customer_name": Value(big)}).text == " ".join(big.split())


def test_edited_html_keeps_its_shape_and_loses_what_could_run():
    source = (
        '<p onclick="x()">Hi <b>there</b> <img src=x onerror=y><script>z()</script>'
        '<a href="javascript:a()">j</a><a href="https://x.example/?a=1&b=2" target="_top">w</a></p>'
    )
    clean = sanitise(source)
    for word in ("script", "onclick", "onerror", "img", "javascript", "target"):
        assert word not in clean
    assert "<b>there</b>" in clean
    assert 'href="https://x.example/?a=1&amp;b=2"' in clean


def test_a_block_leaves_the_paragraph_it_stands_in_and_links_take_the_address():
    found = values(picture([item("FA-1")], link="https://pay.example/l/abc"))
    body = render_body(
        '<p>See #items_list_selected and <a href="#interactive_page_link">here</a> or <a href="#nothing">there</a></p>',
        found,
    )
    assert "<p>See </p><div><table" in body.html
    assert '<a href="https://pay.example/l/abc">here</a>' in body.html
    assert "here (https://pay.example/l/abc)" in body.text
    assert body.unknown == ("#nothing",)
    assert body.html.count("<p>") == body.html.count("</p>")


# ---- figures ---------------------------------------------------------------------------------------------------------
def test_amounts_and_dates_are_written_as_each_language_does():
    assert amount_text(Money("EUR", 1248050), "en") == "EUR\u00a012,480.50"
    assert amount_text(Money("EUR", 1248050), "fr") == "12\u202f480,50\u00a0EUR"
    assert amount_text(Money("JPY", 1200), "de") == "JPY\u00a01.200"
    assert amount_text(Money("EUR", 123450), "es") == "1234,50\u00a0EUR"
    assert amount_text(Money("EUR", -5), "en") == "EUR\u00a0\u22120.05"
    assert date_text(date(2026, 8, 12), "en") == "12 Aug 2026"
    assert date_text(date(2026, 8, 12), "fr") == "12 août 2026"


def test_two_currencies_are_two_tables_with_two_totals():
    block = table([item("FA-1", 100), item("UK-1", 250, currency="GBP"), item("FA-2", 200)], "en", with_parts=False)
    assert block.html.count("<table") == 2
    assert "Total: EUR\u00a03.00" in block.text
    assert "Total: GBP\u00a02.50" in block.text


def test_parts_add_up_and_answered_items_stand_outside():
    shown = table(
        [
            item("FA-1", 10_000),
            item("FA-2", 5_000, late=-5),
            item("AV-1", -2_000),
            item("FA-3", 700, held=700, hold_kinds=frozenset({"PROMISE"})),
        ],
        "en",
        with_parts=True,
    )
    for line in (
        "Overdue: EUR\u00a0100.00",
        "Not yet due: EUR\u00a050.00",
        "Credits: EUR\u00a0\u221220.00",
        "Total: EUR\u00a0130.00",
    ):
        assert line in shown.text
    assert "Not in the total, because you have answered: FA-3 (EUR\u00a07.00)." in shown.text


def test_a_partly_disputed_item_shows_what_is_not_disputed_and_says_so():
    block = table([item("FA-1", 3_670_000, held=1_835_000, hold_kinds=frozenset({"DISPUTE"}))], "en", with_parts=False)
    assert "18,350.00 *" in block.html
    assert "without the EUR\u00a018,350.00 you dispute" in block.text


@given(
    st.lists(
        st.tuples(st.integers(1, 10**10), st.integers(0, 10**10), st.sampled_from(["EUR", "USD", "JPY"])), max_size=12
    )
)
def test_sums_lose_nothing_and_never_mix(rows):
    items = [
        item(f"N{n}", minor, min(held, minor), currency=currency) for n, (minor, held, currency) in enumerate(rows)
    ]
    for total in sums(i.collectable for i in items):
        assert total.minor_units == sum(i.collectable.minor_units for i in items if i.open.currency == total.currency)


def test_selection_takes_what_is_collectable_and_overdue():
    items = [
        item("LATE"), item("TODAY", late=0), item("HELD", 500, held=500), item("CREDIT", -100),
        item("NODATE", late=0, due_on=None), item("SOON", late=-10), item("FAR", late=-40), item("OLDER", late=60),
    ]  # fmt: skip
    assert [i.number for i in selection(items, [], "reminder-1")] == ["OLDER", "LATE"]
    assert [i.number for i in selection(items, [], "pre-due")] == ["TODAY", "SOON"]
    assert [i.number for i in selection(items, ["id-SOON", "id-HELD", "id-CREDIT", "id-NODATE"], "reminder-1")] == [
        "SOON",
        "NODATE",
    ]


# ---- who and when ----------------------------------------------------------------------------------------------------
def test_accounts_payable_first_and_never_an_invalid_contact():
    contacts = ACCOUNT.contacts
    assert [a.email for a in recipients(contacts, [], "", "reminder-1")] == ["maja@norrland.example"]
    assert [a.email for a in recipients(contacts, ["c-3"], "", "reminder-1")] == []
    assert [a.email for a in recipients(contacts, ["c-2", "c-1"], "", "reminder-1")] == [
        "erik@norrland.example",
        "maja@norrland.example",
    ]
    assert [a.email for a in recipients(contacts, [], "MANAGEMENT", "reminder-1")] == ["erik@norrland.example"]
    assert [a.email for a in recipients(contacts, [], "LEGAL", "formal-notice")] == ["maja@norrland.example"]


@pytest.mark.parametrize(
    "address", ["", "a b@x.example", "a@x\r\nBcc: b@y.example", "<a@x.example>", "a@", "é@x.example", "a@x..example"]
)
def test_what_is_no_address_is_never_written_to(address):
    assert not delivery.is_address(address)


def test_language_falls_back_to_the_entity_then_english():
    assert delivery.language_for("", [Addressee("c", "n", "e@x.example", "TO", "sv")], ACCOUNT) == "sv"
    assert delivery.taken_language("sv", words.LANGUAGES, ACCOUNT) == "fr"
    assert delivery.taken_language("sv", words.LANGUAGES, replace(ACCOUNT, entity_language="sv")) == "en"


def test_paid_held_or_still_owed():
    frozen = {"id-A": Money("EUR", 10_000), "id-B": Money("EUR", 10_000)}
    assert [i.number for i in look_again(frozen, [item("B")], "reminder-1").items] == ["B"]
    assert look_again(frozen, [item("C")], "reminder-1").code == "PAID_IN_BETWEEN"
    assert look_again(frozen, [item("A", held=10_000)], "reminder-1").code == "HELD"


def test_what_was_typed_by_hand_is_noticed_when_it_is_no_longer_true():
    frozen, numbers = (
        {"id-FA-1": Money("EUR", 10_000), "id-FA-2": Money("EUR", 20_000)},
        {"id-FA-1": "FA-1", "id-FA-2": "FA-2"},
    )
    now = [item("FA-1", 5_000)]
    assert stale_words("<p>100.00 for FA-1 and FA-2</p>", frozen, numbers, now, "en") == ["100.00", "FA-2"]
    assert stale_words("<p>#items_list_selected</p>", frozen, numbers, now, "en") == []


class _Text(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data):
        self.parts.append(data)

    def handle_starttag(self, tag, attrs):
        if tag == "br":
            self.parts.append("\n")


def _visible(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    parser.close()
    return "".join(parser.parts)

"""Lists that are neither items nor parties: recognised by their headers in four languages, read, refused, sent on."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from import_driver import counts, state

from importer import domain
from importer.domain.objects import has_month_first, read_month
from quittance.importer.v1 import import_service_pb2 as pb

FIXTURES = Path(__file__).parents[3] / "tests" / "fixtures" / "objects"


def read(name: str, **wanted: object) -> domain.Analysis:
    raw = domain.read_table((FIXTURES / name).read_bytes(), name)
    return domain.analyse(raw, domain.Wanted(entity_code="FR01", entity_currency="EUR", **wanted))


def refused(analysis: domain.Analysis) -> list[tuple[int, str, str]]:
    return [(row["line"], row["field"], row["code"]) for row in analysis.rejects.to_pylist()]


@pytest.mark.parametrize(
    "name,kind,rows",
    [
        ("allocations_en.csv", domain.ALLOCATIONS, 3),
        ("allocations_fr.csv", domain.ALLOCATIONS, 2),
        ("sales_fr.csv", domain.SALES, 3),
        ("sales_de.csv", domain.SALES, 2),
        ("orders_en.csv", domain.ORDERS, 2),
        ("orders_es.csv", domain.ORDERS, 1),
        ("assignments_fr.csv", domain.ASSIGNMENTS, 2),
        ("rates_en.csv", domain.EXCHANGE_RATES, 3),
        ("rates_de.csv", domain.EXCHANGE_RATES, 1),
        ("cover_en.csv", domain.COVER, 2),
        ("cover_fr.csv", domain.COVER, 1),
        ("credit_information_fr.csv", domain.CREDIT_INFORMATION, 2),
        ("credit_information_de.csv", domain.CREDIT_INFORMATION, 1),
    ],
)
def test_a_list_is_recognised_and_read_with_the_columns_of_its_load(name, kind, rows):
    analysis = read(name)
    assert (analysis.object, [question.code for question in analysis.questions]) == (kind, [])
    assert analysis.accepted is not None
    assert (analysis.accepted.num_rows, analysis.accepted.schema) == (rows, domain.SCHEMAS[kind])


@pytest.mark.parametrize("kind", sorted(domain.SCHEMAS))
def test_each_object_has_a_sample(kind):
    assert any(read(path.name).object == kind for path in FIXTURES.glob("*.csv"))


def test_a_list_that_could_be_two_things_is_asked_about_and_read_as_answered():
    analysis = read("unclear.csv")
    assert [question.code for question in analysis.questions] == ["object"]
    assert domain.COVER in analysis.questions[0].options
    answered = read("unclear.csv", answers={"object": domain.COVER})
    assert (answered.object, answered.accepted_rows) == (domain.COVER, 1)


def test_allocations_are_amounts_without_a_sign():
    rows = read("allocations_en.csv").accepted.to_pylist()
    assert [(row["credit_number"], row["debit_number"], row["amount_minor"]) for row in rows] == [
        ("P-77", "INV-1", 1200_50),
        ("P-77", "INV-2", 99_50),
        ("CN-5", "INV-9", 300_00),
    ]
    assert rows[0]["value_on"] == date(2026, 3, 15)


def test_sales_stand_for_months_however_they_are_written():
    assert [row["month"] for row in read("sales_de.csv").accepted.to_pylist()] == [date(2026, 1, 1), date(2026, 3, 1)]
    french = read("sales_fr.csv")
    assert [(row["gross_minor"], row["net_minor"]) for row in french.accepted.to_pylist()] == [
        (12_000_00, 10_000_00),
        (6_000_00, 5_000_00),
        (-120_00, -100_00),
    ]
    assert [(total.currency, total.open_minor) for total in french.totals] == [("EUR", 17_880_00)]


@pytest.mark.parametrize(
    "text,month",
    [
        ("2026-03", "2026-03-01"),
        ("202603", "2026-03-01"),
        ("03/2026", "2026-03-01"),
        ("3.2026", "2026-03-01"),
        ("2026-03-31", "2026-03-01"),
        ("15/03/2026", "2026-03-01"),
        ("March 2026", "2026-03-01"),
        ("mars 26", "2026-03-01"),
        ("Mär. 2026", "2026-03-01"),
        ("diciembre 2026", "2026-12-01"),
        ("2026-13", ""),
        ("soon", ""),
        ("", ""),
    ],
)
def test_a_month_is_read(text, month):
    assert read_month(text) == month


def test_the_month_of_days_is_the_number_that_varies():
    assert not has_month_first(["01/01/2026", "01/02/2026", "01/03/2026"])
    assert has_month_first(["01/01/2026", "02/01/2026", "03/01/2026"])
    assert has_month_first(["01/31/2026", "02/28/2026"])
    assert not has_month_first(["31/01/2026", "28/02/2026"])


def test_orders_keep_what_is_delivered_apart():
    rows = read("orders_en.csv").accepted.to_pylist()
    assert [(row["number"], row["amount_minor"], row["delivered_minor"], row["delivery_on"]) for row in rows] == [
        ("SO-1", 5000_00, 1200_00, date(2026, 4, 1)),
        ("SO-2", 750_00, None, None),
    ]


def test_rates_keep_their_digits():
    assert [row["rate"] for row in read("rates_en.csv").accepted.to_pylist()] == ["0.9215", "1.1702", "0.00612"]
    assert [row["rate"] for row in read("rates_de.csv").accepted.to_pylist()] == ["0.9215"]


def test_rows_that_say_nothing_or_nonsense_are_refused_with_their_reason():
    assert refused(read("assignments_fr.csv")) == [(4, "collector", "missing")]
    cover = read("cover_en.csv")
    assert refused(cover) == [(4, "validUntil", "endsBeforeStart")]
    assert [row["kind"] for row in cover.accepted.to_pylist()] == ["INSURANCE", "GUARANTEE"]


def test_further_columns_of_credit_information_become_facts():
    analysis = read("credit_information_fr.csv", mapping={"Effectif": "custom:Effectif"})
    assert [row["facts"] for row in analysis.accepted.to_pylist()] == ['{"Effectif":"120"}', None]
    assert [(row["score"], row["rating"]) for row in analysis.accepted.to_pylist()] == [("52", "B2"), (None, "C1")]


def test_each_field_has_a_synonym_of_its_own_and_words_in_both_languages():
    for kind in domain.SCHEMAS:
        names = [field.name for field in domain.FIELDS[kind]]
        assert len(names) == len(set(names))
        for field in domain.FIELDS[kind]:
            assert field.synonyms and field.label_en and field.label_fr
            assert all(word == word.lower() and word.isascii() for word in field.synonyms), field.name


@pytest.mark.parametrize("name", ["sales_fr.csv", "orders_en.csv", "assignments_fr.csv", "rates_en.csv"])
def test_a_list_goes_to_the_ledger_as_planned(service, name):
    data = (FIXTURES / name).read_bytes()
    run = service.upload(data, name=name)
    assert state(run) == "PREVIEWED"
    assert run.consequences.created == run.row_counts.accepted > 0
    assert service.ledger.others == []
    applied = service.apply(run.import_id)
    assert (state(applied), counts(applied)[0]) == ("APPLIED", run.row_counts.accepted)
    assert len(service.ledger.others) == run.row_counts.accepted


def test_an_unknown_customer_is_refused_in_the_plan_already(service):
    text = "Customer;Month;Sales including tax;Currency\nUNKNOWN;2026-01;10,50;EUR\nC1;2026-01;10,50;EUR\n"
    run = service.upload(text, name="sales.csv")
    assert (run.object, run.consequences.rejected) == (pb.IMPORT_OBJECT_SALES, 1)
    assert [(reject.line, reject.code) for reject in run.rejects] == [(2, "unknownToLedger")]
    assert counts(service.apply(run.import_id)) == (1, 0, 0, 0, 1)

"""CustomerService: what people keep of customers, and what files may still change of it."""

from datetime import timedelta

import pyarrow as pa
import pytest
from ledger_driver import TIMEOUT_S, TODAY, counts, item_row, item_table

from kit import bulk
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, refused
from ledger import domain
from ledger.__main__ import DEFINITION
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import account_pb2, item_pb2, ledger_events_pb2
from quittance.ledger.v1 import customer_service_pb2 as cpb
from quittance.ledger.v1 import customer_service_pb2_grpc as cpb_grpc
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_service_pb2 as pb


@pytest.fixture
def customers(ledger, grpc_in_process):
    """One RPC of CustomerService by name: customers("ListGroups", request)."""
    stub = cpb_grpc.CustomerServiceStub(grpc_in_process(DEFINITION, ledger.database))

    def call(method, request):
        return getattr(stub, method)(request, timeout=TIMEOUT_S)

    return call


def account(ledger, number, **request):
    for filter_text in (f'number="{number}"', f'number="{number}" AND merged=true'):
        for found in ledger.accounts(filter=filter_text, **request):
            return found
    raise LookupError(number)


def two_accounts(ledger):
    """000100 with F1 (100.00) and F2 (50.00), 000200 with G1 (70.00) and a cleared G2."""
    ledger.load(
        item_row(),
        item_row(number="F2", initial_minor=5_000, open_minor=5_000),
        item_row(account_number="000200", account_name="Northwind", number="G1", initial_minor=7_000, open_minor=7_000),
        item_row(account_number="000200", account_name="Northwind", number="G2", open_minor=0, settled_on=TODAY),
    )
    return account(ledger, "000100"), account(ledger, "000200")


def merge(customers, survivor, *merged, **options):
    request = cpb.MergeAccountsRequest(
        survivor_id=survivor.account_id, merged_ids=[one.account_id for one in merged], reason="one customer", **options
    )
    return customers("MergeAccounts", request)


def split(customers, merged, **options):
    return customers("SplitMerge", cpb.SplitMergeRequest(account_id=merged.account_id, **options))


def open_minor(found):
    return {balance.currency: balance.open.minor_units for balance in found.balances}


def account_tables(**columns):
    return pa.table({name: pa.array([value], pa.string()) for name, value in columns.items()})


# ---- merging ---------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_a_merge_moves_and_changes_nothing(ledger, customers):
    survivor, merged = two_accounts(ledger)
    ledger.call(
        "CreateContact", pb.CreateContactRequest(account_id=merged.account_id, name="Ada", email="ada@x.example")
    )
    said = len(ledger.events())
    plan = merge(customers, survivor, merged, plan_only=True)
    assert (plan.item_count, plan.contact_count, list(plan.names)) == (2, 1, ["Northwind"])
    assert {balance.currency: balance.open.minor_units for balance in plan.balances} == {"EUR": 7_000}
    assert not plan.HasField("account")
    assert len(ledger.events()) == said
    assert open_minor(account(ledger, "000200")) == {"EUR": 7_000}


def test_merged_accounts_become_one_with_everything_they_had(ledger, customers):
    survivor, merged = two_accounts(ledger)
    history = ledger.history("G2")
    item = next(item for item in ledger.items() if item.number == "G1")
    order = pb.HoldOrder(item_id=item.item_id, kind=item_pb2.HOLD_KIND_DISPUTE, reason="price")
    request = pb.PlaceHoldsRequest(
        request_id=new_id(), account_id=merged.account_id, source="dispute", source_id="1", holds=[order]
    )
    ledger.call("PlaceHolds", request)
    ledger.call("UpdateAccount", pb.UpdateAccountRequest(account_id=merged.account_id, groups=["KEY"]))
    ledger.call(
        "CreateContact", pb.CreateContactRequest(account_id=merged.account_id, name="Ada", email="ada@x.example")
    )
    answer = merge(customers, survivor, merged)
    assert answer.item_count == 2
    after = ledger.call("GetAccount", pb.GetAccountRequest(account_id=survivor.account_id)).account
    assert open_minor(after) == {"EUR": 22_000}
    assert after.balances[0].held.minor_units == 7_000
    assert (list(after.groups), [contact.name for contact in after.contacts]) == (["KEY"], ["Ada"])
    assert {after.name, *after.aliases} == {"Northwind SA", "Northwind"}
    assert ledger.history("G2") == history
    sign = ledger.call("GetAccount", pb.GetAccountRequest(account_id=merged.account_id)).account
    assert (sign.merged_into_id, list(sign.balances)) == (survivor.account_id, [])
    assert [found.number for found in ledger.accounts()] == ["000100"]


def test_what_is_asked_of_a_merged_account_is_true_of_the_survivor(ledger, customers):
    survivor, merged = two_accounts(ledger)
    merge(customers, survivor, merged)
    look = ledger.call("LookAgain", pb.LookAgainRequest(account_id=merged.account_id))
    assert look.account.account_id == survivor.account_id
    assert {item.number for item in look.items} == {"F1", "F2", "G1"}
    order = pb.HoldOrder(
        item_id=next(item.item_id for item in look.items if item.number == "G1"), kind=item_pb2.HOLD_KIND_PROMISE,
        reason="said so",
    )  # fmt: skip
    request = pb.PlaceHoldsRequest(
        request_id=new_id(), account_id=merged.account_id, source="portal", source_id="9", holds=[order]
    )
    assert ledger.call("PlaceHolds", request).holds[0].account_id == survivor.account_id


def test_later_files_that_name_the_merged_number_reach_the_survivor(ledger, customers):
    survivor, merged = two_accounts(ledger)
    merge(customers, survivor, merged)
    done = ledger.load(
        item_row(account_number="000200", account_name="Northwind", number="G1", initial_minor=7_000, open_minor=3_000),
        item_row(account_number="000200", account_name="Northwind", number="G3", initial_minor=1_000, open_minor=1_000),
    )
    assert done == {"created": 1, "updated": 1}
    assert open_minor(account(ledger, "000100")) == {"EUR": 19_000}
    contact = account_tables(account_number="000200", name="Bo", email="bo@x.example")
    assert counts(ledger.stream(contact, method="LoadContacts")[0]) == {"created": 1}
    found = ledger.call("GetAccount", pb.GetAccountRequest(account_id=survivor.account_id)).account
    assert [contact.email for contact in found.contacts] == ["bo@x.example"]
    row = account_tables(number="000200", name="Quite another name", collector="eve@x.example")
    assert counts(ledger.stream(row, method="LoadAccounts")[0]) == {"unchanged": 1}


def test_the_same_item_under_both_numbers_of_one_file_is_refused(ledger, customers):
    survivor, merged = two_accounts(ledger)
    merge(customers, survivor, merged)
    (progress,) = ledger.stream(
        item_table(item_row(number="N1"), item_row(account_number="000200", number="N1"), item_row(number="N2"))
    )
    assert counts(progress) == {"created": 1, "rejected": 2}
    assert {reject.reason for reject in progress.rejects} == {"DUPLICATE_KEY"}


def test_a_complete_file_with_both_numbers_clears_nothing_and_changes_nothing_again(ledger, customers):
    survivor, merged = two_accounts(ledger)
    merge(customers, survivor, merged)
    rows = [
        item_row(),
        item_row(number="F2", initial_minor=5_000, open_minor=5_000),
        item_row(account_number="000200", account_name="Northwind", number="G1", initial_minor=7_000, open_minor=7_000),
    ]
    for _ in range(3):
        assert ledger.stock(*rows).cleared_absent == 0
    assert open_minor(account(ledger, "000100")) == {"EUR": 22_000}
    assert ledger.stock(*rows[:2], confirm_clearing=True).cleared_absent == 1
    assert open_minor(account(ledger, "000100")) == {"EUR": 15_000}


def test_splitting_gives_back_what_came_from_the_account_and_for_its_number_since(ledger, customers):
    survivor, merged = two_accounts(ledger)
    ledger.call("UpdateAccount", pb.UpdateAccountRequest(account_id=merged.account_id, groups=["KEY"]))
    ledger.call(
        "CreateContact", pb.CreateContactRequest(account_id=merged.account_id, name="Ada", email="ada@x.example")
    )
    merge(customers, survivor, merged)
    ledger.load(item_row(account_number="000200", account_name="Northwind", number="G3"))
    ledger.load(item_row(number="G4"))
    answer = split(customers, merged)
    assert answer.item_count == 3
    one, two = account(ledger, "000100"), account(ledger, "000200")
    assert (open_minor(one), open_minor(two)) == ({"EUR": 25_000}, {"EUR": 17_000})
    assert (one.name, list(one.aliases), two.name) == ("Northwind SA", [], "Northwind")
    assert (list(one.groups), two.merged_into_id) == ([], "")
    assert [contact.name for contact in answer.account.contacts] == ["Ada"]
    with refused(Code.FAILED_PRECONDITION, "NOT_MERGED"):
        split(customers, merged)
    found = customers("ListMerges", cpb.ListMergesRequest(filter="is_split=true")).merges
    assert [(one.merged_number, one.survivor_number) for one in found] == [("000200", "000100")]
    assert ledger.load(item_row(account_number="000200", number="G5")) == {"created": 1}
    assert open_minor(account(ledger, "000200")) == {"EUR": 27_000}


def test_a_survivor_that_is_merged_itself_takes_everybody_with_it(ledger, customers):
    first, second = two_accounts(ledger)
    ledger.load(item_row(account_number="000300", account_name="North Wind", number="H1"))
    third = account(ledger, "000300")
    merge(customers, first, second)
    merge(customers, third, first)
    assert open_minor(account(ledger, "000300")) == {"EUR": 32_000}
    assert account(ledger, "000200").merged_into_id == third.account_id
    assert split(customers, second).survivor.account_id == third.account_id
    assert open_minor(account(ledger, "000200")) == {"EUR": 7_000}
    assert split(customers, first).item_count == 2


def test_accounts_with_the_same_item_are_not_merged(ledger, customers):
    ledger.load(item_row(), item_row(account_number="000200"))
    one, two = account(ledger, "000100"), account(ledger, "000200")
    plan = merge(customers, one, two, plan_only=True)
    assert [(found.number, list(found.account_numbers)) for found in plan.conflicts] == [("F1", ["000100", "000200"])]
    with refused(Code.FAILED_PRECONDITION, "MERGE_CONFLICT"):
        merge(customers, one, two)


def test_only_different_accounts_of_one_entity_are_merged_and_each_once(ledger, customers):
    one, two = two_accounts(ledger)
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="DE01", name="D", country="DE", currency="EUR"))
    ledger.load(item_row(), entity_code="DE01")
    german = ledger.accounts(filter="entity_code=DE01")[0]
    for wrong in (one, german):
        with refused(Code.FAILED_PRECONDITION, "MERGE_IMPOSSIBLE"):
            merge(customers, one, wrong)
    merge(customers, one, two)
    with refused(Code.FAILED_PRECONDITION, "MERGE_IMPOSSIBLE"):
        merge(customers, one, two)
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        merge(customers, one, account_pb2.Account(account_id=new_id()))
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        merge(customers, one, account_pb2.Account(account_id="x'); DROP"))


def test_a_merge_asked_for_twice_is_done_once(ledger, customers):
    one, two = two_accounts(ledger)
    first = merge(customers, one, two, request_id="m1")
    said = len(ledger.events())
    assert merge(customers, one, two, request_id="m1") == first
    assert len(ledger.events()) == said


def test_readers_hear_of_both_accounts_at_once_and_of_every_item_anew(ledger, customers):
    one, two = two_accounts(ledger)
    before = len(ledger.events())
    merge(customers, one, two)
    facts, told = ledger.events()[before:]
    moved = bulk.from_ipc(facts.items)
    assert set(moved["account_id"].to_pylist()) == {one.account_id}
    assert set(moved["number"].to_pylist()) == {"G1", "G2"}
    assert set(moved["version"].to_pylist()) == {2}
    assert bulk.from_ipc(facts.changes).num_rows == 0
    rows = {row["number"]: row["merged_into_id"] for row in bulk.from_ipc(told.accounts).to_pylist()}
    assert rows == {"000200": one.account_id, "000100": ""}
    items = bulk.from_ipc(told.open_items)
    assert set(items["number"].to_pylist()) == {"F1", "F2", "G1"}
    assert set(items["account_id"].to_pylist()) == {one.account_id}


def test_of_large_accounts_readers_hear_first_and_last_who_has_the_items_now(ledger, customers, monkeypatch):
    monkeypatch.setattr("ledger.usecases.merging.ONE_EVENT_ITEMS", 1)
    one, two = two_accounts(ledger)
    before = len(ledger.events())
    merge(customers, one, two)
    split(customers, two)
    said = [event for event in ledger.events()[before:] if isinstance(event, ledger_events_pb2.AccountsChanged)]
    rows = [bulk.from_ipc(event.accounts).to_pylist() for event in said]
    assert [row["number"] for (row,) in rows] == ["000100", "000200", "000100", "000200", "000100", "000200"]
    assert rows[0][0]["version"] < rows[2][0]["version"]


def test_suggestions_name_the_reason_and_pass_over_spellings_of_one_number(ledger, customers):
    ledger.load(
        item_row(account_number="1", account_name="Café Müller GmbH", number="A1"),
        item_row(account_number="1", account_name="CAFÉ MULLER", number="A2"),
        item_row(account_number="2", account_name="Cafe Muller", number="A3"),
        item_row(account_number="3", account_name="Sodexo Facilities SAS", number="A4"),
        item_row(account_number="4", account_name="Sodexxo Facilites SAS", number="A5"),
        item_row(account_number="5", account_name="Alone Ltd", number="A6"),
    )
    for number, name in (("6", "Alpha"), ("7", "Omega")):
        row = account_tables(number=number, name=name, country="FR", registration_number="552100554")
        ledger.stream(row, method="LoadAccounts")
    found = customers("SuggestMerges", cpb.SuggestMergesRequest(entity_code="FR01")).suggestions
    said = [(cpb.MergeReason.Name(one.reason), sorted(a.number for a in one.accounts)) for one in found]
    assert said == [
        ("MERGE_REASON_SAME_REGISTRATION", ["6", "7"]),
        ("MERGE_REASON_SAME_NAME", ["1", "2"]),
        ("MERGE_REASON_SIMILAR_NAME", ["3", "4"]),
    ]


# ---- exclusions and rules --------------------------------------------------------------------------------------------


def test_excluded_items_are_not_collectable_and_stay_in_the_balance(ledger, customers):
    one, _ = two_accounts(ledger)
    item = next(item for item in ledger.items() if item.number == "F1")
    request = cpb.ExcludeItemsRequest(
        request_id="x1", account_id=one.account_id, item_ids=[item.item_id], reason="agreed with sales"
    )
    assert customers("ExcludeItems", request).item_count == 1
    balance = account(ledger, "000100").balances[0]
    assert (balance.open.minor_units, balance.collectable_overdue.minor_units) == (15_000, 5_000)
    hold = ledger.item("F1").holds[0]
    assert (hold.kind, hold.reason) == (item_pb2.HOLD_KIND_EXCLUSION, "agreed with sales")
    back = cpb.IncludeItemsRequest(
        request_id="x2", account_id=one.account_id, item_ids=[item.item_id], reason="paid late"
    )
    assert customers("IncludeItems", back).item_count == 1
    assert account(ledger, "000100").balances[0].collectable_overdue.minor_units == 15_000
    with refused(Code.NOT_FOUND, "ITEM_UNKNOWN"):
        customers(
            "ExcludeItems",
            cpb.ExcludeItemsRequest(request_id="x3", account_id=one.account_id, item_ids=[new_id()], reason="r"),
        )


def test_an_entity_keeps_its_rules_and_says_them(ledger, customers):
    changed = customers(
        "UpdateEntity",
        cpb.UpdateEntityRequest(
            entity="FR01", name="Fournier SAS",
            ignore_item_below=money_pb2.Money(currency="EUR", minor_units=500),
            min_account_amount=money_pb2.Money(currency="EUR", minor_units=2_000),
            field_owners={"collector": account_pb2.FIELD_OWNER_PLATFORM},
        ),
    ).entity  # fmt: skip
    assert (changed.name, changed.version, changed.min_account_amount.minor_units) == ("Fournier SAS", 2, 2_000)
    said = [event for event in ledger.events() if isinstance(event, ledger_events_pb2.EntityChanged)]
    assert said[-1].entity == changed
    for wrong in (
        {"ignore_item_below": money_pb2.Money(currency="USD", minor_units=500)},
        {"min_account_amount": money_pb2.Money(currency="EUR", minor_units=-1)},
        {"time_zone": "Mars/Base"},
        {"field_owners": {"number": account_pb2.FIELD_OWNER_PLATFORM}},
        {"name": ""},
    ):
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            customers("UpdateEntity", cpb.UpdateEntityRequest(entity="FR01", **wrong))
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        customers("UpdateEntity", cpb.UpdateEntityRequest(entity="XX01", name="X"))


@pytest.mark.parametrize(
    ("owner", "after_first", "after_edit"),
    [
        (account_pb2.FIELD_OWNER_ERP, "erp2@x.example", "erp3@x.example"),
        (account_pb2.FIELD_OWNER_PLATFORM, "erp1@x.example", "me@x.example"),
        (account_pb2.FIELD_OWNER_ERP_UNTIL_EDITED, "erp2@x.example", "me@x.example"),
    ],
)
def test_a_file_changes_only_what_the_erp_owns(ledger, customers, owner, after_first, after_edit):
    customers("UpdateEntity", cpb.UpdateEntityRequest(entity="FR01", field_owners={"collector": owner}))

    def load(collector):
        return ledger.stream(account_tables(number="1", name="A", collector=collector), method="LoadAccounts")[0]

    load("erp1@x.example")
    load("erp2@x.example")
    assert account(ledger, "1").collector == after_first
    ledger.call(
        "UpdateAccount",
        pb.UpdateAccountRequest(account_id=account(ledger, "1").account_id, collector="me@x.example"),
    )
    progress = load("erp3@x.example")
    assert account(ledger, "1").collector == after_edit
    assert progress.kept == (0 if owner == account_pb2.FIELD_OWNER_ERP else 1)


# ---- contacts --------------------------------------------------------------------------------------------------------


def add_contact(ledger, one, **fields):
    fields = {"name": "Ada", "email": "ada@x.example", **fields}
    return ledger.call("CreateContact", pb.CreateContactRequest(account_id=one.account_id, **fields)).contact


def test_a_contact_has_roles_channels_and_a_place(ledger, customers):
    one, _ = two_accounts(ledger)
    contact = add_contact(
        ledger, one, roles=[account_pb2.CONTACT_ROLE_BUYER, account_pb2.CONTACT_ROLE_LEGAL],
        channels=[account_pb2.CONTACT_CHANNEL_EMAIL, account_pb2.CONTACT_CHANNEL_PHONE],
        preferred_channel=account_pb2.CONTACT_CHANNEL_PHONE, recipient=account_pb2.CONTACT_RECIPIENT_CC,
    )  # fmt: skip
    assert (contact.role, list(contact.roles)) == (account_pb2.CONTACT_ROLE_BUYER, list(contact.roles))
    assert list(contact.roles) == [account_pb2.CONTACT_ROLE_BUYER, account_pb2.CONTACT_ROLE_LEGAL]
    assert (contact.preferred_channel, contact.recipient, contact.scope) == (
        account_pb2.CONTACT_CHANNEL_PHONE, account_pb2.CONTACT_RECIPIENT_CC, account_pb2.CONTACT_SCOPE_ACCOUNT,
    )  # fmt: skip
    told = bulk.from_ipc(ledger.events()[-1].contacts).to_pylist()[0]
    assert (told["roles"], told["recipient"]) == ('["BUYER", "LEGAL"]', "CC")


def test_a_changed_address_is_valid_again_and_belongs_to_one_contact(ledger, customers):
    one, _ = two_accounts(ledger)
    contact, other = add_contact(ledger, one), add_contact(ledger, one, name="Bo", email="bo@x.example")
    ledger.call("MarkContact", pb.MarkContactRequest(contact_id=contact.contact_id, valid=False, reason="bounced"))
    changed = customers(
        "UpdateContact", cpb.UpdateContactRequest(contact_id=contact.contact_id, email="ada2@x.example")
    ).contact
    assert (changed.email, changed.valid, changed.name) == ("ada2@x.example", True, "Ada")
    with refused(Code.ALREADY_EXISTS, "CONTACT_TAKEN"):
        customers("UpdateContact", cpb.UpdateContactRequest(contact_id=other.contact_id, email="ADA2@x.example"))
    with refused(Code.NOT_FOUND, "CONTACT_UNKNOWN"):
        customers("UpdateContact", cpb.UpdateContactRequest(contact_id=new_id(), name="X"))


def test_a_deleted_contact_is_gone_and_no_file_brings_it_back(ledger, customers):
    one, _ = two_accounts(ledger)
    contact = add_contact(ledger, one)
    customers("DeleteContact", cpb.DeleteContactRequest(contact_id=contact.contact_id))
    row = account_tables(account_number="000100", name="Ada Again", email="ada@x.example")
    assert counts(ledger.stream(row, method="LoadContacts")[0]) == {"unchanged": 1}
    assert not ledger.call("GetAccount", pb.GetAccountRequest(account_id=one.account_id)).account.contacts
    with refused(Code.NOT_FOUND, "CONTACT_UNKNOWN"):
        customers("DeleteContact", cpb.DeleteContactRequest(contact_id=contact.contact_id))
    assert add_contact(ledger, one).contact_id == contact.contact_id


def test_a_contact_of_the_legal_unit_is_one_of_all_its_accounts(ledger, customers):
    one, two = two_accounts(ledger)
    for found in (one, two):
        customers(
            "AssignLegalUnit",
            cpb.AssignLegalUnitRequest(account_id=found.account_id, registration_number="552100554", country="FR"),
        )
    add_contact(ledger, one, scope=account_pb2.CONTACT_SCOPE_LEGAL_UNIT)
    add_contact(ledger, one, name="Own", email="own@x.example")
    seen = ledger.call("LookAgain", pb.LookAgainRequest(account_id=two.account_id)).account.contacts
    assert [contact.name for contact in seen] == ["Ada"]


def test_a_contact_for_items_names_items_of_its_account(ledger, customers):
    one, _ = two_accounts(ledger)
    item = next(item for item in ledger.items() if item.number == "F1")
    other = next(item for item in ledger.items() if item.number == "G1")
    scope = account_pb2.CONTACT_SCOPE_ITEMS
    assert list(add_contact(ledger, one, scope=scope, item_ids=[item.item_id]).item_ids) == [item.item_id]
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        add_contact(ledger, one, email="b@x.example", scope=scope)
    with refused(Code.NOT_FOUND, "ITEM_UNKNOWN"):
        add_contact(ledger, one, email="b@x.example", scope=scope, item_ids=[other.item_id])


def test_accounts_without_a_contact_that_can_be_reached_are_found(ledger, customers):
    one, _ = two_accounts(ledger)
    contact = add_contact(ledger, one)
    assert [found.number for found in ledger.accounts(filter="has_contact=false")] == ["000200"]
    assert [found.number for found in ledger.accounts(filter="has_contact=true")] == ["000100"]
    ledger.call("MarkContact", pb.MarkContactRequest(contact_id=contact.contact_id, valid=False, reason="bounced"))
    assert not ledger.accounts(filter="has_contact=true")


# ---- legal units, groups, custom fields ------------------------------------------------------------------------------


def test_a_legal_unit_shows_its_accounts_and_their_balances_per_currency(ledger, customers):
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="US01", name="U", country="US", currency="USD"))
    ledger.load(item_row())
    ledger.load(item_row(currency="USD", number="U1"), entity_code="US01")
    for found in ledger.accounts():
        customers(
            "AssignLegalUnit",
            cpb.AssignLegalUnitRequest(
                account_id=found.account_id, registration_number="552100554", country="FR", name="Northwind Group"
            ),
        )
    (unit,) = customers("ListLegalUnits", cpb.ListLegalUnitsRequest()).legal_units
    assert (unit.name, unit.registration_number, unit.account_count) == ("Northwind Group", "552100554", 2)
    whole = customers("GetLegalUnit", cpb.GetLegalUnitRequest(legal_unit_id=unit.legal_unit_id))
    assert [found.entity_code for found in whole.accounts] == ["FR01", "US01"]
    assert [(b.currency, b.open.minor_units) for b in whole.balances] == [("EUR", 10_000), ("USD", 10_000)]
    before = len(ledger.events())
    customers("UpdateLegalUnit", cpb.UpdateLegalUnitRequest(legal_unit_id=unit.legal_unit_id, name="Northwind"))
    (said,) = ledger.events()[before:]
    assert bulk.from_ipc(said.accounts)["legal_unit_name"].to_pylist() == ["Northwind"] * 2
    alone = customers("AssignLegalUnit", cpb.AssignLegalUnitRequest(account_id=whole.accounts[0].account_id)).account
    assert (alone.registration_number, alone.legal_unit_id == unit.legal_unit_id) == ("", False)
    with refused(Code.ALREADY_EXISTS, "REGISTRATION_TAKEN"):
        customers(
            "UpdateLegalUnit",
            cpb.UpdateLegalUnitRequest(
                legal_unit_id=alone.legal_unit_id, registration_number="552100554", country="FR"
            ),
        )
    with refused(Code.NOT_FOUND, "LEGAL_UNIT_UNKNOWN"):
        customers("GetLegalUnit", cpb.GetLegalUnitRequest(legal_unit_id=new_id()))


def test_groups_exist_as_soon_as_an_account_names_them(ledger, customers):
    ledger.stream(account_tables(number="1", name="A", groups="KEY, NORTH"), method="LoadAccounts")
    listed = customers("ListGroups", cpb.ListGroupsRequest()).groups
    assert [(group.code, group.name, group.account_count) for group in listed] == [
        ("KEY", "KEY", 1),
        ("NORTH", "NORTH", 1),
    ]
    changed = customers("UpdateGroup", cpb.UpdateGroupRequest(code="KEY", name="Key accounts", colour="accent")).group
    assert (changed.name, changed.colour, changed.account_count) == ("Key accounts", "accent", 1)
    with refused(Code.FAILED_PRECONDITION, "GROUP_IN_USE"):
        customers("DeleteGroup", cpb.DeleteGroupRequest(code="KEY"))
    one = account(ledger, "1")
    ledger.call("UpdateAccount", pb.UpdateAccountRequest(account_id=one.account_id, remove_groups=["KEY"]))
    customers("DeleteGroup", cpb.DeleteGroupRequest(code="KEY"))
    customers("CreateGroup", cpb.CreateGroupRequest(code="SOUTH", name="South"))
    with refused(Code.ALREADY_EXISTS, "GROUP_CODE_TAKEN"):
        customers("CreateGroup", cpb.CreateGroupRequest(code="SOUTH"))
    with refused(Code.NOT_FOUND, "GROUP_UNKNOWN"):
        customers("UpdateGroup", cpb.UpdateGroupRequest(code="KEY", name="x"))
    assert [group.code for group in customers("ListGroups", cpb.ListGroupsRequest()).groups] == ["NORTH", "SOUTH"]


def define(customers, name, kind, **more):
    request = cpb.SetCustomFieldRequest(object=cpb.FIELD_OBJECT_ACCOUNT, name=name, type=kind, **more)
    return customers("SetCustomField", request).field


def test_custom_fields_come_with_files_and_take_only_values_of_their_type(ledger, customers):
    row = account_tables(number="1", name="A", custom_fields='{"Region": "North", "Rating": "7.5"}')
    ledger.stream(row, method="LoadAccounts")
    found = customers("ListCustomFields", cpb.ListCustomFieldsRequest()).fields
    assert [(one.name, one.type) for one in found] == [("Rating", cpb.FIELD_TYPE_TEXT), ("Region", cpb.FIELD_TYPE_TEXT)]
    define(customers, "Rating", cpb.FIELD_TYPE_NUMBER)
    define(customers, "Region", cpb.FIELD_TYPE_LIST, options=["North", "South"])
    one = account(ledger, "1")
    for name, value in (("Rating", "high"), ("Region", "East")):
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            ledger.call(
                "UpdateAccount", pb.UpdateAccountRequest(account_id=one.account_id, custom_fields={name: value})
            )
    ledger.call("UpdateAccount", pb.UpdateAccountRequest(account_id=one.account_id, custom_fields={"Rating": "12"}))
    assert account(ledger, "1").custom_fields["Rating"] == "12"
    with refused(Code.FAILED_PRECONDITION, "VALUES_DO_NOT_FIT"):
        define(customers, "Region", cpb.FIELD_TYPE_DATE)
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        define(customers, "Other", cpb.FIELD_TYPE_LIST)
    customers("DeleteCustomField", cpb.DeleteCustomFieldRequest(object=cpb.FIELD_OBJECT_ACCOUNT, name="Region"))
    with refused(Code.NOT_FOUND, "CUSTOM_FIELD_UNKNOWN"):
        customers("DeleteCustomField", cpb.DeleteCustomFieldRequest(object=cpb.FIELD_OBJECT_ACCOUNT, name="Region"))


def test_accounts_are_found_by_their_custom_fields(ledger, customers):
    for number, rating, since in (("1", "9", "2024-01-15"), ("2", "10", "2023-06-01")):
        fields = f'{{"Rating": "{rating}", "Sales region": "R{number}", "Since": "{since}"}}'
        ledger.stream(account_tables(number=number, name="A", custom_fields=fields), method="LoadAccounts")
    define(customers, "Rating", cpb.FIELD_TYPE_NUMBER)
    define(customers, "Since", cpb.FIELD_TYPE_DATE)

    def found(filter_text):
        return [one.number for one in ledger.accounts(filter=filter_text)]

    assert found("custom.rating>9") == ["2"]
    assert found("custom.Sales_region=R1") == ["1"]
    assert found("custom.since>=2024-01-01 AND custom.rating<10") == ["1"]
    assert found('custom.rating!="null" AND custom.sales_region:r') == ["1", "2"]
    for wrong in ("custom.unknown=1", "custom.rating=many"):
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            found(wrong)


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("NUMBER", "-12.50", True), ("NUMBER", "1,5", False), ("NUMBER", "1e5", False), ("DATE", "2024-02-29", True),
        ("DATE", "2023-02-29", False), ("DATE", "29/02/2024", False), ("LIST", "a", True), ("LIST", "b", False),
        ("TEXT", "anything", True), ("NUMBER", "", True),
    ],
)  # fmt: skip
def test_values_fit_their_types(kind, value, fits):
    assert (domain.misfit(kind, ["a"], value) is None) is fits


# ---- masters and many accounts ---------------------------------------------------------------------------------------


def set_master(customers, one, master=None):
    master_id = "" if master is None else master.account_id
    return customers("SetMaster", cpb.SetMasterRequest(account_id=one.account_id, master_account_id=master_id)).account


def test_a_master_is_asked_for_the_items_of_all_it_leads(ledger, customers):
    master, other = two_accounts(ledger)
    assert set_master(customers, other, master).master_account_id == master.account_id
    told = {row["number"]: row for event in ledger.events()[-1:] for row in bulk.from_ipc(event.accounts).to_pylist()}
    assert told["000200"]["master_account_id"] == master.account_id
    look = ledger.call("LookAgain", pb.LookAgainRequest(account_id=master.account_id))
    assert {item.number for item in look.items} == {"F1", "F2", "G1"}
    assert list(look.account.grouped_account_ids) == [other.account_id]
    assert open_minor(look.account) == {"EUR": 15_000}
    item = next(item for item in look.items if item.number == "G1")
    order = pb.HoldOrder(item_id=item.item_id, kind=item_pb2.HOLD_KIND_PROMISE, reason="said so")
    request = pb.PlaceHoldsRequest(
        request_id=new_id(), account_id=master.account_id, source="scenario", source_id="p1", holds=[order]
    )
    assert ledger.call("PlaceHolds", request).holds[0].account_id == other.account_id
    assert account(ledger, "000200").balances[0].held.minor_units == 7_000
    assert set_master(customers, other).master_account_id == ""
    assert {item.number for item in ledger.call("LookAgain", pb.LookAgainRequest(account_id=master.account_id)).items} == {
        "F1", "F2",
    }  # fmt: skip


def test_grouping_has_one_level_in_one_entity(ledger, customers):
    one, two = two_accounts(ledger)
    ledger.load(item_row(account_number="000300", number="H1"))
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="DE01", name="D", country="DE", currency="EUR"))
    ledger.load(item_row(), entity_code="DE01")
    german, three = ledger.accounts(filter="entity_code=DE01")[0], account(ledger, "000300")
    set_master(customers, two, one)
    for wrong, master in ((one, one), (one, three), (three, two), (three, german)):
        with refused(Code.FAILED_PRECONDITION, "MASTER_IMPOSSIBLE"):
            set_master(customers, wrong, master)


def test_many_accounts_change_alike_after_a_plan(ledger, customers):
    two_accounts(ledger)
    ledger.load(item_row(account_number="000300", number="H1"))
    change = {"collector": "eve@x.example", "add_groups": ["KEY"], "custom_fields": {"Region": "N"}}
    plan = customers(
        "BulkUpdateAccounts", cpb.BulkUpdateAccountsRequest(filter='number<"000300"', plan_only=True, **change)
    )
    assert (plan.account_count, plan.changed_count) == (2, 2)
    assert dict(plan.effects[0].after) == {
        "collector": "eve@x.example", "groups": "KEY", "custom_fields": '{"Region": "N"}',
    }  # fmt: skip
    assert account(ledger, "000100").collector == ""
    request = cpb.BulkUpdateAccountsRequest(filter='number<"000300"', **change)
    assert customers("BulkUpdateAccounts", request).changed_count == 2
    assert customers("BulkUpdateAccounts", request).changed_count == 0
    one, three = account(ledger, "000100"), account(ledger, "000300")
    assert (one.collector, list(one.groups), dict(one.custom_fields)) == ("eve@x.example", ["KEY"], {"Region": "N"})
    assert (three.collector, list(three.groups)) == ("", [])
    undo = cpb.BulkUpdateAccountsRequest(account_ids=[one.account_id], remove_groups=["KEY"], collector="")
    assert customers("BulkUpdateAccounts", undo).changed_count == 1
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        customers("BulkUpdateAccounts", cpb.BulkUpdateAccountsRequest(filter=""))


def test_many_accounts_are_grouped_under_one(ledger, customers):
    master, other = two_accounts(ledger)
    request = cpb.BulkUpdateAccountsRequest(account_ids=[other.account_id], master_account_id=master.account_id)
    assert customers("BulkUpdateAccounts", request).changed_count == 1
    assert account(ledger, "000200").master_account_id == master.account_id
    with refused(Code.FAILED_PRECONDITION, "MASTER_IMPOSSIBLE"):
        customers(
            "BulkUpdateAccounts",
            cpb.BulkUpdateAccountsRequest(account_ids=[master.account_id], master_account_id=master.account_id),
        )


def test_nobody_changes_accounts_of_entities_he_does_not_see(ledger, grpc_in_process):
    one, two = two_accounts(ledger)
    scoped = caller_of(ledger.tenant, entities={"DE01"})
    stub = cpb_grpc.CustomerServiceStub(grpc_in_process(DEFINITION, ledger.database, scoped))
    for method, request in (
        ("MergeAccounts", cpb.MergeAccountsRequest(survivor_id=one.account_id, merged_ids=[two.account_id])),
        ("SplitMerge", cpb.SplitMergeRequest(account_id=one.account_id)),
        ("SetMaster", cpb.SetMasterRequest(account_id=one.account_id, master_account_id=two.account_id)),
        ("AssignLegalUnit", cpb.AssignLegalUnitRequest(account_id=one.account_id)),
    ):
        with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
            getattr(stub, method)(request, timeout=TIMEOUT_S)
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        stub.UpdateEntity(cpb.UpdateEntityRequest(entity="FR01", name="X"), timeout=TIMEOUT_S)
    bulk_change = cpb.BulkUpdateAccountsRequest(account_ids=[one.account_id], collector="x@x.example")
    assert stub.BulkUpdateAccounts(bulk_change, timeout=TIMEOUT_S).account_count == 0
    assert stub.ListLegalUnits(cpb.ListLegalUnitsRequest(), timeout=TIMEOUT_S).total_size == 0
    assert account(ledger, "000100").collector == ""


def test_a_load_after_a_merge_still_knows_an_unchanged_account(ledger, customers):
    one, two = two_accounts(ledger)
    merge(customers, one, two)
    rows = [item_row(), item_row(number="F2", initial_minor=5_000, open_minor=5_000)]
    for _ in range(2):
        assert ledger.load(*rows, file_on=str(TODAY + timedelta(days=1))) == {"unchanged": 2}
    load_id = new_id()
    ledger.stream(item_table(*rows), load_id=load_id, mode=load_pb.LOAD_MODE_STOCK)
    # G1 came under the other number: a complete file without it clears it, whatever it said of the survivor.
    assert ledger.finish(load_id, plan_only=True).cleared_absent == 1

"""LedgerService behind its interceptors: what people see and do, and who may not."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from ledger_driver import TIMEOUT_S, TODAY, Ledger, item_row
from sqlalchemy import text

from kit import context
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.testing import caller_of, refused, run_jobs
from ledger.__main__ import DEFINITION, check
from ledger.tasks import JOBS
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as pb_grpc


def euros(minor: int) -> money_pb2.Money:
    return money_pb2.Money(currency="EUR", minor_units=minor)


def order(item_id: str, minor: int | None = None, kind=item_pb2.HOLD_KIND_DISPUTE, **fields) -> pb.HoldOrder:
    amount = None if minor is None else euros(minor)
    return pb.HoldOrder(item_id=item_id, kind=kind, amount=amount, **{"reason": "price", **fields})


def place(ledger: Ledger, *orders: pb.HoldOrder, source_id: str = "case-1", request_id: str = "", **more):
    account_id = more.pop("account_id", None) or ledger.accounts()[0].account_id
    request = pb.PlaceHoldsRequest(
        request_id=request_id or new_id(), account_id=account_id, source="dispute", source_id=source_id,
        holds=orders, **more,
    )  # fmt: skip
    return ledger.call("PlaceHolds", request)


@pytest.fixture
def item(ledger):
    ledger.load(item_row())
    return ledger.items()[0]


def balance(ledger):
    return ledger.accounts()[0].balances[0]


# ---- entities --------------------------------------------------------------------------------------------------------


def test_an_entity_has_the_defaults_of_its_country(ledger):
    entity = ledger.call("GetEntity", pb.GetEntityRequest(entity="FR01")).entity
    assert (entity.language, entity.time_zone, entity.version) == ("fr", "Europe/Paris", 1)
    assert ledger.call("GetEntity", pb.GetEntityRequest(entity=entity.entity_id)).entity == entity


def test_entity_codes_are_unique_and_requests_repeatable(ledger):
    request = pb.CreateEntityRequest(request_id="r1", code="DE01", name="D", country="DE", currency="EUR")
    first = ledger.call("CreateEntity", request)
    assert ledger.call("CreateEntity", request) == first
    with refused(Code.ALREADY_EXISTS, "ENTITY_CODE_TAKEN"):
        ledger.call("CreateEntity", pb.CreateEntityRequest(code="DE01", name="E", country="DE", currency="EUR"))
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        ledger.call(
            "CreateEntity", pb.CreateEntityRequest(request_id="r1", code="X", name="E", country="DE", currency="EUR")
        )
    listed = ledger.call("ListEntities", pb.ListEntitiesRequest(order_by="code desc"))
    assert ([e.code for e in listed.entities], listed.total_size) == (["FR01", "DE01"], 2)


def test_an_unknown_time_zone_is_refused(ledger):
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        ledger.call(
            "CreateEntity",
            pb.CreateEntityRequest(code="X", name="X", country="FR", currency="EUR", time_zone="Mars/Base"),
        )


# ---- the wall --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(ledger, grpc_in_process):
    """Somebody with all permissions in another tenant."""
    other = new_id()
    return Ledger(ledger.database, grpc_in_process(DEFINITION, ledger.database, caller_of(other)), other)


def test_another_tenants_ids_do_not_exist(ledger, item, stranger):
    hold = place(ledger, order(item.item_id)).holds[0]
    account_id = item.account_id
    contact = ledger.call("CreateContact", pb.CreateContactRequest(account_id=account_id, name="A")).contact
    for method, request, reason in [
        ("GetEntity", pb.GetEntityRequest(entity="FR01"), "ENTITY_UNKNOWN"),
        ("GetAccount", pb.GetAccountRequest(account_id=account_id), "ACCOUNT_UNKNOWN"),
        ("LookAgain", pb.LookAgainRequest(account_id=account_id), "ACCOUNT_UNKNOWN"),
        ("UpdateAccount", pb.UpdateAccountRequest(account_id=account_id, collector="x"), "ACCOUNT_UNKNOWN"),
        ("CreateContact", pb.CreateContactRequest(account_id=account_id, name="B"), "ACCOUNT_UNKNOWN"),
        ("MarkContact", pb.MarkContactRequest(contact_id=contact.contact_id, valid=True), "CONTACT_UNKNOWN"),
        ("GetItem", pb.GetItemRequest(item_id=item.item_id), "ITEM_UNKNOWN"),
    ]:
        with refused(Code.NOT_FOUND, reason):
            stranger.call(method, request)
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        place(stranger, order(item.item_id), account_id=account_id)
    request = pb.ReleaseHoldsRequest(request_id=new_id(), hold_ids=[hold.hold_id])
    assert not stranger.call("ReleaseHolds", request).holds
    assert stranger.accounts() == stranger.items() == []
    assert stranger.call("ListHolds", pb.ListHoldsRequest()).total_size == 0


def test_a_caller_sees_his_entities_only(ledger, item, grpc_in_process):
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="DE01", name="D", country="DE", currency="EUR"))
    ledger.load(item_row(account_number="D1"), entity_code="DE01")
    place(ledger, order(item.item_id), account_id=item.account_id)
    german = Ledger(
        ledger.database,
        grpc_in_process(DEFINITION, ledger.database, caller_of(ledger.tenant, entities={"DE01"})),
        ledger.tenant,
    )
    assert [a.number for a in german.accounts()] == ["D1"]
    assert [i.entity_code for i in german.items()] == ["DE01"]
    assert german.call("ListEntities", pb.ListEntitiesRequest()).total_size == 1
    assert german.call("ListHolds", pb.ListHoldsRequest()).total_size == 0
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        german.call("GetAccount", pb.GetAccountRequest(account_id=item.account_id))
    with refused(Code.NOT_FOUND, "ITEM_UNKNOWN"):
        german.call("GetItem", pb.GetItemRequest(item_id=item.item_id))
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        german.load(item_row())
    nobody = Ledger(
        ledger.database,
        grpc_in_process(DEFINITION, ledger.database, caller_of(ledger.tenant, entities=set())),
        ledger.tenant,
    )
    assert nobody.accounts() == []


# ---- accounts --------------------------------------------------------------------------------------------------------


def test_accounts_are_found_filtered_and_ordered(ledger):
    ledger.load(
        item_row(account_number="1", account_name="Alpha", open_minor=1_000),
        item_row(account_number="2", account_name="Beta GmbH", open_minor=9_000, due_on=date(2024, 3, 1)),
        item_row(account_number="3", account_name="Gamma", open_minor=5_000, due_on=date(2024, 7, 1)),
    )
    assert [a.number for a in ledger.accounts(order_by="open desc")] == ["2", "3", "1"]
    assert [a.number for a in ledger.accounts(order_by="overdue desc")] == ["2", "1", "3"]
    assert [a.number for a in ledger.accounts(order_by="oldestDueOn")] == ["2", "1", "3"]
    assert [a.number for a in ledger.accounts(query="gmbh BETA")] == ["2"]
    assert [a.number for a in ledger.accounts(filter='entityCode="FR01" AND oldest_due_on<2024-04-01')] == ["2"]
    page = ledger.call("ListAccounts", pb.ListAccountsRequest(page_size=2))
    rest = ledger.call("ListAccounts", pb.ListAccountsRequest(page_size=2, page_token=page.next_page_token))
    assert ([a.number for a in (*page.accounts, *rest.accounts)], page.total_size) == (["1", "2", "3"], 3)
    assert rest.next_page_token == ""
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        ledger.accounts(filter="colour=red")
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        ledger.accounts(order_by="colour")


def test_what_people_keep_on_an_account(ledger, item):
    account_id, version = item.account_id, ledger.accounts()[0].version
    changed = ledger.call(
        "UpdateAccount",
        pb.UpdateAccountRequest(
            account_id=account_id, collector="c@example.com", groups=["b", "a"], custom_fields={"tier": "1"}
        ),
    ).account
    assert (changed.collector, list(changed.groups), dict(changed.custom_fields)) == (
        "c@example.com",
        ["a", "b"],
        {"tier": "1"},
    )
    assert changed.version == version + 1
    same = ledger.call(
        "UpdateAccount", pb.UpdateAccountRequest(account_id=account_id, collector="c@example.com")
    ).account
    assert same.version == changed.version
    cleared = ledger.call(
        "UpdateAccount", pb.UpdateAccountRequest(account_id=account_id, collector="", custom_fields={"tier": ""})
    ).account
    assert (cleared.collector, dict(cleared.custom_fields), list(cleared.groups)) == ("", {}, ["a", "b"])


def test_contacts_are_added_changed_and_marked(ledger, item):
    def create(**fields):
        return ledger.call("CreateContact", pb.CreateContactRequest(account_id=item.account_id, **fields)).contact

    first = create(name="Anne", email="anne@example.com")
    assert create(name="Anne M.", email="ANNE@example.com", phone="1").contact_id == first.contact_id
    marked = ledger.call("MarkContact", pb.MarkContactRequest(contact_id=first.contact_id, reason="bounced")).contact
    assert (marked.valid, marked.invalid_reason) == (False, "bounced")
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        ledger.call("MarkContact", pb.MarkContactRequest(contact_id=first.contact_id))
    account = ledger.call("GetAccount", pb.GetAccountRequest(account_id=item.account_id)).account
    assert [(c.name, c.valid) for c in account.contacts] == [("Anne M.", False)]


# ---- items -----------------------------------------------------------------------------------------------------------


def test_items_are_filtered_and_totalled_over_all_pages(ledger):
    ledger.load(
        *(item_row(number=f"F{n}", due_on=date(2024, 5, 1) + timedelta(n)) for n in range(5)),
        item_row(number="C1", kind="CREDIT_NOTE", initial_minor=-500, open_minor=-500, due_on=None),
        item_row(number="P1", settled_on=date(2024, 5, 2)),
    )
    reply = ledger.call("ListItems", pb.ListItemsRequest(page_size=2, order_by="due_on desc"))
    assert (len(reply.items), reply.total_size, reply.totals[0].item_count) == (2, 6, 6)
    assert (reply.totals[0].open.minor_units, reply.totals[0].collectable.minor_units) == (49_500, 50_000)
    assert [i.number for i in ledger.items("kind=CREDIT_NOTE")] == ["C1"]
    assert [i.number for i in ledger.items("state=CLEARED")] == ["P1"]
    assert [i.number for i in ledger.items("open>0 AND dueOn<=2024-05-02")] == ["F0", "F1"]
    assert ledger.items("due_on=2024-05-01")[0].days_late == 60
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        ledger.items("state=LOST")


def test_looking_again_shows_what_is_true_now(ledger, item):
    ledger.load(item_row(number="F2", due_on=date(2024, 4, 15)), item_row(number="F3", settled_on=date(2024, 5, 2)))
    place(ledger, order(item.item_id, 4_000))
    account_id = item.account_id
    reply = ledger.call("LookAgain", pb.LookAgainRequest(account_id=account_id))
    assert [(i.number, i.collectable.minor_units) for i in reply.items] == [("F2", 10_000), ("F1", 6_000)]
    assert [h.source_id for h in reply.items[1].holds] == ["case-1"]
    assert (reply.entity.code, reply.account.balances[0].held.minor_units) == ("FR01", 4_000)
    cleared = ledger.item("F3").item.item_id
    (only,) = ledger.call("LookAgain", pb.LookAgainRequest(account_id=account_id, item_ids=[cleared])).items
    assert (only.state, only.open.minor_units) == (item_pb2.ITEM_STATE_CLEARED, 0)


# ---- holds -----------------------------------------------------------------------------------------------------------


def test_a_hold_takes_its_amount_out_of_collection(ledger, item):
    reply = place(ledger, order(item.item_id, 4_000))
    (hold,) = reply.holds
    assert (hold.state, hold.from_on, hold.amount.minor_units) == (item_pb2.HOLD_STATE_ACTIVE, TODAY.isoformat(), 4_000)
    (seen,) = ledger.items("held=true")
    assert (seen.held.minor_units, seen.collectable.minor_units) == (4_000, 6_000)
    assert (balance(ledger).held.minor_units, balance(ledger).collectable_overdue.minor_units) == (4_000, 6_000)
    assert reply.account_version == ledger.accounts()[0].version
    said = ledger.events()[-1]
    from kit import bulk

    assert bulk.from_ipc(said.holds).to_pylist()[0]["hold_id"] == hold.hold_id
    assert bulk.from_ipc(said.open_items)["held_minor"].to_pylist() == [4_000]


def test_a_doubled_request_places_once(ledger, item):
    first = place(ledger, order(item.item_id, 4_000), request_id="r")
    assert place(ledger, order(item.item_id, 4_000), request_id="r") == first
    assert ledger.call("ListHolds", pb.ListHoldsRequest()).total_size == 1
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        place(ledger, order(item.item_id, 5_000), request_id="r")


def test_the_same_source_replaces_its_hold(ledger, item):
    place(ledger, order(item.item_id, 4_000))
    place(ledger, order(item.item_id, 9_000))
    holds = ledger.item().holds
    assert [(h.amount.minor_units, h.state) for h in holds] == [
        (9_000, item_pb2.HOLD_STATE_ACTIVE), (4_000, item_pb2.HOLD_STATE_RELEASED),
    ]  # fmt: skip


def test_holds_cannot_exceed_what_is_open_and_all_fail_together(ledger, item):
    ledger.load(item_row(number="F2"))
    second = ledger.item("F2").item
    place(ledger, order(item.item_id, 8_000))
    with refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN"):
        place(ledger, order(second.item_id, 1), order(item.item_id, 3_000), source_id="case-2")
    assert ledger.item("F2").item.held.minor_units == 0
    place(ledger, order(item.item_id), source_id="case-2")
    assert ledger.item().item.collectable.minor_units == 0


def test_orders_that_make_no_sense_are_refused(ledger, item):
    dollars = money_pb2.Money(currency="USD", minor_units=1)
    wrong = [
        pb.HoldOrder(item_id=item.item_id, kind=item_pb2.HOLD_KIND_LEGAL, amount=dollars, reason="x"),
        order(item.item_id, 1, from_on="2024-07-02", until_on="2024-07-01"),
    ]
    for one in wrong:
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            place(ledger, one)
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        place(ledger, order(item.item_id, 1), order(item.item_id, 2))
    with refused(Code.NOT_FOUND, "ITEM_UNKNOWN"):
        place(ledger, order(new_id()))


def test_a_cleared_item_cannot_be_held(ledger, item):
    ledger.load(item_row(settled_on=date(2024, 6, 1)))
    with refused(Code.FAILED_PRECONDITION, "ITEM_CLEARED"):
        place(ledger, order(item.item_id))


def test_an_answer_becomes_a_promise_in_one_step(ledger, item):
    place(ledger, order(item.item_id, kind=item_pb2.HOLD_KIND_RESPONSE), source_id="response-1")
    ends = [pb.HoldSource(source="dispute", source_id="response-1")]
    place(ledger, order(item.item_id, kind=item_pb2.HOLD_KIND_PROMISE, until_on="2024-07-10"), source_id="p", ends=ends)
    assert [(h.kind, h.state) for h in ledger.item().holds] == [
        (item_pb2.HOLD_KIND_PROMISE, item_pb2.HOLD_STATE_ACTIVE),
        (item_pb2.HOLD_KIND_RESPONSE, item_pb2.HOLD_STATE_RELEASED),
    ]


def test_releasing_twice_releases_once(ledger, item):
    place(ledger, order(item.item_id))
    source = pb.HoldSource(source="dispute", source_id="case-1")
    first = ledger.call("ReleaseHolds", pb.ReleaseHoldsRequest(request_id="a", sources=[source]))
    assert [h.state for h in first.holds] == [item_pb2.HOLD_STATE_RELEASED]
    version = ledger.accounts()[0].version
    assert not ledger.call("ReleaseHolds", pb.ReleaseHoldsRequest(request_id="b", sources=[source])).holds
    assert ledger.accounts()[0].version == version
    assert ledger.call("ReleaseHolds", pb.ReleaseHoldsRequest(request_id="a", sources=[source])) == first


def test_a_payment_shrinks_the_newest_hold_first_and_a_clearing_ends_all(ledger, item):
    place(ledger, order(item.item_id, 4_000))
    place(ledger, order(item.item_id, 5_000), source_id="case-2")
    ledger.load(item_row(open_minor=6_000))
    held = {h.source_id: h.amount.minor_units for h in ledger.item().item.holds}
    assert held == {"case-1": 4_000, "case-2": 2_000}
    ledger.load(item_row(open_minor=3_000))
    assert {h.source_id: h.amount.minor_units for h in ledger.item().item.holds} == {"case-1": 3_000}
    ledger.load(item_row(settled_on=date(2024, 6, 20)))
    assert {h.state for h in ledger.item().holds} == {item_pb2.HOLD_STATE_RELEASED}


def test_a_hold_counts_from_its_first_to_its_last_day(ledger, item, monkeypatch):
    place(ledger, order(item.item_id, 4_000, from_on="2024-07-05", until_on="2024-07-10"))
    for day, held in [("2024-07-04", 0), ("2024-07-05", 4_000), ("2024-07-10", 4_000), ("2024-07-11", 0)]:
        monkeypatch.setenv("QUITTANCE_TODAY", day)
        assert ledger.items()[0].held.minor_units == held, day
        assert balance(ledger).held.minor_units == held, day
    assert ledger.item().holds[0].state == item_pb2.HOLD_STATE_EXPIRED
    # Not swept yet, and yet no longer in the way.
    place(ledger, order(item.item_id, 10_000), source_id="case-2")


def test_the_sweep_says_once_what_began_and_what_ended(ledger, item, monkeypatch):
    place(ledger, order(item.item_id, 4_000, from_on="2024-07-05", until_on="2024-07-10"))
    place(ledger, order(item.item_id, 1_000), source_id="undated")
    from kit.jobs import enqueue

    def sweep(day: str) -> int:
        monkeypatch.setenv("QUITTANCE_TODAY", day)
        before = len(ledger.events())
        with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
            enqueue(session, "ledger.sweep_holds", {}, new_id())
        run_jobs(ledger.database, JOBS)
        return len(ledger.events()) - before

    assert [sweep(day) for day in ("2024-07-04", "2024-07-05", "2024-07-06", "2024-07-11", "2024-07-12")] == [
        0,
        1,
        0,
        1,
        0,
    ]
    states = {h.source_id: h.state for h in ledger.item().holds}
    assert states == {"case-1": item_pb2.HOLD_STATE_EXPIRED, "undated": item_pb2.HOLD_STATE_ACTIVE}


def test_fifty_holds_at_once_never_exceed_what_is_open(ledger, item):
    def attempt(number: int) -> bool:
        try:
            place(ledger, order(item.item_id, 1_000), source_id=f"case-{number}", account_id=item.account_id)
        except Refused as refusal:
            if refusal.reason != "HOLD_EXCEEDS_OPEN":
                raise
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        placed = list(pool.map(attempt, range(50)))
    assert sum(placed) == 10
    assert ledger.items()[0].held.minor_units == 10_000


def test_a_payment_and_holds_at_the_same_time(ledger, item):
    account_id = item.account_id

    def hold(number: int) -> None:
        try:
            place(ledger, order(item.item_id, 500), source_id=f"case-{number}", account_id=account_id)
        except Refused as refusal:
            if refusal.reason not in ("HOLD_EXCEEDS_OPEN", "ITEM_CLEARED"):
                raise

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(hold, number) for number in range(20)]
        done += [pool.submit(ledger.load, item_row(open_minor=10_000 - 1_000 * n)) for n in range(1, 5)]
        for future in done:
            future.result()
    assert ledger.items()[0].collectable.minor_units >= 0


def test_the_check_command_finds_a_broken_book(make_database, grpc_in_process, tenant, capsys):
    # A database of its own: the command asks of every tenant, and other tests break their books on purpose.
    database = make_database("ledger")
    ledger = Ledger(database, grpc_in_process(DEFINITION, database), tenant)
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="FR01", name="Fournier SA", country="FR", currency="EUR"))
    ledger.load(item_row())
    assert check(ledger.database) == 0
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        session.execute(text("UPDATE items SET open_minor = open_minor + 1"))
    assert check(ledger.database) >= 2
    assert "items_equal_their_changes" in capsys.readouterr().out


def test_permissions_are_asked(ledger, grpc_in_process, item):
    reader = pb_grpc.LedgerServiceStub(
        grpc_in_process(DEFINITION, ledger.database, caller_of(ledger.tenant, "items:read"))
    )
    assert reader.ListItems(pb.ListItemsRequest(), timeout=TIMEOUT_S).total_size == 1
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
        reader.ListAccounts(pb.ListAccountsRequest(), timeout=TIMEOUT_S)

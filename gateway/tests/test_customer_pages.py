"""The pages of customers' master data, with a ledger that answers as told."""

import re
from types import SimpleNamespace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway import web
from kit.errors import Code, Refused
from quittance.common.v1.money_pb2 import Money
from quittance.dispute.v1 import dispute_service_pb2 as dispute_pb
from quittance.ledger.v1 import account_pb2
from quittance.ledger.v1 import customer_service_pb2 as pb
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb

from .conftest import csrf_of, sign_in

ONE = "0190aaaa-0000-7000-8000-000000000001"
TWO = "0190aaaa-0000-7000-8000-000000000002"
CONTACT = "0190aaaa-0000-7000-8000-0000000000c1"
UNIT = "0190aaaa-0000-7000-8000-0000000000d1"
WHEN = Timestamp(seconds=1_750_000_000)


def euros(minor):
    return Money(currency="EUR", minor_units=minor)


def account(account_id=ONE, number="000100", name="Northwind SA", **more):
    balance = account_pb2.AccountBalance(
        currency="EUR", open=euros(150_00), overdue=euros(100_00), credits=euros(0), held=euros(0),
        collectable_overdue=euros(100_00), item_count=3,
    )  # fmt: skip
    contact = account_pb2.Contact(
        contact_id=CONTACT, account_id=account_id, name="Ada Li", email="ada@x.example", valid=True,
        role=account_pb2.CONTACT_ROLE_BUYER, recipient=account_pb2.CONTACT_RECIPIENT_CC,
        roles=[account_pb2.CONTACT_ROLE_BUYER, account_pb2.CONTACT_ROLE_LEGAL], scope=account_pb2.CONTACT_SCOPE_ACCOUNT,
        channels=[account_pb2.CONTACT_CHANNEL_PHONE],
    )  # fmt: skip
    return account_pb2.Account(
        account_id=account_id, number=number, name=name, entity_code="FR01", groups=["KEY"], legal_unit_id=UNIT,
        custom_fields={"Region": "North"}, balances=[balance], contacts=[contact], changed_at=WHEN,
        collector="eve@x.example", oldest_due_on="2024-05-01", **more,
    )  # fmt: skip


@pytest.fixture
def told(monkeypatch):
    """What the ledger answers, by RPC, and what it was asked."""
    accounts = {
        ONE: account(),
        TWO: account(TWO, "000200", "Northwind", pinned_comment="Call first", master_account_id=ONE),
    }
    merge = pb.Merge(
        merge_id="m", entity_code="FR01", survivor_id=ONE, survivor_number="000100", merged_id=TWO, merged_at=WHEN,
        merged_number="000200", item_count=4, merged_by="ana@x.example",
    )  # fmt: skip
    told = SimpleNamespace(
        asked=[],
        accounts=accounts,
        GetAccount=lambda request: ledger_pb.GetAccountResponse(account=accounts[request.account_id]),
        ListAccounts=ledger_pb.ListAccountsResponse(accounts=accounts.values(), total_size=2),
        ListEntities=ledger_pb.ListEntitiesResponse(
            entities=[account_pb2.Entity(entity_id="e", code="FR01", name="F", currency="EUR")], total_size=1
        ),
        ListItems=ledger_pb.ListItemsResponse(),
        UpdateAccount=ledger_pb.UpdateAccountResponse(),
        ListGroups=pb.ListGroupsResponse(
            groups=[pb.CustomerGroup(code="KEY", name="Key accounts", colour="accent", account_count=2)], total_size=1
        ),
        ListCustomFields=pb.ListCustomFieldsResponse(
            fields=[
                pb.CustomField(object=1, name="Region", type=pb.FIELD_TYPE_LIST, options=["North", "South"]),
                pb.CustomField(object=1, name="Rating", type=pb.FIELD_TYPE_NUMBER, label_en="Our rating"),
            ],
            total_size=2,
        ),
        SuggestMerges=pb.SuggestMergesResponse(
            suggestions=[pb.MergeSuggestion(reason=pb.MERGE_REASON_SIMILAR_NAME, shared="nrthwnd", accounts=accounts.values())]
        ),
        ListMerges=pb.ListMergesResponse(merges=[merge], total_size=1),
        MergeAccounts=pb.MergeAccountsResponse(
            item_count=4, contact_count=1, names=["Northwind"], balances=accounts[TWO].balances, hold_count=1,
            registrations_differ=True,
        ),
        SplitMerge=pb.SplitMergeResponse(item_count=4),
        GetLegalUnit=pb.GetLegalUnitResponse(
            legal_unit=pb.LegalUnit(legal_unit_id=UNIT, name="Northwind Group", registration_number="552", account_count=2),
            accounts=accounts.values(), balances=accounts[ONE].balances,
        ),
        BulkUpdateAccounts=pb.BulkUpdateAccountsResponse(
            account_count=2, changed_count=1,
            effects=[pb.BulkEffect(number="000100", name="Northwind SA", before={"groups": "KEY"}, after={"groups": "KEY, B"})],
        ),
        UpdateContact=pb.UpdateContactResponse(), DeleteContact=pb.DeleteContactResponse(),
        CreateGroup=pb.CreateGroupResponse(), UpdateGroup=pb.UpdateGroupResponse(), DeleteGroup=pb.DeleteGroupResponse(),
        SetCustomField=pb.SetCustomFieldResponse(), SetMaster=pb.SetMasterResponse(),
        UpdateLegalUnit=pb.UpdateLegalUnitResponse(),
    )  # fmt: skip

    class Stub:
        def __getattr__(self, name):
            def call(request, timeout):
                told.asked.append(request)
                answer = getattr(told, name)
                if isinstance(answer, Exception):
                    raise answer
                return answer(request) if callable(answer) else answer

            return call

    for name in ("ledger", "customers"):
        monkeypatch.setattr(web.Stubs, name, property(lambda stubs: Stub()))

    class Away:
        def __getattr__(self, name):
            def call(request, timeout):
                raise Refused(Code.UNAVAILABLE, "AWAY", "away")

            return call

    for name in ("scenario", "credit_risk", "reporting"):
        monkeypatch.setattr(web.Stubs, name, property(lambda stubs: Away()))
    told.ListReasons = dispute_pb.ListReasonsResponse()
    monkeypatch.setattr(web.Stubs, "dispute", property(lambda stubs: Stub()))
    return told


@pytest.fixture
def browser(make_app, group, platform, add_user, told):
    """A browser of somebody who may change master data."""
    client = make_app().test_client()
    sign_in(client, add_user("credit_manager"))
    return client


def asked(told, kind):
    return [request for request in told.asked if isinstance(request, kind)][-1]


def post(browser, path, **form):
    return browser.post(path, data={"csrf_token": csrf_of(browser), **form})


def test_the_list_shows_the_columns_a_person_chose(browser, told):
    page = browser.get("/accounts").text
    assert "Key accounts" not in re.sub(r"<dialog.*", "", page, flags=re.S)
    answer = post(
        browser, "/accounts/columns", column=["groups", "custom.Region", "unheard"], back="/accounts?sort=name"
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/accounts?sort=name")
    table = browser.get("/accounts").text.partition("<tbody")[2].partition("</tbody")[0]
    assert "Key accounts" in table and "North" in table and "000100" not in re.sub(r'aria-label="[^"]*"', "", table)
    post(browser, "/accounts/columns", usual="1", back="//elsewhere.example")
    assert "000100" in browser.get("/accounts").text.partition("<tbody")[2]


def test_the_list_is_narrowed_by_group_contact_and_custom_field(browser, told):
    page = browser.get('/accounts?group=KEY&contact=none&field=Sales region&value=a"b')
    assert page.status_code == 200
    wanted = asked(told, ledger_pb.ListAccountsRequest).filter
    assert wanted == 'group="KEY" AND has_contact=false AND has_open=true AND custom.Sales_region="a\\"b"'


def test_a_change_to_many_accounts_is_looked_at_first(browser, told):
    form = {"account": [ONE, TWO], "add_groups": "B, C", "field": "Region", "value": "South", "back": "/accounts"}
    page = post(browser, "/accounts/bulk", **form)
    request = asked(told, pb.BulkUpdateAccountsRequest)
    assert (request.plan_only, list(request.add_groups), dict(request.custom_fields)) == (
        True,
        ["B", "C"],
        {"Region": "South"},
    )
    assert "KEY, B" in page.text
    assert post(browser, "/accounts/bulk", confirm="1", **form).status_code == 303
    assert not asked(told, pb.BulkUpdateAccountsRequest).plan_only
    post(browser, "/accounts/bulk", all="1", collector="x@x.example", back="/accounts?group=KEY&query=nor")
    request = asked(told, pb.BulkUpdateAccountsRequest)
    assert (list(request.account_ids), request.filter, request.query) == ([], 'group="KEY"', "nor")
    before = len(told.asked)
    assert post(browser, "/accounts/bulk", add_groups="B", back="/accounts").status_code == 303
    assert not any(isinstance(one, pb.BulkUpdateAccountsRequest) for one in told.asked[before:])


def test_the_sheet_shows_groups_master_note_and_merge(browser, told):
    page = browser.get(f"/accounts/{TWO}").text
    assert "Key accounts" in page and "Call first" in page and "Collected through 000100" in page
    assert "(in copy)" in page
    told.accounts[TWO].merged_into_id = ONE
    page = browser.get(f"/accounts/{TWO}").text
    assert "Merged into 000100" in page
    assert post(browser, f"/duplicates/{TWO}/split", request_id="r").status_code == 303
    assert asked(told, pb.SplitMergeRequest).account_id == TWO


def test_the_sheet_s_form_changes_what_people_keep(browser, told):
    form = {"collector": "me@x.example", "groups": "B", "pinned_comment": "n", "master": "", "custom.Region": "South"}
    assert post(browser, f"/accounts/{TWO}/master-data", **form).status_code == 303
    request = asked(told, ledger_pb.UpdateAccountRequest)
    assert (list(request.groups), list(request.remove_groups)) == (["B"], ["KEY"])
    assert dict(request.custom_fields) == {"Region": "South"}
    assert asked(told, pb.SetMasterRequest).master_account_id == ""


def test_duplicates_are_compared_merged_and_listed(browser, told):
    page = browser.get("/duplicates").text
    assert "Similar name" in page and "ana@x.example" in page
    page = browser.get(f"/duplicates/compare?account={ONE}&account={TWO}&survivor={TWO}").text
    plan = asked(told, pb.MergeAccountsRequest)
    assert (plan.plan_only, plan.survivor_id, list(plan.merged_ids)) == (True, TWO, [ONE])
    assert "Different registration numbers" in page
    done = post(browser, "/duplicates/merge", account=[ONE, TWO], survivor=ONE, request_id="r1", reason="same")
    assert done.headers["Location"] == f"/accounts/{ONE}"
    sent = asked(told, pb.MergeAccountsRequest)
    assert (sent.plan_only, sent.request_id, list(sent.merged_ids)) == (False, "r1", [TWO])
    told.MergeAccounts.conflicts.add(number="F1")
    assert 'action="/duplicates/merge"' not in browser.get(f"/duplicates/compare?account={ONE}&account={TWO}").text


def test_groups_and_fields_are_made_changed_and_forgotten(browser, told):
    page = browser.get("/groups").text
    assert "Key accounts" in page and "Our rating" in page
    post(browser, "/groups", code="B", name="Bee", colour="ok")
    assert asked(told, pb.CreateGroupRequest).name == "Bee"
    post(browser, "/groups", code="KEY", known="1", name="Key", colour="")
    assert asked(told, pb.UpdateGroupRequest).name == "Key"
    post(browser, "/groups", code="KEY", known="1", delete="1")
    assert asked(told, pb.DeleteGroupRequest).code == "KEY"
    post(
        browser,
        "/custom-fields",
        object="FIELD_OBJECT_ACCOUNT",
        name="Tier",
        type="FIELD_TYPE_LIST",
        options="a\r\n b \r\n",
    )
    assert list(asked(told, pb.SetCustomFieldRequest).options) == ["a", "b"]


def test_a_contact_is_edited_and_taken_away(browser, told):
    page = browser.get(f"/accounts/{ONE}/contacts/{CONTACT}").text
    assert len(re.findall(r'name="roles" value="[A-Z_]+" checked', page)) == 2
    form = {"name": "Ada", "email": "a@x.example", "roles": ["CONTACT_ROLE_LEGAL"], "channels": ["CONTACT_CHANNEL_SMS"]}
    assert post(browser, f"/accounts/{ONE}/contacts/{CONTACT}", cc="1", **form).status_code == 303
    request = asked(told, pb.UpdateContactRequest)
    assert (list(request.roles), list(request.channels)) == ([4], [4])
    assert request.recipient == account_pb2.CONTACT_RECIPIENT_CC
    told.UpdateContact = Refused(
        Code.ALREADY_EXISTS, "CONTACT_TAKEN", "the account has another contact with this address"
    )
    refused = post(browser, f"/accounts/{ONE}/contacts/{CONTACT}", **form)
    assert refused.status_code == 422 and "another contact" in refused.text
    assert post(browser, f"/accounts/{ONE}/contacts/{CONTACT}", delete="1").status_code == 303
    assert asked(told, pb.DeleteContactRequest).contact_id == CONTACT


def test_a_legal_unit_shows_its_accounts(browser, told):
    page = browser.get(f"/legal-units/{UNIT}").text
    assert "Northwind Group" in page and "000200" in page
    post(browser, f"/legal-units/{UNIT}", name="N", registration_number="7", country="fr")
    assert asked(told, pb.UpdateLegalUnitRequest).country == "FR"


def test_who_may_only_read_sees_no_forms(make_app, group, platform, add_user, told):
    client = make_app().test_client()
    sign_in(client, add_user("executive"))
    for path in ("/accounts", "/groups", f"/accounts/{ONE}", f"/legal-units/{UNIT}"):
        page = client.get(path)
        if page.status_code == 200:
            assert 'action="/accounts/bulk"' not in page.text or 'name="account"' not in page.text
            assert "/master-data" not in page.text

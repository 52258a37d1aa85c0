"""NotificationService behind its real interceptors, on a real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kit.errors import Code, Refused
from kit.ids import new_id
from kit.testing import caller_of, emitted, refused
from quittance.notification.v1 import notification_service_pb2 as pb

from .conftest import make_item


@pytest.fixture
def account(neighbours, items):
    return neighbours.ledger.account(items)


def send(stub, account_id, **fields):
    fields.setdefault("request_id", new_id())
    return stub.SendMessage(pb.SendMessageRequest(account_id=account_id, **fields), timeout=10).message


def test_a_draft_shows_the_real_items_and_changes_nothing(stub, account, neighbours, database):
    draft = stub.DraftMessage(pb.DraftMessageRequest(account_id=account), timeout=10)
    assert draft.subject == "Norrland Papper AB: EUR\u00a015,000.00 overdue"
    assert "FA-260588" in draft.body
    assert "#items_list_selected" in draft.body_source
    assert "Dear Maja Lindgren," in draft.text
    assert [(r.email, r.kind) for r in draft.recipients] == [("maja@norrland.example", "TO")]
    assert [item.number for item in draft.items] == ["FA-260588", "FA-260597"]
    assert [(m.currency, m.minor_units) for m in draft.total] == [("EUR", 1_500_000)]
    assert not draft.language_fallback
    assert list(draft.unknown_tags) == []
    assert "personal-link.invalid" in draft.body
    assert neighbours.portal.links == {}
    assert emitted(database) == []


def test_language_falls_back_and_says_so(stub, neighbours, items):
    account = neighbours.ledger.account(items, contacts=[("Sven", "sven@norrland.example", "sv", True)])
    draft = stub.DraftMessage(pb.DraftMessageRequest(account_id=account), timeout=10)
    assert (draft.language, draft.language_fallback) == ("fr", True)
    # What a field of its own says is not said again.
    assert not draft.warnings
    assert "Bonjour Sven," in draft.text


def test_warnings_and_refusals_speak_the_readers_language(stub, account, neighbours, items):
    french = [("accept-language", "fr-FR,fr;q=0.9")]
    order = pb.DraftMessageRequest(account_id=account, item_ids=[items[0].item_id, new_id()])
    assert list(stub.DraftMessage(order, timeout=10).warnings)[:1] == [
        "One of the chosen items is paid, answered or on hold"
    ]
    assert list(stub.DraftMessage(order, timeout=10, metadata=french).warnings)[:1] == [
        "Une des pièces choisies est payée, répondue ou bloquée"
    ]
    with pytest.raises(Refused) as refusal:
        stub.GetMessage(pb.GetMessageRequest(message_id=new_id()), timeout=10, metadata=french)
    assert (refusal.value.reason, refusal.value.message) == ("MESSAGE_UNKNOWN", "ce message n'existe pas")


def test_unknown_tags_are_named_and_cannot_be_sent(stub, account):
    draft = stub.DraftMessage(pb.DraftMessageRequest(account_id=account, body="<p>#itmes_list</p>"), timeout=10)
    assert list(draft.unknown_tags) == ["#itmes_list"]
    with refused(Code.FAILED_PRECONDITION, "UNKNOWN_TAG") as found:
        send(stub, account, body="<p>#itmes_list</p>")
    assert found.error.metadata["tags"] == "#itmes_list"


def test_unknown_account_template_and_other_entity_are_not_found(stub, open_stub, account, tenant):
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        stub.DraftMessage(pb.DraftMessageRequest(account_id=new_id()), timeout=10)
    with refused(Code.NOT_FOUND, "TEMPLATE_UNKNOWN"):
        stub.DraftMessage(pb.DraftMessageRequest(account_id=account, template_key="nix"), timeout=10)
    elsewhere = open_stub(caller_of(tenant, entities={"DE01"}))
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        elsewhere.DraftMessage(pb.DraftMessageRequest(account_id=account), timeout=10)
    message = send(stub, account)
    with refused(Code.NOT_FOUND, "MESSAGE_UNKNOWN"):
        elsewhere.GetMessage(pb.GetMessageRequest(message_id=message.message_id), timeout=10)
    assert elsewhere.ListMessages(pb.ListMessagesRequest(), timeout=10).total_size == 0


def test_sending_freezes_once_per_purpose(stub, account, database):
    request = pb.SendMessageRequest(request_id="r-1", purpose_key="action:1", account_id=account)
    first = stub.SendMessage(request, timeout=10)
    assert first.message.state == pb.MESSAGE_STATE_QUEUED
    assert stub.SendMessage(request, timeout=10) == first
    # Another request for the same purpose and content: the same message. Other content: refused.
    again = stub.SendMessage(
        pb.SendMessageRequest(request_id="r-2", purpose_key="action:1", account_id=account), timeout=10
    )
    assert again.message.message_id == first.message.message_id
    with refused(Code.ALREADY_EXISTS, "MESSAGE_EXISTS"):
        send(stub, account, purpose_key="action:1", subject="Something else")
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        stub.SendMessage(
            pb.SendMessageRequest(request_id="r-1", purpose_key="action:2", account_id=account), timeout=10
        )
    events = emitted(database)
    assert [event.message.state for event in events] == [pb.MESSAGE_STATE_QUEUED]
    assert events[0].message.body == ""
    assert events[0].message.text == ""


def test_twenty_at_once_for_one_purpose_make_one_message(stub, account):
    def one(n):
        return send(stub, account, request_id=f"r-{n}", purpose_key="action:9").message_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(20)))) == 1
    assert stub.ListMessages(pb.ListMessagesRequest(), timeout=10).total_size == 1


def test_nothing_to_chase_or_nobody_to_write_to_is_refused(stub, neighbours, items):
    with refused(Code.FAILED_PRECONDITION, "NOTHING_COLLECTABLE"):
        send(stub, neighbours.ledger.account([]))
    lost = neighbours.ledger.account(
        items, contacts=[("Maja", "maja@norrland.example", "en", False), ("Tel", "", "en", True)]
    )
    with refused(Code.FAILED_PRECONDITION, "CONTACT_MISSING"):
        send(stub, lost)


def test_only_the_ticked_items_stand_in_the_message(stub, neighbours, items):
    account = neighbours.ledger.account(items)
    all_of_them = send(stub, account, body="<p>#items_list_selected</p>")
    assert [item.number for item in all_of_them.items] == ["FA-260588", "FA-260597"]
    wanted = next(item.item_id for item in all_of_them.items if item.number == "FA-260597")
    message = send(stub, account, item_ids=[wanted], exact_items=True, body="<p>#items_list_selected</p>")
    assert [item.number for item in message.items] == ["FA-260597"]
    assert "FA-260597" in message.body
    assert "FA-260588" not in message.body


def test_a_ticked_item_that_cannot_be_chased_is_refused_and_named(stub, neighbours, items):
    held = make_item("FA-HELD", minor=500, held=500)
    account = neighbours.ledger.account([*items, held])
    good, strange = items[0].item_id, new_id()
    for wrong, name in ((held.item_id, "FA-HELD"), (strange, strange)):
        with refused(Code.FAILED_PRECONDITION, "ITEM_NOT_COLLECTABLE") as found:
            send(stub, account, item_ids=[good, wrong], exact_items=True)
        assert found.error.metadata["items"] == name
    # A program that names what it knows is not refused: what cannot be chased is left out.
    assert [item.item_id for item in send(stub, account, item_ids=[good, held.item_id]).items] == [good]


def test_a_message_without_text_is_refused(stub, account):
    with refused(Code.FAILED_PRECONDITION, "MESSAGE_EMPTY") as found:
        send(stub, account, body="<p> <br></p>")
    assert found.error.fields == {"body": "has no text"}


def test_fields_are_checked_before_anything_happens(stub):
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        stub.SendMessage(pb.SendMessageRequest(account_id="nobody"), timeout=10)


def test_permissions_are_asked_for(open_stub, account, tenant):
    reader = open_stub(caller_of(tenant, "messages:read"))
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
        send(reader, account)


def test_the_link_is_masked_without_its_permission(stub, open_stub, account, run_due, tenant, neighbours):
    message_id = send(stub, account).message_id
    assert run_due() == ["DONE"]
    url = neighbours.portal.links[message_id].url
    full = stub.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=10).message
    assert full.portal_link == url
    assert url in full.body
    assert url in full.text
    masked = (
        open_stub(caller_of(tenant, "messages:read"))
        .GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=10)
        .message
    )
    assert masked.portal_link == ""
    assert url not in masked.SerializeToString().decode("utf-8", "replace")
    assert full.sink_url == f"http://sink.example/by-message-id/{message_id}%40quittance.example"


def test_another_tenant_sees_nothing(stub, open_stub, account):
    message_id = send(stub, account).message_id
    stranger = open_stub(caller_of(new_id()))
    with refused(Code.NOT_FOUND, "MESSAGE_UNKNOWN"):
        stranger.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=10)
    assert stranger.ListMessages(pb.ListMessagesRequest(), timeout=10).total_size == 0


def test_lists_filter_order_and_page(stub, neighbours, items):
    accounts = [
        neighbours.ledger.account(items, contacts=[("N", f"n{n}@norrland.example", "en", True)]) for n in range(3)
    ]
    ids = [send(stub, account).message_id for account in accounts]
    page = stub.ListMessages(pb.ListMessagesRequest(page_size=2), timeout=10)
    assert [m.message_id for m in page.messages] == [ids[2], ids[1]]
    assert page.total_size == 3
    rest = stub.ListMessages(pb.ListMessagesRequest(page_size=2, page_token=page.next_page_token), timeout=10)
    assert [m.message_id for m in rest.messages] == [ids[0]]
    assert rest.next_page_token == ""
    found = stub.ListMessages(pb.ListMessagesRequest(filter='state=QUEUED AND recipient:"N1@norr"'), timeout=10)
    assert [m.message_id for m in found.messages] == [ids[1]]
    assert stub.ListMessages(pb.ListMessagesRequest(account_id=accounts[0]), timeout=10).total_size == 1
    assert all(m.body == "" for m in page.messages)


def test_templates_are_there_on_first_use_and_can_be_changed(stub):
    listed = stub.ListTemplates(pb.ListTemplatesRequest(), timeout=10)
    assert listed.total_size == 16
    english = stub.ListTemplates(
        pb.ListTemplatesRequest(filter="language=en AND key=reminder-1"), timeout=10
    ).templates[0]
    changed = stub.UpdateTemplate(
        pb.UpdateTemplateRequest(
            template_id=english.template_id,
            subject="Hello #customer_name\r\nBcc: x@y.example",
            body="<p onclick='x'>#items_list</p>",
        ),
        timeout=10,
    ).template
    assert (changed.version, changed.subject, changed.body) == (
        2,
        "Hello #customer_name Bcc: x@y.example",
        "<p>#items_list</p>",
    )
    with refused(Code.INVALID_ARGUMENT, "UNKNOWN_TAG") as found:
        stub.UpdateTemplate(
            pb.UpdateTemplateRequest(template_id=english.template_id, subject="#nope", body="x"), timeout=10
        )
    assert found.error.fields == {"subject": "these hashtags cannot be used here: #nope"}
    with refused(Code.NOT_FOUND, "TEMPLATE_UNKNOWN"):
        stub.UpdateTemplate(pb.UpdateTemplateRequest(template_id=new_id(), subject="a", body="b"), timeout=10)
    assert stub.ListTemplates(pb.ListTemplatesRequest(), timeout=10).total_size == 16


def test_hashtags_are_listed_in_both_languages(stub):
    listed = stub.ListHashtags(pb.ListHashtagsRequest(), timeout=10).hashtags
    assert {tag.family for tag in listed} == {"customer", "items", "company"}
    assert all(tag.name.startswith("#") and tag.description and tag.description_fr for tag in listed)

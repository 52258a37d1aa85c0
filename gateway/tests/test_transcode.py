"""Routes and messages, on the real descriptors."""

import json
from decimal import Decimal

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import domain, messages
from gateway.transcode import Catalog
from kit.errors import Code, Refused
from kit.money import CURRENCIES, exponent
from quittance.common.v1.money_pb2 import Money
from quittance.importer.v1 import import_service_pb2 as importer
from quittance.ledger.v1 import item_pb2, ledger_service_pb2
from quittance.reporting.v1 import reporting_service_pb2 as reporting
from quittance.scenario.v1 import scenario_service_pb2

CATALOG = Catalog.load()

# The table that clients and outside checks rely on.
STABLE = [
    ("POST", "/v1/entities"),
    ("POST", "/v1/imports"),
    ("GET", "/v1/imports/x"),
    ("POST", "/v1/imports/x:apply"),
    ("GET", "/v1/accounts"),
    ("GET", "/v1/accounts/x"),
    ("GET", "/v1/accounts/x/items"),
    ("GET", "/v1/reports/aging"),
    ("GET", "/v1/reports/dso"),
    ("GET", "/v1/actions"),
    ("POST", "/v1/actions/x:send"),
    ("GET", "/v1/messages"),
    ("GET", "/v1/messages/x"),
    ("GET", "/v1/responses"),
    ("POST", "/v1/responses/x:accept"),
    ("POST", "/v1/responses/x:reject"),
    ("GET", "/v1/cases"),
    ("GET", "/v1/accounts/x/credit"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/healthz"),
    ("GET", "/v1/imports/x/rejects.csv"),
    ("GET", "/v1/imports/x/events"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/sign-in"),
]


@pytest.mark.parametrize("verb, path", STABLE)
def test_every_stable_route_exists(app, verb, path):
    endpoint, _ = app.url_map.bind("localhost").match(path, method=verb)
    assert endpoint


def test_every_annotated_rpc_has_its_route(app):
    adapter = app.url_map.bind("localhost")
    for route in CATALOG.routes:
        path = route.template
        for name in route.path_fields:
            path = path.replace("{" + name + "}", "x1")
        endpoint, values = adapter.match(path, method=route.verb)
        assert endpoint.endswith(route.method.full_name.replace(".", "_")), (route.verb, path, endpoint)
        assert set(values.values()) <= {"x1"}


def test_roles_hold_exactly_the_permissions_that_calls_need():
    asked = CATALOG.permissions() - domain.INTERNAL_PERMISSIONS - {domain.ANYONE}
    # Used by a rule inside a call rather than by a call.
    assert domain.all_permissions() == asked | {"promises:exceed"}
    assert domain.ROLES["administrator"].permissions == domain.all_permissions()
    assert len(domain.ROLES) == 8
    assert "imports:write" not in domain.permissions_of("collector", can_upload=False)
    assert "imports:write" in domain.permissions_of("guest", can_upload=True)


# ---- every message there is, round and round -------------------------------------------------------------------------


def _all_messages():
    pool = descriptor_pool.Default()
    for file in CATALOG.files:
        for message in file.message_type:
            yield pool.FindMessageTypeByName(f"{file.package}.{message.name}")


MESSAGES = sorted(_all_messages(), key=lambda descriptor: descriptor.full_name)
_F = FieldDescriptor
_text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=8)


def _values(field: FieldDescriptor, depth: int):
    if field.message_type is not None:
        name = field.message_type.full_name
        if name == messages.MONEY:
            return st.builds(
                Money, currency=st.sampled_from(sorted(CURRENCIES)), minor_units=st.integers(-(10**17), 10**17)
            )
        if name == messages.TIMESTAMP:
            from google.protobuf.timestamp_pb2 import Timestamp

            return st.builds(
                Timestamp, seconds=st.integers(0, 4_000_000_000), nanos=st.integers(0, 999_999).map(lambda n: n * 1000)
            )
        return _messages(field.message_type, depth + 1)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return {
        _F.TYPE_STRING: _text,
        _F.TYPE_BYTES: st.binary(max_size=8),
        _F.TYPE_BOOL: st.booleans(),
        _F.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        _F.TYPE_UINT32: st.integers(0, 2**32 - 1),
        _F.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        _F.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300),
    }[field.type]


def _messages(descriptor, depth: int = 0):
    def build(draw):
        message = message_factory.GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if depth > 2 and field.message_type is not None and not messages.is_map(field):
                continue
            if messages.is_map(field):
                value_field = field.message_type.fields_by_name["value"]
                for key, value in draw(st.dictionaries(_text, _values(value_field, depth), max_size=2)).items():
                    getattr(message, field.name)[key] = value
            elif field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(_values(field, depth), max_size=2)))
            elif draw(st.booleans()):
                value = draw(_values(field, depth))
                if field.message_type is not None:
                    getattr(message, field.name).CopyFrom(value)
                else:
                    setattr(message, field.name, value)
        return message

    return st.composite(lambda draw: build(draw))()


@pytest.mark.parametrize("package", sorted({descriptor.file.package for descriptor in MESSAGES}))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_json_and_back_is_the_same_message(package, data):
    # Money alone is no body; it is in most of the others.
    known = [each for each in MESSAGES if each.file.package == package and each.full_name != messages.MONEY]
    descriptor = data.draw(st.sampled_from(known))
    message = data.draw(_messages(descriptor))
    text = json.dumps(messages.to_json(message))
    again = type(message)()
    messages.fill(again, messages.parse_json(text.encode()))
    assert again == message


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_defaults_are_written_and_unset_messages_are_not():
    written = messages.to_json(importer.Import(import_id="x", state=3, size_bytes=5, row_counts=importer.RowCounts()))
    assert written["state"] == "QUESTIONS"
    assert written["sizeBytes"] == "5"
    assert written["rowCounts"]["created"] == 0
    assert written["questions"] == []
    assert written["answers"] == {}
    assert "createdAt" not in written
    assert written["rowsPerSecond"] == 0.0
    aging = messages.to_json(reporting.AgingTotal(currency="USD", total=Money(currency="USD", minor_units=572506)))
    assert aging["total"] == {"currency": "USD", "amount": "5725.06"}


@given(currency=st.sampled_from(sorted(CURRENCIES)), minor=st.integers(-(2**63), 2**63 - 1))
def test_money_is_exact_both_ways(currency, minor):
    message = ledger_service_pb2.HoldOrder(amount=Money(currency=currency, minor_units=minor))
    written = messages.to_json(message)["amount"]
    assert Decimal(written["amount"]).scaleb(exponent(currency)) == minor
    again = ledger_service_pb2.HoldOrder()
    messages.fill(again, {"amount": written})
    assert again == message


@pytest.mark.parametrize(
    "amount, wrong_field",
    [
        ({"currency": "EUR", "amount": "1.001"}, "amount.amount"),
        ({"currency": "EUR", "amount": "1e3"}, "amount.amount"),
        ({"currency": "EUR", "amount": "NaN"}, "amount.amount"),
        ({"currency": "EUR", "amount": "1,50"}, "amount.amount"),
        ({"currency": "EUR", "amount": "١٢"}, "amount.amount"),
        ({"currency": "EUR", "amount": True}, "amount.amount"),
        ({"currency": "EUR"}, "amount.amount"),
        ({"currency": "EUR", "amount": "92233720368547758.08"}, "amount.amount"),
        ({"currency": "EURO", "amount": "1"}, "amount.currency"),
        ({"currency": "eur", "amount": "1"}, "amount.currency"),
        ({"amount": "1"}, "amount.currency"),
        ({"currency": "JPY", "amount": "1.5"}, "amount.amount"),
        ({"currency": "EUR", "amount": "1", "minorUnits": 5}, "amount.minorUnits"),
        ("12.50", "amount"),
    ],
)
def test_wrong_money_is_refused_by_name(amount, wrong_field):
    with pytest.raises(Refused) as refused:
        messages.fill(ledger_service_pb2.HoldOrder(), {"amount": amount})
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert list(refused.value.fields) == [wrong_field]


def test_a_json_number_keeps_its_digits():
    body = messages.parse_json(b'{"amount": {"currency": "EUR", "amount": 0.1}}')
    message = ledger_service_pb2.HoldOrder()
    messages.fill(message, body)
    assert message.amount.minor_units == 10


def test_everything_wrong_is_named_at_once():
    body = {
        "request_id": 5,
        "nonsense": 1,
        "lines": [{"itemId": "a", "amount": {"currency": "EUR", "amount": "x"}}, {"what": 2}, 7],
    }
    with pytest.raises(Refused) as refused:
        messages.fill(scenario_service_pb2.CreatePromiseRequest(), body)
    assert set(refused.value.fields) == {"requestId", "nonsense", "lines[0].amount.amount", "lines[1].what", "lines[2]"}


def test_unknown_fields_alone_have_a_reason_of_their_own():
    with pytest.raises(Refused) as refused:
        messages.fill(ledger_service_pb2.CreateEntityRequest(), {"code": "A", "isAdmin": True})
    assert refused.value.reason == "UNKNOWN_FIELDS"
    assert list(refused.value.fields) == ["isAdmin"]


@pytest.mark.parametrize("spelling", ["HOLD_KIND_DISPUTE", "DISPUTE"])
def test_enum_values_are_read_with_and_without_prefix(spelling):
    message = ledger_service_pb2.HoldOrder()
    messages.fill(message, {"kind": spelling})
    assert message.kind == item_pb2.HOLD_KIND_DISPUTE
    assert messages.to_json(message)["kind"] == "DISPUTE"


def test_an_unknown_enum_value_names_the_known_ones():
    with pytest.raises(Refused) as refused:
        messages.fill(ledger_service_pb2.HoldOrder(), {"kind": "QUARREL"})
    assert "DISPUTE" in refused.value.fields["kind"]
    assert "UNSPECIFIED" not in refused.value.fields["kind"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"5", b'{"code": "A", "code": "B"}', b'{"code": NaN}', b"\xff\xfe", b"[" * 100_000, b"9" * 5000],
    ids=["cut", "list", "number", "twice", "nan", "bytes", "deep", "long"],
)
def test_malformed_bodies_are_refused(body):
    with pytest.raises(Refused) as refused:
        messages.fill(ledger_service_pb2.CreateEntityRequest(), messages.parse_json(body))
    assert refused.value.reason == "JSON_MALFORMED"


@pytest.mark.parametrize("text", ["a\\u0000b", "\\ud800"])
def test_texts_that_no_database_takes_are_refused(text):
    with pytest.raises(Refused) as refused:
        messages.fill(ledger_service_pb2.CreateEntityRequest(), messages.parse_json(f'{{"code": "{text}"}}'.encode()))
    assert list(refused.value.fields) == ["code"]

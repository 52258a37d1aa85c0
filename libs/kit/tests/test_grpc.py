"""The server's guard and the client's channel, over a real connection."""

import threading
import time
from concurrent import futures
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from sample.config import Settings
from sample.store import Base

from kit import context, grpc_client, validation
from kit.errors import Code, Refused
from kit.grpc_server import Server, methods_without_permission
from kit.ids import new_id
from kit.outbox import emit
from kit.service import ServiceDefinition
from kit.testing import caller_of, open_signed, refused, token_for
from quittance.common.v1 import event_log_service_pb2 as pb
from quittance.common.v1 import event_log_service_pb2_grpc as pb_grpc
from quittance.common.v1 import options_pb2
from quittance.common.v1.money_pb2 import Money

DEFINITION = ServiceDefinition(name="sample-one", settings=Settings, metadata=Base.metadata)


@pytest.fixture
def stub(database, grpc_in_process):
    return pb_grpc.EventLogServiceStub(grpc_in_process(DEFINITION, database))


@pytest.fixture
def serve(keys, tenant):
    """Serves a function as GetPosition behind the guard; gives a stub."""
    stops = []

    def start(answer, caller=None, stream=None, **overrides):
        class Rpc(pb_grpc.EventLogServiceServicer):
            def GetPosition(self, request, servicer_context):
                return pb.GetPositionResponse(number=answer(servicer_context) or 0)

        settings = Settings(jwks_url=keys.jwks_url, signing_key_path=keys.signing_key("sample-one"), **overrides)
        server = Server(settings, lambda s: pb_grpc.add_EventLogServiceServicer_to_server(Rpc(), s))
        server.start()
        channel = open_signed(server.address, keys, caller or caller_of(tenant))
        stops.append((server, channel))
        return SimpleNamespace(
            stub=pb_grpc.EventLogServiceStub(channel), server=server, settings=settings, address=server.address
        )

    yield start
    for server, channel in stops:
        channel.close()
        server.stop(0)


def test_a_call_is_answered_for_its_own_tenant(stub, database, as_tenant):
    with database.transaction() as session:
        emit(session, Money(currency="EUR", minor_units=1), "a")
    with as_tenant(new_id()), database.transaction() as session:
        emit(session, Money(currency="EUR", minor_units=1), "a")
        emit(session, Money(currency="EUR", minor_units=1), "a")
    assert stub.GetPosition(pb.GetPositionRequest(), timeout=5).number == 1
    events = stub.GetEvents(pb.GetEventsRequest(from_number=1, to_number=9), timeout=5).events
    assert [(event.number, event.producer, event.type) for event in events] == [
        (1, "sample-one", "quittance.common.v1.Money")
    ]


def test_expired_events_are_refused(stub, database):
    with database.transaction() as session:
        for _ in range(3):
            emit(session, Money(currency="EUR"), "a")
    stub.GetPosition(pb.GetPositionRequest(), timeout=5)
    from sqlalchemy import text

    with database.transaction() as session:
        session.execute(text("DELETE FROM outbox WHERE number < 3"))
    with refused(Code.OUT_OF_RANGE, "EVENTS_EXPIRED") as found:
        stub.GetEvents(pb.GetEventsRequest(from_number=1, to_number=9), timeout=5)
    assert found.error.metadata == {"oldest_number": "3"}


def test_every_wrong_field_is_named(stub):
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS") as found:
        stub.GetEvents(pb.GetEventsRequest(from_number=-4, to_number=-5), timeout=5)
    assert found.error.fields == {
        "fromNumber": "is -4; at least 1 is needed",
        "toNumber": "is -5; at least 1 is needed",
    }


def test_a_call_without_deadline_is_refused(stub, database, keys, tenant, serve):
    running = serve(lambda _: 1)
    token = token_for(keys, caller_of(tenant))
    with grpc.insecure_channel(running.address) as channel:
        plain = pb_grpc.EventLogServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            plain.GetPosition(pb.GetPositionRequest(), metadata=[("authorization", f"Bearer {token}")])
    assert Refused.from_rpc_error(caught.value).reason == "DEADLINE_REQUIRED"


@pytest.mark.parametrize("metadata", [[], [("authorization", "Basic x")], [("authorization", "Bearer nonsense")]])
def test_nobody_enters_without_a_token(serve, metadata):
    running = serve(lambda _: 1)
    with grpc.insecure_channel(running.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            pb_grpc.EventLogServiceStub(channel).GetPosition(pb.GetPositionRequest(), timeout=5, metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_missing_permission_is_named(serve, tenant):
    running = serve(lambda _: 1, caller=caller_of(tenant, "items:read"))
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING") as found:
        running.stub.GetPosition(pb.GetPositionRequest(), timeout=5)
    assert found.error.metadata == {"permission": "events:read"}
    assert serve(lambda _: 1, caller=caller_of(tenant, "events:*")).stub.GetPosition(pb.GetPositionRequest(), timeout=5)


def test_a_refusal_crosses_intact(serve):
    def refuse(_):
        raise Refused(Code.FAILED_PRECONDITION, "PAYMENT_SPENT", "used up – épuisé", {"a.b": "wrong"}, left="3")

    with refused(Code.FAILED_PRECONDITION, "PAYMENT_SPENT") as found:
        serve(refuse).stub.GetPosition(pb.GetPositionRequest(), timeout=5)
    assert (found.error.message, found.error.fields, found.error.metadata) == (
        "used up – épuisé",
        {"a.b": "wrong"},
        {"left": "3"},
    )


def test_a_bug_says_nothing_of_itself(serve):
    def fail(_):
        raise KeyError("secret")

    with refused(Code.INTERNAL, "INTERNAL") as found:
        serve(fail).stub.GetPosition(pb.GetPositionRequest(), timeout=5)
    assert "secret" not in found.error.message


def test_the_deadline_reaches_the_database(database, serve):
    from sqlalchemy import text

    def sleep(_):
        with database.transaction() as session:
            session.execute(text("SELECT pg_sleep(20)"))

    started = time.monotonic()
    with refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"):
        serve(sleep).stub.GetPosition(pb.GetPositionRequest(), timeout=0.5)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        with database.system_transaction() as session:
            query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)' AND state = 'active'"
            if session.execute(text(query)).scalar() == 0:
                break
        time.sleep(0.05)
    else:
        pytest.fail("the statement outlived its caller")
    assert time.monotonic() - started < 4


def test_too_many_calls_are_refused_at_once(serve):
    free, busy = threading.Event(), threading.Semaphore(0)

    def wait(_):
        busy.release()
        free.wait(10)

    running = serve(wait, grpc_concurrent_calls=2, grpc_threads=2)
    waiting = [running.stub.GetPosition.future(pb.GetPositionRequest(), timeout=10) for _ in range(2)]
    assert busy.acquire(timeout=5)
    assert busy.acquire(timeout=5)
    started = time.monotonic()
    with refused(Code.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"):
        running.stub.GetPosition(pb.GetPositionRequest(), timeout=5)
    assert time.monotonic() - started < 1
    free.set()
    assert [call.result().number for call in waiting] == [0, 0]


def test_draining_lets_calls_end(serve):
    entered = threading.Event()

    def wait(_):
        entered.set()
        time.sleep(0.5)
        return 7

    running = serve(wait)
    call = running.stub.GetPosition.future(pb.GetPositionRequest(), timeout=5)
    assert entered.wait(5)
    running.server.stop(5)
    assert call.result().number == 7
    with refused(Code.UNAVAILABLE, "UNAVAILABLE"):
        running.stub.GetPosition(pb.GetPositionRequest(), timeout=2)


def test_a_service_calls_on_behalf_of_its_caller(serve, keys, tenant):
    seen = []
    inner = serve(lambda _: seen.append(context.current_caller()))

    def pass_on(_):
        channel = grpc_client.channel(settings, inner.address)
        seen.append(context.remaining_s())
        pb_grpc.EventLogServiceStub(channel).GetPosition(pb.GetPositionRequest())

    settings = inner.settings
    outer = serve(pass_on, caller=caller_of(tenant, "events:read", subject="user:ann", entities={"FR01"}))
    outer.stub.GetPosition(pb.GetPositionRequest(), timeout=3)
    remaining_s, caller = seen
    assert 2 < remaining_s <= 3
    assert (caller.subject, caller.acting_for, caller.actor) == ("service:sample-one", "user:ann", "user:ann")
    assert (caller.tenant_id, caller.entity_codes) == (tenant, frozenset({"FR01"}))
    assert caller.can("anything:at-all")
    assert not caller.sees_entity("DE01")


def test_the_gateway_forwards_its_users_token(serve, keys, tenant):
    seen = []
    running = serve(lambda _: seen.append(context.current_caller()))
    user = caller_of(tenant, "events:read")
    forwarded = context.Caller(tenant_id=tenant, subject="user:test", token=token_for(keys, user))
    with context.acting_as(forwarded):
        pb_grpc.EventLogServiceStub(grpc_client.channel(running.settings, running.address)).GetPosition(
            pb.GetPositionRequest()
        )
    assert seen == [user]


def test_a_killed_replica_is_retried(keys, tenant):
    """UNAVAILABLE is tried again without anybody noticing: the first answer of this server is a refusal."""
    calls = []

    class Rpc(pb_grpc.EventLogServiceServicer):
        def GetPosition(self, request, servicer_context):
            calls.append(1)
            if len(calls) < 3:
                servicer_context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
            return pb.GetPositionResponse(number=5)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    pb_grpc.add_EventLogServiceServicer_to_server(Rpc(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with open_signed(f"127.0.0.1:{port}", keys, caller_of(tenant)) as channel:
        assert pb_grpc.EventLogServiceStub(channel).GetPosition(pb.GetPositionRequest()).number == 5
    server.stop(0)
    assert len(calls) == 3


def fields_of(message):
    try:
        validation.check(message)
    except Refused as error:
        return error.fields
    return {}


@pytest.fixture(scope="module")
def checked():
    """A message with one field per kind of rule, made here because the kit knows no service's contract."""
    file = descriptor_pb2.FileDescriptorProto(
        name="kit_test.proto", package="kit_test", syntax="proto3",
        dependency=["quittance/common/v1/options.proto", "quittance/common/v1/event_log_service.proto"],
    )  # fmt: skip
    kind = file.enum_type.add(name="Kind")
    for number, name in enumerate(["KIND_UNSPECIFIED", "KIND_ONE"]):
        kind.value.add(name=name, number=number)
    message = file.message_type.add(name="Checked")
    F = descriptor_pb2.FieldDescriptorProto
    rows = [
        ("request_id", F.TYPE_STRING, F.LABEL_OPTIONAL, {"required": True, "format": "uuid"}),
        ("name", F.TYPE_STRING, F.LABEL_OPTIONAL, {"min_length": 2, "max_length": 4}),
        ("code", F.TYPE_STRING, F.LABEL_OPTIONAL, {"pattern": "[A-Z]+"}),
        ("mode", F.TYPE_STRING, F.LABEL_OPTIONAL, {"one_of": ["stock", "delta"]}),
        ("due_on", F.TYPE_STRING, F.LABEL_OPTIONAL, {"format": "date"}),
        ("tags", F.TYPE_STRING, F.LABEL_REPEATED, {"required": True, "max_length": 2}),
        ("kind", F.TYPE_ENUM, F.LABEL_OPTIONAL, {"required": True}),
        ("inner", F.TYPE_MESSAGE, F.LABEL_REPEATED, None),
        ("count", F.TYPE_INT32, F.LABEL_OPTIONAL, {"min": 1, "max": 3}),
    ]
    for number, (name, field_type, label, rules) in enumerate(rows, 1):
        field = message.field.add(name=name, number=number, type=field_type, label=label)
        if field_type == F.TYPE_ENUM:
            field.type_name = ".kit_test.Kind"
        if field_type == F.TYPE_MESSAGE:
            field.type_name = ".quittance.common.v1.GetEventsRequest"
        if rules is not None:
            field.options.Extensions[options_pb2.rules].CopyFrom(options_pb2.FieldRules(**rules))
    service = file.service.add(name="Open")
    service.method.add(name="Do", input_type=".kit_test.Checked", output_type=".kit_test.Checked")
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("kit_test.Checked"))


def good(checked):
    return checked(request_id=new_id(), tags=["a"], kind=1)


def test_what_is_right_passes(checked):
    assert fields_of(good(checked)) == {}
    full = good(checked)
    full.name, full.code, full.mode, full.due_on, full.count = "abcd", "AB", "stock", "2026-02-28", 3
    assert fields_of(full) == {}


def test_rules_of_every_kind(checked):
    wrong = checked(
        request_id="x", name="abcde", code="ab", mode="other", due_on="2026-02-30", tags=["a", "b", "c"],
        kind=9, count=4,
        inner=[pb.GetEventsRequest(from_number=1, to_number=1), pb.GetEventsRequest(from_number=-1)],
    )  # fmt: skip
    found = fields_of(wrong)
    assert set(found) == {
        "requestId", "name", "code", "mode", "dueOn", "tags", "kind", "count", "inner[1].fromNumber",
    }  # fmt: skip
    assert fields_of(checked()) == {"requestId": "is required", "tags": "is required", "kind": "is required"}


def test_a_method_without_permission_cannot_be_served(checked, keys):
    from google.protobuf import descriptor_pool

    file = descriptor_pool.Default().FindFileByName("kit_test.proto")
    assert methods_without_permission([file, pb.DESCRIPTOR]) == ["kit_test.Open.Do"]
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request)

    def register(server):
        server.add_registered_method_handlers("kit_test.Open", {"Do": handler})

    with pytest.raises(LookupError, match=r"kit_test\.Open/Do"):
        Server(Settings(jwks_url=keys.jwks_url), register)


def test_a_taken_port_is_an_error(serve):
    running = serve(lambda _: 1)
    with pytest.raises(RuntimeError, match="bind"):
        serve(lambda _: 1, grpc_port=running.server.port)

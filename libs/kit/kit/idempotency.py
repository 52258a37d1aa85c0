"""A repeated request changes nothing: its answer is kept in the transaction of its effect."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import context
from kit.errors import Code, Refused

RETENTION_DAYS = 35


@contextmanager
def once(session: Session, request_id: str, request: Message, reply: Message) -> Iterator[bool]:
    """Yields True for the first arrival of a request, else fills reply with the answer of the first and yields False.

    The answer is kept when the block ends, in this transaction. A second arrival while the first is in flight waits for
    its commit. Without a request_id every arrival is a first one (RPCs that need an id say so in their field's rules).
    Refuses: ALREADY_EXISTS REQUEST_ID_REUSED for the same id with other content.
    """
    if not request_id:
        yield True
        return
    key = {
        "tenant": context.current_tenant(),
        "method": request.DESCRIPTOR.full_name,
        "request_id": request_id,
    }
    request_hash = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    inserted = session.execute(
        text(
            "INSERT INTO request (tenant_id, method, request_id, request_hash)"
            " VALUES (:tenant, :method, :request_id, :hash) ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {**key, "hash": request_hash},
    ).first()
    where = " WHERE tenant_id = :tenant AND method = :method AND request_id = :request_id"
    if inserted is None:
        kept = session.execute(text("SELECT request_hash, reply FROM request" + where), key).one()
        if bytes(kept.request_hash) != request_hash:
            raise Refused(
                Code.ALREADY_EXISTS,
                "REQUEST_ID_REUSED",
                "this request id was used for a request with other content",
                request_id=request_id,
            )
        reply.ParseFromString(bytes(kept.reply))
        yield False
        return
    yield True
    session.flush()
    session.execute(text("UPDATE request SET reply = :reply" + where), {**key, "reply": reply.SerializeToString()})

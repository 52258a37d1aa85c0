"""The tables as statements name them, and what pages of them have in common."""

from typing import Any

from sqlalchemy import BigInteger, Column, Date, DateTime, Integer, String, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from kit import context
from kit.db import declarative_base

Base = declarative_base()

_UUID = Uuid(as_uuid=False)

ACTION = Table(
    "action",
    Base.metadata,
    Column("tenant_id", _UUID, primary_key=True),
    Column("action_id", _UUID, primary_key=True),
    Column("account_id", _UUID),
    Column("account_number", Text),
    Column("account_name", Text),
    Column("entity_code", Text),
    Column("scenario_id", _UUID),
    Column("scenario_version", Integer),
    Column("step", JSONB),
    Column("step_key", Text),
    Column("channel", Text),
    Column("step_number", Integer),
    Column("step_count", Integer),
    Column("state", Text),
    Column("due_on", Date),
    Column("leader_item_id", _UUID),
    Column("leader_number", Text),
    Column("leader_due_on", Date),
    Column("item_ids", JSONB),
    Column("overdue", JSONB),
    Column("collectable", JSONB),
    Column("collectable_minor", BigInteger),
    Column("reason", JSONB),
    Column("assignee", Text),
    Column("hold_summary", Text),
    Column("message_id", _UUID),
    Column("message_state", Text),
    Column("outcome", Text),
    Column("outcome_fr", Text),
    Column("done_on", Date),
    Column("moved_to", Date),
    Column("intent", JSONB),
    Column("version", BigInteger),
    Column("changed_at", DateTime(timezone=True)),
)
PROMISE = Table(
    "promise",
    Base.metadata,
    Column("tenant_id", _UUID, primary_key=True),
    Column("promise_id", _UUID, primary_key=True),
    Column("account_id", _UUID),
    Column("account_name", Text),
    Column("entity_code", Text),
    Column("state", String),
    Column("is_placed", Integer),
    Column("promised_on", Date),
    Column("created_at", DateTime(timezone=True)),
)
ACTION_COLUMNS = tuple(column.name for column in ACTION.columns)


def within_entities(column: Any) -> list[Any]:
    """Conditions that keep a list to the caller's entities."""
    codes = context.current_caller().entity_codes
    return [] if codes is None else [column.in_(sorted(codes))]

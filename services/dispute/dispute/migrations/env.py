"""Alembic's entry for the dispute service."""

from dispute.store import Base
from kit.migrations import run_env

run_env(Base.metadata)

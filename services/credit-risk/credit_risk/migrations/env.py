"""Alembic's entry for the credit-risk service."""

from credit_risk.store import Base
from kit.migrations import run_env

run_env(Base.metadata)

from kit.migrations import run_env
from ledger.store.tables import Base

run_env(Base.metadata)

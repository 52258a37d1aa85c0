"""Settings of the dispute service."""

from pydantic import Field

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the dispute service can be told, over what every service can."""

    service_name: str = "dispute"
    # How long a read waits for the newest events before it answers with what it has.
    freshness_timeout_s: float = Field(default=8.0, ge=0)
    # How long after a change its job looks whether the ledger's holds agree with the case.
    holds_recovery_delay_s: float = Field(default=20.0, ge=0)

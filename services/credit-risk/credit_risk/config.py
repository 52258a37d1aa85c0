"""Settings of the credit-risk service."""

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the credit-risk service can be told, over what every service can."""

    service_name: str = "credit-risk"
    # How long a read waits for the ledger's latest events before it answers with what it has.
    freshness_timeout_s: float = 8.0

"""What the ledger can be told."""

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """The platform's settings; the ledger has none of its own yet."""

    service_name: str = "ledger"

"""Settings of the reporting service."""

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the reporting service can be told, over what every service can."""

    service_name: str = "reporting"
    # How long a read waits for the producers' latest events before it answers with what it has and says so.
    freshness_timeout_s: float = 8.0

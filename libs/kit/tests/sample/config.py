"""Settings of the sample service."""

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own but a greeting."""

    service_name: str = "sample-one"
    greeting: str = "hello"


class ReaderSettings(ServiceSettings):
    """A second service with the same tables, which reads the first one's events."""

    service_name: str = "reader"

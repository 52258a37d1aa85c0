"""What this service can be told by environment variables."""

from pydantic import Field

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of notification."""

    service_name: str = "notification"

    # The mail server. Security: none (a server on this machine), starttls or tls.
    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(default=8025, ge=1, le=65535)
    smtp_security: str = Field(default="none", pattern="none|starttls|tls")
    smtp_user: str = ""
    smtp_password: str = Field(default="", repr=False)
    smtp_timeout_s: float = Field(default=30.0, gt=0)

    # Envelope sender and From address; replies go to the collector (Reply-To).
    mail_from: str = "receivables@quittance.example"
    # Waits before the second, third, ... try of a message that could not be handed over; after the last it is FAILED.
    mail_retry_delays_s: tuple[float, ...] = (15.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0, 86400.0)
    # Where the local mail sink shows messages; empty when a real server is set.
    mail_sink_url: str = ""
    # Days a personal link in a message works; 0 takes the portal's own default.
    link_valid_days: int = Field(default=0, ge=0, le=365)

"""What this service can be told by environment variables."""

from pydantic import BaseModel, Field

from kit.settings import ServiceSettings


class BankAccount(BaseModel):
    """Where an entity is paid: shown to its customers. Set by who runs the platform, never by who writes templates."""

    holder: str = Field(max_length=70)
    iban: str = Field(pattern=r"[A-Z]{2}\d{2}[A-Z0-9]{8,30}")
    currency: str = Field(default="EUR", min_length=3, max_length=3)

    @property
    def iban_in_groups(self) -> str:
        """As people read it: FR76 3000 6000."""
        return " ".join(self.iban[at : at + 4] for at in range(0, len(self.iban), 4))


class Settings(ServiceSettings):
    """Settings of portal."""

    service_name: str = "portal"

    # The customer's pages: QUITTANCE_PORTAL_PORT, and in QUITTANCE_PORTAL_URL their address as customers reach it.
    portal_host: str = "127.0.0.1"
    portal_port: int = Field(default=8081, ge=0, le=65535)
    portal_url: str = ""
    web_workers: int = Field(default=1, ge=1)
    # spawn is always right; fork shares what is loaded, and is right where nothing was opened before (libs/stack).
    web_start_method: str = Field(default="spawn", pattern="spawn|fork")
    web_threads: int = Field(default=8, ge=1)
    # How many proxies stand before it and say whom they speak for (X-Forwarded-For).
    trusted_proxies: int = Field(default=0, ge=0)

    # File store of the import service, whose documents are served here by signed addresses; empty: the same as ours.
    document_store_url: str = ""

    link_valid_days: int = Field(default=30, ge=1, le=365)
    session_hours: int = Field(default=12, ge=1)
    # Working days in which a collector decides; the items of an answer are not chased meanwhile.
    answer_hold_working_days: int = Field(default=3, ge=1)
    paid_check_working_days: int = Field(default=5, ge=1)

    # Per client address and minute.
    pages_per_minute: int = Field(default=120, ge=1)
    wrong_links_per_minute: int = Field(default=20, ge=1)

    # The creditor's two colours; refused below a contrast of 4.5:1.
    brand_color: str = "#1d4d4a"
    brand_ink: str = "#ffffff"
    # By entity code, JSON: {"FR01": {"holder": "...", "iban": "...", "currency": "EUR"}}.
    bank_accounts: dict[str, BankAccount] = Field(default_factory=dict)

    @property
    def public_url(self) -> str:
        """The address customers reach, without a slash at its end."""
        return (self.portal_url or f"http://{self.portal_host}:{self.portal_port}").rstrip("/")

    @property
    def is_https(self) -> bool:
        """Whether cookies are only ever sent over TLS."""
        return self.public_url.startswith("https://")

"""Settings of the scenario service."""

from decimal import Decimal

from pydantic import Field

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the scenario service can be told, over what every service can."""

    service_name: str = "scenario"
    # Days between two contacts with one customer, whatever the channel.
    min_contact_gap_days: int = Field(default=4, ge=0)
    # Collectable overdue below which an account is left alone, in main units of the entity's currency.
    min_account_amount: Decimal = Field(default=Decimal(1), ge=0)
    # Whether open credits are taken off the overdue amount before it is compared with that minimum.
    nets_credits: bool = False
    # How long a read waits for the newest events before it answers with what it has.
    freshness_timeout_s: float = Field(default=8.0, ge=0)
    # How long after a request to send its job looks whether the request was cut short.
    send_recovery_delay_s: float = Field(default=20.0, ge=0)

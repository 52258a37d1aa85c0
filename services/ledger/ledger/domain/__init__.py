"""The ledger's rules: which rows are taken, what a hold may take, when a complete file is too good to be true, how facts
are sealed.

Amounts are minor units of the item's currency; debits are positive, credits negative.
"""

from ledger.domain.customers import (
    FIELD_OWNERS,
    OWNED_FIELDS,
    groups_after,
    misfit,
    misfits,
)
from ledger.domain.entities import (
    default_language,
    default_time_zone,
)
from ledger.domain.holds import (
    SUSPENDS,
    ActiveHold,
    HoldWish,
    Suspends,
    hold_amount,
    room_minor,
    shrink,
)
from ledger.domain.loads import (
    AMOUNT_MAX_MINOR,
    CONTACT_ROLES,
    CREDIT_KINDS,
    EARLIEST_ON,
    ITEM_KINDS,
    KEY_MAX_CHARACTERS,
    LANGUAGES,
    LATEST_ON,
    STOCK_GUARD_SHARE,
    TEXT_MAX_CHARACTERS,
    StockShare,
    check_accounts,
    check_contacts,
    check_items,
    conform,
    stock_guard_holds,
)
from ledger.domain.reference import (
    ROW_OBJECTS,
    check_allocations,
    check_assignments,
    check_exchange_rates,
    check_orders,
    check_sales,
)

__all__ = [
    "AMOUNT_MAX_MINOR",
    "CONTACT_ROLES",
    "CREDIT_KINDS",
    "EARLIEST_ON",
    "FIELD_OWNERS",
    "ITEM_KINDS",
    "KEY_MAX_CHARACTERS",
    "LANGUAGES",
    "LATEST_ON",
    "OWNED_FIELDS",
    "ROW_OBJECTS",
    "STOCK_GUARD_SHARE",
    "SUSPENDS",
    "TEXT_MAX_CHARACTERS",
    "ActiveHold",
    "HoldWish",
    "StockShare",
    "Suspends",
    "check_accounts",
    "check_allocations",
    "check_assignments",
    "check_contacts",
    "check_exchange_rates",
    "check_items",
    "check_orders",
    "check_sales",
    "conform",
    "default_language",
    "default_time_zone",
    "groups_after",
    "hold_amount",
    "misfit",
    "misfits",
    "room_minor",
    "shrink",
    "stock_guard_holds",
]

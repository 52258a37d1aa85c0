"""What is compared before anything is applied: control totals, and what a complete file would clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from importer.domain.model import Question, Total
from importer.domain.texts import question_text
from importer.domain.values import CURRENCIES

# A complete file that would clear more than this share of the open items, or of the open amount, is asked about.
STOCK_GUARD_SHARE = 0.3
EFFECTS_KEPT = 1_000
# Of each kind of effect so many are kept before any kind gets more.
EFFECTS_OF_A_KIND = 150
# What people look at first.
EFFECT_ORDER = ("reopened", "clearedAbsent", "cleared", "updated", "created")


@dataclass(frozen=True)
class Expected:
    """What the sender counted in one currency; None: not said."""

    currency: str
    item_count: int | None
    open_minor: int | None


@dataclass(frozen=True)
class Check:
    """An expectation beside what the accepted rows hold."""

    expected: Expected
    item_count: int
    open_minor: int

    @property
    def agrees(self) -> bool:
        """True when all that was expected is so."""
        return self.expected.item_count in (None, self.item_count) and self.expected.open_minor in (
            None,
            self.open_minor,
        )


def is_currency(code: str) -> bool:
    """Whether a code is an ISO 4217 currency."""
    return code in CURRENCIES


def control_checks(expected: Sequence[Expected], totals: Sequence[Total]) -> list[Check]:
    """Each expectation beside the accepted rows; currencies nobody named are not compared."""
    found = {total.currency: total for total in totals}
    checks = []
    for one in expected:
        total = found.get(one.currency)
        checks.append(Check(one, total.item_count if total else 0, total.open_minor if total else 0))
    return checks


def decimal(minor: int, currency: str) -> str:
    """Minor units as a plain decimal of their currency."""
    decimals = CURRENCIES.get(currency, 2)
    digits = str(abs(minor)).rjust(decimals + 1, "0")
    return ("-" if minor < 0 else "") + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def control_question(checks: Sequence[Check]) -> Question | None:
    """The question about totals that differ; None when all agree."""
    wrong = [check for check in checks if not check.agrees]
    if not wrong:
        return None
    texts = {}
    for language in ("en", "fr"):
        lines = []
        for check in wrong:
            values = {
                "currency": check.expected.currency,
                "found_count": str(check.item_count),
                "found_total": decimal(check.open_minor, check.expected.currency),
            }
            if check.expected.item_count is not None and check.expected.item_count != check.item_count:
                lines.append(question_text("controlCount", language, expected=str(check.expected.item_count), **values))
            if check.expected.open_minor is not None and check.expected.open_minor != check.open_minor:
                wanted = decimal(check.expected.open_minor, check.expected.currency)
                lines.append(question_text("controlSum", language, expected=wanted, **values))
        texts[language] = question_text("controlTotals", language, differences=" ".join(lines))
    return Question("controlTotals", "", ("APPLY", "CANCEL"), texts["en"], texts["fr"])


def is_doubtful(open_items: int, cleared_items: int, amounts: Sequence[tuple[int, int]]) -> bool:
    """Whether a complete file would clear too much to be true.

    Args: amounts, open and cleared minor units of each currency, before the load.
    """
    shares = [(open_items, cleared_items), *amounts]
    return any(cleared > STOCK_GUARD_SHARE * opened for opened, cleared in shares if cleared > 0)


def kept_effects(effects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The effects that are kept, what people look at first before the rest; no kind hides another."""
    by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in EFFECT_ORDER}
    for effect in effects:
        by_kind.setdefault(effect["effect"], []).append(effect)
    shares = {kind: min(len(found), EFFECTS_OF_A_KIND) for kind, found in by_kind.items()}
    left = EFFECTS_KEPT - sum(shares.values())
    for kind, found in by_kind.items():
        more = min(left, len(found) - shares[kind])
        shares[kind] += more
        left -= more
    return [effect for kind, found in by_kind.items() for effect in found[: shares[kind]]]

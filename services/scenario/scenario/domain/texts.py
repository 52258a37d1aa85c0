"""Days and amounts as sentences carry them, in English and French."""

from datetime import date

from kit.money import format_amount

_MONTHS_EN = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MONTHS_FR = "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.".split()
NO_BREAK_SPACE = "\u00a0"


def day_en(day: date, today: date) -> str:
    """10 Sep, with its year where that is not today's."""
    return f"{day.day} {_MONTHS_EN[day.month - 1]}" + (f" {day.year}" if day.year != today.year else "")


def day_fr(day: date, today: date) -> str:
    """10 sept., with its year where that is not today's."""
    return f"{day.day} {_MONTHS_FR[day.month - 1]}" + (f" {day.year}" if day.year != today.year else "")


def amount_en(minor: int, currency: str) -> str:
    """20,000.00 EUR"""
    whole, _, decimals = format_amount(abs(minor), currency).partition(".")
    return f"{'-' if minor < 0 else ''}{int(whole):,}" + (f".{decimals}" if decimals else "") + f" {currency}"


def amount_fr(minor: int, currency: str) -> str:
    """20 000,00 EUR, with no-break spaces."""
    english, _, code = amount_en(minor, currency).rpartition(" ")
    whole, _, decimals = english.partition(".")
    whole = whole.replace(",", NO_BREAK_SPACE)
    return whole + (f",{decimals}" if decimals else "") + NO_BREAK_SPACE + code


def amounts_en(sums_minor: dict[str, int]) -> str:
    """Amounts of several currencies side by side, never added."""
    return " + ".join(amount_en(minor, currency) for currency, minor in sorted(sums_minor.items()))


def amounts_fr(sums_minor: dict[str, int]) -> str:
    """Amounts of several currencies side by side, never added."""
    return " + ".join(amount_fr(minor, currency) for currency, minor in sorted(sums_minor.items()))


def offset_en(days: int) -> str:
    """D+25, D-7, D"""
    return f"D{days:+d}" if days else "D"


def offset_fr(days: int) -> str:
    """J+25, J-7, J"""
    return f"J{days:+d}" if days else "J"

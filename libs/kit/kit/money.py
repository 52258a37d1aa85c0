"""Money: whole minor units in one currency. Never a float, never two currencies in one sum."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from quittance.common.v1 import money_pb2

# ISO 4217: currencies whose minor unit is not a hundredth.
_EXPONENTS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
    CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR
    PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP
    TRY TTD TWD TZS UAH UGX USD UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()
)


class AmbiguousAmount(ValueError):
    """A written amount that can be read in two ways."""


_MINUS = "-\u2212"
# Digits in groups of three, with one and the same sign between the groups; or without any.
_WHOLE = r"(?:\d+|[1-9]\d{0,2}(?:(?P<group>[ '.,])\d{3})(?:(?P=group)\d{3})*)"
_WRITTEN = re.compile(rf"(?P<whole>{_WHOLE})?(?:(?P<point>[.,])(?P<fraction>\d*))?", re.ASCII)
# One comma or point before exactly three digits, and nothing that says which of the two it is.
_EITHER = re.compile(r"[1-9]\d{0,2}[.,]\d{3}", re.ASCII)


def exponent(currency: str) -> int:
    """How many decimals the currency has (EUR 2, JPY 0, KWD 3). Raises ValueError for no ISO 4217 code."""
    if currency not in CURRENCIES:
        raise ValueError(f"{currency!r} is no ISO 4217 currency")
    return _EXPONENTS.get(currency, 2)


@dataclass(frozen=True)
class Money:
    """An amount in minor units of its currency; adds and subtracts within one currency only."""

    currency: str
    minor_units: int

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} in one sum")

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.currency, self.minor_units + other.minor_units)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.currency, self.minor_units - other.minor_units)

    def __neg__(self) -> "Money":
        return Money(self.currency, -self.minor_units)

    def __lt__(self, other: "Money") -> bool:
        self._same(other)
        return self.minor_units < other.minor_units

    def __le__(self, other: "Money") -> bool:
        self._same(other)
        return self.minor_units <= other.minor_units

    def __bool__(self) -> bool:
        return self.minor_units != 0

    def __str__(self) -> str:
        return f"{format_amount(self.minor_units, self.currency)} {self.currency}"

    @property
    def amount(self) -> Decimal:
        """The amount in the currency's main unit."""
        return Decimal(self.minor_units).scaleb(-exponent(self.currency))

    @classmethod
    def parse(cls, amount: str, currency: str) -> "Money":
        """Reads a plain decimal such as "5725.06". Raises ValueError when it is none or has too many decimals."""
        try:
            value = Decimal(amount.strip()).scaleb(exponent(currency))
        except InvalidOperation as error:
            raise ValueError(f"{amount!r} is no amount") from error
        if not value.is_finite() or value != value.to_integral_value():
            raise ValueError(f"{amount!r} does not fit the decimals of {currency}")
        return cls(currency, int(value))

    @classmethod
    def read(cls, written: str, currency: str) -> "Money":
        """Reads an amount as people write it: "1 234,56", "1,234.56", "1.234,56", "1'234.56", "EUR 1,234.50".

        One sign before three digits divides thousands where the currency has fewer than three decimals ("1.234" EUR);
        with three or more it could be either ("1.234" KWD), and is refused rather than guessed.
        Raises ValueError for what is no amount, has too many decimals or wrong groups; AmbiguousAmount, which is one, for
        what can be read in two ways.
        """
        text = re.sub(r"\s", " ", written.strip()).replace("\u2019", "'")
        text = text.removeprefix(currency).removesuffix(currency).strip()
        is_negative = text[:1] in tuple(_MINUS)
        text = text[1:].strip() if is_negative else text
        decimals = exponent(currency)
        if _EITHER.fullmatch(text):
            if decimals >= 3:
                raise AmbiguousAmount(f"{written!r} can be read in two ways in {currency}")
            text = re.sub(r"\D", "", text)
        found = _WRITTEN.fullmatch(text)
        if (
            found is None
            or not (found["whole"] or found["fraction"])
            or (found["point"] and found["point"] == found["group"])
        ):
            raise ValueError(f"{written!r} is no amount")
        whole = re.sub(r"\D", "", found["whole"] or "0")
        read = cls.parse(f"{whole}.{found['fraction'] or 0}", currency)
        return -read if is_negative else read

    @classmethod
    def rounded(cls, amount: Decimal, currency: str) -> "Money":
        """A computed amount in the main unit, rounded half-even once to the currency's minor unit."""
        return cls(currency, int(amount.scaleb(exponent(currency)).to_integral_value(ROUND_HALF_EVEN)))


def format_amount(minor: int, currency: str) -> str:
    """The amount with all decimals of its currency and no grouping: "5725.06"."""
    decimals = exponent(currency)
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else f"{sign}{digits}"


def to_proto(money: Money) -> money_pb2.Money:
    """As the message of the contracts."""
    return money_pb2.Money(currency=money.currency, minor_units=money.minor_units)


def from_proto(message: money_pb2.Money) -> Money:
    """From the message of the contracts."""
    return Money(message.currency, message.minor_units)

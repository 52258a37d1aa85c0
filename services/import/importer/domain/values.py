"""How a column's values are written: dates, amounts, flags, codes. One format per column, inferred from all of its
values."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# ISO 4217 active codes by number of decimals; everything not listed in the first three has two.
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS = "CLF UYW"
_TWO_DECIMALS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
    "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
    "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER "
    "ZAR ZMW ZWG BGN HRK ANG CUC"
)
CURRENCIES: dict[str, int] = (
    dict.fromkeys(_TWO_DECIMALS.split(), 2)
    | dict.fromkeys(_NO_DECIMALS.split(), 0)
    | dict.fromkeys(_THREE_DECIMALS.split(), 3)
    | dict.fromkeys(_FOUR_DECIMALS.split(), 4)
)
CURRENCY_SIGNS = {
    "€": "EUR",
    "£": "GBP",
    "EURO": "EUR",
    "EUROS": "EUR",
    "US$": "USD",
    "CA$": "CAD",
    "A$": "AUD",
    "SFR": "CHF",
    "FR.": "CHF",
}

YES = {
    "1",
    "true",
    "t",
    "yes",
    "y",
    "x",
    "oui",
    "o",
    "vrai",
    "ja",
    "j",
    "wahr",
    "si",
    "sí",
    "s",
    "verdadero",
    "1.0",
    "open",
    "offen",
    "ouvert",
    "abierto",
}
NO = {
    "0",
    "false",
    "f",
    "no",
    "n",
    "",
    "non",
    "faux",
    "nein",
    "falsch",
    "falso",
    "0.0",
    "closed",
    "-",
    "none",
    "geschlossen",
    "soldé",
    "cerrado",
}

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january janv janvier januar jaen jän jänner ene enero",
            "feb february fev fév févr fevr février fevrier februar febrero",
            "mar march mars mär maerz märz mrz marzo",
            "apr april avr avril abr abril",
            "may mai mayo",
            "jun june juin juni junio",
            "jul july juil juillet juli julio",
            "aug august aou aoû août aout ago agosto",
            "sep sept september septembre septiembre",
            "oct october octobre okt oktober octubre",
            "nov november novembre noviembre",
            "dec december dez dezember déc décembre decembre dic diciembre",
        ),
        start=1,
    )
    for name in names.split()
}

_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
# Days that exist in their month; only a 29 February is left to the slow way.
_PLAIN_ISO = r"^((19|20)\d\d-((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)|)$"
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:\.0+)?")
_NUMERIC = re.compile(r"(\d{1,2})([./ -])(\d{1,2})\2(\d{4}|\d{2})")
_DAY_NAME = re.compile(r"(\d{1,2})(?:st|nd|rd|th|er)?[ ./-]*([^\W\d_]{3,})\.?[ ,./-]*(\d{4}|\d{2})")
_NAME_DAY = re.compile(r"([^\W\d_]{3,})\.?[ ./-]*(\d{1,2})(?:st|nd|rd|th)?[ ,./-]+(\d{4}|\d{2})")
# Days from 1899-12-30, where spreadsheets start to count, to 1904-01-01, where those of old Macs do.
SERIAL_1904 = 1462
_SERIAL = re.compile(r"(\d{5})(?:\.\d+)?")
_NO_DATE = {
    "",
    "0",
    "00000000",
    "0000-00-00",
    "00.00.0000",
    "00/00/0000",
    "00-00-0000",
    "0000/00/00",
    "-",
    "n/a",
    "null",
    "none",
    "nat",
    "nan",
    "0.0",
    "99991231",
    "9999-12-31",
    "31.12.9999",
    "31/12/9999",
    "12/31/9999",
}
_TIME = r"[T ]\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$"
_BLANKS = r"[\s\x{a0}\x{202f}\x{2009}'’]"  # RE2 writes code points so.

# Cells that only data have: a header is never a date, an amount or a long number.
_TYPED = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}([./-])\d{1,2}\3\d{2,4}|"
    r"[(+-]?\s*\d[\d.,\s\u00a0\u202f'’]*[)-]?\s*(€|[A-Z]{3})?)\s*"
)


def looks_typed(cell: str) -> bool:
    """True for a date, an amount or a number: what a header never is."""
    return bool(_TYPED.fullmatch(cell)) and not re.fullmatch(r"\s*\d{1,3}\s*", cell) if cell.strip() else False


def header_key(header: str) -> str:
    """A header without accents, case, blanks and signs: "N° Client" and "n_client" are the same."""
    text = header.replace("ß", "ss").replace("№", "no").replace("°", "o").replace("º", "o")
    text = unicodedata.normalize("NFKD", text)
    return re.sub(r"[^a-z0-9]+", "", "".join(char for char in text if not unicodedata.combining(char)).lower())


def header_words(header: str) -> list[str]:
    """The words of a header: camelCase, underscores and blanks separate."""
    text = unicodedata.normalize("NFKD", header.replace("ß", "ss"))
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]


def lengths(values: pa.Array) -> np.ndarray:
    """Bytes of each text, from the offsets alone."""
    if not len(values):
        return np.zeros(0, dtype=np.int32)
    return np.diff(np.frombuffer(values.buffers()[1], dtype=np.int32, count=len(values) + 1, offset=4 * values.offset))


def trimmed(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Without blanks around; the very same array when there are none."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    ascii_only = pc.all(pc.string_is_ascii(values), min_count=0).as_py()
    text = pc.ascii_trim_whitespace(values) if ascii_only else pc.utf8_trim_whitespace(values)
    return values if text.nbytes == values.nbytes else text


# --- dates ----------------------------------------------------------------------------------------------------------


@dataclass
class DateColumn:
    """What the distinct values of one column say about their date format; counts are of distinct values."""

    column: int
    distinct: pa.Array
    style: str = ""  # Separator and year digits of the numeric values, such as "/4": siblings share it.
    numeric: int = 0
    only_dmy: int = 0
    only_mdy: int = 0
    differs: int = 0  # Values that both orders can read, and read differently.
    other: int = 0  # ISO, compact, named months: no order needed.
    two_digit: int = 0
    serial: int = 0
    empty: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)
    order: str = ""
    decided_by: str = ""

    @property
    def datelike(self) -> float:
        """Share of the filled distinct values that are dates."""
        filled = self.numeric + self.other + self.bad + self.serial
        return (self.numeric + self.other) / filled if filled else 0.0


def day_texts(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column without times of day and blanks around, as one dictionary array."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    encoded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    words = encoded.dictionary
    plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(words), _TIME, "")
    if plain.equals(words):
        return encoded
    # Cut per distinct value; what becomes equal shares one entry again.
    again = plain.dictionary_encode()
    return pa.DictionaryArray.from_arrays(again.indices.take(encoded.indices), again.dictionary)


def profile_dates(column: int, encoded: pa.Array) -> DateColumn:
    """Looks at every distinct value; decides nothing that siblings might decide better."""
    profile = DateColumn(column, encoded.dictionary)
    styles: dict[str, int] = {}
    iso = pc.sum(pc.match_substring_regex(encoded.dictionary, _PLAIN_ISO), min_count=0).as_py()
    if iso == len(encoded.dictionary):
        profile.empty = pc.sum(pc.equal(encoded.dictionary, ""), min_count=0).as_py()
        profile.other = iso - profile.empty
        return profile
    for text in encoded.dictionary.to_pylist():
        if text.lower() in _NO_DATE:
            profile.empty += 1
            continue
        match = _NUMERIC.fullmatch(text)
        if match:
            first, separator, second, year = int(match[1]), match[2], int(match[3]), match[4]
            styles[separator + str(len(year))] = styles.get(separator + str(len(year)), 0) + 1
            profile.numeric += 1
            profile.two_digit += len(year) == 2
            if first > 12 >= second:
                profile.only_dmy += 1
            elif second > 12 >= first:
                profile.only_mdy += 1
            elif first > 12:
                profile.bad += 1
            elif first != second:
                profile.differs += 1
                if len(profile.examples) < 3:
                    profile.examples.append(text)
        elif _day_without_order(text, "20") is not None:
            profile.other += 1
            profile.two_digit += bool(re.search(r"[^\d]\d{2}$", text)) and not _ISO.fullmatch(text)
        elif _SERIAL.fullmatch(text) and 20_000 <= int(text[:5]) <= 80_000:
            profile.serial += 1
        else:
            profile.bad += 1
    if styles:
        profile.style = max(styles, key=lambda style: styles[style])
    if profile.numeric:
        dmy, mdy = profile.only_dmy, profile.only_mdy
        # A typing error must not turn the whole column round, nor may a column that is really mixed pass for decided.
        if dmy and dmy >= 20 * mdy:
            profile.order, profile.decided_by = "DMY", "values"
        elif mdy and mdy >= 20 * dmy:
            profile.order, profile.decided_by = "MDY", "values"
        elif not dmy and not mdy and not profile.differs:
            profile.order, profile.decided_by = "DMY", "values"
        elif profile.style.startswith("."):
            # No country writes M.D.Y; points always mean day first.
            profile.order, profile.decided_by = "DMY", "points"
    return profile


def _day_without_order(text: str, century: str) -> dt.date | None:
    match = _ISO.fullmatch(text) or _COMPACT.fullmatch(text)
    if match:
        return _day(int(match[1]), int(match[2]), int(match[3]))
    match = _DAY_NAME.fullmatch(text)
    if match:
        day, month, year = match[1], match[2], match[3]
    else:
        match = _NAME_DAY.fullmatch(text)
        if not match:
            return None
        month, day, year = match[1], match[2], match[3]
    number = _MONTHS.get(month.lower().rstrip("."))
    if number is None or (len(year) == 2 and not century):
        return None
    return _day(int(year if len(year) == 4 else century + year), number, int(day))


def _day(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None


def read_day(
    text: str, order: str, century: str = "", serial: bool = False, serial_shift: int = 0
) -> dt.date | str | None:
    """One date. Returns the day, None for "no date" (SAP's zeros, 9999-12-31), or the code of a refusal."""
    if text.lower() in _NO_DATE:
        return None
    match = _NUMERIC.fullmatch(text)
    found: dt.date | None
    if match:
        year = match[4]
        if len(year) == 2:
            if not century:
                return "dateTwoDigitYear"
            year = century + year
        first, second = int(match[1]), int(match[3])
        day, month = (first, second) if order == "DMY" else (second, first)
        found = _day(int(year), month, day)
    elif serial and _SERIAL.fullmatch(text):
        # Spreadsheets count days from 1899-12-30.
        found = dt.date(1899, 12, 30) + dt.timedelta(days=int(text[:5]) + serial_shift)
    else:
        found = _day_without_order(text, century)
    if found is None:
        return "dateImpossible"
    return found if 1900 <= found.year <= 2200 else "dateYear"


def parse_dates(
    encoded: pa.Array, order: str, century: str = "", serial: bool = False, serial_shift: int = 0
) -> tuple[pa.Array, dict[str, pa.Array]]:
    """The column as date32, nulls where there is none, and a mask per refusal code. Works per distinct value."""
    if pc.all(pc.match_substring_regex(encoded.dictionary, _PLAIN_ISO), min_count=0).as_py():
        plain = pc.if_else(pc.equal(encoded.dictionary, ""), pa.scalar(None, pa.string()), encoded.dictionary)
        return plain.cast(pa.date32()).take(encoded.indices), {}
    days: list[dt.date | None] = []
    codes: list[str | None] = []
    for text in encoded.dictionary.to_pylist():
        read = read_day(text, order, century, serial, serial_shift)
        days.append(read if isinstance(read, dt.date) else None)
        codes.append(read if isinstance(read, str) else None)
    column = pa.array(days, pa.date32()).take(encoded.indices)
    masks = {}
    for code in sorted({code for code in codes if code}):
        masks[code] = pa.array([entry == code for entry in codes], pa.bool_()).take(encoded.indices)
    return column, masks


# --- amounts --------------------------------------------------------------------------------------------------------

_POINT = r"^(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?$"
_COMMA = r"^(\d{1,3}(\.\d{3})+|\d+)?(,\d*)?$"
# Whole columns of these need no further look: the sign is certain, at most two decimals, no dress but a minus before.
_CERTAIN = {
    ".": r"^(-?(\d{1,15}|\d{1,3}(,\d{3}){1,4})\.\d{1,2}|-?\d{1,15}|)$",
    ",": r"^(-?(\d{1,15}|\d{1,3}(\.\d{3}){1,4}),\d{1,2}|-?\d{1,15}|)$",
}
# Both signs fit and mean different amounts: one separator, three digits after it, one to three before, no leading zero.
_EITHER = r"^[1-9]\d{0,2}[.,]\d{3}$"


@dataclass
class AmountColumn:
    """One column of amounts: cleaned bodies, signs, and which decimal signs all of them allow."""

    column: int
    body: pa.Array  # Digits and separators only; empty: no value.
    negative: pa.Array
    credit_mark: pa.Array
    currency: pa.Array  # Code written beside the amount, else null.
    fits_point: int = 0
    fits_comma: int = 0
    filled: int = 0
    either: int = 0
    examples: list[str] = field(default_factory=list)
    sign: str = ""
    decided_by: str = ""
    only_point: int = 0
    only_comma: int = 0
    # Signed decimal text with a point, when the whole column is plain and has at most two decimals.
    simple: pa.Array | None = None


def profile_amounts(
    column: int, values: pa.ChunkedArray | pa.Array, native: pa.Array | None = None, *, may_be_simple: bool = True
) -> AmountColumn:
    """Takes the dress off the amounts and counts which decimal sign fits. `native` cells always have a point."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    count = len(values)
    if native is None and may_be_simple:
        simple = _simple_amounts(column, values)
        if simple is not None:
            return simple
    text = values
    plain = pc.match_substring_regex(values, r"^-?\d*[.,]?\d*$")
    nothing = pa.nulls(count, pa.string())
    if pc.all(plain, min_count=0).as_py():
        # The usual case costs two passes; the dressed one a dozen.
        negative = pc.starts_with(text, "-")
        body = pc.utf8_ltrim(text, characters="-") if pc.any(negative).as_py() else text
        credit, currency = pa.array(np.zeros(count, dtype=bool)), nothing
    else:
        text = pc.replace_substring_regex(text, _BLANKS, "")
        text = pc.replace_substring_regex(text, "[−–—]", "-")
        credit = pc.match_substring_regex(text, r"(?i)\d(cr|h)$")
        text = pc.replace_substring_regex(text, r"(?i)(\d)(cr|dr|h|s)$", r"\1")
        codes = pc.struct_field(
            pc.extract_regex(text, r"(?:^[(+-]?(?P<before>[A-Za-z€£$.]{1,5})|(?P<after>[A-Za-z€£$.]{1,5})[)-]?$)"), [0]
        )
        after = pc.struct_field(pc.extract_regex(text, r"\d[.,]?-?(?P<after>[A-Za-z€£$]{1,5})[)-]?$"), [0])
        codes = pc.if_else(pc.equal(pc.fill_null(codes, ""), ""), after, codes)
        upper = pc.utf8_upper(codes)
        known = [*CURRENCIES, *CURRENCY_SIGNS]
        names = [*CURRENCIES, *CURRENCY_SIGNS.values()]
        currency = pa.array(names, pa.string()).take(pc.index_in(upper, pa.array(known)))
        dressed = pc.or_(pc.is_valid(currency), pc.fill_null(pc.is_in(upper, pa.array(["$", "¥"])), False))
        text = pc.if_else(dressed, pc.replace_substring_regex(text, r"[A-Za-z€£$¥]+\.?", ""), text)
        brackets = pc.match_substring_regex(text, r"^\(.*\)$")
        trailing = pc.match_substring_regex(text, r"\d[.,]?-$|\d[.,]\d*-$")
        leading = pc.starts_with(text, "-")
        negative = pc.or_(pc.or_(brackets, trailing), leading)
        body = pc.replace_substring_regex(text, r"^[(+-]|[)-]$", "")
        # A lone hyphen is how accountants write nothing.
        body = pc.if_else(pc.equal(text, "-"), "", body)
    profile = AmountColumn(column, body, negative, credit, currency)
    judged = body
    if native is not None:
        judged = pc.if_else(native, "", body)
    judged = judged.filter(pc.match_substring_regex(judged, r"[.,]"))
    filled = pc.sum(pc.not_equal(body, "")).as_py() or 0
    profile.filled = filled
    if len(judged) == 0:
        profile.fits_point = profile.fits_comma = filled
        profile.sign, profile.decided_by = ".", "no separator"
        return profile
    point = pc.match_substring_regex(judged, _POINT)
    comma = pc.match_substring_regex(judged, _COMMA)
    profile.fits_point, profile.fits_comma = pc.sum(point).as_py(), pc.sum(comma).as_py()
    either = pc.match_substring_regex(judged, _EITHER)
    profile.either = pc.sum(either).as_py()
    if profile.either:
        profile.examples = list(dict.fromkeys(judged.filter(either).slice(0, 50).to_pylist()))[:3]
    profile.only_point = pc.sum(pc.and_(point, pc.invert(comma))).as_py()
    profile.only_comma = pc.sum(pc.and_(comma, pc.invert(point))).as_py()
    decide_sign(profile)
    return profile


def decide_sign(profile: AmountColumn) -> None:
    """The decimal sign by what all values allow; a few typing errors do not turn a column round."""
    if profile.only_point > 20 * profile.only_comma:
        profile.sign, profile.decided_by = ".", "values"
    elif profile.only_comma > 20 * profile.only_point:
        profile.sign, profile.decided_by = ",", "values"


def _simple_amounts(column: int, values: pa.Array) -> AmountColumn | None:
    """The usual column by one pattern: all with a point, or all with a comma, as ERPs write them."""
    sample = values.slice(0, 1000)
    for sign, grouping in ((".", ","), (",", ".")):
        pattern = _CERTAIN[sign]
        if not pc.all(pc.match_substring_regex(sample, pattern), min_count=0).as_py():
            continue
        if not pc.all(pc.match_substring_regex(values, pattern), min_count=0).as_py():
            continue
        nothing = pa.nulls(len(values), pa.string())
        profile = AmountColumn(column, values, nothing, pa.array(np.zeros(len(values), dtype=bool)), nothing)
        separated = pc.sum(pc.match_substring(values, sign), min_count=0).as_py()
        profile.filled = int(np.count_nonzero(lengths(values)))
        if separated:
            profile.sign, profile.decided_by = sign, "values"
            profile.only_point, profile.only_comma = (separated, 0) if sign == "." else (0, separated)
            profile.fits_point, profile.fits_comma = (
                (profile.filled, profile.filled - separated)
                if sign == "."
                else (profile.filled - separated, profile.filled)
            )
        else:
            profile.fits_point = profile.fits_comma = profile.filled
            profile.sign, profile.decided_by = ".", "no separator"
        text = values
        if separated and pc.any(pc.match_substring(text, grouping)).as_py():
            text = pc.replace_substring(text, grouping, "")
        profile.simple = pc.replace_substring(text, ",", ".") if sign == "," and separated else text
        return profile
    return None


def hundredths(simple: pa.Array) -> pa.Array:
    """Plain decimal text of at most two decimals as int64 hundredths, null where empty; exact."""
    empty = lengths(simple) == 0
    text = pc.if_else(pa.array(empty), "0", simple) if empty.any() else simple
    decimals = text.cast(pa.decimal128(18, 2))
    # The low word of a 128-bit number below 10^18 is the number itself.
    words = np.frombuffer(decimals.buffers()[1], dtype=np.int64)[2 * decimals.offset :: 2][: len(decimals)]
    return pa.array(words, mask=empty if empty.any() else None)


def parse_amounts(profile: AmountColumn, sign: str, native: pa.Array | None = None) -> tuple[pa.Array, pa.Array]:
    """Signed decimal text of each amount with a point (empty: no value), and a mask of what is no amount."""
    if profile.simple is not None:
        return profile.simple, pa.array(np.zeros(len(profile.simple), dtype=bool))
    body = profile.body
    point = _strip(body, ",", _POINT)
    if sign == ",":
        comma = _strip(body, ".", _COMMA)
        comma = pc.replace_substring(comma, ",", ".")
        number = pc.if_else(native, body, comma) if native is not None else comma
    else:
        number = pc.if_else(native, body, point) if native is not None else point
    wrong = pc.or_(
        pc.is_null(number),
        pc.and_(pc.not_equal(body, ""), pc.invert(pc.match_substring_regex(pc.fill_null(number, ""), r"\d"))),
    )
    number = pc.if_else(wrong, "", number)
    signed = pc.if_else(
        pc.and_(profile.negative, pc.not_equal(number, "")), pc.binary_join_element_wise("-", number, ""), number
    )
    return signed, wrong


def _strip(body: pa.Array, grouping: str, pattern: str) -> pa.Array:
    fits = pc.match_substring_regex(body, pattern)
    text = pc.replace_substring(body, grouping, "") if pc.any(pc.match_substring(body, grouping)).as_py() else body
    if pc.all(fits, min_count=0).as_py():
        return text
    return pc.if_else(fits, text, pa.scalar(None, pa.string()))


def round_to_currency(signed: pa.Array, exponent: pa.Array) -> tuple[pa.Array, int]:
    """Rounds amounts finer than their currency, half to even, once. Returns the texts and how many were rounded.

    Converted amounts (`64982.589`) and a spreadsheet's `0.30000000000000004` come so; refusing them would lose real
    debts.
    """
    fine = pc.match_substring_regex(signed, r"\.\d*[1-9]\d*$")
    point = pc.find_substring(signed, ".")
    decimals = pc.if_else(
        fine, pc.subtract(pc.subtract(pc.utf8_length(pc.utf8_rtrim(signed, characters="0")), point), 1), 0
    )
    finer = pc.greater(decimals, exponent)
    count = pc.sum(finer, min_count=0).as_py()
    if not count:
        return signed, 0
    for places in sorted(set(exponent.unique().to_pylist())):
        mask = pc.and_(finer, pc.equal(exponent, places))
        # More than 15 decimals say nothing any more: they are cut before the rounding.
        texts = pc.replace_substring_regex(signed.filter(mask), r"(\.\d{15})\d+$", r"\1")
        short = pc.if_else(pc.greater(pc.utf8_length(texts), 34), "0", texts)
        rounded = pc.round(short.cast(pa.decimal128(38, 15)), ndigits=places, round_mode="half_to_even")
        signed = pc.replace_with_mask(
            signed, mask, pc.if_else(pc.equal(short, texts), pc.cast(rounded, pa.string()), texts)
        )
    return signed, count


def minor_units(signed: pa.Array, exponent: pa.Array) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Decimal text, not finer than its currency, to int64 minor units, exactly. Args: exponent, decimals of each
    row's currency.

    Returns: the units (0 where there is no value) and the mask amountTooLarge (beyond 17 digits).
    """
    parts = pc.split_pattern(signed, ".", max_splits=1)
    whole = pc.utf8_ltrim(pc.utf8_ltrim(pc.list_element(parts, 0), characters="-"), characters="0")
    has_fraction = pc.greater(pc.list_value_length(parts), 1)
    padded = pc.if_else(has_fraction, signed, pc.binary_join_element_wise(signed, ".", ""))
    fraction = pc.utf8_rtrim(pc.list_element(pc.split_pattern(padded, ".", max_splits=1), 1), characters="0")
    length = pc.utf8_length(fraction)
    too_large = pc.or_(pc.greater(pc.add(pc.utf8_length(whole), exponent), 17), pc.greater(length, exponent))
    padding = pc.binary_repeat("0", pc.max_element_wise(pc.subtract(exponent, length), 0))
    units = pc.if_else(too_large, "0", pc.binary_join_element_wise("0", whole, fraction, padding, "")).cast(pa.int64())
    return pc.if_else(pc.starts_with(signed, "-"), pc.negate(units), units), {"amountTooLarge": too_large}


# --- codes and flags ------------------------------------------------------------------------------------------------


def all_dotted(values: pa.Array) -> tuple[bool, bool]:
    """Whether any code ends in `.0`, and whether all are whole numbers with or without it."""
    if not pc.any(pc.ends_with(values, ".0"), min_count=0).as_py():
        # Asked for parts of a column: another part may decide.
        return False, pc.all(pc.match_substring_regex(values, r"^\d*$"), min_count=0).as_py()
    return True, pc.all(pc.match_substring_regex(values, r"^(\d+(\.0)?)?$"), min_count=0).as_py()


def as_identifier(values: pa.ChunkedArray | pa.Array, dotted: bool | None = None) -> tuple[pa.Array, pa.Array]:
    """Codes as text: `1930571429.0` loses its `.0` when the whole column is written so, `="0012"` its dress.

    Args: dotted, whether the column is written so, None: by these values.
    Returns: the text and a mask of values whose digits a spreadsheet has lost (`1.93057E+09`).
    """
    text = trimmed(values)
    if pc.any(pc.starts_with(text, '="')).as_py():
        text = pc.replace_substring_regex(text, r'^="([^"]*)"$', r"\1")
    if dotted if dotted is not None else all_dotted(text) == (True, True):
        text = pc.replace_substring_regex(text, r"\.0$", "")
    lost = pc.match_substring_regex(text, r"^\d[.,]\d+[eE]\+?\d+$")
    return text, lost


def flag(values: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, pa.Array]:
    """Yes and no in five languages; the mask is of what is neither."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    encoded = pc.utf8_lower(pc.utf8_trim_whitespace(values)).dictionary_encode()
    words = encoded.dictionary.to_pylist()
    return (
        pa.array([word in YES for word in words], pa.bool_()).take(encoded.indices),
        pa.array([word not in YES and word not in NO for word in words], pa.bool_()).take(encoded.indices),
    )


def currency_codes(values: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, pa.Array]:
    """Upper-case ISO 4217 codes (null where empty) and a mask of the unknown ones."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    encoded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    words = [word.strip().upper() for word in encoded.dictionary.to_pylist()]
    codes = [CURRENCY_SIGNS.get(word, word) for word in words]
    known = [code if code in CURRENCIES else None for code in codes]
    return (
        pa.array(known, pa.string()).take(encoded.indices),
        pa.array([code is None and word != "" for code, word in zip(known, codes, strict=True)], pa.bool_()).take(
            encoded.indices
        ),
    )

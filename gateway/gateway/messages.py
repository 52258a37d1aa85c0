"""Messages as JSON and back: ProtoJSON, money as {"currency", "amount"}, enum values without their type's prefix.

What is wrong in a body is named by its JSON path, all of it at once.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from kit.errors import Code, Refused
from kit.money import exponent, format_amount

MONEY = "quittance.common.v1.Money"
TIMESTAMP = "google.protobuf.Timestamp"
DEPTH_MAX = 20
# Plain decimals only: no exponent, no infinity, no grouping.
_AMOUNT = re.compile(r"-?\d{1,19}(\.\d{1,9})?")
_WHOLE = re.compile(r"-?\d{1,20}")
INT64 = range(-(2**63), 2**63)

_F = FieldDescriptor
_INT_RANGES = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), range(-(2**31), 2**31)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), range(2**32)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), INT64),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), range(2**64)),
}
_LONG = frozenset({_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64, _F.TYPE_UINT64, _F.TYPE_FIXED64})
_FLOATS = frozenset({_F.TYPE_DOUBLE, _F.TYPE_FLOAT})


# ---- enums -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def enum_prefix(enum: EnumDescriptor) -> str:
    """What every value of an enum starts with: IMPORT_STATE_ for ImportState."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"


@lru_cache(maxsize=512)
def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """The values of an enum as JSON spells them, by number."""
    return {value.number: value.name.removeprefix(enum_prefix(enum)) for value in enum.values}


@lru_cache(maxsize=512)
def enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """The numbers of an enum by every spelling that is understood: with and without the prefix."""
    return {
        name: value.number for value in enum.values for name in (value.name, value.name.removeprefix(enum_prefix(enum)))
    }


# ---- message to JSON -------------------------------------------------------------------------------------------------


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def to_json(message: Message) -> Any:
    """A message as JSON values; fields without presence are always there, messages and optional fields when set."""
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == MONEY:
        return _money_to_json(message)
    if descriptor.full_name == TIMESTAMP:
        return _timestamp_to_json(message)
    written: dict[str, Any] = {}
    for field in descriptor.fields:
        if is_map(field):
            value_field = field.message_type.fields_by_name["value"]
            entries = getattr(message, field.name)
            written[field.json_name] = {
                _key_text(key): _value_to_json(value_field, entries[key]) for key in sorted(entries)
            }
        elif field.is_repeated:
            written[field.json_name] = [_value_to_json(field, value) for value in getattr(message, field.name)]
        elif not field.has_presence or message.HasField(field.name):
            written[field.json_name] = _value_to_json(field, getattr(message, field.name))
    return written


def _key_text(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _value_to_json(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return to_json(value)
    if field.enum_type is not None:
        return enum_names(field.enum_type).get(value, value)
    if field.type == _F.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if field.type in _LONG:
        return str(value)
    if field.type in _FLOATS and not -1e308 <= value <= 1e308:
        # JSON has no word for infinity and not-a-number; ProtoJSON writes them as text.
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def _money_to_json(message: Any) -> dict[str, str]:
    if not message.currency and not message.minor_units:
        return {"currency": "", "amount": "0"}
    return {"currency": message.currency, "amount": format_amount(message.minor_units, message.currency)}


def _timestamp_to_json(message: Any) -> str:
    moment = datetime.fromtimestamp(message.seconds, UTC).replace(tzinfo=None)
    text = moment.isoformat(timespec="seconds")
    if message.nanos:
        text += f".{message.nanos:09d}".rstrip("0")
    return text + "Z"


# ---- JSON to message -------------------------------------------------------------------------------------------------


class _Wrong(Exception):
    """One value that does not fit; the path is added on the way up."""


def parse_json(body: bytes) -> Any:
    """The value of a JSON text, decimals exact. Refuses INVALID_ARGUMENT JSON_MALFORMED."""
    try:
        return json.loads(
            body.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        text = str(error) if isinstance(error, json.JSONDecodeError | _Twice) else "it is no JSON in UTF-8"
        raise Refused(Code.INVALID_ARGUMENT, "JSON_MALFORMED", f"the body cannot be read: {text}") from error


class _Twice(ValueError):
    pass


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


def fill(message: Message, value: Any, *, from_text: bool = False) -> None:
    """Writes JSON values into a message.

    Args: from_text, values come from a query or a path: numbers and booleans are texts there, one value may be a list.
    Refuses INVALID_ARGUMENT UNKNOWN_FIELDS or INVALID_FIELDS, naming every field by its path.
    """
    wrong: dict[str, str] = {}
    unknown: list[str] = []
    if not isinstance(value, Mapping):
        raise Refused(Code.INVALID_ARGUMENT, "JSON_MALFORMED", "the body must be a JSON object")
    _fill(message, value, "", wrong, unknown, from_text, 0)
    if unknown or wrong:
        fields = {**dict.fromkeys(unknown, "is no field of this call"), **wrong}
        reason = "UNKNOWN_FIELDS" if unknown and not wrong else "INVALID_FIELDS"
        named = "; ".join(f"{path}: {text}" for path, text in list(fields.items())[:5])
        raise Refused(Code.INVALID_ARGUMENT, reason, named, fields)


@lru_cache(maxsize=1024)
def _fields_by_spelling(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    return {name: field for field in descriptor.fields for name in (field.name, field.json_name)}


def _fill(
    message: Message,
    values: Mapping[str, Any],
    prefix: str,
    wrong: dict[str, str],
    unknown: list[str],
    from_text: bool,
    depth: int,
) -> None:
    known = _fields_by_spelling(message.DESCRIPTOR)
    given: set[str] = set()
    for name, value in values.items():
        field = known.get(name)
        if field is None:
            unknown.append(prefix + _shown(name))
            continue
        path = prefix + field.json_name
        if field.name in given:
            wrong[path] = "is given twice"
            continue
        given.add(field.name)
        if value is None:
            continue
        try:
            if is_map(field):
                _fill_map(message, field, value, path, wrong, unknown, from_text, depth)
            elif field.is_repeated:
                _fill_list(message, field, value, path, wrong, unknown, from_text, depth)
            elif field.message_type is not None:
                target = getattr(message, field.name)
                target.SetInParent()
                _fill_message(target, value, path, wrong, unknown, from_text, depth)
            else:
                setattr(message, field.name, _scalar(field, value, from_text))
        except _Wrong as error:
            wrong[path] = str(error)


def _fill_list(
    message: Message,
    field: FieldDescriptor,
    value: Any,
    path: str,
    wrong: dict,
    unknown: list,
    from_text: bool,
    depth: int,
) -> None:
    if from_text and not isinstance(value, list):
        value = [value]
    if not isinstance(value, list):
        raise _Wrong("must be a list")
    target = getattr(message, field.name)
    for index, element in enumerate(value):
        place = f"{path}[{index}]"
        try:
            if field.message_type is not None:
                _fill_message(target.add(), element, place, wrong, unknown, from_text, depth)
            else:
                target.append(_scalar(field, element, from_text))
        except _Wrong as error:
            wrong[place] = str(error)


def _fill_map(
    message: Message,
    field: FieldDescriptor,
    value: Any,
    path: str,
    wrong: dict,
    unknown: list,
    from_text: bool,
    depth: int,
) -> None:
    if not isinstance(value, Mapping):
        raise _Wrong("must be an object")
    target = getattr(message, field.name)
    key_field, value_field = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
    for name, element in value.items():
        place = f"{path}.{_shown(name)}"
        try:
            key = _scalar(key_field, name, True)
            if value_field.message_type is not None:
                _fill_message(target[key], element, place, wrong, unknown, from_text, depth)
            else:
                target[key] = _scalar(value_field, element, from_text)
        except _Wrong as error:
            wrong[place] = str(error)


def _fill_message(target: Any, value: Any, path: str, wrong: dict, unknown: list, from_text: bool, depth: int) -> None:
    name = target.DESCRIPTOR.full_name
    if name == TIMESTAMP:
        _fill_timestamp(target, value)
        return
    if not isinstance(value, Mapping):
        raise _Wrong(
            'must be an object such as {"currency": "EUR", "amount": "12.50"}' if name == MONEY else "must be an object"
        )
    if name == MONEY:
        _fill_money(target, value, path, wrong, unknown)
        return
    if depth >= DEPTH_MAX:
        raise _Wrong("is nested too deep")
    _fill(target, value, f"{path}.", wrong, unknown, from_text, depth + 1)


def _fill_money(target: Any, value: Mapping[str, Any], path: str, wrong: dict, unknown: list) -> None:
    unknown.extend(f"{path}.{_shown(name)}" for name in value if name not in ("currency", "amount"))
    currency, amount = value.get("currency"), value.get("amount")
    if not isinstance(currency, str) or not currency:
        wrong[f"{path}.currency"] = "is required: an ISO 4217 code such as EUR"
        return
    try:
        decimals = exponent(currency)
    except ValueError:
        wrong[f"{path}.currency"] = f"{_shown(currency)!r} is no ISO 4217 currency"
        return
    if isinstance(amount, bool) or not isinstance(amount, str | int | Decimal):
        wrong[f"{path}.amount"] = "is required: a decimal text such as 12.50"
        return
    # A decimal number was never a float here: parse_json keeps its digits.
    text = amount if isinstance(amount, str) else format(amount, "f")
    if not _AMOUNT.fullmatch(text) or not text.isascii():
        wrong[f"{path}.amount"] = f"{_shown(text)!r} is no plain decimal such as 12.50"
        return
    minor = Decimal(text).scaleb(decimals)
    if minor != minor.to_integral_value():
        wrong[f"{path}.amount"] = f"{text} has more than the {decimals} decimals of {currency}"
    elif int(minor) not in INT64:
        wrong[f"{path}.amount"] = "is too large"
    else:
        target.currency, target.minor_units = currency, int(minor)


def _fill_timestamp(target: Any, value: Any) -> None:
    if not isinstance(value, str):
        raise _Wrong("must be a moment such as 2026-03-31T09:30:00Z")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        target.FromDatetime(moment.astimezone(UTC).replace(tzinfo=None))
    except (ValueError, OverflowError) as error:
        raise _Wrong("must be a moment such as 2026-03-31T09:30:00Z") from error


def _scalar(field: FieldDescriptor, value: Any, from_text: bool) -> Any:
    if field.enum_type is not None:
        return _enum(field.enum_type, value, from_text)
    if field.type == _F.TYPE_STRING:
        return _string(value)
    if field.type == _F.TYPE_BOOL:
        return _bool(value, from_text)
    if field.type in _INT_RANGES:
        return _int(value, _INT_RANGES[field.type])
    if field.type in _FLOATS:
        return _float(value, from_text)
    if not isinstance(value, str):
        raise _Wrong("must be base64 text")
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _Wrong("must be base64 text") from error


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be a text")
    if "\x00" in value:
        raise _Wrong("contains a zero character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Wrong("contains half of a character (a lone surrogate)") from error
    return value


def _bool(value: Any, from_text: bool) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False, "1": True, "0": False}
    if from_text and isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise _Wrong("must be true or false")


def _int(value: Any, allowed: range) -> int:
    number: int | None = None
    if isinstance(value, bool):
        raise _Wrong("must be a whole number")
    if isinstance(value, int):
        number = value
    elif (isinstance(value, str) and value.isascii() and _WHOLE.fullmatch(value)) or (
        isinstance(value, Decimal) and value.is_finite() and abs(value) < 10**20 and value == value.to_integral_value()
    ):
        number = int(value)
    if number is None:
        raise _Wrong("must be a whole number")
    if number not in allowed:
        raise _Wrong("is out of range")
    return number


def _float(value: Any, from_text: bool) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | Decimal | str)
        or (isinstance(value, str) and not from_text)
    ):
        raise _Wrong("must be a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise _Wrong("must be a number") from error
    if not -1e308 <= number <= 1e308:
        raise _Wrong("is out of range")
    return number


def _enum(enum: EnumDescriptor, value: Any, from_text: bool) -> int:
    if isinstance(value, str):
        found = enum_numbers(enum).get(value)
        if found is None and from_text:
            found = enum_numbers(enum).get(value.upper())
        if found is not None:
            return found
    names = [name for number, name in enum_names(enum).items() if number]
    raise _Wrong(f"must be one of {', '.join(names)}")


def _shown(text: str) -> str:
    """A name or value of the caller's as it may stand in an answer: short, printable."""
    cleaned = "".join(sign if sign.isprintable() else "?" for sign in text[:61])
    return cleaned if len(text) <= 60 else cleaned[:60] + "..."

"""Checks a request against the (rules) beside its fields and names every wrong field at once."""

import re
import uuid
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kit.errors import Code, Refused
from kit.money import CURRENCIES
from quittance.common.v1 import options_pb2

_EMAIL = re.compile(r"[^@\s<>]{1,64}@[^@\s<>.]+(\.[^@\s<>.]+)+")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
    """.split()
)


def _is_date(value: str) -> bool:
    try:
        return len(value) == 10 and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_uuid(value: str) -> bool:
    try:
        return len(value) == 36 and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


FORMATS = {
    "uuid": _is_uuid,
    "date": _is_date,
    "currency": CURRENCIES.__contains__,
    "country": COUNTRIES.__contains__,
    "email": lambda value: _EMAIL.fullmatch(value) is not None and len(value) <= 254,
    "language": lambda value: _LANGUAGE.fullmatch(value) is not None,
}
_INTEGERS = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT32,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED32,
        FieldDescriptor.TYPE_SFIXED64,
    }
)
_FLOATS = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})
_TEXTS = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


@lru_cache(maxsize=4096)
def _fields(name: str, descriptor: Descriptor) -> tuple[tuple[FieldDescriptor, Any], ...]:
    """The fields of a message worth looking at, with their rules (None: only what is inside matters)."""
    found = []
    for field in descriptor.fields:
        rules = None
        if field.GetOptions().HasExtension(options_pb2.rules):
            rules = field.GetOptions().Extensions[options_pb2.rules]
        # Foreign messages (timestamps, structs) carry no rules of ours.
        inside = field.message_type is not None and not field.message_type.full_name.startswith("google.")
        if rules is not None or field.enum_type is not None or inside:
            found.append((field, rules))
    return tuple(found)


def check(request: Message) -> None:
    """Refuses INVALID_ARGUMENT INVALID_FIELDS, with a message for every wrong field by its JSON path."""
    wrong: dict[str, str] = {}
    _check_message(request, "", wrong)
    if wrong:
        named = "; ".join(f"{path}: {message}" for path, message in list(wrong.items())[:5])
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", named, wrong)


def _check_message(message: Message, prefix: str, wrong: dict[str, str]) -> None:
    descriptor = message.DESCRIPTOR
    for field, rules in _fields(descriptor.full_name, descriptor):
        path = f"{prefix}{field.json_name}"
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if field.is_repeated:
            values = getattr(message, field.name)
            if rules is not None:
                _check_size(len(values), rules, path, "elements", wrong)
            if is_map:
                value_field = field.message_type.fields_by_name["value"]
                if value_field.message_type is not None:
                    for key in values:
                        _check_message(values[key], f"{path}.{key}.", wrong)
                continue
            for index, value in enumerate(values):
                _check_value(field, rules, value, f"{path}[{index}]", wrong, is_element=True)
        elif field.message_type is not None:
            if message.HasField(field.name):
                _check_value(field, rules, getattr(message, field.name), path, wrong)
            elif rules is not None and rules.required:
                wrong[path] = "is required"
        elif field.has_presence and not message.HasField(field.name):
            if (rules is not None and rules.required and field.containing_oneof is None) or (
                rules is not None and rules.required
            ):
                wrong[path] = "is required"
        else:
            _check_value(field, rules, getattr(message, field.name), path, wrong)


def _check_size(size: int, rules: Any, path: str, unit: str, wrong: dict[str, str]) -> None:
    if size == 0:
        if rules.required or (rules.min_length and unit == "elements"):
            wrong[path] = "is required"
    elif rules.min_length and size < rules.min_length:
        wrong[path] = f"has {size} {unit}; at least {rules.min_length} are needed"
    if rules.max_length and size > rules.max_length:
        wrong[path] = f"has {size} {unit}; at most {rules.max_length} are allowed"


def _check_value(
    field: FieldDescriptor, rules: Any, value: Any, path: str, wrong: dict[str, str], is_element: bool = False
) -> None:
    if field.message_type is not None:
        _check_message(value, f"{path}.", wrong)
        return
    if field.enum_type is not None:
        if value not in field.enum_type.values_by_number:
            wrong[path] = f"{value} is no known value"
        elif value == 0 and (is_element or (rules is not None and rules.required)):
            wrong[path] = "is required"
        return
    if rules is None:
        return
    if field.type in _TEXTS:
        if not is_element:
            _check_size(len(value), rules, path, "characters" if isinstance(value, str) else "bytes", wrong)
        if isinstance(value, str) and value and path not in wrong:
            _check_text(value, rules, path, wrong)
        elif is_element and not value and rules.required:
            wrong[path] = "is empty"
    elif field.type in _INTEGERS or field.type in _FLOATS:
        if rules.required and not value and not field.has_presence:
            wrong[path] = "is required"
        # 0 in a field without presence means "not given", unless the field must be given.
        elif value or field.has_presence or is_element:
            if rules.HasField("min") and value < rules.min:
                wrong[path] = f"is {value}; at least {rules.min} is needed"
            elif rules.HasField("max") and value > rules.max:
                wrong[path] = f"is {value}; at most {rules.max} is allowed"
    elif rules.required and not value and not field.has_presence:
        wrong[path] = "is required"


def _check_text(value: str, rules: Any, path: str, wrong: dict[str, str]) -> None:
    if "\x00" in value:
        wrong[path] = "contains a zero character"
    elif rules.pattern and not _pattern(rules.pattern).fullmatch(value):
        wrong[path] = f"does not match {rules.pattern}"
    elif rules.one_of and value not in rules.one_of:
        wrong[path] = f"must be one of {', '.join(rules.one_of)}"
    elif rules.format and not FORMATS[rules.format](value):
        wrong[path] = f"is no {rules.format}"


def unknown_formats(descriptors: Iterable[Descriptor]) -> list[str]:
    """Fields whose rules name a format that nobody checks (a mistake in the contract)."""
    return [
        field.full_name
        for descriptor in descriptors
        for field in descriptor.fields
        if field.GetOptions().Extensions[options_pb2.rules].format not in ("", *FORMATS)
    ]

"""The columns of one file on their way from text to values: what the formats are, what must be asked, what is
refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.fields import CONTACTS, FIELD_BY_NAME, FIELDS, ITEMS
from importer.domain.mapping import CUSTOM, Content, Mapped
from importer.domain.model import Evidence, Question, Wanted, column_key
from importer.domain.reading import RawTable
from importer.domain.texts import question_text
from importer.domain.values import (
    SERIAL_1904,
    AmountColumn,
    DateColumn,
    as_identifier,
    day_texts,
    flag,
    header_key,
    lengths,
    parse_amounts,
    parse_dates,
    profile_amounts,
    profile_dates,
    trimmed,
)

AMOUNT_FIELDS = ("initialAmount", "openAmount", "localAmount", "debit", "credit")
DATE_FIELDS = ("issueOn", "dueOn", "postedOn", "settledOn", "baselineOn")
# Of rows that are odd so many are named.
WARNED_LINES = 20
# Where a file has no document date, these stand in for it, best first.
ISSUE_FALLBACKS = ("postedOn", "baselineOn")
_FORMULA = r"^\s*(=.*|[+\-@][A-Za-z_.]+[(|!].*)$"
_LITERAL = r'^="[^"]*"$'
_ERROR = r"^#(N/A|REF!|VALUE!|DIV/0!|NAME\?|NULL!|NUM!|NV|WERT!|BEZUG!|NOM\?|VALEUR!)$"


@dataclass
class Decisions:
    """What all rows of a file say together, for reading it part by part as if it were read whole."""

    dates: dict[int, DateColumn]
    amounts: dict[int, AmountColumn]
    dotted: dict[int, bool]
    # Some amount is negative; some credit is negative: then the file's signs count.
    has_negative: bool
    has_signed_credit: bool


class Columns:
    """One pass over one file: its columns by field, the refusals met, the questions left. Objects build their rows
    on it."""

    def __init__(
        self,
        raw: RawTable,
        kind: str,
        columns: list[Mapped],
        wanted: Wanted,
        answers: Mapping[str, str],
        found: list[Content],
        warnings: list[tuple[str, dict[str, str]]],
        decisions: Decisions | None = None,
    ) -> None:
        self.raw, self.kind, self.columns, self.wanted, self.answers, self.found = (
            raw,
            kind,
            columns,
            wanted,
            answers,
            found,
        )
        self.warnings = warnings
        self.decisions = decisions
        self.questions: list[Question] = []
        # What the order of a style of dates is, once it was answered or asked.
        self.order_by_style: dict[str, str] = {}
        self.refused: list[tuple[pa.Array, str, str, int | None]] = []
        self.formats: dict[int, str] = {}
        self.rows = raw.table.num_rows
        self._clean: dict[int, pa.Array] = {}
        self._encoded: dict[int, pa.Array] = {}
        self.position = {
            column.field: column.position for column in columns if column.field and not column.field.startswith(CUSTOM)
        }

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        """All rows with the ledger's columns, refused ones included, and what the preview shows of them by field."""
        raise NotImplementedError(f"{self.kind} has rows of its own")

    # -- small helpers

    def has(self, name: str) -> bool:
        return name in self.position

    def _fields_of(self, kind: str) -> list[str]:
        """Names of this object's fields whose values are read so."""
        return [field.name for field in FIELDS[self.kind] if field.kind == kind]

    def column(self, name: str) -> pa.Array:
        """The text of a field's column; all empty when no column has it."""
        if not self.has(name):
            return self.constant("")
        return self.at(self.position[name])

    def at(self, position: int) -> pa.Array:
        values = self.raw.table.column(position)
        return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values

    def clean(self, position: int) -> pa.Array:
        """The column without blanks around, made once."""
        if position not in self._clean:
            self._clean[position] = trimmed(self.at(position))
        return self._clean[position]

    def cleaned(self, name: str) -> pa.Array:
        """The text of a field's column without blanks around; all empty when no column has it."""
        return self.clean(self.position[name]) if self.has(name) else self.constant("")

    def encoded(self, name: str) -> pa.Array:
        """The same as a dictionary, made once: for columns that repeat their values."""
        if not self.has(name):
            return self.constant("").dictionary_encode()
        return self.encoded_at(self.position[name])

    def encoded_at(self, position: int) -> pa.Array:
        if position not in self._encoded:
            self._encoded[position] = self.clean(position).dictionary_encode()
        return self._encoded[position]

    def constant(self, value: object, kind: pa.DataType | None = None) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind or pa.string()), self.rows)

    def header(self, name: str) -> str:
        return self.raw.headers[self.position[name]] or f"#{self.position[name]}" if self.has(name) else name

    def refuse(self, mask: pa.Array, name: str, code: str, position: int | None = None) -> None:
        mask = pc.fill_null(mask, False)
        if code == "missing" and any(
            question.code == "mapping" and question.column == name for question in self.questions
        ):
            return  # The whole column is asked about; a refusal per row would only hide that.
        if pc.any(mask, min_count=0).as_py():
            self.refused.append((mask, name, code, self.position.get(name) if position is None else position))

    def warn(self, code: str, **values: str) -> None:
        self.warnings.append((code, values))

    def warn_rows(self, code: str, mask: pa.Array) -> None:
        """A warning about rows, if there are any: how many, and the first lines."""
        mask = pc.fill_null(mask, False)
        count = pc.sum(mask, min_count=0).as_py()
        if count:
            first = self.raw.lines.filter(mask).slice(0, WARNED_LINES).to_pylist()
            self.warn(code, count=str(count), lines=",".join(str(line) for line in first))

    def identifier(self, name: str) -> pa.Array:
        if not self.has(name):
            return self.constant("")
        dotted = self.decisions.dotted.get(self.position[name]) if self.decisions else None
        text, lost = as_identifier(self.cleaned(name), dotted)
        if self.has(name):
            self.refuse(lost, name, "digitsLost")
            self._refuse_long(text, name)
        return text

    def text(self, name: str) -> pa.Array:
        value = self.cleaned(name)
        if self.has(name):
            self._refuse_long(value, name)
        return value

    def _refuse_long(self, value: pa.Array, name: str) -> None:
        longest = FIELD_BY_NAME[self.kind][name].max_length
        if not len(value) or lengths(value).max() <= longest:
            return  # Characters are never more than bytes.
        self.refuse(pc.greater(pc.utf8_length(value), longest), name, "tooLong")

    def _words(self, name: str, table: Mapping[str, str]) -> tuple[pa.Array, pa.Array, list[str]]:
        """A column of words by a table. Returns the values (null: unknown or empty), the mask of unknown ones, and
        those words."""
        encoded = self.encoded(name)
        words = encoded.dictionary.to_pylist()
        values = [table.get(header_key(word) or word.strip().lower()) for word in words]
        unknown = [value is None and word != "" for value, word in zip(values, words, strict=True)]
        names = [word for word, odd in zip(words, unknown, strict=True) if odd]
        return (
            pa.array(values, pa.string()).take(encoded.indices),
            pa.array(unknown, pa.bool_()).take(encoded.indices),
            names,
        )

    def _refused_rows(self, name: str) -> pa.Array:
        mask = self.constant(False, pa.bool_())
        for other, field_name, _, _ in self.refused:
            if field_name == name:
                mask = pc.or_(mask, other)
        return mask

    # -- what is missing or damaged

    def ask_for_missing(self) -> None:
        missing = [entry.name for entry in FIELDS[self.kind] if entry.required and not self.has(entry.name)]
        if self.kind == ITEMS:
            if self.has("externalId") and "itemNumber" in missing:
                missing.remove("itemNumber")
            fallback = next((name for name in ISSUE_FALLBACKS if self.has(name)), None)
            if "issueOn" in missing and fallback:
                missing.remove("issueOn")
                self.warn("issueFrom", column=self.header(fallback))
            if not any(self.has(name) for name in AMOUNT_FIELDS):
                missing.append("initialAmount")
        if self.kind == CONTACTS and not (self.has("email") or self.has("phone")):
            missing.append("email")
        free = tuple(
            column_key(self.raw.headers, column.position)
            for column in self.columns
            if not column.field or column.field.startswith(CUSTOM)
        )
        for name in missing:
            entry = FIELD_BY_NAME[self.kind][name]
            self.questions.append(
                Question(
                    "mapping",
                    name,
                    free,
                    question_text("mapping", label=entry.label_en),
                    question_text("mapping", "fr", label=entry.label_fr),
                )
            )

    def refuse_damaged(self) -> None:
        used = [column for column in self.columns if column.field]
        for column in self.columns if self.raw.may_hold("\0") else ():
            values = self.at(column.position)
            self.refuse(pc.match_substring(values, "\x00"), column.field, "nulByte", column.position)
        for column in used if self.raw.may_hold("=#(|!") else ():
            values = self.at(column.position)
            suspect = pc.match_substring_regex(values, r"^\s*[=+\-@#]")
            if not pc.any(suspect, min_count=0).as_py():
                continue
            formula = pc.and_(
                pc.match_substring_regex(values, _FORMULA), pc.invert(pc.match_substring_regex(values, _LITERAL))
            )
            self.refuse(formula, column.field, "formulaCell", column.position)
            self.refuse(pc.match_substring_regex(values, _ERROR), column.field, "errorCell", column.position)
        by_position: dict[int, list[int]] = {}
        for line, position in self.raw.error_cells:
            by_position.setdefault(position, []).append(line)
        for column in used:
            if column.position in by_position:
                lines = pa.array(by_position[column.position], pa.int32())
                self.refuse(pc.is_in(self.raw.lines, lines), column.field, "errorCell", column.position)

    def _refuse_duplicates(self, key: pa.Array, name: str, ignored: pa.Array) -> None:
        """Both rows of a pair are refused: which of them is right is not ours to say."""
        key = pc.if_else(ignored, pa.scalar(None, pa.string()), key)
        twice = repeated(key)
        if len(twice):
            self.refuse(pc.is_in(key, twice), name, "duplicateKey")

    # -- dates

    def _dates(self) -> dict[str, pa.Array]:
        """Every mapped date column as date32; asks where nothing decides the order."""
        encoded: dict[int, pa.Array] = {}
        profiles: dict[int, DateColumn] = {}
        wanted = {self.position[name]: name for name in self._fields_of("date") if self.has(name)}
        for position, content in enumerate(self.found):
            if position in wanted or content.dates >= 0.8:
                encoded[position] = day_texts(self.encoded_at(position))
                profiles[position] = (
                    self.decisions.dates[position] if self.decisions else profile_dates(position, encoded[position])
                )
        decided: dict[str, set[str]] = {}
        for profile in profiles.values():
            if profile.order and profile.decided_by == "values" and (profile.only_dmy or profile.only_mdy):
                decided.setdefault(profile.style, set()).add(profile.order)
        days: dict[str, pa.Array] = {}
        for position, name in wanted.items():
            profile, header = profiles[position], self.raw.headers[position] or f"#{position}"
            order = self._date_order(profile, header, decided)
            century = self._century(profile, header)
            serial = profile.serial > 0 and profile.serial >= profile.bad + profile.other + profile.numeric
            days[name], masks = parse_dates(
                encoded[position], order, century, serial, SERIAL_1904 if self.raw.from_1904 else 0
            )
            for code, mask in masks.items():
                self.refuse(mask, name, code)
            self.formats[position] = _date_format(profile, order, serial)
        return days

    def _date_order(self, profile: DateColumn, header: str, decided: Mapping[str, set[str]]) -> str:
        answer = self.answers.get(f"dateOrder:{header}", self.answers.get("dateOrder", "")).upper()
        if profile.order:
            contradicts = (
                answer
                and answer != profile.order
                and profile.decided_by == "values"
                and profile.differs + profile.only_dmy + profile.only_mdy
            )
            if contradicts and f"dateOrder:{header}" in self.answers:
                self.warn("profileContradicted", column=header)
            return profile.order
        if not profile.numeric:
            return "DMY"
        siblings = decided.get(profile.style, set())
        # Columns written in the same style are asked about once; a column named in an answer speaks for the others.
        if answer:
            self.order_by_style.setdefault(profile.style, answer)
            return answer
        if profile.style in self.order_by_style:
            return self.order_by_style[profile.style]
        if len(siblings) == 1 and not profile.only_dmy and not profile.only_mdy:
            profile.decided_by = "siblings"
            return next(iter(siblings))
        evidence = []
        for option, misfits in (("DMY", profile.only_mdy), ("MDY", profile.only_dmy)):
            examples = []
            for text in profile.examples:
                first, second, year = re.split(r"[./ -]", text)
                day, month = (first, second) if option == "DMY" else (second, first)
                examples.append(f"{text} = {year if len(year) == 4 else '20' + year}-{int(month):02d}-{int(day):02d}")
            evidence.append(Evidence(option, tuple(examples), profile.numeric - misfits, profile.numeric))
        self.questions.append(
            Question(
                "dateOrder",
                header,
                ("DMY", "MDY"),
                question_text("dateOrder", column=header),
                question_text("dateOrder", "fr", column=header),
                tuple(evidence),
            )
        )
        self.order_by_style[profile.style] = "DMY"
        return "DMY"

    def _century(self, profile: DateColumn, header: str) -> str:
        if not profile.two_digit:
            return ""
        answer = self.answers.get(f"twoDigitYear:{header}", self.answers.get("twoDigitYear", ""))
        if answer:
            return answer
        self.questions.append(
            Question(
                "twoDigitYear",
                header,
                ("20", "19"),
                question_text("twoDigitYear", column=header),
                question_text("twoDigitYear", "fr", column=header),
            )
        )
        return "20"

    # -- amounts

    def _amounts(self) -> dict[str, tuple[pa.Array, AmountColumn]]:
        """Every mapped amount as signed decimal text; asks where nothing decides the sign."""
        profiles: dict[str, AmountColumn] = {}
        for name in self._fields_of("amount"):
            if self.has(name):
                position = self.position[name]
                profiles[name] = self._amount_profile(position)
        signs = {profile.sign for profile in profiles.values() if profile.sign and profile.decided_by == "values"}
        if len(signs) != 1:
            signs = signs or self._signs_elsewhere(set(self.position.values()))
        read: dict[str, tuple[pa.Array, AmountColumn]] = {}
        for name, profile in profiles.items():
            header = self.header(name)
            sign = profile.sign or self._decimal_sign(profile, header, signs)
            native = self.raw.native.get(profile.column)
            text, wrong = parse_amounts(profile, sign, native)
            self.refuse(wrong, name, "amountNotANumber")
            self.formats[profile.column] = {".": "decimal point", ",": "decimal comma"}[sign]
            read[name] = (text, profile)
        return read

    def _amount_profile(self, position: int) -> AmountColumn:
        values, native = self.clean(position), self.raw.native.get(position)
        profile = profile_amounts(position, values, native)
        if self.decisions is None:
            return profile
        whole = self.decisions.amounts[position]
        if profile.simple is not None and profile.decided_by == "values" and profile.sign != whole.sign:
            profile = profile_amounts(position, values, native, may_be_simple=False)
        profile.sign, profile.decided_by, profile.examples = whole.sign, whole.decided_by, whole.examples
        profile.fits_point, profile.fits_comma, profile.filled = whole.fits_point, whole.fits_comma, whole.filled
        return profile

    def _signs_elsewhere(self, used: set[int]) -> set[str]:
        """Decimal signs of other numeric columns of the file: the same export writes all numbers alike."""
        signs = set()
        for position, content in enumerate(self.found):
            if position not in used and content.numbers >= 0.95 and content.dates < 0.5:
                profile = self._amount_profile(position)
                if profile.decided_by == "values":
                    signs.add(profile.sign)
        return signs

    def _decimal_sign(self, profile: AmountColumn, header: str, signs: set[str]) -> str:
        answer = self.answers.get(f"decimalSign:{header}", self.answers.get("decimalSign", ""))
        answer = {"POINT": ".", "COMMA": ","}.get(answer.upper(), answer)
        if answer:
            return answer
        if len(signs) == 1:
            return next(iter(signs))
        evidence = []
        for option, fits, grouping in ((".", profile.fits_point, ","), (",", profile.fits_comma, ".")):
            examples = tuple(f"{text} = {text.replace(grouping, '').replace(option, '.')}" for text in profile.examples)
            evidence.append(Evidence(option, examples, fits, profile.filled))
        self.questions.append(
            Question(
                "decimalSign",
                header,
                (".", ","),
                question_text("decimalSign", column=header),
                question_text("decimalSign", "fr", column=header),
                tuple(evidence),
            )
        )
        return "."

    # -- what all objects have

    def _warn_entity(self) -> None:
        if not self.has("companyCode"):
            return
        codes = sorted(
            code for code in pc.utf8_trim_whitespace(self.column("companyCode")).unique().to_pylist() if code
        )
        if codes and codes != [self.wanted.entity_code]:
            self.warn("otherEntity", codes=", ".join(codes[:10]), entity=self.wanted.entity_code)

    def _custom_fields(self, standard: tuple[str, ...] = ()) -> pa.Array:
        """JSON of the columns kept as custom fields, null where all of them are empty."""
        parts: list[pa.Array] = []
        chosen = [
            (column.field[len(CUSTOM) :] or self.raw.headers[column.position], column.position)
            for column in self.columns
            if column.field.startswith(CUSTOM)
        ]
        chosen += [(name, self.position[name]) for name in standard if self.has(name)]
        for name, position in chosen:
            if name == "disputed":
                yes, _ = flag(self.at(position))
                parts.append(pc.if_else(yes, ',"disputed":"true"', ""))
                continue
            text = pc.utf8_trim_whitespace(self.at(position))
            self.refuse(pc.greater(pc.utf8_length(text), 500), f"{CUSTOM}{name}", "tooLong", position)
            text = pc.utf8_slice_codeunits(text, 0, 500)
            if pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]'), min_count=0).as_py():
                text = pc.replace_substring(text, "\\", "\\\\")
                text = pc.replace_substring(text, '"', '\\"')
                text = pc.replace_substring_regex(text, r"[\x00-\x1f]", " ")
            pair = pc.binary_join_element_wise("," + json.dumps(name, ensure_ascii=False) + ':"', text, '"', "")
            parts.append(pc.if_else(pc.equal(text, ""), "", pair))
        if not parts:
            return pa.nulls(self.rows, pa.string())
        joined = pc.binary_join_element_wise(*parts, "")
        whole = pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(joined, 1), "}", "")
        return pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), whole)


def repeated(values: pa.Array) -> pa.Array:
    """The values that occur more than once."""
    distinct = len(values.unique()) - (1 if values.null_count else 0)
    if distinct == len(values) - values.null_count:
        return values.slice(0, 0)
    counts = pc.value_counts(values)
    found, numbers = counts.field("values"), counts.field("counts")
    return found.filter(pc.and_(pc.greater(numbers, 1), pc.is_valid(found)))


def null_if_empty(values: pa.Array) -> pa.Array:
    size = lengths(values)
    if size.all():
        return values
    if not size.any():
        return pa.nulls(len(values), pa.string())
    return pc.if_else(pa.array(size == 0), pa.scalar(None, pa.string()), values)


def _date_format(profile: DateColumn, order: str, serial: bool) -> str:
    if serial:
        return "day number of a spreadsheet"
    if not profile.numeric:
        return "YYYY-MM-DD"
    separator, digits = profile.style[0], int(profile.style[1:])
    year = "Y" * digits
    return separator.join(("D", "M", year) if order == "DMY" else ("M", "D", year))

"""Imports: upload, questions and columns, consequences, apply, report; the history of all files."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import (
    RPC_TIMEOUT_S,
    entities,
    formatter,
    gettext,
    language,
    needs,
    selected_entity,
    settings,
    stubs,
    toast,
)
from kit import listing
from quittance.importer.v1 import import_service_pb2 as pb

blueprint = Blueprint("imports", __name__)

ROWS_PER_PAGE = 50
AMOUNT_FIELDS = frozenset({"initialAmount", "openAmount", "localAmount", "debit", "credit"})
FILE_KINDS = ".csv,.txt,.tsv,.xlsx,.xls,.xlsb,.ods"
WORKING = frozenset({"UPLOADED", "READING", "APPLYING"})


def state_of(run: pb.Import) -> str:
    """The state of an import without its prefix."""
    return pb.ImportState.Name(run.state).removeprefix("IMPORT_STATE_")


def state_name(state: str) -> tuple[str, str]:
    """(verdict, words) for the state of an import."""
    return {
        "UPLOADED": ("note", gettext("Uploaded")),
        "READING": ("note", gettext("Being read")),
        "QUESTIONS": ("warn", gettext("Waits for an answer")),
        "PREVIEWED": ("warn", gettext("Ready to apply")),
        "APPLYING": ("note", gettext("Being applied")),
        "APPLIED": ("good", gettext("Applied")),
        "FAILED": ("bad", gettext("Failed")),
        "CANCELLED": ("note", gettext("Given up")),
    }.get(state, ("note", state))


def object_name(kind: pb.ImportObject) -> str:
    """What the rows of a file are, in the reader's words."""
    return {
        pb.IMPORT_OBJECT_ITEMS: gettext("Items"),
        pb.IMPORT_OBJECT_ACCOUNTS: gettext("Accounts"),
        pb.IMPORT_OBJECT_CONTACTS: gettext("Contacts"),
    }.get(kind, gettext("Not known yet"))


@blueprint.get("/imports")
@needs("imports:read")
def history():
    """All files, newest first."""
    entity = selected_entity()
    token = request.args.get("page", "")
    found = stubs().importer.ListImports(
        pb.ListImportsRequest(
            filter=f'entity_code="{entity}"' if entity else "", page_size=ROWS_PER_PAGE, page_token=token
        ),
        timeout=RPC_TIMEOUT_S,
    )
    first = listing.offset_of(token) + 1 if token else 1
    before = first - 1 - ROWS_PER_PAGE
    return render_template(
        "imports/history.html",
        found=found,
        first=first,
        previous=listing.encode_page_token(offset=before) if before > 0 else None,
        state_of=state_of,
        state_name=state_name,
        object_name=object_name,
    )


@blueprint.get("/imports/new")
@needs("imports:write")
def new():
    """The first step: choose the books and drop the file."""
    wanted = request.args.get("into") or selected_entity() or (entities()[0].code if len(entities()) == 1 else "")
    return render_template(
        "imports/new.html",
        entities=entities(),
        entity_choices=[(entity.code, f"{entity.name} ({entity.code}, {entity.currency})") for entity in entities()],
        chosen=next((entity for entity in entities() if entity.code == wanted), None),
        mode="stock" if request.args.get("mode") == "stock" else "delta",
        kinds=FILE_KINDS,
        max_bytes=settings().upload_max_bytes,
    )


@blueprint.get("/imports/<uuid:import_id>")
@needs("imports:read")
def one(import_id):
    """One file, wherever it is on its way."""
    # Questions, warnings and reasons are written by the service: in the reader's language.
    run = (
        stubs()
        .importer.GetImport(
            pb.GetImportRequest(import_id=str(import_id)),
            timeout=RPC_TIMEOUT_S,
            metadata=[("accept-language", language())],
        )
        .import_run
    )
    state = state_of(run)
    return render_template(
        "imports/one.html",
        run=run,
        state=state,
        working=state in WORKING,
        state_name=state_name,
        object_name=object_name,
        columns=_columns(run),
        field_choices=_field_choices(run),
        questions=[_question(question, run) for question in run.questions],
        steps=_steps(state),
        at_guard=any(question.code == "stockGuard" for question in run.questions),
        stages=[(stage_name(name), seconds) for name, seconds in sorted(run.stage_seconds.items(), key=_stage_order)],
        separator={"\t": gettext("tab")}.get(run.delimiter, run.delimiter),
        kinds=FILE_KINDS,
        max_bytes=settings().upload_max_bytes,
    )


def _columns(run: pb.Import) -> list[dict]:
    """The columns as shown: those that are used or asked about first, as a wide export would hide them."""
    columns = [_column(column, run) for column in run.columns]
    return sorted(columns, key=lambda one: not (one["column"].field or one["asked"]))


def _steps(state: str) -> list[dict[str, str]]:
    """The wizard's steps for a state."""
    at = {"UPLOADED": 1, "READING": 1, "QUESTIONS": 1, "FAILED": 0, "PREVIEWED": 2, "APPLYING": 3, "APPLIED": 4}.get(
        state, 1
    )
    titles = (gettext("Upload"), gettext("Check columns"), gettext("See consequences"), gettext("Apply"))
    return [
        {"title": title, "href": "", "state": "done" if index < at else "now" if index == at else "next"}
        for index, title in enumerate(titles)
    ]


def _field_choices(run: pb.Import) -> list[tuple[str, str]]:
    """What a column can be mapped to."""
    fields = [(field.name, field_name(field)) for field in run.fields]
    return [("", gettext("Leave out")), *sorted(fields, key=lambda choice: choice[1].lower())]


STAGES = ("keep", "read", "validate", "load")


def _stage_order(stage: tuple[str, float]) -> int:
    return STAGES.index(stage[0]) if stage[0] in STAGES else len(STAGES)


def stage_name(stage: str) -> str:
    """A stage of the work in the reader's words."""
    return {
        "keep": gettext("File kept"),
        "read": gettext("Read"),
        "validate": gettext("Checked"),
        "load": gettext("Put into the ledger"),
    }.get(stage, stage)


def _field_label(run: pb.Import, name: str) -> str:
    """A field's stable name in the reader's words; a custom field by its own name."""
    if name.startswith("custom:"):
        return name.removeprefix("custom:")
    return next((field_name(field) for field in run.fields if field.name == name), name)


def _why_mapped(column: pb.MappedColumn) -> str:
    """Why a column is taken for what it is, in the reader's words."""
    if not column.field:
        return gettext("left out")
    if column.field.startswith("custom:"):
        return gettext("own field")
    return {
        "header": gettext("by its name"),
        "header synonym": gettext("by its name"),
        "content": gettext("by its content"),
        "profile": gettext("as last time"),
        "answer": gettext("as you said"),
    }.get(column.reason, column.reason)


def _format_name(text: str) -> str:
    """How values are read, in the reader's words; patterns of dates stay."""
    return {
        "decimal point": gettext("decimal point"),
        "decimal comma": gettext("decimal comma"),
    }.get(text, text)


def _type_name(kind: str) -> str:
    """A type of item in the reader's words."""
    return {
        "INVOICE": gettext("Invoice"),
        "CREDIT_NOTE": gettext("Credit note"),
        "PAYMENT": gettext("Cash not allocated"),
        "DOWN_PAYMENT": gettext("Down payment"),
        "IN_TRANSIT": gettext("On its way to the bank"),
        "BANK_CHARGE": gettext("Bank charge"),
        "OTHER_DEBIT": gettext("Other debit"),
        "OTHER_CREDIT": gettext("Other credit"),
        "LATE_INTEREST": gettext("Late interest"),
    }.get(kind, kind)


def _day_text(iso: str) -> str:
    """A day in words, which nobody can read the wrong way round; anything else as it is."""
    try:
        date.fromisoformat(iso)
    except ValueError:
        return iso
    return formatter("date_text")(iso, "year")


def field_name(field: pb.FieldInfo) -> str:
    """A field in the reader's words."""
    names = {
        "accountNumber": gettext("Account number"),
        "accountName": gettext("Account name"),
        "itemNumber": gettext("Item number"),
        "externalId": gettext("Id in the source"),
        "lineNumber": gettext("Line number"),
        "itemType": gettext("Item type"),
        "issueOn": gettext("Issue date"),
        "dueOn": gettext("Due date"),
        "postedOn": gettext("Posting date"),
        "settledOn": gettext("Settlement date"),
        "currency": gettext("Currency"),
        "initialAmount": gettext("Initial amount"),
        "openAmount": gettext("Open amount"),
        "reference": gettext("Reference"),
        "orderNumber": gettext("Order number"),
        "companyCode": gettext("Company code"),
        "paymentTerms": gettext("Payment terms"),
        "fiscalYear": gettext("Fiscal year"),
        "baselineOn": gettext("Baseline date"),
        "localAmount": gettext("Amount in the entity's currency"),
        "debit": gettext("Debit"),
        "credit": gettext("Credit"),
        "debitCredit": gettext("Debit or credit"),
        "openFlag": gettext("Still open"),
        "disputed": gettext("Disputed"),
        "assignment": gettext("Assignment"),
        "text": gettext("Text"),
    }
    return names.get(field.name) or field.label or field.name


def _column(column: pb.MappedColumn, run: pb.Import) -> dict:
    """A column with its 20 cells: what they became, or as written where the column is left out."""
    asked = any(question.column == column.header and question.column for question in run.questions)
    cells = []
    for index, row in enumerate(run.preview):
        read = row.values.get(column.field, "") if column.field and not asked else ""
        # What is left out, asked about or could not be read shows what the file says.
        cells.append(_cell(column.field, read) if read else "".join(column.samples[index : index + 1]))
    return {
        "column": column,
        "key": column.header or f"#{column.position}",
        "cells": cells,
        "custom": column.field.startswith("custom:"),
        "asked": asked,
        "number": column.field in AMOUNT_FIELDS,
        "field": _field_label(run, column.field) if column.field else gettext("left out"),
        "why": _why_mapped(column),
        "format": gettext("to be answered") if asked else _format_name(column.format),
    }


def _cell(field: str, value: str) -> str:
    """What a cell became, as people write it."""
    if field.endswith("On"):
        return _day_text(value)
    if field in AMOUNT_FIELDS:
        return _amount_text(value)
    return _type_name(value) if field == "itemType" else value


def _amount_text(value: str) -> str:
    """A read amount with the reader's separators; anything else as it is."""
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return value
    decimals = max(0, -int(amount.as_tuple().exponent)) if amount.is_finite() else 0
    return formatter("number")(amount, decimals)


_EVIDENCE = re.compile(r"(.+) = (\d{4}-\d\d-\d\d)")


def _evidence(example: str) -> str:
    """An example of a reading: 03/04/2026 is 3 Apr 2026."""
    found = _EVIDENCE.fullmatch(example)
    if not found:
        return example
    return gettext("%(written)s is %(day)s", written=found.group(1), day=_day_text(found.group(2)))


def _question(question: pb.Question, run: pb.Import) -> dict:
    """A question with its options as choices; none is preselected."""
    named = {
        "DMY": gettext("Day first"),
        "MDY": gettext("Month first"),
        "YMD": gettext("Year first"),
        ",": gettext("Decimal comma"),
        ".": gettext("Decimal point"),
        "comma": gettext("Decimal comma"),
        "point": gettext("Decimal point"),
        "CONFIRM": gettext("Yes, it is complete"),
        "CANCEL": gettext("No, give it up"),
        "items": gettext("Items"),
        "accounts": gettext("Accounts"),
        "contacts": gettext("Contacts"),
    }
    evidence = {one.option: one for one in question.evidence}
    options = []
    for option in question.options:
        seen = evidence.get(option)
        outcome = {
            "CONFIRM": gettext("The file is applied; what is missing in it is settled"),
            "CANCEL": gettext("Nothing is applied"),
        }.get(option, "")
        if seen and seen.of:
            outcome = gettext("fits %(fits)s of %(of)s values", fits=seen.fits, of=seen.of)
        options.append(
            {
                "value": option,
                "title": named.get(option) or named.get(option.lower()) or option,
                "example": ", ".join(_evidence(example) for example in seen.examples[:2]) if seen else "",
                "outcome": outcome,
                "bad": option == "CONFIRM" or bool(seen and seen.of and seen.fits < seen.of),
            }
        )
    titles = {
        "dateOrder": gettext("How are dates written?"),
        "decimalSign": gettext("How are amounts written?"),
        "mapping": gettext("Which column is it?"),
        "object": gettext("What are the rows of this file?"),
        "stockGuard": gettext("Is this really the whole stock?"),
        "currency": gettext("Which currency?"),
    }
    key = f"{question.code}:{question.column}" if question.column else question.code
    title = titles.get(question.code, question.code)
    return {
        "name": f"answer:{key}",
        "title": f"{title} ({question.column})" if question.column else title,
        "text": question.text,
        "options": options,
        "chosen": run.answers.get(key, ""),
    }


def _answers_and_mapping() -> tuple[dict[str, str], dict[str, str]]:
    """What the form says: answers, and only those columns that a person changed."""
    form = request.form
    answers = {
        name.removeprefix("answer:"): value for name, value in form.items() if name.startswith("answer:") and value
    }
    mapping = {}
    for name, value in form.items():
        if name.startswith("map:"):
            key = name.removeprefix("map:")
            wanted = f"custom:{key}" if value == "custom" else value
            if wanted != form.get(f"was:{key}", ""):
                mapping[key] = wanted
    return answers, mapping


@blueprint.post("/imports/<uuid:import_id>/answer")
@needs("imports:write")
def answer(import_id):
    """Answers questions and corrects columns; the file is read again."""
    answers, mapping = _answers_and_mapping()
    stubs().importer.AnswerImport(
        pb.AnswerImportRequest(import_id=str(import_id), answers=answers, mapping=mapping), timeout=RPC_TIMEOUT_S
    )
    return redirect(url_for("imports.one", import_id=import_id), 303)


@blueprint.post("/imports/<uuid:import_id>/apply")
@needs("imports:write")
def apply(import_id):
    """Applies the import."""
    answers, mapping = _answers_and_mapping()
    stubs().importer.ApplyImport(
        pb.ApplyImportRequest(import_id=str(import_id), answers=answers, mapping=mapping), timeout=RPC_TIMEOUT_S
    )
    return redirect(url_for("imports.one", import_id=import_id), 303)


@blueprint.post("/imports/<uuid:import_id>/cancel")
@needs("imports:write")
def cancel(import_id):
    """Gives the import up."""
    stubs().importer.CancelImport(pb.CancelImportRequest(import_id=str(import_id)), timeout=RPC_TIMEOUT_S)
    toast(gettext("Given up. Nothing was applied."))
    return redirect(url_for("imports.history"), 303)

"""Imports: upload, questions and columns, consequences, apply, report; the history of all files."""

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, entities, gettext, needs, selected_entity, settings, stubs, toast
from kit import listing
from quittance.importer.v1 import import_service_pb2 as pb

blueprint = Blueprint("imports", __name__)

ROWS_PER_PAGE = 50
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


def object_name(kind: int) -> str:
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
    return render_template(
        "imports/history.html",
        found=found,
        first=listing.offset_of(token) + 1 if token else 1,
        state_of=state_of,
        state_name=state_name,
        object_name=object_name,
    )


@blueprint.get("/imports/new")
@needs("imports:write")
def new():
    """The first step: choose the books and drop the file."""
    return render_template(
        "imports/new.html",
        entities=entities(),
        entity_choices=[(entity.code, f"{entity.name} ({entity.code}, {entity.currency})") for entity in entities()],
        chosen=request.args.get("into") or selected_entity(),
        mode="stock" if request.args.get("mode") == "stock" else "delta",
        kinds=FILE_KINDS,
        max_bytes=settings().upload_max_bytes,
    )


@blueprint.get("/imports/<uuid:import_id>")
@needs("imports:read")
def one(import_id):
    """One file, wherever it is on its way."""
    run = stubs().importer.GetImport(pb.GetImportRequest(import_id=str(import_id)), timeout=RPC_TIMEOUT_S).import_run
    state = state_of(run)
    return render_template(
        "imports/one.html",
        run=run,
        state=state,
        working=state in WORKING,
        state_name=state_name,
        object_name=object_name,
        columns=[_column(column, run) for column in run.columns],
        field_choices=_field_choices(run),
        questions=[_question(question) for question in run.questions],
        steps=_steps(state),
    )


def _steps(state: str) -> list[dict[str, str]]:
    """The wizard's steps for a state."""
    at = {"UPLOADED": 1, "READING": 1, "QUESTIONS": 1, "PREVIEWED": 2, "APPLYING": 3, "APPLIED": 4}.get(state, 1)
    titles = (gettext("Upload"), gettext("Check columns"), gettext("See consequences"), gettext("Apply"))
    return [
        {"title": title, "href": "", "state": "done" if index < at else "now" if index == at else "next"}
        for index, title in enumerate(titles)
    ]


def _field_choices(run: pb.Import) -> list[tuple[str, str]]:
    """What a column can be mapped to."""
    fields = [(field.name, field_name(field)) for field in run.fields]
    return [("", gettext("Leave out")), *sorted(fields, key=lambda choice: choice[1].lower())]


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
        "text": gettext("Text"),
    }
    return names.get(field.name) or field.label or field.name


def _column(column: pb.MappedColumn, run: pb.Import) -> dict:
    """A column with its 20 cells: what they became, or as written where the column is left out."""
    cells = []
    for index, row in enumerate(run.preview):
        if column.field:
            cells.append(row.values.get(column.field, ""))
        else:
            cells.append(column.samples[index] if index < len(column.samples) else "")
    key = column.header or f"#{column.position}"
    custom = column.field.startswith("custom:")
    asked = any(question.column == column.header and question.column for question in run.questions)
    number = column.field in ("initialAmount", "openAmount")
    return {"column": column, "key": key, "cells": cells, "custom": custom, "asked": asked, "number": number}


def _question(question: pb.Question) -> dict:
    """A question with its options as choices; none is preselected."""
    named = {
        "DMY": gettext("Day first"),
        "MDY": gettext("Month first"),
        "YMD": gettext("Year first"),
        ",": gettext("Decimal comma"),
        ".": gettext("Decimal point"),
        "comma": gettext("Decimal comma"),
        "point": gettext("Decimal point"),
        "confirm": gettext("Clear them"),
        "items": gettext("Items"),
        "accounts": gettext("Accounts"),
        "contacts": gettext("Contacts"),
    }
    evidence = {one.option: one for one in question.evidence}
    options = []
    for option in question.options:
        seen = evidence.get(option)
        outcome = ""
        if seen and seen.of:
            outcome = gettext("fits %(fits)s of %(of)s values", fits=seen.fits, of=seen.of)
        options.append(
            {
                "value": option,
                "title": named.get(option, option),
                "example": ", ".join(seen.examples[:2]) if seen else "",
                "outcome": outcome,
                "bad": bool(seen and seen.of and seen.fits < seen.of),
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

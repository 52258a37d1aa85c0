"""Imports: upload, questions and columns, consequences, apply, report; the history of all files."""

import re

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import (
    RPC_TIMEOUT_S,
    entities,
    gettext,
    needs,
    selected_entity,
    settings,
    stubs,
    toast,
)
from gateway.web._import_words import (
    AMOUNT_FIELDS,
    cell_text,
    doing,
    effect_name,
    evidence_text,
    field_label,
    field_name,
    format_name,
    object_name,
    stage_name,
    stage_order,
    state_name,
    state_of,
    why_mapped,
)
from kit import listing, money
from kit.errors import Code, Refused
from quittance.common.v1 import money_pb2
from quittance.importer.v1 import import_service_pb2 as pb

# Questions about consequences, which stand beside them.
DECISIONS = frozenset({"stockGuard", "controlTotals"})
EFFECTS_PER_PAGE = 20

blueprint = Blueprint("imports", __name__)

ROWS_PER_PAGE = 50
FILE_KINDS = ".csv,.txt,.tsv,.dat,.xlsx,.xls,.xlsb,.ods,.json,.jsonl,.ndjson,.xml,.pdf,.zip"
WORKING = frozenset({"UPLOADED", "READING", "APPLYING"})
FILTERS = ("state", "object", "channel")


@blueprint.get("/imports")
@needs("imports:read")
def history():
    """All files, newest first; by state, by what they hold, by channel, by a part of their name."""
    entity = selected_entity()
    token = request.args.get("page", "")
    terms = [f'entity_code="{entity}"'] if entity else []
    chosen = {name: request.args.get(name, "") for name in FILTERS}
    terms += [f'{name}="{value}"' for name, value in chosen.items() if value in _filter_values()[name]]
    query = re.sub(r'["\\\\]', "", request.args.get("query", "").strip())[:100]
    if query:
        terms.append(f'file_name:"{query}"')
    found = stubs().importer.ListImports(
        pb.ListImportsRequest(filter=" AND ".join(terms), page_size=ROWS_PER_PAGE, page_token=token),
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
        chosen=chosen,
        query=query,
        filtered=bool(query or any(chosen.values())),
        choices={name: list(values.items()) for name, values in _filter_values().items()},
    )


def _filter_values() -> dict[str, dict[str, str]]:
    """What the history can be narrowed to: words by value."""
    states = [name.removeprefix("IMPORT_STATE_") for name, number in pb.ImportState.items() if number]
    kinds = [name.removeprefix("IMPORT_OBJECT_") for name, number in pb.ImportObject.items() if number]
    return {
        "state": {state: state_name(state)[1] for state in states},
        "object": {kind: object_name(pb.ImportObject.Value(f"IMPORT_OBJECT_{kind}")) for kind in kinds},
        "channel": {
            "UPLOAD": gettext("Uploaded by a person"),
            "API": gettext("By the interface"),
            "SFTP": "SFTP",
            "FTPS": "FTPS",
            "PULL_SFTP": gettext("Fetched by SFTP"),
            "STREAM": gettext("As a stream"),
        },
    }


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
        kind=request.args.get("object", "") if request.args.get("object", "") in _filter_values()["object"] else "",
        kind_choices=list(_filter_values()["object"].items()),
        kinds=FILE_KINDS,
        max_bytes=settings().upload_max_bytes,
    )


@blueprint.get("/imports/<uuid:import_id>")
@needs("imports:read")
def one(import_id):
    """One file, wherever it is on its way."""
    run = (
        stubs()
        .importer.GetImport(
            pb.GetImportRequest(import_id=str(import_id)),
            timeout=RPC_TIMEOUT_S,
        )
        .import_run
    )
    state = state_of(run)
    return render_template(
        "imports/one.html",
        run=run,
        state=state,
        working=state in WORKING or bool(run.stage),
        doing=doing(run, state),
        state_name=state_name,
        object_name=object_name,
        columns=_columns(run),
        field_choices=_field_choices(run),
        questions=[_question(question, run) for question in run.questions],
        steps=_steps(state, planned=run.HasField("consequences") or run.stage == "plan"),
        at_decision=bool(run.questions) and all(question.code in DECISIONS for question in run.questions),
        asks_reason=any(question.code == "controlTotals" for question in run.questions),
        effects=effects_page(run),
        effect_name=effect_name,
        balances=balance_rows(run),
        checks=check_rows(run),
        stages=[(stage_name(name), seconds) for name, seconds in sorted(run.stage_seconds.items(), key=stage_order)],
        separator={"\t": gettext("tab")}.get(run.delimiter, run.delimiter),
        kinds=FILE_KINDS,
        max_bytes=settings().upload_max_bytes,
    )


def effects_page(run: pb.Import) -> dict | None:
    """The chosen page of consequences row by row; None while they are not known, and once they are facts."""
    if not run.HasField("consequences") or not run.consequences.effects_kept:
        return None
    wanted = request.args.get("effect", "")
    if wanted not in ("created", "updated", "cleared", "clearedAbsent", "reopened"):
        wanted = ""
    token = request.args.get("page", "")
    found = stubs().importer.ListEffects(
        pb.ListEffectsRequest(
            import_id=run.import_id,
            filter=f"effect={wanted}" if wanted else "",
            page_size=EFFECTS_PER_PAGE,
            page_token=token,
        ),
        timeout=RPC_TIMEOUT_S,
    )
    offset = listing.offset_of(token) if token else 0
    rows = [
        {
            "effect": one,
            "changes": [
                (
                    field_name(pb.FieldInfo(name=change.field)),
                    cell_text(change.field, change.old),
                    cell_text(change.field, change.new),
                )
                for change in one.changes
            ],
        }
        for one in found.effects
    ]
    plan = run.consequences
    counts = {
        "updated": plan.updated - plan.reopened,
        "reopened": plan.reopened,
        "cleared": plan.cleared,
        "clearedAbsent": plan.cleared_absent,
        "created": plan.created,
    }
    return {
        "rows": rows,
        "wanted": wanted,
        "counts": {name: count for name, count in counts.items() if count},
        "first": offset + 1,
        "total": found.total_size,
        "next": found.next_page_token,
        "previous": listing.encode_page_token(offset=offset - EFFECTS_PER_PAGE) if offset else None,
    }


def balance_rows(run: pb.Import) -> list[dict]:
    """The books beside the file, by currency: what was open, what is or would be, and what the file holds."""
    balances = run.balances or run.consequences.balances
    held = {total.currency: total for total in run.totals}
    rows = []
    for balance in balances:
        total = held.get(balance.currency)
        in_file = total.total.minor_units if total else 0
        rows.append(
            {
                "balance": balance,
                "moved": money_pb2.Money(
                    currency=balance.currency,
                    minor_units=balance.open_after.minor_units - balance.open_before.minor_units,
                ),
                "file": money_pb2.Money(currency=balance.currency, minor_units=in_file),
                "file_items": total.item_count if total else 0,
                "beside": money_pb2.Money(
                    currency=balance.currency, minor_units=balance.open_after.minor_units - in_file
                ),
            }
        )
    return rows


def check_rows(run: pb.Import) -> list[dict]:
    """A line of control totals for each currency of the file, and each that was expected."""
    checks = {check.expected.currency: check for check in run.control_checks}
    found = {total.currency: total for total in run.totals}
    return [
        {"currency": code, "check": checks.get(code), "found": found.get(code)} for code in sorted({*checks, *found})
    ]


def _columns(run: pb.Import) -> list[dict]:
    """The columns as shown: those that are used or asked about first, as a wide export would hide them."""
    columns = [_column(column, run) for column in run.columns]
    return sorted(columns, key=lambda one: not (one["column"].field or one["asked"]))


def _steps(state: str, planned: bool = False) -> list[dict[str, str]]:
    """The wizard's steps for a state."""
    at = {
        "UPLOADED": 1,
        "READING": 1,
        "QUESTIONS": 2 if planned else 1,
        "FAILED": 0,
        "PREVIEWED": 2,
        "APPLYING": 3,
        "APPLIED": 5,
        "ROLLED_BACK": 5,
    }.get(state, 1)
    titles = (
        gettext("Upload"),
        gettext("Check columns"),
        gettext("See consequences"),
        gettext("Apply"),
        gettext("Report"),
    )
    return [
        {"title": title, "href": "", "state": "done" if index < at else "now" if index == at else "next"}
        for index, title in enumerate(titles)
    ]


def _field_choices(run: pb.Import) -> list[tuple[str, str]]:
    """What a column can be mapped to."""
    fields = [(field.name, field_name(field)) for field in run.fields]
    return [("", gettext("Leave out")), *sorted(fields, key=lambda choice: choice[1].lower())]


def _column(column: pb.MappedColumn, run: pb.Import) -> dict:
    """A column with its 20 cells: what they became, or as written where the column is left out."""
    asked = any(question.column == column.header and question.column for question in run.questions)
    cells = []
    for index, row in enumerate(run.preview):
        read = row.values.get(column.field, "") if column.field and not asked else ""
        # What is left out, asked about or could not be read shows what the file says.
        cells.append(cell_text(column.field, read) if read else "".join(column.samples[index : index + 1]))
    return {
        "column": column,
        "key": column.header or f"#{column.position}",
        "cells": cells,
        "custom": column.field.startswith("custom:"),
        "asked": asked,
        "number": column.field in AMOUNT_FIELDS,
        "field": field_label(run, column.field) if column.field else gettext("left out"),
        "why": why_mapped(column),
        "format": gettext("to be answered") if asked else format_name(column.format),
    }


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
        "APPLY": gettext("Apply it all the same"),
        **{
            name.removeprefix("IMPORT_OBJECT_"): object_name(number)
            for name, number in pb.ImportObject.items()
            if number and question.code == "object"
        },
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
            "APPLY": gettext("Say below why; the reason is kept in the report"),
            "CANCEL": gettext("Nothing is applied"),
        }.get(option, "")
        if seen and seen.of:
            outcome = gettext("fits %(fits)s of %(of)s values", fits=seen.fits, of=seen.of)
        options.append(
            {
                "value": option,
                "title": named.get(option) or named.get(option.lower()) or option,
                "example": ", ".join(evidence_text(example) for example in seen.examples[:2]) if seen else "",
                "outcome": outcome,
                "bad": option in ("CONFIRM", "APPLY") or bool(seen and seen.of and seen.fits < seen.of),
            }
        )
    titles = {
        "dateOrder": gettext("How are dates written?"),
        "decimalSign": gettext("How are amounts written?"),
        "mapping": gettext("Which column is it?"),
        "object": gettext("What are the rows of this file?"),
        "stockGuard": gettext("Is this really the whole stock?"),
        "currency": gettext("Which currency?"),
        "controlTotals": gettext("The control totals differ"),
        "twoDigitYear": gettext("Which century?"),
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


@blueprint.post("/imports/<uuid:import_id>/control-totals")
@needs("imports:write")
def control_totals(import_id):
    """Takes what a person counted: rows and sum by currency."""
    request_ = pb.AnswerImportRequest(import_id=str(import_id))
    wrong = ""
    for code in request.form.getlist("currency"):
        count, amount = request.form.get(f"count:{code}", "").strip(), request.form.get(f"total:{code}", "").strip()
        if not (count or amount):
            continue
        total = request_.control_totals.add(currency=code)
        try:
            if count:
                total.item_count = int(re.sub(r"[\s.,\u00a0\u202f]", "", count))
            if amount:
                total.total.CopyFrom(money.to_proto(money.Money.read(amount, code)))
        except ValueError:
            wrong = count if count and not total.HasField("item_count") else amount
    if wrong:
        toast(gettext("“%(text)s” is no number.", text=wrong))
    elif request_.control_totals:
        stubs().importer.AnswerImport(request_, timeout=RPC_TIMEOUT_S)
    return redirect(url_for("imports.one", import_id=import_id, _anchor="totals"), 303)


@blueprint.get("/imports/<uuid:import_id>/roll-back")
@needs("imports:write")
def roll_back_plan(import_id):
    """What taking an import back would do, before it is done; or why it cannot be."""
    run = stubs().importer.GetImport(pb.GetImportRequest(import_id=str(import_id)), timeout=RPC_TIMEOUT_S).import_run
    plan, why_not = None, ""
    try:
        plan = (
            stubs()
            .importer.RollBackImport(
                pb.RollBackImportRequest(import_id=str(import_id), plan_only=True), timeout=RPC_TIMEOUT_S
            )
            .plan
        )
    except Refused as refused:
        if refused.code is not Code.FAILED_PRECONDITION:
            raise
        why_not = {
            "NOT_LAST_LOAD": gettext("A later file was applied since: only the last one can be taken back."),
            "LOAD_IN_USE": gettext("What it brought is in use: something was allocated on its items."),
            "ROLL_BACK_UNSUPPORTED": gettext("Only items that were applied can be taken back."),
            "IMPORT_NOT_APPLIED": gettext("It is not applied."),
        }.get(refused.reason, refused.message)
    return render_template("imports/roll_back.html", run=run, plan=plan, why_not=why_not)


@blueprint.post("/imports/<uuid:import_id>/roll-back")
@needs("imports:write")
def roll_back(import_id):
    """Takes the import back."""
    stubs().importer.RollBackImport(pb.RollBackImportRequest(import_id=str(import_id)), timeout=RPC_TIMEOUT_S)
    return redirect(url_for("imports.one", import_id=import_id), 303)


@blueprint.post("/imports/<uuid:import_id>/cancel")
@needs("imports:write")
def cancel(import_id):
    """Gives the import up."""
    stubs().importer.CancelImport(pb.CancelImportRequest(import_id=str(import_id)), timeout=RPC_TIMEOUT_S)
    toast(gettext("Given up. Nothing was applied."))
    return redirect(url_for("imports.history"), 303)

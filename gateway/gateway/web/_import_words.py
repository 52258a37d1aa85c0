"""What an import is made of, in the reader's words: states, objects, fields, stages, effects, cells."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation

from gateway.web import formatter, gettext
from quittance.importer.v1 import import_service_pb2 as pb

AMOUNT_FIELDS = frozenset(
    {"initialAmount", "openAmount", "localAmount", "debit", "credit", "amount", "grossAmount", "netAmount", "rate"}
)


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
        "ROLLED_BACK": ("note", gettext("Taken back")),
    }.get(state, ("note", state))


def object_name(kind: pb.ImportObject) -> str:
    """What the rows of a file are, in the reader's words."""
    return {
        pb.IMPORT_OBJECT_ITEMS: gettext("Items"),
        pb.IMPORT_OBJECT_ACCOUNTS: gettext("Accounts"),
        pb.IMPORT_OBJECT_CONTACTS: gettext("Contacts"),
        pb.IMPORT_OBJECT_ALLOCATIONS: gettext("Allocations"),
        pb.IMPORT_OBJECT_SALES: gettext("Sales by month"),
        pb.IMPORT_OBJECT_ORDERS: gettext("Order backlog"),
        pb.IMPORT_OBJECT_ASSIGNMENTS: gettext("Assignments"),
        pb.IMPORT_OBJECT_EXCHANGE_RATES: gettext("Exchange rates"),
        pb.IMPORT_OBJECT_COVER: gettext("Insured limits and guarantees"),
        pb.IMPORT_OBJECT_CREDIT_INFORMATION: gettext("Credit information"),
    }.get(kind, gettext("Not known yet"))


def doing(run: pb.Import, state: str) -> str:
    """What is being done now, in the reader's words."""
    return {
        "plan": gettext("Consequences are being worked out"),
        "load": gettext("Being applied"),
        "rollBack": gettext("Being taken back"),
    }.get(run.stage) or (gettext("Being applied") if state == "APPLYING" else gettext("Being read"))


def effect_name(effect: str) -> tuple[str, str]:
    """(verdict, words) for what a row does."""
    return {
        "created": ("good", gettext("New")),
        "updated": ("note", gettext("Changed")),
        "cleared": ("good", gettext("Settled by its row")),
        "clearedAbsent": ("warn", gettext("Settled: not in the file")),
        "reopened": ("warn", gettext("Open again")),
    }.get(effect, ("note", effect))


STAGES = ("keep", "read", "validate", "plan", "load")


def stage_order(stage: tuple[str, float]) -> int:
    """Place of a stage and its seconds in the order of the work."""
    return STAGES.index(stage[0]) if stage[0] in STAGES else len(STAGES)


def stage_name(stage: str) -> str:
    """A stage of the work in the reader's words."""
    return {
        "keep": gettext("File kept"),
        "read": gettext("Read"),
        "validate": gettext("Checked"),
        "plan": gettext("Consequences worked out"),
        "load": gettext("Put into the ledger"),
    }.get(stage, stage)


def field_label(run: pb.Import, name: str) -> str:
    """A field's stable name in the reader's words; a custom field by its own name."""
    if name.startswith("custom:"):
        return name.removeprefix("custom:")
    return next((field_name(field) for field in run.fields if field.name == name), name)


def why_mapped(column: pb.MappedColumn) -> str:
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


def format_name(text: str) -> str:
    """How values are read, in the reader's words; patterns of dates stay."""
    return {
        "decimal point": gettext("decimal point"),
        "decimal comma": gettext("decimal comma"),
    }.get(text, text)


def type_name(kind: str) -> str:
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


def day_text(iso: str) -> str:
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
        "creditNumber": gettext("Payment or credit note"),
        "debitNumber": gettext("Invoice it settles"),
        "amount": gettext("Amount"),
        "valueOn": gettext("Value date"),
        "month": gettext("Month"),
        "grossAmount": gettext("Sales including tax"),
        "netAmount": gettext("Sales without tax"),
        "orderedOn": gettext("Order date"),
        "deliveryOn": gettext("Delivery date"),
        "deliveredAmount": gettext("Delivered, not invoiced"),
        "salesPerson": gettext("Sales person"),
        "base": gettext("Currency"),
        "quote": gettext("Quoted in"),
        "rate": gettext("Rate"),
        "validFrom": gettext("Valid from"),
        "validUntil": gettext("Valid until"),
        "insurer": gettext("Insurer or guarantor"),
        "policy": gettext("Policy"),
        "coverKind": gettext("Insurance or guarantee"),
        "provider": gettext("Provider"),
        "informedOn": gettext("Date of the information"),
    }
    return names.get(field.name) or field.label or field.name


def cell_text(field: str, value: str) -> str:
    """What a cell became, as people write it."""
    if field.endswith("On"):
        return day_text(value)
    if field in AMOUNT_FIELDS:
        return amount_text(value)
    return type_name(value) if field == "itemType" else value


def amount_text(value: str) -> str:
    """A read amount with the reader's separators; anything else as it is."""
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return value
    decimals = max(0, -int(amount.as_tuple().exponent)) if amount.is_finite() else 0
    return formatter("number")(amount, decimals)


_EVIDENCE = re.compile(r"(.+) = (\d{4}-\d\d-\d\d)")


def evidence_text(example: str) -> str:
    """An example of a reading: 03/04/2026 is 3 Apr 2026."""
    found = _EVIDENCE.fullmatch(example)
    if not found:
        return example
    return gettext("%(written)s is %(day)s", written=found.group(1), day=day_text(found.group(2)))

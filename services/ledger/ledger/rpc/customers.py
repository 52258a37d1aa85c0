"""CustomerService: entities' rules, legal units, groups, custom fields, contacts, merges, masters, exclusions."""

import json
import uuid
from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from kit.clock import business_today
from kit.db import Database
from kit.errors import Code, Refused
from kit.idempotency import once
from ledger import usecases
from ledger.rpc.translate import (
    account_of,
    account_to_proto,
    balance_to_proto,
    contact_choices,
    contact_to_proto,
    entity_to_proto,
    page_of,
    read_day,
)
from ledger.store import groups, legal_units, merging, queries
from ledger.store.tables import FieldDefinitionRow
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import account_pb2
from quittance.ledger.v1 import customer_service_pb2 as pb
from quittance.ledger.v1 import customer_service_pb2_grpc as pb_grpc

UNIT_ACCOUNTS_MAX = 500
SUGGESTIONS_DEFAULT = 50


def _uuids(field: str, ids: Iterable[str]) -> list[str]:
    """Ids as they are kept. Refuses: INVALID_ARGUMENT INVALID_FIELDS for one that is none."""
    found = []
    for text in ids:
        try:
            found.append(str(uuid.UUID(text)))
        except ValueError as error:
            raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "not an id", {field: "not an id"}) from error
    return found


def _minor(field: str, amount: money_pb2.Money, currency: str) -> int:
    if amount.currency != currency or amount.minor_units < 0:
        text = "an amount of the entity's currency, not below zero"
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", text, {field: text})
    return amount.minor_units


class CustomerRpc(pb_grpc.CustomerServiceServicer):
    """CustomerService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- entities ----

    def UpdateEntity(self, request, context):
        """Changes an entity."""
        with self._database.transaction() as session:
            row = groups.lock_entity_row(session, request.entity)
            changes: dict[str, Any] = {
                name: getattr(request, name) for name in ("name", "language", "time_zone") if request.HasField(name)
            }
            currency = "" if row is None else row.currency
            if row is not None and request.HasField("ignore_item_below"):
                changes["ignore_item_below_minor"] = _minor("ignore_item_below", request.ignore_item_below, currency)
            if row is not None and request.HasField("min_account_amount"):
                changes["min_account_minor"] = _minor("min_account_amount", request.min_account_amount, currency)
            if request.field_owners:
                changes["field_owners"] = {
                    field: account_pb2.FieldOwner.Name(owner or account_pb2.FIELD_OWNER_ERP).removeprefix(
                        "FIELD_OWNER_"
                    )
                    for field, owner in request.field_owners.items()
                }
            return pb.UpdateEntityResponse(
                entity=entity_to_proto(usecases.update_entity(session, request.entity, changes))
            )

    # ---- legal units ----

    def ListLegalUnits(self, request, context):
        """Companies."""
        with self._database.transaction() as session:
            rows, token, total = legal_units.list_units(session, page_of(request))
        return pb.ListLegalUnitsResponse(
            legal_units=[_unit(row) for row in rows], next_page_token=token, total_size=total
        )

    def GetLegalUnit(self, request, context):
        """One company with its accounts."""
        today = business_today()
        with self._database.transaction() as session:
            row = legal_units.unit(session, request.legal_unit_id)
            if row is None:
                raise Refused(
                    Code.NOT_FOUND,
                    "LEGAL_UNIT_UNKNOWN",
                    "there is no such company",
                    legal_unit_id=request.legal_unit_id,
                )
            ids = legal_units.account_ids(session, request.legal_unit_id, UNIT_ACCOUNTS_MAX)
            found = [account for account_id in ids if (account := queries.account(session, account_id)) is not None]
            balances = queries.balances(session, ids, today)
        found.sort(key=lambda account: (account[1].code, account[0].number))
        sums = usecases.sum_balances([balance for rows in balances.values() for balance in rows])
        return pb.GetLegalUnitResponse(
            legal_unit=_unit(row),
            accounts=[account_to_proto(account, balances.get(account[0].account_id, ())) for account in found],
            balances=[balance_to_proto(total) for total in sums],
        )

    def UpdateLegalUnit(self, request, context):
        """Changes a company."""

        def work(session: Session) -> pb.UpdateLegalUnitResponse:
            usecases.update_unit(
                session,
                request.legal_unit_id,
                business_today(),
                name=request.name if request.HasField("name") else None,
                registration_number=request.registration_number if request.HasField("registration_number") else None,
                country=request.country if request.HasField("country") else None,
            )
            return pb.UpdateLegalUnitResponse(legal_unit=_unit(legal_units.unit(session, request.legal_unit_id)))

        return self._database.retrying(work)

    def AssignLegalUnit(self, request, context):
        """Puts an account behind another company."""
        today = business_today()

        def work(session: Session) -> pb.AssignLegalUnitResponse:
            usecases.assign_unit(
                session,
                request.account_id,
                today,
                legal_unit_id=request.legal_unit_id.lower(),
                registration_number=request.registration_number,
                country=request.country,
                name=request.name,
            )
            return pb.AssignLegalUnitResponse(account=account_of(session, request.account_id, today)[0])

        return self._database.retrying(work)

    # ---- groups and custom fields ----

    def ListGroups(self, request, context):
        """Groups."""
        with self._database.transaction() as session:
            rows, token, total = groups.list_groups(session, page_of(request))
        return pb.ListGroupsResponse(groups=[_group(row) for row in rows], next_page_token=token, total_size=total)

    def CreateGroup(self, request, context):
        """Names a group."""
        code = request.code.strip()
        with self._database.transaction() as session:
            usecases.create_group(session, code, request.name.strip(), request.colour)
            return pb.CreateGroupResponse(group=_group(groups.group(session, code)))

    def UpdateGroup(self, request, context):
        """Changes a group."""
        with self._database.transaction() as session:
            usecases.update_group(
                session,
                request.code,
                request.name.strip() if request.HasField("name") else None,
                request.colour if request.HasField("colour") else None,
            )
            return pb.UpdateGroupResponse(group=_group(groups.group(session, request.code)))

    def DeleteGroup(self, request, context):
        """Forgets a group."""
        with self._database.transaction() as session:
            usecases.delete_group(session, request.code)
        return pb.DeleteGroupResponse()

    def ListCustomFields(self, request, context):
        """Definitions of custom fields."""
        with self._database.transaction() as session:
            rows, token, total = groups.list_definitions(session, page_of(request))
        return pb.ListCustomFieldsResponse(
            fields=[_field(row) for row in rows], next_page_token=token, total_size=total
        )

    def SetCustomField(self, request, context):
        """Defines a custom field."""
        with self._database.transaction() as session:
            row = usecases.set_custom_field(
                session,
                pb.FieldObject.Name(request.object).removeprefix("FIELD_OBJECT_"),
                request.name.strip(),
                pb.FieldType.Name(request.type).removeprefix("FIELD_TYPE_"),
                [option.strip() for option in request.options if option.strip()],
                request.label_en.strip(),
                request.label_fr.strip(),
            )
            return pb.SetCustomFieldResponse(field=_field(row))

    def DeleteCustomField(self, request, context):
        """Forgets a definition."""
        with self._database.transaction() as session:
            usecases.delete_custom_field(
                session, pb.FieldObject.Name(request.object).removeprefix("FIELD_OBJECT_"), request.name
            )
        return pb.DeleteCustomFieldResponse()

    # ---- contacts ----

    def UpdateContact(self, request, context):
        """Changes a contact."""
        changes: dict[str, Any] = {
            name: getattr(request, name).strip()
            for name in ("name", "email", "phone", "language")
            if request.HasField(name)
        }
        if changes.get("name", "x") == "":
            raise Refused(
                Code.INVALID_ARGUMENT, "INVALID_FIELDS", "a contact has a name", {"name": "a contact has a name"}
            )
        changes |= contact_choices(request)
        if request.item_ids:
            changes["item_ids"] = _uuids("item_ids", request.item_ids)
        with self._database.transaction() as session:
            row = usecases.update_contact(session, request.contact_id, business_today(), changes)
            return pb.UpdateContactResponse(contact=contact_to_proto(row))

    def DeleteContact(self, request, context):
        """Takes a contact away."""
        with self._database.transaction() as session:
            usecases.delete_contact(session, request.contact_id, business_today())
        return pb.DeleteContactResponse()

    # ---- merges and masters ----

    def SuggestMerges(self, request, context):
        """Accounts that look like one customer."""
        today = business_today()
        reply = pb.SuggestMergesResponse()
        with self._database.transaction() as session:
            entity = usecases.visible_entity(session, request.entity_code)
            for row in merging.suggestions(session, entity.entity_id, request.page_size or SUGGESTIONS_DEFAULT):
                ids = merging.accounts_by_size(session, [str(account_id) for account_id in row.ids])
                balances = queries.balances(session, ids, today)
                found = [account for i in ids if (account := queries.account(session, i)) is not None]
                reply.suggestions.add(
                    reason=pb.MergeReason.Value(f"MERGE_REASON_{row.reason}"),
                    shared=row.shared,
                    accounts=[account_to_proto(account, balances.get(account[0].account_id, ())) for account in found],
                )
        return reply

    def MergeAccounts(self, request, context):
        """Puts accounts into one."""
        today = business_today()
        survivor_id = request.survivor_id.lower()
        merged_ids = list(dict.fromkeys(_uuids("merged_ids", request.merged_ids)))

        def work(session: Session) -> pb.MergeAccountsResponse:
            reply = pb.MergeAccountsResponse()
            request_id = "" if request.plan_only else request.request_id
            with once(session, request_id, request, reply) as first:
                if first:
                    plan = usecases.merge_accounts(
                        session, survivor_id, merged_ids, request.reason.strip(), today, plan_only=request.plan_only
                    )
                    reply.MergeFrom(_merge_plan(plan))
                    if not request.plan_only:
                        reply.account.CopyFrom(account_of(session, survivor_id, today)[0])
            return reply

        return self._database.retrying(work)

    def SplitMerge(self, request, context):
        """Undoes a merge."""
        today = business_today()
        account_id = request.account_id.lower()

        def work(session: Session) -> pb.SplitMergeResponse:
            reply = pb.SplitMergeResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    survivor_id, reply.item_count = usecases.split_merge(
                        session, account_id, request.reason.strip(), today
                    )
                    reply.account.CopyFrom(account_of(session, account_id, today)[0])
                    reply.survivor.CopyFrom(account_of(session, survivor_id, today)[0])
            return reply

        return self._database.retrying(work)

    def ListMerges(self, request, context):
        """Merges."""
        with self._database.transaction() as session:
            rows, token, total = merging.list_merges(session, page_of(request))
        return pb.ListMergesResponse(merges=[_merge(row) for row in rows], next_page_token=token, total_size=total)

    def SetMaster(self, request, context):
        """Collects an account through another one."""
        today = business_today()

        def work(session: Session) -> pb.SetMasterResponse:
            usecases.set_master(session, request.account_id.lower(), request.master_account_id.lower(), today)
            return pb.SetMasterResponse(account=account_of(session, request.account_id, today)[0])

        return self._database.retrying(work)

    # ---- items left out, many accounts ----

    def ExcludeItems(self, request, context):
        """Leaves items out of collection."""
        today, item_ids = business_today(), _uuids("item_ids", request.item_ids)

        def work(session: Session) -> pb.ExcludeItemsResponse:
            reply = pb.ExcludeItemsResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    reply.item_count = usecases.exclude_items(
                        session, request.account_id, item_ids, request.reason.strip(), read_day(request.until_on), today
                    )
            return reply

        return self._database.retrying(work)

    def IncludeItems(self, request, context):
        """Collects items again."""
        today, item_ids = business_today(), _uuids("item_ids", request.item_ids)

        def work(session: Session) -> pb.IncludeItemsResponse:
            reply = pb.IncludeItemsResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    reply.item_count = usecases.include_items(
                        session, request.account_id, item_ids, request.reason.strip(), today
                    )
            return reply

        return self._database.retrying(work)

    def BulkUpdateAccounts(self, request, context):
        """Changes many accounts alike."""
        today = business_today()
        change = usecases.BulkChange(
            collector=request.collector if request.HasField("collector") else None,
            language=request.language if request.HasField("language") else None,
            add_groups=tuple(request.add_groups),
            remove_groups=tuple(request.remove_groups),
            custom_fields=dict(request.custom_fields),
            master_account_id=request.master_account_id.lower() if request.HasField("master_account_id") else None,
        )
        given = _uuids("account_ids", request.account_ids)
        with self._database.transaction() as session:
            ids = usecases.bulk_targets(session, given, request.filter, request.query)
            if request.plan_only:
                changed, effects = usecases.plan_bulk(session, ids, change)
                return pb.BulkUpdateAccountsResponse(
                    account_count=len(ids), changed_count=changed, effects=[_effect(effect) for effect in effects]
                )
        changed = 0
        for start in range(0, len(ids), usecases.BULK_BATCH):
            changed += self._batch(ids[start : start + usecases.BULK_BATCH], change, today)
        return pb.BulkUpdateAccountsResponse(account_count=len(ids), changed_count=changed)

    def _batch(self, ids: list[str], change: usecases.BulkChange, today: date) -> int:
        return self._database.retrying(lambda session: usecases.write_bulk(session, ids, change, today))


def _unit(row: Any) -> pb.LegalUnit:
    return pb.LegalUnit(
        legal_unit_id=str(row.legal_unit_id),
        registration_number=row.registration_number,
        country=row.country,
        name=row.name,
        account_count=row.account_count,
    )


def _group(row: Any) -> pb.CustomerGroup:
    return pb.CustomerGroup(code=row.code, name=row.name, colour=row.colour, account_count=row.account_count)


def _field(row: FieldDefinitionRow) -> pb.CustomField:
    return pb.CustomField(
        object=pb.FieldObject.Value(f"FIELD_OBJECT_{row.object}"),
        name=row.name,
        label_en=row.label_en,
        label_fr=row.label_fr,
        type=pb.FieldType.Value(f"FIELD_TYPE_{row.type}"),
        options=row.options,
    )


def _merge_plan(plan: usecases.MergePlan) -> pb.MergeAccountsResponse:
    return pb.MergeAccountsResponse(
        item_count=plan.item_count,
        hold_count=plan.hold_count,
        balances=[balance_to_proto(balance) for balance in plan.balances],
        contact_count=len(plan.contact_ids),
        names=plan.names,
        groups=plan.groups,
        conflicts=[
            pb.MergeConflict(number=conflict.number, account_numbers=conflict.account_numbers)
            for conflict in plan.conflicts
        ],
        registrations_differ=plan.registrations_differ,
    )


def _merge(row: Any) -> pb.Merge:
    merge, entity_code, survivor, merged = row
    message = pb.Merge(
        merge_id=merge.merge_id,
        entity_code=entity_code,
        survivor_id=merge.survivor_id,
        survivor_number=survivor.number,
        survivor_name=survivor.name,
        merged_id=merge.merged_id,
        merged_number=merged.number,
        merged_name=merged.name,
        item_count=merge.item_count,
        reason=merge.reason,
        merged_by=merge.merged_by,
        split_by=merge.split_by,
    )
    message.merged_at.FromDatetime(merge.merged_at)
    if merge.split_at is not None:
        message.split_at.FromDatetime(merge.split_at)
    return message


def _effect(effect: usecases.BulkEffect) -> pb.BulkEffect:
    account = effect.account
    return pb.BulkEffect(
        account_id=account.account_id,
        number=account.number,
        name=account.name,
        before={name: _said(before) for name, (before, _) in effect.changed.items()},
        after={name: _said(after) for name, (_, after) in effect.changed.items()},
    )


def _said(value: Any) -> str:
    """A value as one text: lists by commas, custom fields as JSON."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return ", ".join(value) if isinstance(value, list) else value or ""

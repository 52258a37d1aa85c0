"""IdentityService: translates between messages and use cases, and nothing else."""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from gateway import domain, store, usecases
from gateway.config import Settings
from gateway.passwords import passwords
from gateway.store import ApiKeyRow, UserRow
from kit.clock import business_today, utc_now
from kit.context import current_caller
from kit.db import Database
from quittance.gateway.v1 import identity_service_pb2 as pb
from quittance.gateway.v1.identity_service_pb2_grpc import IdentityServiceServicer


class IdentityRpc(IdentityServiceServicer):
    """The servicer."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._transaction: Callable = database.transaction

    def GetMe(self, request, context):
        caller = current_caller()
        with self._transaction() as session:
            role = usecases.role_of_caller(session, caller)
            tenant_name = store.tenant_name(session)
        return pb.GetMeResponse(
            subject=caller.actor,
            name=caller.name,
            role=role,
            tenant_id=caller.tenant_id,
            tenant_name=tenant_name,
            permissions=sorted(caller.permissions),
            entity_codes=sorted(caller.entity_codes or ()),
            business_date=business_today().isoformat(),
        )

    def ListUsers(self, request, context):
        with self._transaction() as session:
            rows, token, total = store.users(
                session, request.filter, request.order_by, request.page_size, request.page_token
            )
            return pb.ListUsersResponse(
                users=[user_to_proto(row) for row in rows], next_page_token=token, total_size=total
            )

    def CreateUser(self, request, context):
        with self._transaction() as session:
            user, first_password = usecases.create_user(
                session,
                passwords(self._settings),
                current_caller(),
                request.email,
                request.name,
                request.role,
                request.entity_codes,
                request.password,
                request.language,
                request.can_upload,
            )
            return pb.CreateUserResponse(user=user_to_proto(user, first_password))

    def UpdateUser(self, request, context):
        with self._transaction() as session:
            user = usecases.update_user(
                session,
                current_caller(),
                request.user_id,
                request.role if request.HasField("role") else None,
                request.entity_codes,
                request.active if request.HasField("active") else None,
                request.can_upload if request.HasField("can_upload") else None,
                request.all_entities,
            )
            return pb.UpdateUserResponse(user=user_to_proto(user))

    def ListRoles(self, request, context):
        roles = [
            pb.Role(name=role.name, label=role.label, label_fr=role.label_fr, permissions=sorted(role.permissions))
            for role in domain.ROLES.values()
        ]
        return pb.ListRolesResponse(roles=roles)

    def CreateApiKey(self, request, context):
        with self._transaction() as session:
            row, secret = usecases.create_api_key(
                session, current_caller(), request.name, request.role, request.valid_days, utc_now()
            )
            return pb.CreateApiKeyResponse(api_key=key_to_proto(row), secret=secret)

    def ListApiKeys(self, request, context):
        with self._transaction() as session:
            rows, token, total = store.api_keys(
                session, request.filter, request.order_by, request.page_size, request.page_token
            )
            return pb.ListApiKeysResponse(
                api_keys=[key_to_proto(row) for row in rows], next_page_token=token, total_size=total
            )

    def RevokeApiKey(self, request, context):
        with self._transaction() as session:
            return pb.RevokeApiKeyResponse(
                api_key=key_to_proto(usecases.revoke_api_key(session, request.api_key_id, utc_now()))
            )


def user_to_proto(row: UserRow, first_password: str = "") -> pb.User:
    """A user, never his password's hash."""
    return pb.User(
        user_id=row.user_id,
        email=row.email,
        name=row.name,
        role=row.role,
        entity_codes=row.entity_codes,
        active=row.active,
        language=row.language,
        last_seen_at=_moment(row.last_seen_at),
        first_password=first_password,
        can_upload=row.can_upload,
    )


def key_to_proto(row: ApiKeyRow) -> pb.ApiKey:
    """A key, never its secret."""
    return pb.ApiKey(
        api_key_id=row.api_key_id,
        name=row.name,
        prefix=row.prefix,
        role=row.role,
        created_at=_moment(row.created_at),
        expires_at=_moment(row.expires_at),
        last_used_at=_moment(row.last_used_at),
        revoked_at=_moment(row.revoked_at),
    )


def _moment(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    moment = Timestamp()
    moment.FromDatetime(at)
    return moment

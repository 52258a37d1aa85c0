"""NotificationService: translates, and nothing else."""

from typing import Any

from kit import listing
from kit.context import current_caller, language
from kit.idempotency import once
from kit.money import to_proto
from notification import store, wire
from notification.domain import hashtags, rendering
from notification.internal_mails import InternalMails
from notification.usecases import Desk, Order
from quittance.notification.v1 import internal_mail_service_pb2 as mail_pb
from quittance.notification.v1 import notification_service_pb2 as pb
from quittance.notification.v1.internal_mail_service_pb2_grpc import InternalMailServiceServicer
from quittance.notification.v1.notification_service_pb2_grpc import NotificationServiceServicer


class NotificationRpc(NotificationServiceServicer):
    """The servicer; every method is one use case."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._transaction = desk.database.transaction

    def DraftMessage(self, request: pb.DraftMessageRequest, context) -> pb.DraftMessageResponse:
        draft = self._desk.draft(_order(request))
        return pb.DraftMessageResponse(
            subject_source=draft.subject_source,
            body_source=draft.body_source,
            subject=draft.subject.text,
            body=draft.body.html,
            text=draft.body.text,
            language=draft.language,
            language_fallback=draft.is_fallback,
            recipients=wire.recipients_to_proto(draft.addressees),
            items=wire.item_facts_to_proto(draft.items),
            total=[to_proto(amount) for amount in rendering.sums(item.collectable for item in draft.items)],
            unknown_tags=draft.wrong_tags,
            empty_tags=draft.empty_tags,
            warnings=draft.warnings,
        )

    def SendMessage(self, request: pb.SendMessageRequest, context) -> pb.SendMessageResponse:
        order, reply = _order(request), pb.SendMessageResponse()
        purpose_key = request.purpose_key or request.request_id
        with self._transaction() as session:
            found = self._desk.find(session, purpose_key, order)
            if found is not None:
                with once(session, request.request_id, request, reply) as first:
                    if first:
                        reply.message.CopyFrom(self._message(session, found, with_link=False))
                return reply
        # The ledger is asked outside of any transaction; what two requests at once make of it, the unique key decides.
        draft = self._desk.draft(order)
        with self._transaction() as session, once(session, request.request_id, request, reply) as first:
            if first:
                row = self._desk.freeze(session, purpose_key, order, draft)
                reply.message.CopyFrom(self._message(session, row, with_link=False))
        return reply

    def ListMessages(self, request: pb.ListMessagesRequest, context) -> pb.ListMessagesResponse:
        offset, limit = listing.offset_of(request.page_token), listing.page_size(request.page_size)
        with self._transaction() as session:
            rows, total = store.list_messages(
                session, current_caller(), request.account_id, request.filter, request.order_by, offset, limit
            )
            attempts = store.attempts_of(session, [row.message_id for row in rows])
            messages = [
                wire.message_to_proto(
                    row, attempts.get(row.message_id, []), with_body=False, sink_url=self._sink_url, language=language()
                )
                for row in rows
            ]
        token = listing.next_offset_token(offset, len(messages), total)
        return pb.ListMessagesResponse(messages=messages, next_page_token=token, total_size=total)

    def GetMessage(self, request: pb.GetMessageRequest, context) -> pb.GetMessageResponse:
        with self._transaction() as session:
            row = self._desk.message(session, request.message_id)
            return pb.GetMessageResponse(message=self._message(session, row))

    def ResolveMessage(self, request: pb.ResolveMessageRequest, context) -> pb.ResolveMessageResponse:
        with self._transaction() as session:
            row = self._desk.resolve(session, request.message_id, request.sent, request.comment)
            return pb.ResolveMessageResponse(message=self._message(session, row))

    def ListTemplates(self, request: pb.ListTemplatesRequest, context) -> pb.ListTemplatesResponse:
        offset, limit = listing.offset_of(request.page_token), listing.page_size(request.page_size)
        with self._transaction() as session:
            store.seed_templates(session)
            rows, total = store.list_templates(session, request.filter, request.order_by, offset, limit)
            templates = [wire.template_to_proto(row) for row in rows]
        token = listing.next_offset_token(offset, len(templates), total)
        return pb.ListTemplatesResponse(templates=templates, next_page_token=token, total_size=total)

    def UpdateTemplate(self, request: pb.UpdateTemplateRequest, context) -> pb.UpdateTemplateResponse:
        with self._transaction() as session:
            row = self._desk.change_template(session, request.template_id, request.subject, request.body)
            session.flush()
            return pb.UpdateTemplateResponse(template=wire.template_to_proto(row))

    def ListHashtags(self, request: pb.ListHashtagsRequest, context) -> pb.ListHashtagsResponse:
        ordered = sorted(hashtags.HASHTAGS, key=lambda hashtag: (hashtag.family, hashtag.name))
        return pb.ListHashtagsResponse(
            hashtags=[
                pb.Hashtag(
                    name=f"#{hashtag.name}",
                    family=hashtag.family,
                    description=hashtag.description,
                    description_fr=hashtag.description_fr,
                    html=hashtag.html,
                )
                for hashtag in ordered
            ]
        )

    @property
    def _sink_url(self) -> str:
        return self._desk.settings.mail_sink_url

    def _message(self, session, row: store.MessageRow, with_link: bool = True) -> pb.Message:
        """One message as the caller may see it: the link only with links:read, and never in an answer that is kept."""
        session.flush()
        attempts = store.attempts_of(session, [row.message_id]).get(row.message_id, [])
        link = self._desk.portal_link(row, current_caller()) if with_link else ""
        return wire.message_to_proto(
            row, attempts, with_body=True, portal_link=link, sink_url=self._sink_url, language=language()
        )


def _order(request: pb.DraftMessageRequest | pb.SendMessageRequest) -> Order:
    extra: dict[str, Any] = {}
    if isinstance(request, pb.SendMessageRequest):
        extra = {
            "action_id": request.action_id,
            "step_number": request.step_number,
            "exact_items": request.exact_items,
        }
    return Order(
        account_id=request.account_id,
        item_ids=tuple(request.item_ids),
        template_key=request.template_key,
        language=request.language,
        subject=request.subject,
        body=request.body,
        contact_ids=tuple(request.contact_ids),
        contact_role=request.contact_role,
        **extra,
    )


class InternalMailRpc(InternalMailServiceServicer):
    """Mail to our user's own people."""

    def __init__(self, mails: InternalMails) -> None:
        self._mails = mails

    def SendInternalMail(self, request, context):
        with self._mails.database.transaction() as session:
            row = self._mails.keep(
                session,
                purpose_key=request.purpose_key,
                email=request.email,
                name=request.name,
                subject=request.subject,
                text=request.text,
                language=request.language,
            )
            return mail_pb.SendInternalMailResponse(mail_id=row.mail_id, state=row.state)

"""The processes of notification: python -m notification serve | consume | relay | work | beat | migrate | run."""

from kit.process import main
from kit.service import Runtime, ServiceDefinition
from notification.config import Settings
from notification.internal_mails import InternalMails
from notification.rpc import InternalMailRpc, NotificationRpc
from notification.store import Base
from notification.tasks import JOBS
from notification.texts import FRENCH
from notification.usecases import Desk
from quittance.notification.v1.internal_mail_service_pb2_grpc import add_InternalMailServiceServicer_to_server
from quittance.notification.v1.notification_service_pb2_grpc import add_NotificationServiceServicer_to_server


def servicer(runtime: Runtime) -> NotificationRpc:
    """NotificationService on this process's database and settings."""
    return NotificationRpc(Desk(runtime.database, runtime.settings))


def internal_mail_servicer(runtime: Runtime) -> InternalMailRpc:
    """InternalMailService on this process's database and settings."""
    return InternalMailRpc(InternalMails(runtime.database, runtime.settings))


DEFINITION = ServiceDefinition(
    name="notification",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[
        (add_NotificationServiceServicer_to_server, servicer),
        (add_InternalMailServiceServicer_to_server, internal_mail_servicer),
    ],
    jobs=JOBS,
)

if __name__ == "__main__":
    main(DEFINITION)

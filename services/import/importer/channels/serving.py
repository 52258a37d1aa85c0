"""The process that keeps the doors: python -m importer sftp."""

from __future__ import annotations

import logging
import threading

from importer.channels.inbox import Inbox
from kit.service import Runtime

log = logging.getLogger(__name__)


def serve_channels(runtime: Runtime, stop: threading.Event) -> None:
    """Runs the SFTP server, FTPS where it is wanted, and looks after the folders until stop."""
    settings = runtime.settings
    inbox = Inbox(runtime)
    if inbox.root is None:
        log.warning("no folders for senders: name one with QUITTANCE_IMPORT_CHANNELS_FOLDER")
        stop.wait()
        return
    if not (settings.sftp_enabled or settings.ftps_enabled):
        stop.wait()
        return
    # Heavy, and only this process wants them.
    from importer.channels.doors import Doors

    doors = Doors(runtime, inbox)
    servers = []
    if settings.sftp_enabled:
        from importer.channels.sftp import SftpServer

        servers.append(SftpServer(doors))
    if settings.ftps_enabled:
        from importer.channels.ftps import FtpsServer

        servers.append(FtpsServer(doors))  # type: ignore[arg-type]
    for server in servers:
        server.start()
    try:
        inbox.run(stop)
    finally:
        for server in servers:
            server.stop()

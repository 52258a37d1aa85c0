"""What senders are told about our servers, and what customers' servers say about themselves."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from importer.channels.folders import channels_root
from importer.usecases.sources import SSH_PORT, fingerprint_of, public_address, public_key_text
from kit.errors import Code, Refused

LOOK_UP_S = 8.0
HOST_KEY_NAME = "sftp_host_key"
CERTIFICATE_NAME = "ftps_certificate.pem"


def host_key_path(settings: Any) -> Path | None:
    """Where the SFTP server's private key lies; its public half is beside it."""
    root = channels_root(settings)
    return root / HOST_KEY_NAME if root is not None else None


def certificate_path(settings: Any) -> Path | None:
    """Where the FTPS server's certificate lies, with its key, unless settings name another."""
    if settings.ftps_certificate_path:
        return Path(settings.ftps_certificate_path)
    root = channels_root(settings)
    return root / CERTIFICATE_NAME if root is not None else None


def told(settings: Any) -> dict[str, Any]:
    """Addresses and fingerprints, as GetChannels answers them."""
    found: dict[str, Any] = {}
    key = host_key_path(settings)
    if settings.sftp_enabled and key is not None:
        found["sftp_host"] = settings.sftp_public_host or settings.sftp_host
        found["sftp_port"] = settings.sftp_public_port or settings.sftp_port
        public = key.with_suffix(".pub")
        if public.is_file():
            found["sftp_host_key"] = public.read_text().strip()
            found["sftp_fingerprint"] = fingerprint_of(found["sftp_host_key"])
    certificate = certificate_path(settings)
    if settings.ftps_enabled and certificate is not None:
        found["ftps_host"] = settings.ftps_public_host or settings.ftps_host
        found["ftps_port"] = settings.ftps_port
        if certificate.is_file():
            found["ftps_fingerprint"] = certificate_fingerprint(certificate)
    return found


def certificate_fingerprint(path: Path) -> str:
    """SHA-256 of a certificate's DER form, as clients show it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest().upper()
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))


def host_key_of(settings: Any, host: str, port: int) -> tuple[str, str]:
    """The host key of a customer's server and its fingerprint. Refuses HOST_FORBIDDEN, HOST_UNREACHABLE."""
    import asyncssh

    address = public_address(settings, host)

    async def ask() -> Any:
        return await asyncio.wait_for(asyncssh.get_server_host_key(address, port or SSH_PORT), LOOK_UP_S)

    try:
        key = asyncio.run(ask())
    except (OSError, asyncssh.Error, TimeoutError) as error:
        raise Refused(Code.UNAVAILABLE, "HOST_UNREACHABLE", f"{host} does not answer as an SFTP server") from error
    if key is None:
        raise Refused(Code.UNAVAILABLE, "HOST_UNREACHABLE", f"{host} does not answer as an SFTP server")
    text = public_key_text(key.export_public_key().decode(), "pull.hostKey")
    return text, fingerprint_of(text)

"""Secrets at rest: AES-256-GCM with the platform's key, read from encryption_key_path."""

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kit.settings import ServiceSettings

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = "v1"


def generate_key(path: Path) -> None:
    """Writes a new key, readable by its owner only; an existing one stays."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode())


class Vault:
    """Encrypts and decrypts short texts such as connector passwords."""

    def __init__(self, settings: ServiceSettings) -> None:
        key = base64.b64decode(settings.read_key("encryption_key_path").strip())
        if len(key) != KEY_BYTES:
            raise ValueError(f"the encryption key has {len(key)} bytes, not {KEY_BYTES}")
        self._cipher = AESGCM(key)

    def encrypt(self, text: str, about: str = "") -> str:
        """The secret as storable text; about (such as a row's id) binds it to its place."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), about.encode())
        return f"{_VERSION}.{base64.urlsafe_b64encode(sealed).decode()}"

    def decrypt(self, text: str, about: str = "") -> str:
        """The secret again. Raises ValueError when it was changed, moved, or sealed with another key."""
        version, _, encoded = text.partition(".")
        if version != _VERSION:
            raise ValueError("not a secret of ours")
        sealed = base64.urlsafe_b64decode(encoded)
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode()).decode()
        except InvalidTag as error:
            raise ValueError("this secret cannot be opened with this key in this place") from error


def encrypt(settings: ServiceSettings, text: str, about: str = "") -> str:
    """Vault(settings).encrypt."""
    return Vault(settings).encrypt(text, about)


def decrypt(settings: ServiceSettings, text: str, about: str = "") -> str:
    """Vault(settings).decrypt."""
    return Vault(settings).decrypt(text, about)

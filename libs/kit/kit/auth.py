"""Signed tokens: ES256, short-lived, verified against a JWKS. Every issuer has its own key.

A key's id is "<issuer>.<thumbprint>", and a token is taken only from the issuer its key belongs to: a service's key
cannot make a person's token.
"""

import base64
import json
import logging
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from kit.context import EVERYTHING, SERVICE_PREFIX, Caller
from kit.errors import Code, Refused
from kit.settings import ServiceSettings

log = logging.getLogger(__name__)

ALGORITHM = "ES256"
AUDIENCE = "quittance"
TTL_MAX_S = 15 * 60
SERVICE_TTL_S = 10 * 60
LEEWAY_S = 5
GATEWAY = "gateway"
# An unknown key id makes us look again, but not more often than this.
REFETCH_S = 5.0


def generate_signing_key(path: Path, issuer: str) -> None:
    """Writes a new private key for an issuer (a service's name), readable by its owner only; an existing one stays."""
    if path.exists():
        return
    key = ECKey.generate_key("P-256", private=True)
    data = key.as_dict(private=True) | {"kid": f"{issuer}.{key.thumbprint()}", "use": "sig", "alg": ALGORITHM}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(data, file)


def write_jwks(path: Path, signing_keys: list[Path]) -> None:
    """Writes the public halves of signing keys where verifiers read them (jwks_url = file://<path>)."""
    keys = []
    for key_path in signing_keys:
        private = json.loads(key_path.read_text())
        keys.append({name: value for name, value in private.items() if name != "d"})
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump({"keys": keys}, file)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


class Signer:
    """Mints tokens with one issuer's private key."""

    def __init__(self, private_jwk: str) -> None:
        data = json.loads(private_jwk)
        self._kid = str(data["kid"])
        self.issuer = self._kid.partition(".")[0]
        self._key = ECKey.import_key(data)
        self._cache: dict[tuple, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def mint(
        self,
        *,
        tenant_id: str,
        subject: str,
        name: str = "",
        permissions: frozenset[str] | set[str] | list[str] = frozenset(),
        entity_codes: frozenset[str] | set[str] | list[str] | None = None,
        acting_for: str = "",
        ttl_s: int = SERVICE_TTL_S,
    ) -> str:
        """A signed token. Raises ValueError when it would live longer than 15 minutes."""
        if not 0 < ttl_s <= TTL_MAX_S:
            raise ValueError(f"a token lives at most {TTL_MAX_S} s")
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "name": name,
            "tenant": tenant_id,
            "permissions": sorted(permissions),
            "entities": None if entity_codes is None else sorted(entity_codes),
            "iat": now,
            "exp": now + ttl_s,
        }
        if acting_for:
            claims["act"] = acting_for
        return jwt.encode({"alg": ALGORITHM, "kid": self._kid, "typ": "JWT"}, claims, self._key, algorithms=[ALGORITHM])

    def service_token(self, caller: Caller) -> str:
        """This service's own token for a call made on behalf of caller; kept for half of its life."""
        acting_for = caller.acting_for or ("" if caller.is_service else caller.subject)
        key = (caller.tenant_id, acting_for, caller.entity_codes, caller.name if acting_for else "")
        with self._lock:
            until, token = self._cache.get(key, (0.0, ""))
            if until > time.monotonic():
                return token
        token = self.mint(
            tenant_id=caller.tenant_id,
            subject=SERVICE_PREFIX + self.issuer,
            name=caller.name if acting_for else self.issuer,
            permissions=EVERYTHING,
            # The person's scope goes along: a service must not see more for him than he may.
            entity_codes=caller.entity_codes,
            acting_for=acting_for,
        )
        with self._lock:
            if len(self._cache) > 10_000:
                self._cache.clear()
            self._cache[key] = (time.monotonic() + SERVICE_TTL_S / 2, token)
        return token


@dataclass
class Verifier:
    """Verifies tokens against the JWKS at a file:// or http(s):// address."""

    jwks_url: str

    def __post_init__(self) -> None:
        self._keys: KeySet | None = None
        self._known: frozenset[str] = frozenset()
        self._read_at = 0.0
        self._lock = threading.Lock()

    def _fetch(self) -> None:
        parsed = urlparse(self.jwks_url)
        if parsed.scheme == "file":
            data = json.loads(Path(parsed.path).read_text())
        elif parsed.scheme in ("http", "https"):
            import httpx  # Slow to import, and most verifiers read a file.

            try:
                response = httpx.get(self.jwks_url, timeout=5.0)
                response.raise_for_status()
                data = response.json()
            except httpx.HTTPError as error:
                raise OSError(str(error)) from error
        else:
            raise LookupError(f"jwks_url must be file:// or http(s)://, not {self.jwks_url!r}")
        self._keys = KeySet.import_key_set(data)
        self._known = frozenset(str(key["kid"]) for key in data["keys"])
        self._read_at = time.monotonic()

    def _keys_with(self, kid: str) -> KeySet:
        with self._lock:
            if self._keys is None or (kid not in self._known and time.monotonic() - self._read_at > REFETCH_S):
                try:
                    self._fetch()
                except (OSError, ValueError) as error:
                    log.warning("the keys at %s cannot be read: %s", self.jwks_url, error)
                    if self._keys is None:
                        raise Refused(
                            Code.UNAVAILABLE, "KEYS_UNAVAILABLE", "tokens cannot be checked at the moment"
                        ) from error
            assert self._keys is not None
            return self._keys

    def verify(self, token: str) -> Caller:
        """Who a token speaks for. Refuses UNAUTHENTICATED TOKEN_INVALID or TOKEN_EXPIRED."""
        try:
            # Read unverified, only to know which key to verify with.
            kid = str(_unverified_header(token).get("kid", ""))
            decoded = jwt.decode(token, self._keys_with(kid), algorithms=[ALGORITHM])
            claims = decoded.claims
            issuer = kid.partition(".")[0]
            if decoded.header.get("kid") != kid or claims.get("iss") != issuer or claims.get("aud") != AUDIENCE:
                raise ValueError("issuer or audience does not fit")
            subject, tenant = claims["sub"], claims["tenant"]
            issued_at, expires_at = float(claims["iat"]), float(claims["exp"])
            if issuer != GATEWAY and subject != SERVICE_PREFIX + issuer:
                raise ValueError("only the gateway speaks for others")
            if expires_at - issued_at > TTL_MAX_S or issued_at > time.time() + LEEWAY_S:
                raise ValueError("lives too long")
            entities = claims.get("entities")
            caller = Caller(
                tenant_id=str(tenant),
                subject=str(subject),
                name=str(claims.get("name", "")),
                permissions=frozenset(claims["permissions"]),
                entity_codes=None if entities is None else frozenset(entities),
                acting_for=str(claims.get("act", "")),
            )
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Refused(Code.UNAUTHENTICATED, "TOKEN_INVALID", "the token is not valid") from error
        if expires_at < time.time() - LEEWAY_S:
            raise Refused(Code.UNAUTHENTICATED, "TOKEN_EXPIRED", "the token has expired")
        return caller


def _unverified_header(token: str) -> dict:
    head = token.partition(".")[0]
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    if not isinstance(header, dict):
        raise ValueError("no header")
    return header


_signers: dict[str, Signer] = {}


def signer(settings: ServiceSettings) -> Signer:
    """The signer of this service's own key (signing_key_path)."""
    path = settings.signing_key_path
    if path not in _signers:
        _signers[path] = Signer(settings.read_key("signing_key_path"))
    return _signers[path]

"""Tokens: who may speak for whom."""

import json
import time
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from kit import auth
from kit.errors import Code
from kit.testing import caller_of, refused, token_for


@pytest.fixture
def verifier(keys):
    return auth.Verifier(keys.jwks_url)


def private(keys, issuer):
    return json.loads(Path(keys.signing_key(issuer)).read_text())


def signed(key, **claims):
    now = int(time.time())
    base = {"iss": "gateway", "aud": "quittance", "sub": "user:a", "tenant": "t", "permissions": [], "iat": now}
    return jwt.encode({"alg": "ES256", "kid": key["kid"]}, base | {"exp": now + 60} | claims, ECKey.import_key(key))


def test_a_token_says_who_calls(keys, verifier, tenant):
    caller = caller_of(tenant, "items:read", entities={"FR01"})
    assert verifier.verify(token_for(keys, caller)) == caller


def test_a_key_made_later_is_found(keys, tenant):
    verifier = auth.Verifier(keys.jwks_url)
    verifier.verify(token_for(keys, caller_of(tenant)))
    verifier._read_at -= auth.REFETCH_S + 1
    signer = auth.Signer(Path(keys.signing_key("newcomer")).read_text())
    token = signer.service_token(caller_of(tenant))
    assert verifier.verify(token).subject == "service:newcomer"


def test_a_services_key_cannot_speak_for_a_person(keys, verifier, tenant):
    token = auth.Signer(Path(keys.signing_key("ledger")).read_text()).mint(tenant_id=tenant, subject="user:boss")
    verifier._read_at = -1e9
    with refused(Code.UNAUTHENTICATED, "TOKEN_INVALID"):
        verifier.verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "ledger"},
        {"aud": "another"},
        {"exp": int(time.time()) + 3600},
        {"tenant": None, "permissions": None},
    ],
)
def test_what_is_not_as_it_should_be_is_refused(keys, verifier, claims):
    with refused(Code.UNAUTHENTICATED, "TOKEN_INVALID"):
        verifier.verify(signed(private(keys, "gateway"), **claims))


def test_an_old_token_is_refused(keys, verifier):
    past = int(time.time()) - 600
    with refused(Code.UNAUTHENTICATED, "TOKEN_EXPIRED"):
        verifier.verify(signed(private(keys, "gateway"), iat=past, exp=past + 60))


def test_other_algorithms_and_keys_are_refused(keys, verifier):
    kid = private(keys, "gateway")["kid"]
    stranger = ECKey.generate_key("P-256").as_dict(private=True) | {"kid": kid}
    public_as_secret = OctKey.import_key(json.dumps({k: v for k, v in private(keys, "gateway").items() if k != "d"}))
    confused = jwt.encode({"alg": "HS256", "kid": kid}, {"sub": "x"}, public_as_secret)
    for token in (signed(stranger), confused, "a.b.c", ""):
        with refused(Code.UNAUTHENTICATED, "TOKEN_INVALID"):
            verifier.verify(token)


def test_keys_that_cannot_be_read_are_not_the_callers_fault(keys, tenant, tmp_path):
    with refused(Code.UNAVAILABLE, "KEYS_UNAVAILABLE"):
        auth.Verifier(f"file://{tmp_path / 'none'}").verify(token_for(keys, caller_of(tenant)))

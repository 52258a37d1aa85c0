"""Files: one contract, kept by a local folder and by a bucket behind the real S3 protocol."""

import io
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import boto3
import httpx
import pytest

from kit import context, files
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.settings import ServiceSettings
from kit.testing import refused

BUCKET = "quittance"
PART = files.S3_PART_BYTES


@pytest.fixture(scope="module")
def s3():
    """The address of a server that speaks S3, with one bucket in it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client_of(address).create_bucket(Bucket=BUCKET)
    yield address
    server.stop()


def client_of(address, service="s3"):
    return boto3.client(
        service, endpoint_url=address, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )


def settings_of(address, bucket=BUCKET, access_key="any", secret_key="any"):
    return ServiceSettings(
        file_store_url=f"s3://{bucket}/some/prefix", s3_endpoint=address, s3_access_key=access_key,
        s3_secret_key=secret_key,
    )  # fmt: skip


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    if request.param == "folder":
        return files.store(ServiceSettings(file_store_url=f"file://{tmp_path}"))
    return files.store(settings_of(request.getfixturevalue("s3")))


@pytest.fixture
def folder():
    """A folder of this test alone: the bucket is shared."""
    return new_id()


def read(stream):
    with stream:
        return stream.read()


class Pieces:
    """A stream of so many bytes that has nothing but read, and gives no more than a megabyte at a time."""

    def __init__(self, size, fail_at=None):
        self.left, self.fail_at, self.given = size, fail_at, 0

    def read(self, size=-1):
        count = min(self.left, 1024 * 1024, size if size >= 0 else self.left)
        if self.fail_at is not None and self.given + count > self.fail_at:
            raise OSError("line cut")
        start, self.left, self.given = self.given, self.left - count, self.given + count
        return pattern(start, count)


def pattern(start, count):
    """Bytes that tell where in the file they are."""
    first = start // 4
    words = b"".join(number.to_bytes(4, "big") for number in range(first, first + count // 4 + 2))
    return words[start % 4 : start % 4 + count]


# ---- the contract ----------------------------------------------------------------------------------------------------


def test_what_is_put_can_be_got(store, folder):
    key = f"{folder}/imports/1"
    assert store.put(key, io.BytesIO(b"abc")) == 3
    assert store.put(key, io.BytesIO(b"abcd")) == 4
    assert read(store.get(key)) == b"abcd"
    assert (store.size(key), store.exists(key), store.exists(f"{folder}/imports/2")) == (4, True, False)
    store.delete(key)
    store.delete(key)
    for ask in (store.get, store.size):
        with refused(Code.NOT_FOUND, "FILE_UNKNOWN"):
            ask(key)


def test_an_empty_file_is_a_file(store, folder):
    assert store.put(f"{folder}/empty", io.BytesIO()) == 0
    assert store.exists(f"{folder}/empty")
    assert read(store.get(f"{folder}/empty")) == b""
    assert read(store.get(f"{folder}/empty", 5, 5)) == b""


def test_a_stream_of_several_parts_arrives_whole(store, folder):
    size = 2 * PART + 12_345
    assert store.put(f"{folder}/large", Pieces(size)) == size
    assert store.size(f"{folder}/large") == size
    with store.get(f"{folder}/large") as stream:
        at = 0
        while piece := stream.read(1_000_003):
            assert piece == pattern(at, len(piece))
            at += len(piece)
    assert at == size


@pytest.mark.parametrize("fail_at", [0, 2 * PART + 1])
def test_a_broken_upload_leaves_the_old_file_and_nothing_else(store, folder, fail_at):
    store.put(f"{folder}/b", io.BytesIO(b"old"))
    with pytest.raises(OSError, match="line cut"):
        store.put(f"{folder}/b", Pieces(4 * PART, fail_at))
    assert read(store.get(f"{folder}/b")) == b"old"
    assert [entry.key for entry in store.list(folder)] == [f"{folder}/b"]
    if isinstance(store, files.S3Store):
        assert "Uploads" not in store._client.list_multipart_uploads(Bucket=BUCKET)


def test_the_stream_stays_open(store, folder):
    stream = io.BytesIO(b"abc")
    store.put(f"{folder}/a", stream)
    assert not stream.closed


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, None, b"0123456789"), (3, None, b"3456789"), (3, 4, b"3456"), (0, 1, b"0"), (9, 1, b"9"), (8, 100, b"89"),
     (10, None, b""), (10, 5, b""), (500, 1, b""), (4, 0, b"")],
)  # fmt: skip
def test_a_part_of_a_file(store, folder, start, length, expected):
    store.put(f"{folder}/digits", io.BytesIO(b"0123456789"))
    assert read(store.get(f"{folder}/digits", start, length)) == expected


def test_a_part_of_no_file_or_no_part(store, folder):
    for start, length in [(0, 0), (3, 4), (3, None)]:
        with refused(Code.NOT_FOUND, "FILE_UNKNOWN"):
            store.get(f"{folder}/none", start, length)
    for start, length in [(-1, None), (0, -1)]:
        with pytest.raises(ValueError, match="range"):
            store.get(f"{folder}/none", start, length)


def test_a_file_reads_as_files_do(store, folder):
    store.put(f"{folder}/lines", io.BytesIO(b"first\nsecond\nthird"))
    with store.get(f"{folder}/lines") as stream:
        assert stream.readline() == b"first\n"
        assert list(stream) == [b"second\n", b"third"]
    assert stream.closed


def test_a_folder_is_listed(store, folder):
    names = [f"{number:04d}" for number in range(12)] + ["deep/er/x", "deep.txt"]
    for name in reversed(names):
        store.put(f"{folder}/{name}", io.BytesIO(name.encode()))
    store.put(f"{folder}x/not-below", io.BytesIO(b"x"))
    found = list(store.list(folder))
    assert [entry.key for entry in found] == sorted(f"{folder}/{name}" for name in names)
    assert [entry.size_bytes for entry in found] == [len(entry.key) - len(folder) - 1 for entry in found]
    assert all(abs(datetime.now(UTC) - entry.changed_at) < timedelta(minutes=5) for entry in found)
    assert [entry.key for entry in store.list(f"{folder}/deep")] == [f"{folder}/deep/er/x"]
    assert list(store.list(f"{folder}/none")) == []


def test_a_folder_is_no_file(store, folder):
    store.put(f"{folder}/a/b", io.BytesIO(b"x"))
    assert not store.exists(f"{folder}/a")
    for ask in (store.get, store.size):
        with refused(Code.NOT_FOUND, "FILE_UNKNOWN"):
            ask(f"{folder}/a")
        with refused(Code.NOT_FOUND, "FILE_UNKNOWN"):
            ask(f"{folder}/a/b/c")
    store.delete(f"{folder}/a")
    store.delete(f"{folder}/a/b/c")
    assert read(store.get(f"{folder}/a/b")) == b"x"


ODD = ["a=b", "a@b", "a..b", "a-", "A_", "0", "x" * 200, "/".join(["y" * 50] * 8)]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_keys_with_odd_characters(store, folder, name):
    store.put(f"{folder}/{name}", io.BytesIO(b"x"))
    assert read(store.get(f"{folder}/{name}")) == b"x"
    assert [entry.key for entry in store.list(folder)] == [f"{folder}/{name}"]


@pytest.mark.parametrize(
    "key",
    ["../x", "/etc/passwd", "a//b", "a/../b", "", ".hidden", "a/.b", "a\x00b", "a b", "a\n", "é", "a?b", "a%2Fb", "a\\b",
     "a/", "x" * 201, "y/" * 300 + "y"],
)  # fmt: skip
def test_keys_stay_inside(store, key):
    for use in (
        store.get, store.size, store.exists, store.delete, lambda key: list(store.list(key)),
        lambda key: store.put(key, io.BytesIO(b"x")),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="file key"):
            use(key)


def test_nobody_finds_the_files_of_another_tenant(store, tenant, as_tenant):
    key = f"{tenant}/secret"
    with as_tenant(tenant):
        store.put(key, io.BytesIO(b"x"))
        assert store.exists(key)
    with as_tenant(new_id()):
        assert not store.exists(key)
        for use in (
            store.get, store.size, store.delete, lambda key: list(store.list(tenant)),
            lambda key: store.put(key, io.BytesIO(b"y")),
        ):  # fmt: skip
            with refused(Code.NOT_FOUND, "FILE_UNKNOWN"):
                use(key)
        store.put("of-no-tenant", io.BytesIO(b"x"))
    assert read(store.get(key)) == b"x"


# ---- a store that does not do its work -------------------------------------------------------------------------------


def every_call(store):
    yield lambda: store.put("a/b", io.BytesIO(b"x"))
    yield lambda: store.put("a/b", Pieces(PART + 1))
    yield lambda: store.get("a/b")
    yield lambda: store.size("a/b")
    yield lambda: store.exists("a/b")
    yield lambda: list(store.list("a"))
    yield lambda: store.delete("a/b")


def test_a_bucket_that_does_not_exist_is_said_so(s3):
    for call in every_call(files.store(settings_of(s3, bucket="no-such-bucket"))):
        with refused(Code.UNAVAILABLE, "FILE_STORE_MISSING"):
            call()


def test_a_store_that_nobody_serves_is_said_so(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # botocore's pauses between its tries.
    for call in every_call(files.store(settings_of("http://127.0.0.1:1"))):
        with refused(Code.UNAVAILABLE, "FILE_STORE_UNAVAILABLE"):
            call()


def test_wrong_credentials_are_said_so(s3):
    iam = client_of(s3, "iam")
    iam.create_user(UserName="quittance")
    key = iam.create_access_key(UserName="quittance")["AccessKey"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="quittance", PolicyName="all", PolicyDocument=json.dumps(everything))
    right = (key["AccessKeyId"], key["SecretAccessKey"])
    # From here on the server looks at who is calling.
    httpx.post(f"{s3}/moto-api/reset-auth", content="0").raise_for_status()
    try:
        store = files.store(settings_of(s3, access_key=right[0], secret_key=right[1]))
        assert store.put("a/b", io.BytesIO(b"x")) == 1
        assert store.exists("a/b")
        for wrong in [("nobody", "nothing"), (right[0], "not the secret")]:
            for call in every_call(files.store(settings_of(s3, access_key=wrong[0], secret_key=wrong[1]))):
                with refused(Code.UNAVAILABLE, "FILE_STORE_DENIED"):
                    call()
    finally:
        httpx.post(f"{s3}/moto-api/reset-auth", content="inf").raise_for_status()


def test_a_line_that_breaks_while_reading_is_said_so(s3, folder, monkeypatch):
    from botocore.exceptions import ReadTimeoutError
    from botocore.response import StreamingBody

    store = files.store(settings_of(s3))
    store.put(f"{folder}/a", io.BytesIO(b"abc"))
    with store.get(f"{folder}/a") as stream:
        monkeypatch.setattr(
            StreamingBody, "read", lambda *_: (_ for _ in ()).throw(ReadTimeoutError(endpoint_url="x", error="slow"))
        )
        with refused(Code.UNAVAILABLE, "FILE_STORE_UNAVAILABLE"):
            stream.read()


def test_a_store_of_no_known_kind_is_a_mistake():
    for url in ("", "ftp://x/y", "/tmp"):
        with pytest.raises(LookupError, match="file_store_url"):
            files.store(ServiceSettings(file_store_url=url))


def test_a_client_is_made_once(s3):
    assert files.store(settings_of(s3)) is files.store(settings_of(s3))
    assert files.store(settings_of(s3)) is not files.store(settings_of(s3, access_key="other"))


THERE_AND_BACK = """
import json, resource, sys
from kit import files
from kit.settings import ServiceSettings

settings, key, large = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = files.store(ServiceSettings(**settings))

class Zeros:
    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        count = min(self.left, size if size >= 0 else self.left)
        self.left -= count
        return bytes(count)

def there_and_back(size):
    store.put(key, Zeros(size))
    read = 0
    with store.get(key) as stream:
        while piece := stream.read(1 << 20):
            read += len(piece)
    assert read == size, read
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

print(there_and_back(1), there_and_back(large))
"""


def test_memory_stays_flat_however_large_the_stream(s3, folder):
    """In a process of its own: a file of more than sixteen parts, there and back, takes no more than a few of them."""
    settings = settings_of(s3).model_dump(include={"file_store_url", "s3_endpoint", "s3_access_key", "s3_secret_key"})
    arguments = [json.dumps(settings), f"{folder}/zeros", str(16 * PART + 1)]
    done = subprocess.run(
        [sys.executable, "-c", THERE_AND_BACK, *arguments], capture_output=True, text=True, check=True
    )
    small_mib, large_mib = map(int, done.stdout.split())
    assert large_mib - small_mib < 6 * PART // 2**20, f"{small_mib} MiB, then {large_mib} MiB"


# ---- downloads -------------------------------------------------------------------------------------------------------


@pytest.fixture
def sealing(keys):
    return ServiceSettings(encryption_key_path=keys.encryption_key_path)


def test_a_signed_download_names_its_file(sealing):
    token = files.sign(sealing, "tenant/documents/1", 60, "Facture n° 12.pdf")
    assert files.verify(sealing, token) == files.Signed("tenant/documents/1", "Facture n° 12.pdf")
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_a_download_expires(sealing, monkeypatch):
    token = files.sign(sealing, "a/b", 60)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 59)
    assert files.verify(sealing, token).key == "a/b"
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with refused(Code.PERMISSION_DENIED, "DOWNLOAD_EXPIRED"):
        files.verify(sealing, token)


def test_a_download_that_was_tampered_with_is_refused(sealing, tmp_path):
    token = files.sign(sealing, "a/b", 60)
    other = files.sign(sealing, "a/c", 60)
    body, seal = token.split(".")
    forged = [
        f"{other.split('.')[0]}.{seal}",
        body,
        f"{body}.",
        f".{seal}",
        "",
        "é.é",
        f"{body}.{seal[:-2]}",
        f"{token}A",
    ]
    for wrong in forged:
        with refused(Code.PERMISSION_DENIED, "DOWNLOAD_INVALID"):
            files.verify(sealing, wrong)
    for place in range(len(token)):
        flipped = token[:place] + ("A" if token[place] != "A" else "Q") + token[place + 1 :]
        with pytest.raises(Refused):
            files.verify(sealing, flipped)
    from kit import crypto

    crypto.generate_key(tmp_path / "another.key")
    with refused(Code.PERMISSION_DENIED, "DOWNLOAD_INVALID"):
        files.verify(ServiceSettings(encryption_key_path=str(tmp_path / "another.key")), token)


def test_a_download_is_signed_within_its_tenant_and_not_for_long(sealing, tenant, as_tenant):
    for wrong in (0, -1, files.SIGNED_MAX_S + 1):
        with pytest.raises(ValueError, match="lives at most"):
            files.sign(sealing, "a/b", wrong)
    with pytest.raises(ValueError, match="file key"):
        files.sign(sealing, "../b", 60)
    with as_tenant(new_id()), refused(Code.NOT_FOUND, "FILE_UNKNOWN"):
        files.sign(sealing, f"{tenant}/a", 60)
    assert context.caller_or_none() is None

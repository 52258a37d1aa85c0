"""Files in a local folder."""

import io

import pytest

from kit import files
from kit.errors import Code
from kit.settings import ServiceSettings
from kit.testing import refused


@pytest.fixture
def store(tmp_path):
    return files.store(ServiceSettings(file_store_url=f"file://{tmp_path}"))


def test_what_is_put_can_be_got(store):
    assert store.put("tenant/imports/1", io.BytesIO(b"abc")) == 3
    assert store.put("tenant/imports/1", io.BytesIO(b"abcd")) == 4
    with store.get("tenant/imports/1") as stream:
        assert stream.read() == b"abcd"
    assert (store.size("tenant/imports/1"), store.exists("tenant/imports/2")) == (4, False)
    store.delete("tenant/imports/1")
    store.delete("tenant/imports/1")
    with refused(Code.NOT_FOUND, "FILE_UNKNOWN"):
        store.get("tenant/imports/1")


def test_a_broken_upload_leaves_the_old_file(store, tmp_path):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError("line cut")

    store.put("a/b", io.BytesIO(b"old"))
    with pytest.raises(OSError, match="line cut"):
        store.put("a/b", Broken())
    with store.get("a/b") as stream:
        assert stream.read() == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a//b", "a/../b", "", ".hidden", "a/.b", "a\x00b", "x" * 600])
def test_keys_stay_inside(store, key):
    with pytest.raises(ValueError, match="file key"):
        store.get(key)

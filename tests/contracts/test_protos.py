"""The contracts are clean, and every RPC says who may call it."""

import keyword
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from quittance.common.v1 import options_pb2

# Lists that are short and fixed by nature: nothing to page through or to filter.
FIXED_LISTS = {"ListRoles", "ListReasons", "ListHashtags"}


@pytest.fixture(scope="module")
def files(root: Path) -> list[descriptor_pb2.FileDescriptorProto]:
    descriptors = descriptor_pb2.FileDescriptorSet()
    descriptors.ParseFromString((root / "libs/contracts/quittance/descriptors.binpb").read_bytes())
    ours = [file for file in descriptors.file if file.package.startswith("quittance.")]
    assert len({file.package for file in ours}) >= 10  # Nine services and what is common.
    return ours


def methods(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> Iterator[tuple[str, descriptor_pb2.MethodDescriptorProto]]:
    for file in files:
        for service in file.service:
            for method in service.method:
                yield f"{file.package}.{service.name}/{method.name}", method


def messages(files: list[descriptor_pb2.FileDescriptorProto]) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    for file in files:
        for message in file.message_type:
            yield f"{file.package}.{message.name}", message


def test_buf_lint_is_clean_with_comments_on_everything(root: Path) -> None:
    buf = Path(sys.executable).with_name("buf")
    done = subprocess.run([buf, "lint"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rpc_says_which_permission_it_needs(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    found = {name: method.options.Extensions[options_pb2.needs] for name, method in methods(files)}
    assert len(found) > 50
    assert [name for name, needs in found.items() if not needs] == []
    odd = {name: needs for name, needs in found.items() if needs != "anyone" and needs.count(":") != 1}
    assert odd == {}


def test_reading_over_rest_never_takes_a_write_permission_and_writing_always_does(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    for name, method in methods(files):
        http = method.options.Extensions[annotations_pb2.http]
        needs = method.options.Extensions[options_pb2.needs]
        if http.WhichOneof("pattern") in ("post", "put", "patch", "delete"):
            assert not needs.endswith(":read") or "preview" in name.lower() or "look" in name.lower(), name
        if http.WhichOneof("pattern") == "get":
            assert not needs.endswith(":write"), name


def test_every_route_is_served_once(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    routes: dict[tuple[str, str], str] = {}
    for name, method in methods(files):
        http = method.options.Extensions[annotations_pb2.http]
        for rule in (http, *http.additional_bindings):
            verb = rule.WhichOneof("pattern")
            if verb:
                key = (verb, getattr(rule, verb))
                assert key not in routes, f"{key} is served by {routes[key]} and {name}"
                routes[key] = name
    assert len(routes) > 40


def test_every_list_can_be_paged_filtered_and_ordered(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    by_name = dict(messages(files))
    lists = [(name, method) for name, method in methods(files) if method.name.startswith("List")]
    assert len(lists) >= 10
    for name, method in lists:
        if method.name in FIXED_LISTS:
            continue
        asked = {field.name for field in by_name[method.input_type.lstrip(".")].field}
        given = {field.name for field in by_name[method.output_type.lstrip(".")].field}
        assert asked >= {"page_size", "page_token", "filter", "order_by"}, name
        assert given >= {"next_page_token", "total_size"}, name


def test_no_amount_is_a_float_and_no_name_is_python_s_own(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    floats = (descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE, descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT)
    for name, message in messages(files):
        for field in message.field:
            assert not keyword.iskeyword(field.name), f"{name}.{field.name}"
            if field.type in floats:
                # Days and shares may be fractions; whatever is money may not.
                assert not any(word in field.name for word in ("amount", "minor", "open", "total", "limit")), (
                    f"{name}.{field.name}"
                )

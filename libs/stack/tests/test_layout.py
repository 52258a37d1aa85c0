"""Ports and folders: every one can be moved, and what is wrong gets one line that says what to do."""

import socket
from pathlib import Path

import pytest

from stack.layout import PORTS, Unusable, read_layout, refuse_taken_ports


def test_defaults_are_the_documented_ports_and_all_differ() -> None:
    layout = read_layout({})
    assert (layout.ports["gateway"], layout.ports["portal"]) == (8080, 8081)
    assert len(set(layout.ports.values())) == len(PORTS)
    assert layout.home == Path(".quittance").resolve()


@pytest.mark.parametrize("name", list(PORTS))
def test_every_port_can_be_moved(name: str) -> None:
    assert read_layout({PORTS[name][0]: "50000"}).ports[name] == 50000


@pytest.mark.parametrize("text", ["0", "65536", "eighty", "-1", "80.5"])
def test_what_is_no_port_is_refused_with_the_setting(text: str) -> None:
    with pytest.raises(Unusable, match=r"QUITTANCE_PORT=.* is not a port"):
        read_layout({"QUITTANCE_PORT": text})


def test_two_settings_with_one_port_are_refused() -> None:
    with pytest.raises(Unusable, match="QUITTANCE_PORT and QUITTANCE_PORTAL_PORT are both 9000"):
        read_layout({"QUITTANCE_PORT": "9000", "QUITTANCE_PORTAL_PORT": "9000"})


def test_a_taken_port_is_named_with_its_setting_and_what_to_do() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        moved = {setting: str(20000 + number) for number, (setting, _) in enumerate(PORTS.values())}
        layout = read_layout({**moved, "QUITTANCE_PORT": str(port)})
        with pytest.raises(Unusable) as refusal:
            refuse_taken_ports(layout)
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(f"port {port} (gateway) is taken")
    assert "QUITTANCE_PORT=<port> make up" in line


def test_servers_of_somebody_else_need_no_port_here() -> None:
    layout = read_layout(
        {"QUITTANCE_NATS_URL": "nats://nats.example.com:4222", "QUITTANCE_SMTP_HOST": "mail.example.com"}
    )
    assert {"nats", "smtp", "mailsink"} & set(layout.ports_needed()) == set()
    assert {"postgres", "redis", "gateway"} <= set(layout.ports_needed())


def test_keys_and_customers_data_are_for_the_owner_only(tmp_path: Path) -> None:
    layout = read_layout({"QUITTANCE_HOME": str(tmp_path / "home")})
    layout.make_folders()
    for folder in layout.private_folders:
        assert folder.stat().st_mode & 0o077 == 0, folder

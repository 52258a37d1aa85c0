"""Files that come by themselves, on the whole platform: dropped over SFTP, and put over REST in parts."""

import asyncio
import hashlib
from typing import Any

import asyncssh
from flow_client import Client, until

HEADER = "Customer;Name;Invoice No;Invoice Date;Due Date;Currency;Amount\n"


def rows(count: int) -> bytes:
    lines = [f"C{number % 7};Firma {number % 7};R{number};{number % 28 + 1}/03/2026;20/04/2026;EUR;{number}0,50"
             for number in range(1, count + 1)]  # fmt: skip
    return (HEADER + "\n".join(lines) + "\n").encode()


def drop(told: dict, user_name: str, password: str, name: str, content: bytes) -> None:
    async def go() -> None:
        known = ([asyncssh.import_public_key(told["sftpHostKey"])], [], [])
        async with asyncssh.connect(
            told["sftpHost"], told["sftpPort"], username=user_name, password=password, known_hosts=known,
            client_keys=(), config=(), agent_path=None,
        ) as connection, connection.start_sftp_client() as client:  # fmt: skip
            async with client.open(f"in/{name}.part", "wb") as file:
                await file.write(content)
            await client.rename(f"in/{name}.part", f"in/{name}")

    asyncio.run(go())


def imports_of(client: Client, entity: str) -> list[dict]:
    return client.get("/v1/imports", filter=f'entity_code="{entity}"', orderBy="created_at")["imports"]


def test_a_file_dropped_by_sftp_is_in_the_books_and_reported_by_mail(client: Client, entity: Any) -> None:
    made = client.post(
        "/v1/sources",
        {
            "source": {
                "name": f"ERP of {entity}", "entityCode": entity, "kind": "SFTP", "apply": True, "enabled": True,
                "recipients": [f"books-{entity.lower()}@example.com"], "patterns": [{"pattern": "items_*.csv"}],
            }
        },
    )  # fmt: skip
    told = client.get("/v1/channels")
    drop(told, made["source"]["userName"], made["password"], "items_1.csv", rows(30))
    [run] = until(lambda: [run for run in imports_of(client, entity) if run["state"] == "APPLIED"], "the import")
    assert (run["channel"], run["rowCounts"]["created"]) == ("SFTP", 30)
    # The date of the invoice decides by itself: days above 12 are among them.
    assert client.account(entity, "C1")["number"] == "C1"
    mails = until(lambda: client.mails(f"books-{entity.lower()}@example.com"), "the report")
    assert len(mails) == 1
    source = client.get(f"/v1/sources/{made['source']['sourceId']}")
    assert source["lastFileName"] == "items_1.csv"
    assert "password" not in source


def test_a_file_comes_in_parts_over_rest_and_goes_on_after_a_break(client: Client, entity: Any) -> None:
    content = rows(2_000)
    announced = {
        "fileName": "items.csv", "sizeBytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        "entityCode": entity, "apply": True,
    }  # fmt: skip
    upload_id = client.post("/v1/uploads", announced)["uploadId"]

    def put(start: int, data: bytes) -> Any:
        span = f"bytes {start}-{start + len(data) - 1}/{len(content)}"
        return client.request("PUT", f"/v1/uploads/{upload_id}", content=data, headers={"Content-Range": span})

    assert put(0, content[:30_000]).headers["Upload-Offset"] == "30000"
    wrong = put(20_000, content[20_000:])
    assert (wrong.status_code, wrong.json()["metadata"]["offset"]) == (409, "30000")
    nonsense = client.request("PUT", f"/v1/uploads/{upload_id}", content=b"x", headers={"Content-Range": "bytes 5"})
    assert (nonsense.status_code, nonsense.json()["reason"]) == (400, "CONTENT_RANGE_WRONG")
    early = client.request("POST", f"/v1/uploads/{upload_id}:start", json={})
    assert (early.status_code, early.json()["reason"]) == (409, "UPLOAD_INCOMPLETE")
    kept = int(client.get(f"/v1/uploads/{upload_id}")["offset"])
    assert put(kept, content[kept:]).json()["offset"] == str(len(content))
    import_id = client.post(f"/v1/uploads/{upload_id}:start", {})["importId"]
    run = client.settled(import_id)
    assert (run["state"], run["rowCounts"]["created"]) == ("APPLIED", 2_000)
    assert run["sha256"] == announced["sha256"]

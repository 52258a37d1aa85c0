"""What the import service can be told, on top of kit.settings."""

from pydantic import Field

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the import service; environment QUITTANCE_IMPORT_<NAME> or QUITTANCE_<NAME>."""

    service_name: str = "import"
    # Largest file taken in. Reading holds a file in memory about three times.
    upload_limit_bytes: int = Field(default=200 * 1024 * 1024, ge=1024)
    # Rows per ledger transaction; the last account of a chunk is always whole.
    chunk_rows: int = Field(default=5_000, ge=1)
    # How long an import waits for a ledger that cannot be reached before it fails (and can be applied again).
    ledger_patience_s: float = Field(default=600.0, ge=0)
    ledger_timeout_s: float = Field(default=300.0, gt=0)
    progress_every_s: float = Field(default=1.0, gt=0)

"""What the import service can be told, on top of kit.settings."""

from pydantic import Field

from kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the import service; environment QUITTANCE_IMPORT_<NAME> or QUITTANCE_<NAME>."""

    service_name: str = "import"
    # Largest file taken in, over every channel.
    upload_limit_bytes: int = Field(default=2 * 1024 * 1024 * 1024, ge=1024)
    # Largest file of a format that is held in memory as a whole (about three times); larger ones are refused in words.
    whole_file_limit_bytes: int = Field(default=200 * 1024 * 1024, ge=1024)
    # Uploads in parts: size of a kept piece, how many may be open at once, how long one waits for its next byte.
    upload_part_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    open_uploads_max: int = Field(default=200, ge=1)
    upload_patience_s: float = Field(default=24 * 3600.0, gt=0)

    # Drop folders: where they lie (empty: beside the files of a local file store), and when a file counts as whole.
    channels_folder: str = ""
    quiet_s: float = Field(default=30.0, ge=0)
    channel_poll_s: float = Field(default=2.0, gt=0)
    # How long files and reports stay in done/, error/ and reports/.
    channel_kept_days: int = Field(default=30, ge=1)
    # Files that may wait in one folder, and failed sign-ins of one address before it is sent away for a while.
    waiting_files_max: int = Field(default=1_000, ge=1)
    sign_in_tries: int = Field(default=10, ge=1)
    sign_in_window_s: float = Field(default=300.0, gt=0)
    # The SFTP server; public_host is what senders are told. FTPS is off unless asked for.
    sftp_enabled: bool = True
    sftp_host: str = "127.0.0.1"
    sftp_port: int = Field(default=8022, ge=0, le=65535)
    sftp_public_host: str = ""
    sftp_public_port: int = Field(default=0, ge=0, le=65535)
    ftps_enabled: bool = False
    ftps_host: str = "127.0.0.1"
    ftps_port: int = Field(default=8021, ge=0, le=65535)
    ftps_public_host: str = ""
    # Ports of the data connections, first-last; empty: any.
    ftps_passive_ports: str = Field(default="", pattern=r"(\d+-\d+)?")
    ftps_certificate_path: str = ""
    ftps_key_path: str = ""
    # Pulling: whether servers on private and loopback addresses may be asked, and how long one may take.
    pull_private_hosts: bool = False
    pull_timeout_s: float = Field(default=300.0, gt=0)

    # argon2id for passwords of drop folders; they are random and long, so the floor of OWASP is plenty.
    password_memory_kib: int = Field(default=19 * 1024, ge=19 * 1024)
    password_passes: int = Field(default=2, ge=2)
    # Where people open an import, for links in reports.
    public_url: str = ""
    # Rows per ledger transaction; the last account of a chunk is always whole.
    chunk_rows: int = Field(default=20_000, ge=1)
    # How long an import waits for a ledger that cannot be reached before it fails (and can be applied again).
    ledger_patience_s: float = Field(default=600.0, ge=0)
    ledger_timeout_s: float = Field(default=300.0, gt=0)
    progress_every_s: float = Field(default=1.0, gt=0)

    # Documents of items: the largest, how long one is kept after its last item was cleared, how long an address works.
    document_limit_bytes: int = Field(default=50_000_000, ge=1024)
    document_retention_months: int = Field(default=6, ge=1, le=240)
    document_url_s: int = Field(default=300, ge=10, le=600)
    # Virus scanner, tcp://host:3310 (clamd) or icap://host:1344/service; empty: nothing is scanned.
    document_scan_url: str = Field(default="", pattern=r"((tcp|icap|icaps)://[^\s/]+(/\S*)?)?")
    document_scan_timeout_s: float = Field(default=60.0, gt=0)
    # Hosts that address patterns of archives may name, JSON: ["archive.example.com", "*.example.org"].
    document_hosts: list[str] = Field(default_factory=list)

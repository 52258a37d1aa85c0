"""What the gateway can be told, from the environment."""

from pydantic import Field

from kit.settings import ServiceSettings

MIB = 1024 * 1024


class Settings(ServiceSettings):
    """Settings of the gateway; every name is read from QUITTANCE_GATEWAY_<NAME>, then QUITTANCE_<NAME>."""

    service_name: str = "gateway"

    # HTTP: the web app and the API. QUITTANCE_PORT moves both.
    http_host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    http_workers: int = Field(default=1, ge=1)
    # spawn is always right; fork shares what is loaded, and is right where nothing was opened before (libs/stack).
    http_start_method: str = Field(default="spawn", pattern="spawn|fork")
    http_threads: int = Field(default=16, ge=2)
    # Reverse proxies in front whose X-Forwarded-* headers are to be believed.
    trusted_proxies: int = Field(default=0, ge=0)
    # Where people reach the web app and the portal; empty where it is not known.
    public_url: str = ""
    portal_url: str = ""
    # Mail sink of a one-machine installation, linked from sent messages; empty elsewhere.
    mailsink_url: str = ""

    # Bodies: JSON stays below what one gRPC message may carry, files come in pieces.
    body_max_bytes: int = Field(default=4_000_000, ge=1024)
    upload_max_bytes: int = Field(default=2048 * MIB, ge=1024)
    # File store of the import service, whose documents are served here by signed addresses; empty: the same as ours.
    document_store_url: str = ""
    # Documents of items: all of one form together.
    document_form_max_bytes: int = Field(default=200 * MIB, ge=1024)
    upload_timeout_s: float = Field(default=600.0, gt=0)
    rpc_timeout_s: float = Field(default=10.0, gt=0)
    live_max_s: float = Field(default=120.0, gt=0)
    live_poll_s: float = Field(default=0.5, gt=0)

    # Calls per API key (or signed-in person), as a token bucket.
    api_rate_per_s: float = Field(default=50.0, gt=0)
    api_rate_burst: int = Field(default=200, ge=1)
    # Wrong API keys and sign-in pages per address.
    address_rate_per_s: float = Field(default=5.0, gt=0)
    address_rate_burst: int = Field(default=100, ge=1)
    sign_in_tries: int = Field(default=10, ge=1)
    sign_in_window_s: float = Field(default=15 * 60.0, gt=0)

    # Sessions of the web app.
    session_idle_s: float = Field(default=30 * 60.0, gt=0)
    session_absolute_s: float = Field(default=12 * 3600.0, gt=0)
    session_rotate_s: float = Field(default=10 * 60.0, gt=0)
    session_grace_s: float = Field(default=60.0, ge=0)

    # argon2id; OWASP's second choice of parameters (19 MiB, 2 passes) is the floor.
    password_memory_kib: int = Field(default=64 * 1024, ge=19 * 1024)
    password_passes: int = Field(default=3, ge=2)
    password_parallel: int = Field(default=2, ge=1)

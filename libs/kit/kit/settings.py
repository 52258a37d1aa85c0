"""Settings from the environment: QUITTANCE_<SERVICE>_<NAME> wins over QUITTANCE_<NAME>."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "QUITTANCE_"


def variable_part(service_name: str) -> str:
    """How a service is spelt in the name of a variable: credit-risk becomes CREDIT_RISK."""
    return service_name.upper().replace("-", "_")


class ServiceSettings(BaseSettings):
    """What every service can be told. A service adds its own fields and sets service_name's default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=False)

    service_name: str = "service"
    environment: str = "local"

    # PostgreSQL: database_url is the application's role, migration_database_url the owner's.
    database_url: str = ""
    migration_database_url: str = ""
    database_pool_size: int = Field(default=10, ge=1)
    statement_timeout_s: float = Field(default=60.0, gt=0)
    # Set where a transaction pooler (PgBouncer) stands between: prepared statements stay off.
    database_behind_pooler: bool = False

    # NATS: events between services.
    nats_url: str = "nats://127.0.0.1:4222"
    stream_replicas: int = Field(default=1, ge=1, le=5)
    stream_max_bytes: int = Field(default=512 * 1024 * 1024, ge=1024 * 1024)
    event_shards: int = Field(default=16, ge=1)
    consume_threads: int = Field(default=4, ge=1)
    # Delays before the second, third, ... try of an event; after the last one it is parked.
    event_retry_delays_s: tuple[float, ...] = (0.2, 1.0, 5.0, 15.0, 60.0)
    gap_patience_s: float = Field(default=1.0, gt=0)
    position_check_s: float = Field(default=5.0, gt=0)
    relay_poll_s: float = Field(default=1.0, gt=0)

    # Redis: wakes workers of slow jobs.
    redis_url: str = "redis://127.0.0.1:6379/0"
    work_threads: int = Field(default=4, ge=1)
    work_pool: str = "prefork"
    # How long the work of a killed worker lies still; the lease of a job that takes longer is renewed while it runs, but
    # not for longer than job_longest_s: by then it hangs.
    job_lease_s: float = Field(default=60.0, gt=0)
    job_longest_s: float = Field(default=4 * 3600.0, gt=0)
    job_attempts: int = Field(default=5, ge=1)
    job_backoff_s: float = Field(default=5.0, ge=0)
    # A queued job is woken again when nothing has claimed it for so long; the sweep looks this often.
    job_lonely_s: float = Field(default=30.0, gt=0)
    job_sweep_s: float = Field(default=5.0, gt=0)
    beat_tick_s: float = Field(default=5.0, gt=0)

    # gRPC.
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 0
    grpc_processes: int = Field(default=1, ge=1)
    # Several processes listen on one port; off, a port that is taken is an error.
    grpc_share_port: bool = False
    # Where roles that serve nothing answer probes (gRPC health); 0 means nowhere.
    health_port: int = 0
    grpc_threads: int = Field(default=16, ge=1)
    grpc_concurrent_calls: int = Field(default=64, ge=1)
    grpc_certificate_path: str = ""
    grpc_key_path: str = ""
    # Certificate authority that a client trusts for its peers; empty means calls without TLS (one machine, a mesh).
    grpc_ca_path: str = ""
    drain_s: float = Field(default=25.0, ge=0)
    # How long to go on serving after SIGTERM, so that load balancers notice first.
    endpoint_removal_s: float = Field(default=0.0, ge=0)

    # Who may call.
    jwks_url: str = ""
    signing_key_path: str = ""
    encryption_key_path: str = ""

    # Files: file:///path or s3://bucket/prefix (endpoint and keys for S3-compatible stores).
    file_store_url: str = ""
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: str = Field(default="", repr=False)

    # Telemetry.
    log_level: str = "INFO"
    log_format: str = "text"
    otlp_endpoint: str = ""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the service's own variables, then the platform's."""
        name = str(settings_cls.model_fields["service_name"].default)
        own = EnvSettingsSource(settings_cls, env_prefix=f"{PREFIX}{variable_part(name)}_")
        return init_settings, own, env_settings, file_secret_settings

    def address(self, peer: str) -> str:
        """Where a peer listens, from QUITTANCE_<PEER>_ADDRESS (host:port). Raises LookupError when it is not set."""
        variable = f"{PREFIX}{variable_part(peer)}_ADDRESS"
        address = os.environ.get(variable, "")
        if not address:
            raise LookupError(f"{variable} is not set: where does {peer} listen?")
        return address

    @property
    def module_name(self) -> str:
        """The service's name as an identifier: credit-risk becomes credit_risk."""
        return self.service_name.replace("-", "_")

    def read_key(self, field: str) -> str:
        """The text of the key file a setting names. Raises LookupError when the setting is empty."""
        path: Any = getattr(self, field)
        if not path:
            raise LookupError(f"{PREFIX}{field.upper()} is not set")
        return Path(path).read_text()

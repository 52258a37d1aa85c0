"""What an HTTP worker process loads."""

from flask import Flask

from gateway.app import create
from gateway.config import Settings
from kit import telemetry


def application() -> Flask:
    """The application of this worker, with its logs and traces."""
    settings = Settings()
    telemetry.setup(settings)
    return create(settings)

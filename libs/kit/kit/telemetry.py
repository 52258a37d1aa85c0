"""Logs, traces and measures. Nothing leaves the machine unless an OTLP endpoint is set."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from opentelemetry import metrics, propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from kit import context
from kit.settings import ServiceSettings

tracer = trace.get_tracer("quittance")
meter = metrics.get_meter("quittance")

rpc_seconds = meter.create_histogram("quittance.rpc.duration", "s", "Time of a served call, by method and code")
events_applied = meter.create_counter("quittance.events.applied", description="Events handled, by type")
events_parked = meter.create_counter("quittance.events.parked", description="Events parked, by type")
events_published = meter.create_counter("quittance.events.published", description="Events handed to the bus")
relay_lag_s = meter.create_gauge(
    "quittance.relay.lag", "s", "Age of the oldest committed event that the bus does not have yet; 0 when it has all"
)
consumer_lag = meter.create_gauge(
    "quittance.consumer.lag", "{event}", "Events said by a producer that are not applied here yet, of all tenants"
)
jobs_ended = meter.create_counter("quittance.jobs.ended", description="Jobs ended, by kind and state")

_NOISY = ("alembic.runtime", "kombu", "amqp", "nats", "botocore", "boto3", "urllib3", "celery.bootsteps", "httpx")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        caller = context.caller_or_none()
        if caller is not None:
            entry |= {"tenant": caller.tenant_id, "actor": caller.actor}
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            entry["trace"] = format(span.trace_id, "032x")
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def setup(settings: ServiceSettings) -> None:
    """Sets logs and traces up for this process; call it once, after any fork."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter(f"%(asctime)s {settings.service_name} %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    resource = Resource.create(
        {"service.name": f"quittance-{settings.service_name}", "deployment.environment.name": settings.environment}
    )
    provider = TracerProvider(resource=resource)
    if settings.otlp_endpoint:
        # Imported here: the exporter opens a channel, which must not exist in a process that will fork.
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint)))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=settings.otlp_endpoint))
        metrics.set_meter_provider(MeterProvider([reader], resource=resource))
    trace.set_tracer_provider(provider)


def traceparent() -> str:
    """The W3C trace context of this work, empty when it is not traced."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent", "")


def trace_headers() -> dict[str, str]:
    """What to send along so that the other side continues this trace."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


@contextmanager
def span(
    name: str, *, carrier: Mapping[str, str] | None = None, kind: SpanKind = SpanKind.INTERNAL, **attributes: str
) -> Iterator[trace.Span]:
    """A span around a piece of work, the child of the carrier's trace context where there is one."""
    parent = propagate.extract(dict(carrier)) if carrier else None
    with tracer.start_as_current_span(name, context=parent, kind=kind, attributes=attributes) as current:
        yield current

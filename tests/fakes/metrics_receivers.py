"""Receivers of metrics: a StatsD server, and an OpenTelemetry collector that understands OTLP over HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


@dataclass(frozen=True)
class Sample:
    """One value that was received."""

    name: str
    labels: dict[str, str]
    kind: str
    value: float


@dataclass
class Received:
    """Everything that a receiver got. `port` is the port that it listens on."""

    port: int
    samples: list[Sample] = field(default_factory=list)

    def named(self, name: str) -> list[Sample]:
        """Return the values of one of this project's metrics, in the order in which they came."""
        return [sample for sample in self.samples if sample.name == f"airflow.insurance_rag.{name}"]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a counter over all values that have these labels."""
        return sum(s.value for s in self.named(name) if labels.items() <= s.labels.items())


@contextmanager
def running_statsd() -> Iterator[Received]:
    """Listen for StatsD packets with labels in the format of InfluxDB: `name,label=value:1|c`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        received, stop = Received(server.getsockname()[1]), threading.Event()
        thread = threading.Thread(target=_listen, args=(server, received, stop))
        thread.start()
        try:
            yield received
        finally:
            stop.set()
            thread.join()


def _listen(server: socket.socket, received: Received, stop: threading.Event) -> None:
    while True:
        try:
            packet = server.recv(65536).decode()
        except TimeoutError:
            if stop.is_set():  # only once everything is read
                return
            continue
        received.samples += [_sample(line) for line in packet.splitlines()]


def _sample(line: str) -> Sample:
    name, _, rest = line.partition(":")
    value, kind = rest.split("|")[:2]
    name, *labels = name.split(",")
    return Sample(name, dict(label.split("=", 1) for label in labels), kind, float(value))


@contextmanager
def running_otlp() -> Iterator[Received]:
    """Receive OTLP over HTTP. Senders must have the temporality `delta`: each value of a counter is an increase."""
    server = _Collector(("127.0.0.1", 0), _Handler)
    server.received = Received(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Collector(ThreadingHTTPServer):
    received: Received


class _Handler(BaseHTTPRequestHandler):
    server: _Collector

    def do_POST(self) -> None:
        request = ExportMetricsServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = str(metric.WhichOneof("data"))
                    for point in getattr(getattr(metric, kind), "data_points", []):
                        labels = {label.key: label.value.string_value for label in point.attributes}
                        value = getattr(point, "as_double", 0) or getattr(point, "as_int", 0)
                        self.server.received.samples.append(Sample(metric.name, labels, kind, float(value)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass

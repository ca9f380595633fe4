"""The numbers of a server for Prometheus: requests, texts, batches, their times; never a text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, Info, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The numbers of one server; with its own registry, as two may run in one process."""

    def __init__(self, model: dict[str, str]) -> None:
        """Begin to count; ``model`` says what is served."""
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._requests = Counter("haltung_requests", "Requests answered", ["route", "status"], registry=registry)
        self._seconds = Histogram("haltung_request_seconds", "From a request to its answer", ["route"], buckets=_SECONDS, registry=registry)
        self._texts = Counter("haltung_texts", "Texts labelled", registry=registry)
        self._batch_texts = Histogram("haltung_batch_texts", "Texts in a batch", buckets=_SIZES, registry=registry)
        self._batch_requests = Histogram("haltung_batch_requests", "Requests in a batch", buckets=_SIZES, registry=registry)
        self._batch_seconds = Histogram("haltung_batch_seconds", "Work on a batch", buckets=_SECONDS, registry=registry)
        self._waiting = Gauge("haltung_waiting_texts", "Texts that wait for a batch", registry=registry)
        self._hits = Counter("haltung_cache_hits", "Texts answered without work, as they had come before", registry=registry)
        self._misses = Counter("haltung_cache_misses", "Texts that had to be labelled", registry=registry)
        self._cached = Gauge("haltung_cache_bytes", "Memory of the answers that are kept", registry=registry)
        Info("haltung_model", "What is served", registry=registry).info(model)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the pattern of its path."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def waiting(self, more: int) -> None:
        """Add to the texts that wait, in all queues; negative where some wait no longer."""
        self._waiting.inc(more)

    def worked(self, texts: int, requests: int, seconds: float) -> None:
        """Count a batch: its texts, the requests that they are from, and how long it took."""
        self._texts.inc(texts)
        self._batch_texts.observe(texts)
        self._batch_requests.observe(requests)
        self._batch_seconds.observe(seconds)

    def looked_up(self, hits: int, misses: int, size: int) -> None:
        """Count the texts of a request whose answers were kept, and not; ``size`` is in bytes."""
        self._hits.inc(hits)
        self._misses.inc(misses)
        self._cached.set(size)

    def page(self) -> bytes:
        """Return all numbers in Prometheus' format."""
        return generate_latest(self.registry)

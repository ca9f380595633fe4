"""Metrics of a server for Prometheus: requests, texts, batches and their times; never a text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, Info, PlatformCollector, ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one server, in a registry of its own, as two may run in one process.

    A ``route`` is the pattern of a path; ``waiting`` counts the texts in the queue.
    """

    def __init__(self, model: dict[str, str]) -> None:
        """Start to count; ``model`` describes what is served."""
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.requests = Counter("haltung_requests", "Requests answered", ["route", "status"], registry=registry)
        self.seconds = Histogram("haltung_request_seconds", "From a request to its answer", ["route"], buckets=_SECONDS, registry=registry)
        self.texts = Counter("haltung_texts", "Texts labelled", registry=registry)
        self.batch_texts = Histogram("haltung_batch_texts", "Texts in a batch", buckets=_SIZES, registry=registry)
        self.batch_requests = Histogram("haltung_batch_requests", "Requests in a batch", buckets=_SIZES, registry=registry)
        self.batch_seconds = Histogram("haltung_batch_seconds", "Work on a batch", buckets=_SECONDS, registry=registry)
        self.waiting = Gauge("haltung_waiting_texts", "Texts that wait for a batch", registry=registry)
        self.hits = Counter("haltung_cache_hits", "Texts answered without work, as they had come before", registry=registry)
        self.misses = Counter("haltung_cache_misses", "Texts that had to be labelled", registry=registry)
        self.cached = Gauge("haltung_cache_bytes", "Memory of the answers that are kept", registry=registry)
        Info("haltung_model", "What is served", registry=registry).info(model)

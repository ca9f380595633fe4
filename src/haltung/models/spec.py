"""The configuration of models (``configs/model/NAME.yaml``); light to import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from haltung.encoders.tokens import READS
from haltung.errors import UserError, check_numbers, listed, nearest, one_of
from haltung.labels import Scheme


@dataclass(frozen=True)
class _Spec:
    reads: Mapping[str, str] = field(default_factory=lambda: {"default": "text"})

    def __post_init__(self) -> None:
        """Raise ``UserError`` for an unknown or impossible value."""
        for reads in self.reads.values():
            one_of("reads", reads, READS)

    def reads_of(self, task: str) -> str:
        """Return what the task reads."""
        return self.reads.get(task, self.reads.get("default", "text"))

    def views(self, scheme: Scheme) -> tuple[str, ...]:
        """Return what the tasks of a scheme read, each once, in the order of the passes."""
        return tuple(sorted({self.reads_of(task) for task in scheme.names}))

    def checked(self, scheme: Scheme) -> Self:
        """Return itself, or raise ``UserError`` if the scheme lacks a task that it names."""
        for key in ("pooling", "reads"):
            for task in getattr(self, key, {}):
                if task != "default" and task not in scheme.names:
                    has = f"the scheme {scheme.name} has {listed(scheme.names)}"
                    raise UserError(f"model.{key} names the task '{task}'{nearest(task, scheme.names)}; {has}")
        return self


@dataclass(frozen=True)
class NetworkSpec(_Spec):
    """An encoder with a head per task.

    Attributes:
        reads: ``text``, ``context``, ``target`` or ``target+context`` for each task, ``default``
            for the rest. Tasks that read the same share one pass of the encoder.
        pooling: for each task ``mean`` over all tokens, ``cls`` (the first token), or ``text``, the
            mean over the tokens of the segment's own text, with its context still attended to.
        max_length: in tokens.
        tune: ``full``, ``frozen`` (heads only) or ``lora``.
        freeze_embeddings: whether the embeddings stay as they are; ``freeze_layers``: how many of
            the lowest layers do.
        dropout: before the heads; ``encoder_dropout``: inside the encoder, None as pretrained.
        attention: the implementation, which changes no result: ``auto`` takes ``eager`` to train
            on short inputs on a processor, where it is faster, and ``sdpa`` otherwise.
        lora_rank: of the low-rank updates; ``lora_alpha``: their scale.
    """

    pooling: Mapping[str, str] = field(default_factory=lambda: {"default": "mean"})
    max_length: int = 128
    tune: str = "full"
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    dropout: float = 0.1
    encoder_dropout: float | None = None
    attention: str = "auto"
    lora_rank: int = 16
    lora_alpha: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for pooling in self.pooling.values():
            one_of("model.pooling", pooling, ("mean", "cls", "text"))
        one_of("model.tune", self.tune, ("full", "frozen", "lora"))
        one_of("model.attention", self.attention, ("auto", "eager", "sdpa"))
        dropouts = ("dropout", "encoder_dropout")
        check_numbers("model", self, dropouts, lambda value: value is None or 0 <= value < 1, "a number from 0 to below 1")
        check_numbers("model", self, ("lora_rank", "lora_alpha"), lambda value: value >= 1, "a whole number of at least 1")
        check_numbers("model", self, ["freeze_layers"], lambda value: value >= 0, "a whole number of at least 0")
        if not 8 <= self.max_length <= 8192:
            raise UserError(f"model.max_length is {self.max_length}, allowed are 8 to 8192 tokens")

    def pooling_of(self, task: str) -> str:
        """Return how the task pools."""
        return self.pooling.get(task, self.pooling.get("default", "mean"))


@dataclass(frozen=True)
class ArticleSpec(NetworkSpec):
    """An encoder that reads each sentence once, a small network over an article's sentences, heads.

    Of ``reads`` only the target counts, which stands before its sentence; the others of an article
    take the place of the context. ``pooling`` is the mean. ``max_length`` is a sentence's.

    Attributes:
        sequence: the network over the sentences: ``transformer`` or ``lstm`` (bidirectional).
        layers: its number of layers.
        window: the most sentences that are read together; longer articles are cut.
        alone: the share of the articles that fall apart into single sentences while it is trained,
            drawn anew in each epoch, so that sentences are read well alone too.
        dyads: whether sources and targets are learned too, from a corpus that has dyads.
    """

    sequence: str = "transformer"
    layers: int = 2
    window: int = 32
    alone: float = 0.5
    dyads: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("model.sequence", self.sequence, ("transformer", "lstm"))
        check_numbers("model", self, ["alone"], lambda value: 0 <= value <= 1, "a number from 0 to 1")
        check_numbers("model", self, ("layers", "window"), lambda value: value >= 1, "a whole number of at least 1")

    @property
    def read(self) -> str:
        """What each pass of the encoder reads: ``target`` or ``text``."""
        return "target" if any("target" in reads for reads in self.reads.values()) else "text"


@dataclass(frozen=True)
class LinearSpec(_Spec):
    """The baseline: TF-IDF of words and characters, and a linear classifier per task.

    Attributes:
        reads: as for ``NetworkSpec``; what precedes the text has TF-IDF features of its own.
        kind: ``logistic`` regression, or ``svc``, a linear support vector machine whose margins
            become probabilities by Platt scaling.
        C: the inverse regularisation.
        class_weight: ``balanced`` or ``none``.
        words: the longest word n-gram; ``characters``: the longest character n-gram.
        min_count: of the texts with an n-gram; ``max_features``: of each TF-IDF.
    """

    kind: str = "logistic"
    C: float = 10.0
    class_weight: str = "balanced"
    words: int = 2
    characters: int = 5
    min_count: int = 2
    max_features: int = 200_000

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("model.kind", self.kind, ("logistic", "svc"))
        one_of("model.class_weight", self.class_weight, ("balanced", "none"))
        check_numbers("model", self, ["C"], lambda value: value > 0, "a number above 0")
        check_numbers("model", self, ["characters"], lambda value: value >= 2, "a whole number of at least 2")
        check_numbers("model", self, ("words", "min_count", "max_features"), lambda value: value >= 1, "a whole number of at least 1")

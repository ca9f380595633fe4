"""The configuration of models (``configs/model/NAME.yaml``); light to import."""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from haltung.encoders.tokens import Reads
from haltung.errors import UserError, listed, nearest
from haltung.labels import Scheme

Count = Annotated[int, Field(ge=1)]
Part = Annotated[float, Field(ge=0, lt=1)]
_CHECKED = ConfigDict(extra="forbid")  # a bundle's keys are checked as those of a config are


@dataclass(frozen=True, config=_CHECKED)
class _Spec:
    is_tuned: ClassVar[bool] = False  # whether it is trained by gradient steps
    reads: Mapping[str, Reads] = field(default_factory=lambda: {"default": "text"})

    def reads_of(self, task: str) -> str:
        """Return what the task reads."""
        return self.reads.get(task, self.reads.get("default", "text"))

    def views(self, scheme: Scheme) -> tuple[str, ...]:
        """Return the distinct inputs that a scheme's tasks read, in the order of the passes."""
        return tuple(sorted({self.reads_of(task) for task in scheme.names}))

    def checked(self, scheme: Scheme) -> Self:
        """Return the spec, or raise ``UserError`` if it names a task that the scheme lacks."""
        for key in ("pooling", "reads"):
            for task in getattr(self, key, {}):
                if task != "default" and task not in scheme.names:
                    has = f"the scheme {scheme.name} has {listed(scheme.names)}"
                    raise UserError(f"model.{key} names the task '{task}'{nearest(task, scheme.names)}; {has}")
        return self


@dataclass(frozen=True, config=_CHECKED)
class NetworkSpec(_Spec):
    """An encoder with a head per task.

    Attributes:
        reads: ``text``, ``context``, ``target`` or ``target+context`` for each task, ``default``
            for the rest. Tasks that read the same share one pass of the encoder.
        pooling: for each task ``mean`` over all tokens, ``cls`` (the first token), or ``text``, the
            mean over the tokens of the segment's own text, with its context still attended to.
        max_length: of an input, in tokens.
        tune: ``full``, ``frozen`` (heads only) or ``lora``.
        freeze_embeddings: whether to freeze the embeddings; ``freeze_layers``: how many of the
            lowest layers to freeze, together with the embeddings if above 0.
        dropout: before the heads; ``encoder_dropout``: inside the encoder, None as pretrained.
        attention: the implementation, which changes no result: ``auto`` uses ``eager`` to train
            on short inputs on a CPU, where it is faster, and ``sdpa`` otherwise.
        lora_rank: of the low-rank updates; ``lora_alpha``: their scale.
    """

    is_tuned: ClassVar[bool] = True
    pooling: Mapping[str, Literal["mean", "cls", "text"]] = field(default_factory=lambda: {"default": "mean"})
    max_length: Annotated[int, Field(ge=8, le=8192)] = 128
    tune: Literal["full", "frozen", "lora"] = "full"
    freeze_embeddings: bool = False
    freeze_layers: Annotated[int, Field(ge=0)] = 0
    dropout: Part = 0.1
    encoder_dropout: Part | None = None
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    lora_rank: Count = 16
    lora_alpha: Count = 32

    def pooling_of(self, task: str) -> str:
        """Return how the task pools."""
        return self.pooling.get(task, self.pooling.get("default", "mean"))


@dataclass(frozen=True, config=_CHECKED)
class FewShotSpec(NetworkSpec):
    """A frozen encoder with heads fitted by logistic regression, for few labels or none.

    A label is learned from at most ``shots`` segments (None: all) and from its description, which
    has the weight of ``description`` segments. ``C`` is the inverse regularisation strength, for
    vectors of unit length. ``class_weight`` is ``balanced``, or None for equal weights.
    """

    is_tuned: ClassVar[bool] = False
    shots: Annotated[int, Field(ge=0)] | None = None
    description: Annotated[float, Field(ge=0)] = 1.0
    C: Annotated[float, Field(gt=0)] = 1.0
    class_weight: Literal["balanced"] | None = "balanced"

    @property
    def network(self) -> NetworkSpec:
        """The spec of the fitted model."""
        return NetworkSpec(**{one.name: getattr(self, one.name) for one in fields(NetworkSpec)})


@dataclass(frozen=True, config=_CHECKED)
class ArticleSpec(NetworkSpec):
    """An encoder of single sentences, a small network over those of an article, and heads.

    Of ``reads`` only the target is used, which precedes its sentence; the article's other sentences
    replace the context. ``pooling`` is the mean. ``max_length`` is that of a sentence.

    Attributes:
        sequence: the type of the network over the sentences, which is recorded in bundles.
        layers: its number of layers.
        window: the maximum number of sentences read together; longer articles are split.
        alone: the share of articles that are split into single sentences in training, drawn again
            in each epoch, so that single sentences are predicted well too.
        dyads: whether to learn sources and targets too, if the corpus has dyads.
    """

    sequence: Literal["transformer"] = "transformer"
    layers: Count = 2
    window: Count = 32
    alone: Annotated[float, Field(ge=0, le=1)] = 0.5
    dyads: bool = True

    @property
    def read(self) -> str:
        """What each pass of the encoder reads: ``target`` or ``text``."""
        return "target" if any("target" in reads for reads in self.reads.values()) else "text"


@dataclass(frozen=True, config=_CHECKED)
class LinearSpec(_Spec):
    """The baseline: TF-IDF of words and characters, and a linear classifier per task.

    Attributes:
        reads: as for ``NetworkSpec``; what precedes the text has TF-IDF features of its own.
        kind: ``logistic`` regression, or ``svc``, a linear support vector machine whose margins
            become probabilities by Platt scaling.
        C: the inverse regularisation strength.
        class_weight: ``balanced`` or ``none``.
        words: the longest word n-gram; ``characters``: the longest character n-gram.
        min_count: the minimum number of texts with an n-gram; ``max_features``: of each TF-IDF.
    """

    kind: Literal["logistic", "svc"] = "logistic"
    C: Annotated[float, Field(gt=0)] = 10.0
    class_weight: Literal["balanced", "none"] = "balanced"
    words: Count = 2
    characters: Annotated[int, Field(ge=2)] = 5
    min_count: Count = 2
    max_features: Count = 200_000

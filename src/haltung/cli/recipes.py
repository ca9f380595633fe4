"""From a composed config to what is trained; shared by the commands that train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from haltung.cli.build import make, typed
from haltung.encoders.load import Encoder, locate
from haltung.errors import UserError
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.training.recipe import Training

if TYPE_CHECKING:
    from haltung.corpus.store import Prepared
    from haltung.experiments.train import Plan


@dataclass(frozen=True)
class Keys:
    """The keys of a training."""

    name: str | None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    resume: bool
    language: Literal["en", "de"]
    sources: str
    prepared: str
    runs: str


@dataclass(frozen=True)
class Recipe:
    """The objects that a config describes, before a corpus is opened. ``settings`` is the config as plain data."""

    settings: Mapping[str, Any]
    keys: Keys
    encoder: Encoder
    model: NetworkSpec | LinearSpec
    training: Training

    def name(self, corpus: str) -> str:
        """Return the name that the user gave, or one made of corpus and model."""
        return self.keys.name or f"{corpus}-{self.encoder.name if isinstance(self.model, NetworkSpec) else 'linear'}"

    def plan(self, corpus: Prepared, command: Sequence[str], name: str = "", share: float = 1.0) -> Plan:
        """Return what is to be trained.

        Raises:
            UserError: recipe and corpus don't go together.
        """
        from haltung.experiments.train import Plan

        self.training.checked(corpus.scheme)
        for task in corpus.scheme.names:
            if not any(corpus.manifest.labels[task]["train"][label] for label in corpus.scheme[task].ids):
                raise UserError(
                    f"no segment of {corpus.name}'s train split has a label for the task '{task}', so there is nothing to learn; "
                    "name its column (corpus.reader.columns), or choose a label scheme without it (corpus.labels)"
                )
        keys, model = self.keys, self.model.checked(corpus.scheme)
        return Plan(
            name or self.name(corpus.name), corpus, self.encoder, model, self.training, keys.seed, self.settings, command,
            Path(keys.runs), keys.language, keys.resume, share=share,
        )  # fmt: skip


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a config.

    Raises:
        UserError: a value is wrong; all that can be wrong with a config is found here, before any work is done.
    """
    keys, model = typed(Keys, settings), make(settings["model"], "model")
    encoder, training = make(settings["encoder"], "encoder"), make(settings["training"], "training")
    if encoder.origin == "folder" and isinstance(model, NetworkSpec):
        locate(encoder)
    return Recipe(settings, keys, encoder, model, training)

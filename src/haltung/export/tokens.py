"""How a text becomes token ids, as plain data that a client in any language can follow (``docs/bundle.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from haltung.encoders.tokens import template

if TYPE_CHECKING:
    from haltung.models.neural import NetworkModel


def described(model: NetworkModel) -> dict[str, Any]:
    """Return the bundle's ``input``.

    Raises:
        UserError: the tokenizer's template is none of special ids around one text and around two.
    """
    around = template(model.tokenizer)
    with_types = "token_type_ids" in model.tokenizer.model_input_names
    return {
        "kind": "tokens",
        "tokenizer": "tokenizer.json",
        "prefix": model.encoder.prefix,
        "max_length": model.spec.max_length,
        "pad": model.tokenizer.pad_token_id,
        "single": list(around.single),
        "pair": list(around.pair),
        "types": {"single": around.single_types, "pair": around.pair_types} if with_types else None,
    }

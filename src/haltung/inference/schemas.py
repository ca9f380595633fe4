"""Pydantic models of the requests to label texts, and of the answers with a model's labels.

They define a server's OpenAPI description and an exported bundle's JSON Schema. The server answers
with plain data, which is not validated against them again; a test compares the two.
"""

import datetime
from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag, create_model, model_validator
from pydantic_core import PydanticCustomError

from haltung.errors import listed, nearest
from haltung.labels import Label, Scheme, Task


class Body(BaseModel, strict=True, extra="forbid"):
    """A JSON object with the keys that its fields name, and no other."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        """Name the allowed keys, as pydantic does not; the unknown one, an input, is left out."""
        allowed = cls.model_fields
        unknown = [key for key in data if key not in allowed] if isinstance(data, dict) else []
        if unknown:
            about = {"hint": nearest(unknown[0], allowed), "allowed": listed(allowed)}
            raise PydanticCustomError("sentence", "has an unknown key{hint}; choose from {allowed}", about)
        return data


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("sentence", "is empty; leave it out")
    return text


def _iso_date(date: str) -> str:
    try:
        return datetime.date.fromisoformat(date).isoformat() if date else ""
    except ValueError:
        raise PydanticCustomError("sentence", "is not a date; expected YYYY-MM-DD") from None


_TEXT = Field(examples=["Die USA warnen Russland."], json_schema_extra={"minLength": 1, "pattern": r"\S"})
Text = Annotated[str, AfterValidator(_not_blank), _TEXT]
_ABSTAIN = "The required precision, one of those in GET /model; 'abstained' then names the tasks that are too uncertain"
Abstain = Annotated[float | None, Field(gt=0, lt=1, description=_ABSTAIN)]


class SegmentBody(Body):
    """One text, with what the model reads before it."""

    text: Text
    context: str | None = Field(None, description="What comes before it in its article: headline, lead, the previous sentence")
    target: str | None = Field(None, description="The question or entity that a stance is towards")
    id: str | None = Field(None, description="Returned with the prediction")


class OneText(SegmentBody):
    """One text to label."""

    abstain: Abstain = None


class ManyTexts(Body):
    """Texts to label, in order."""

    segments: list[SegmentBody]
    abstain: Abstain = None


class ClassifyRequest(RootModel[Annotated[
    Annotated[OneText, Tag("one")] | Annotated[ManyTexts, Tag("many")],
    Discriminator(lambda data: "many" if isinstance(data, dict) and "segments" in data else "one"),
]]):  # fmt: skip
    """One text, or many."""


class ArticleRequest(Body):
    """An article, to be cut into sentences."""

    text: Text
    headline: str | None = None
    date: Annotated[str, AfterValidator(_iso_date)] | None = Field(
        None, description="YYYY-MM-DD; says who was in office", json_schema_extra={"format": "date"}
    )
    abstain: Abstain = None


_Index = Annotated[int, Field(ge=0, description="In the given text, in characters (Unicode code points)")]
_Share = Annotated[float, Field(ge=0, le=1.000001)]  # rounding can put it slightly above 1


class MentionAnswer(BaseModel):
    """Who is named in a sentence; the offsets are those of the sentence."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str
    code: str
    kind: str


class DyadAnswer(BaseModel):
    """Who takes which stance towards whom."""

    source: str
    target: str
    stance: str
    probability: _Share


def label_answers(scheme: Scheme) -> tuple[Any, Any, Any]:
    """Return models of the answers for texts, articles and events, with a scheme's labels."""
    labels = {task.name: _answer(task) for task in scheme}
    shares = {task.name: _model(f"Probabilities_{task.name}", {one.id: _titled(_Share, one) for one in task.labels}) for task in scheme}
    unsure: Any = _model("Abstained", {}, {task.name: Literal[True] for task in scheme if task.kind == "single"})
    unsure = Annotated[unsure, Field(description="The tasks that are too uncertain for the required precision")]
    given = {**labels, "probabilities": _model("Probabilities", shares)}
    prediction = _model("Prediction", given, {"id": str, "abstained": unsure})
    given |= {"start": _Index, "end": _Index, "text": str, "context": str}
    sentence = _model("LabelledSentence", given, {"abstained": unsure})
    with_dyads = {**given, "id": str, "actors": list[MentionAnswer], "dyads": list[DyadAnswer]}
    acting = _model("SentenceWithDyads", with_dyads, {"abstained": unsure})
    rows = list[dict[str, Any]]
    found = {"segments": _list(acting), "events": rows, "removed": rows, "language": str, "notes": list[str]}
    classify = prediction | _model("Predictions", {"predictions": _list(prediction)})
    return classify, _model("ArticleResponse", {"segments": _list(sentence), "removed": rows}), _model("EventsResponse", found)


def _answer(task: Task) -> Any:
    one: Any = Literal[task.ids]
    return _titled(one if task.kind == "single" else Annotated[_list(one), Field(json_schema_extra={"uniqueItems": True})], task)


def _titled(kind: Any, named: Task | Label) -> Any:
    return Annotated[kind, Field(title=f"{named.en} / {named.de}")]


def _list(kind: Any) -> Any:
    """Return ``list[kind]``, which mypy would check as a static type."""
    return GenericAlias(list, (kind,))


def _model(name: str, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> Any:
    """Return a model with only these keys, which as labels need not be Python identifiers."""
    keys = {key: (kind, Field(alias=key)) for key, kind in required.items()}
    keys |= {key: (kind, Field(default_factory=lambda: None, alias=key)) for key, kind in (optional or {}).items()}
    fields: dict[str, Any] = {f"key_{number}": field for number, field in enumerate(keys.values())}
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)

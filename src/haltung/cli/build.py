"""Config turns into objects here and nowhere else; below the command line nobody sees a ``DictConfig``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

from haltung import files, labels
from haltung.cli import renamed
from haltung.cli.config import choices
from haltung.errors import UserError, listed, nearest
from haltung.labels import Scheme


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain data, with strings for keys."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


Keys = TypeVar("Keys")


# What pydantic calls a type, as the start of its error's name, and what a person is told to give.
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping of keys to values",
    "mapping": "a mapping of keys to values",
    "none": "null",
    "date": "a date as YYYY-MM-DD",
}


def typed(cls: type[Keys], settings: Mapping[str, Any], key: str = "") -> Keys:
    """Return a command's own keys (seed, resume, split, …) as an object of ``cls``, their types checked; ``key`` is where they stand.

    Raises:
        UserError: a key is missing, or of the wrong type or range.
    """
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass
    try:
        return TypeAdapter(cls).validate_python({name: settings[name] for name in names if name in settings})
    except ValidationError as error:
        raise UserError(_told(error, key, names)) from None


def make(node: Mapping[str, Any], key: str) -> Any:
    """Return the object that a config node with ``_target_`` describes; its values are checked against the class's types.

    Args:
        node: plain data.
        key: where the node stands in the config, for messages.

    Raises:
        UserError: a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    target = renamed.target(str(node["_target_"])) if "_target_" in node else ""
    if not target:
        raise UserError(f"{key} has no _target_, so it is not known what to make of it; choose one of the shipped configs of this group")
    try:
        cls = get_class(target)
    except Exception as error:  # noqa: BLE001 -- Hydra wraps whatever an import can raise; all of it means: no such class
        raise UserError(f"{key}._target_ names {target}, which can't be imported: {str(error).splitlines()[0]}") from None
    if not is_dataclass(cls):
        raise UserError(f"{key}._target_ names {target}, which is no dataclass")
    names = [field.name for field in fields(cls) if field.init]
    values: dict[str, Any] = {}
    for name, value in node.items():
        if name == "_target_":
            continue
        if name not in names:
            raise UserError(f"there is no key '{key}.{name}'{nearest(name, names)}; {key} has {listed(names)}")
        values[name] = _value(value, f"{key}.{name}")
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        raise UserError(_told(error, key, names)) from None


def _told(error: ValidationError, key: str, names: Sequence[str]) -> str:
    faults = error.errors()
    first = faults[0]
    # Behind a field's name stands which member of a union was tried; the members' faults are told as one.
    name = next((str(part) for part in first["loc"] if part in names), "")
    where = ".".join(part for part in (key, name) if part)
    if first["type"] in ("missing", "missing_argument"):
        return f"{where} has no value; give it as {where}=…"
    kinds = [fault["type"].partition("_")[0] for fault in faults if name in fault["loc"]]
    if all(kind in _EXPECTED for kind in kinds):
        return f"{where} is {first['input']!r}, expected {' or '.join(dict.fromkeys(_EXPECTED[kind] for kind in kinds))}"
    if first["type"] == "literal_error":
        return f"{where} is {first['input']!r}, allowed are {first['ctx']['expected']}"
    return f"{where} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _value(value: Any, key: str) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return make(value, key)
    return [_value(item, f"{key}.{place}") for place, item in enumerate(value)] if isinstance(value, list) else value


def scheme_of(name: str, config_dir: Path | None = None) -> Scheme:
    """Return a label scheme by its name in ``configs/labels`` or by the path of a YAML file.

    Raises:
        UserError: there is none, or it is broken.
    """
    if name.endswith((".yaml", ".yml")):
        return labels.load(Path(name))
    for folder in ([config_dir] if config_dir else []) + [files.shipped("configs")]:
        path = folder / "labels" / f"{name}.yaml"
        if path.is_file():
            return labels.load(path)
    known = choices("labels", config_dir)
    raise UserError(
        f"there is no label scheme '{name}'{nearest(name, known)}; the schemes are {listed(known)}, "
        "or give the path of a YAML file or --config-dir FOLDER"
    )

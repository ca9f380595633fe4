"""Rows of a data set on the hub, through ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator

from haltung.corpus.parsing.rows import Row
from haltung.errors import UserError


def hub_rows(name: str, revision: str | None = None) -> Iterator[tuple[str, Row]]:
    """Go through all splits of a data set: the split's own name, and a row; class numbers are turned into their names.

    Args:
        name: as on the hub, or a folder that ``datasets.load_dataset`` reads.

    Raises:
        UserError: it cannot be loaded.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the data set {name} could not be loaded from the hub ({reason}); go online, or read local files with reader.path"
        ) from None
    for split, dataset in loaded.items():
        classes = {column: feature for column, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)}
        for number, data in enumerate(dataset):
            # -1 is how datasets writes that a row has no class.
            named = {column: feature.int2str(data[column]) if (data[column] or 0) >= 0 else None for column, feature in classes.items()}
            yield str(split), Row(f"{name}, {split}, row {number + 1}", f"{split}-{number:05d}", {**data, **named})

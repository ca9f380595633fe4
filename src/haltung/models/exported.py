"""The graph of an exported bundle as a model like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from haltung.errors import UserError
from haltung.inference.client import BundleError, Classifier
from haltung.inference.sessions import Graph, load
from haltung.labels import parse
from haltung.models.calibration import Calibration
from haltung.models.predictor import Predictor
from haltung.records import Segment


class ExportedModel(Predictor):
    """An exported bundle whose graph is run by ONNX Runtime or OpenVINO; torch is not needed."""

    def __init__(self, folder: Path, graph: Graph) -> None:
        """Load a graph of the bundle in ``folder``.

        Raises:
            UserError: it is no exported bundle or is broken, or the runtime is not installed or
                can't load the graph.
        """
        self.folder = folder
        try:
            self._classifier = Classifier(folder, format=None)
        except BundleError as error:
            raise UserError(str(error)) from None
        self._classifier.run = load(graph)
        description = self._classifier.description
        self.scheme = parse(description["scheme"], source=str(folder / "haltung.json"))
        self.calibration = Calibration.from_dict(description.get("calibration", {}))

    def probabilities(self, segments: Sequence[Segment], progress: bool = False) -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task, float64 ``[segments, labels]``."""
        from tqdm import tqdm

        parts = [{"text": segment.text, "context": segment.context, "target": segment.target} for segment in segments]
        out = {task.name: np.zeros((len(segments), len(task))) for task in self.scheme}
        with tqdm(total=len(parts), desc="predict", unit=" segments", delay=2, disable=not progress, leave=False) as bar:
            for rows, answers in self._classifier.batches(parts):
                for task, values in out.items():
                    values[rows] = answers[task]
                bar.update(len(rows))
        return out

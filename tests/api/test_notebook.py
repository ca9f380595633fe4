"""The Python interface in a notebook, with a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.slow

TRAINING = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import haltung
haltung.train  # imports what a notebook does, before any other
import tiny
from haltung.models.spec import NetworkSpec
from haltung.training.finetune import finetune
from haltung.training.recipe import Training
recipe = Training(epochs=1, batch_size=8, patience=0, precision="fp32")
train, dev, encoder = tiny.segments(16), tiny.segments(8, seed=1), tiny.encoder(Path({bert!r}))
done = finetune(train, dev, tiny.scheme(), encoder, NetworkSpec(max_length=32), recipe, 1, Path("checkpoints"))
"""


def test_a_training_shows_one_bar(root: Path, bert: Path, tmp_path: Path) -> None:
    """That of the terminal, with our line per epoch and without the table of transformers; a widget
    if ipywidgets is installed, otherwise text without a warning.
    """
    code = TRAINING.format(tests=str(root / "tests"), bert=str(bert))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    text = "".join(one.get("text", "") for one in outputs)
    assert "epoch 1 of 1: dev macro-F1" in text
    assert "2/2" in text or any("application/vnd.jupyter.widget-view+json" in one.get("data", {}) for one in outputs)
    assert [one for one in outputs if "<progress" in str(one.get("data"))] == []
    assert "Warning" not in text

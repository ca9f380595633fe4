"""Trained models that several test files in this folder evaluate and compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import LINEAR, run_here, write_corpus
from haltung.tracking import Store


@pytest.fixture(scope="session")
def linear_home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], Store]) -> Path:
    """A folder with linear models: three seeds (one added later), three folds of all tasks and of
    one, and two seeds on half of train.
    """
    folder = tmp_path_factory.mktemp("linear")
    write_corpus(folder, 240)  # twelve test articles: with fewer than ten there is no interval
    new_store(folder)
    for words in (
        ("name=plain", "seed=1,2", "folds=1"),
        ("name=plain", "seed=1,2,3", "folds=1", "resume=true"),
        ("name=cv", "folds=3"),
        ("name=part", "folds=3", "corpus.tasks=[stance]"),
        ("name=plain", "share=0.5", "seed=1,2"),
    ):
        done = run_here("train", *LINEAR, *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder

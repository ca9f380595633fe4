"""The models that a run refers to, which are the same in evaluate, compare and other commands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from haltung import tracking
from haltung.errors import UserError
from haltung.tracking import Run, Store


@pytest.fixture
def store(new_store: Callable[[Path], Store], tmp_path: Path) -> Store:
    """A store used by this test alone."""
    return new_store(tmp_path)


def trained(store: Store, name: str, parent: Run | None = None) -> str:
    """Create a run as ``train`` does, without a model, and return its id."""
    with tracking.run(store, name, parent, {"haltung.kind": "train"}) as run:
        return run.id


def test_seeds_that_were_trained_before_count_in_the_new_group(store: Store) -> None:
    """They remain children of the old group, so the new one lists their ids."""
    with tracking.run(store, "three", tags={"haltung.kind": "seeds"}) as three:
        ids = [trained(store, f"s-{seed}", three) for seed in (1, 2, 3)]
        three.tags({tracking.MEMBERS: " ".join(ids)})
    with tracking.run(store, "four", tags={"haltung.kind": "seeds"}) as four:
        for id in ids:
            tracking.adopt(four, id)
        ids.append(trained(store, "s-4", four))
        four.tags({tracking.MEMBERS: " ".join(ids)})
    record = tracking.find(store, "four")
    assert [member.name for member in tracking.members(record)] == ["s-1", "s-2", "s-3", "s-4"]
    assert [child.name for child in tracking.children(record)] == ["s-4"]


def test_a_group_of_an_older_version_is_its_children(store: Store) -> None:
    """It has no list of ids."""
    with tracking.run(store, "old", tags={"haltung.kind": "seeds"}) as old:
        for seed in (1, 2):
            trained(store, f"s-{seed}", old)
    assert [record.name for record in tracking.members(tracking.find(store, "old"))] == ["s-1", "s-2"]


def test_an_incomplete_group_is_refused(store: Store) -> None:
    """It was stopped after its first seed, or one of its seeds was deleted; the message names the
    rest.
    """
    with suppress(KeyboardInterrupt), tracking.run(store, "stopped", tags={"haltung.kind": "seeds"}) as stopped:
        stopped.tags({tracking.MEMBERS: trained(store, "s-1", stopped)})
        raise KeyboardInterrupt
    with pytest.raises(UserError, match=r"stopped .*KILLED.*resume=true.*: s-1 \("):
        tracking.members(tracking.find(store, "stopped"))
    with tracking.run(store, "bereft", tags={"haltung.kind": "seeds"}) as bereft:
        ids = [trained(store, f"b-{seed}", bereft) for seed in (1, 2)]
        bereft.tags({tracking.MEMBERS: " ".join(ids)})
    bereft.connection.client.delete_run(ids[0])
    with pytest.raises(UserError, match=r"lost 1 of its 2 seeds.*: b-2 \("):
        tracking.members(tracking.find(store, "bereft"))


def test_a_search_stands_for_its_last_models_and_is_refused_without_any(store: Store) -> None:
    """Its trials have no models."""
    with tracking.run(store, "search", tags={"haltung.kind": "sweep"}) as search:
        with tracking.run(store, "trial", search, {"haltung.kind": "trial"}):
            pass
        with tracking.run(store, "best", search, {"haltung.kind": "seeds"}) as best:
            for seed in (1, 2):
                trained(store, f"s-{seed}", best)
    assert [record.name for record in tracking.members(tracking.find(store, "search"))] == ["s-1", "s-2"]
    group = tracking.group(tracking.find(store, "search"))
    assert group is not None
    assert group.name == "best"
    with tracking.run(store, "bare", tags={"haltung.kind": "sweep"}):
        pass
    assert tracking.group(tracking.find(store, "bare")) is None
    with pytest.raises(UserError, match="is a sweep without a model of its best recipe"):
        tracking.members(tracking.find(store, "bare"))

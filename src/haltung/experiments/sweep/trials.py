"""Trials of a sweep in its database: a lock per running trial, killed ones are re-queued."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from optuna import Study
from optuna import Trial as OptunaTrial
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, DatabaseError

from haltung.errors import UserError, first_line
from haltung.experiments.sweep.spaces import Space, Value

DATABASE = "trials.db"
STATES = ("finished", "pruned", "failed", "lost")  # how a trial ends; lost: its process died
_MAX_DEATHS = 3  # after which a trial, most likely out of memory, is not repeated


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    ``state`` is one of ``STATES``, ``why`` the reason for a failure. ``score`` is the dev score of
    the best epoch, with class weights undone if the recipe says so; for a pruned trial, that of its
    last epoch before undoing them, as pruning compares it. ``run`` is its MLflow run, or "".
    """

    number: int
    state: str
    values: Mapping[str, Value]
    score: float | None = None
    run: str = ""
    why: str = ""


@dataclass(frozen=True)
class Trials:
    """The database of a sweep's trials, and how the values of the next trial are drawn.

    At most ``max_trials`` are run. ``startup`` is the number of trials that are drawn at random and
    that precede any pruning; ``warmup`` is the number of epochs before a trial can be pruned.
    ``start`` has the values of the first trial, those of the unchanged recipe; missing keys are
    drawn. ``server`` is the address of a PostgreSQL database, in which several machines share the
    trials; "" for a database in ``folder``, which has the sweep's name.
    """

    folder: Path
    spaces: Mapping[str, Space]
    max_trials: int
    seed: int
    startup: int
    warmup: int
    start: Mapping[str, Value] = field(default_factory=dict)
    server: str = ""

    @property
    def url(self) -> sqlalchemy.URL:
        """The address of the database; ``UserError`` if it is not PostgreSQL or has a password."""
        if not self.server:
            return sqlalchemy.make_url(f"sqlite:///{(self.folder / DATABASE).absolute()}")
        with suppress(ValueError, ArgumentError):
            url = sqlalchemy.make_url(self.server)
            has_password = url.password or any("password" in key.lower() for key in url.query)
            if url.drivername in ("postgresql", "postgresql+psycopg") and not has_password:
                return url.set(drivername="postgresql+psycopg")
        raise UserError("storage must be postgresql://USER@HOST/DATABASE or null; give a password in PGPASSWORD, not with the run")

    @contextmanager
    def lock(self, name: str, wait: bool = False) -> Iterator[bool]:
        """Hold a lock of the sweep, released when its process ends; yield False if it is taken."""
        if self.server:
            # The server releases the locks of a machine about two minutes after it has died.
            alive = {"options": "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=6"}
            engine = sqlalchemy.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool, connect_args=alive)
            query = sqlalchemy.text(f"SELECT pg_{'' if wait else 'try_'}advisory_lock(hashtextextended(:name, 0))")
            with engine.connect() as connection:
                yield connection.execute(query, {"name": f"{self.folder.name}/{name}"}).scalar() is not False
            return
        try:
            with FileLock(self.folder / f".{name}.lock", timeout=-1 if wait else 0):
                yield True
        except Timeout:
            yield False

    def open(self) -> Study:
        """Open or create the study; ``UserError`` if the database can't be read."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Wait for another process that writes to the file.
        settings: dict[str, Any] = {"poolclass": sqlalchemy.NullPool} if self.server else {"connect_args": {"timeout": 120}}
        pruner = optuna.pruners.MedianPruner(n_startup_trials=self.startup, n_warmup_steps=self.warmup)
        try:
            with self.lock("open", wait=True):
                storage = optuna.storages.RDBStorage(self.url.render_as_string(), engine_kwargs=settings)
                return optuna.create_study(
                    storage=storage, sampler=self._sampler(0), pruner=pruner, direction="maximize", load_if_exists=True,
                    study_name=self.folder.name if self.server else "sweep",
                )  # fmt: skip
        except ImportError:
            raise UserError("storage=postgresql://… needs psycopg; install it with: pip install 'haltung[postgres]'") from None
        except (DatabaseError, RuntimeError) as error:
            where, how = (self.server, "correct storage") if self.server else (self.folder / DATABASE, "start the sweep under another name")
            raise UserError(f"{where} can't be read ({first_line(error)}); {how}") from None

    @contextmanager
    def next(self, study: Study, on_requeued: Callable[[int], None]) -> Iterator[OptunaTrial | None]:
        """Begin the next trial, if any, and hold its lock; call ``on_requeued`` for dead trials."""
        with ExitStack() as held:
            with self.lock("next", wait=True):
                for number in self._requeue_dead(study):
                    on_requeued(number)
                if (trial := self._ask(study)) is not None:
                    held.enter_context(self.lock(f"trial-{trial.number}"))
            yield trial

    def _ask(self, study: Study) -> OptunaTrial | None:
        states = [trial.state for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL or "why" in trial.user_attrs]
        if TrialState.WAITING not in states and len(states) >= self.max_trials:
            return None
        if not states:
            study.enqueue_trial(dict(self.start))
        # A seed per trial, so that a resumed sweep draws the same values as an uninterrupted one.
        study.sampler = self._sampler(len(states))
        return study.ask(dict(self.spaces))

    def _requeue_dead(self, study: Study) -> list[int]:
        """Mark trials whose process has died as failed, queue them again, and return their numbers.

        Each process holds a lock for the trial that it runs. The system releases it however the
        process dies, so no heartbeat is needed.
        """
        dead = []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            with self.lock(f"trial-{trial.number}") as is_dead:
                pass
            if not is_dead:
                continue
            if (deaths := int(trial.user_attrs.get("deaths", 0)) + 1) >= _MAX_DEATHS:
                OptunaTrial(study, trial._trial_id).set_user_attr("why", f"its process died {deaths} times")
            study.tell(trial.number, state=TrialState.FAIL)
            # Last: after a kill in between, the same values are drawn again, but not twice.
            if deaths < _MAX_DEATHS and set(trial.params) == set(self.spaces):
                study.enqueue_trial(trial.params, user_attrs={"deaths": deaths})
            dead.append(trial.number)
        return dead

    def _sampler(self, number: int) -> optuna.samplers.TPESampler:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        with warnings.catch_warnings(action="ignore"):  # constant_liar is called experimental before Optuna 5
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup, constant_liar=True)


def ended(study: Study) -> list[Trial]:
    """Return the trials that have ended, in order."""
    states, out = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}, []
    for trial in study.get_trials(deepcopy=False, states=(*states, TrialState.FAIL)):
        more, score = trial.user_attrs, trial.value if trial.state in states else None
        state = states.get(trial.state, "failed" if "why" in more else "lost")
        out.append(Trial(trial.number, state, dict(trial.params), score, more.get("run", ""), more.get("why", "")))
    return out

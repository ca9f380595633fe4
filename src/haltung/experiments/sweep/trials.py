"""The trials of a sweep in its database: a lock per running trial, killed ones are re-queued."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
from filelock import BaseFileLock, FileLock, Timeout
from optuna import Study
from optuna import Trial as OptunaTrial
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from scipy.stats.qmc import LatinHypercube
from sqlalchemy.exc import DatabaseError

from haltung.errors import UserError
from haltung.experiments.sweep.spaces import Space, Value

DATABASE = "trials.db"

# How a trial can end; ``lost``: its process died.
STATES = ("finished", "pruned", "failed", "lost")

# A trial whose process has died so often (most likely out of memory) is not repeated.
_MAX_DEATHS = 3


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    ``state`` is one of ``STATES``; ``why`` is the reason of a failure. ``score`` is the dev score
    of its best epoch, for a pruned trial that of its last. ``run`` is its MLflow run, or "".
    ``twin`` is the number of an earlier trial with the same values, whose result it has taken over.
    """

    number: int
    state: str
    values: Mapping[str, Value]
    score: float | None = None
    run: str = ""
    why: str = ""
    twin: int | None = None


@dataclass(frozen=True)
class Trials:
    """The database of a sweep's trials, and how the values of the next trial are drawn.

    At most ``max_trials`` are run. ``startup`` is the number of trials that are spread over the
    spaces at random, and before which none is pruned; ``warmup`` is the number of epochs that each
    trial is given. ``start`` has the values of the first trial, those of the recipe as it stands;
    keys that it lacks are drawn.
    """

    folder: Path
    spaces: Mapping[str, Space]
    max_trials: int
    seed: int
    startup: int
    warmup: int
    start: Mapping[str, Value] = field(default_factory=dict)

    def open(self, worker: int = 0) -> Study:
        """Open or create the study; ``UserError`` if the database is broken or another Optuna's."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        url = f"sqlite:///{(self.folder / DATABASE).absolute()}"
        try:
            # Another process that writes to the database is waited for.
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 120}})
            pruner = optuna.pruners.MedianPruner(n_startup_trials=self.startup, n_warmup_steps=self.warmup)
            sampler = self._sampler(0, worker)
            return optuna.create_study(
                storage=storage, sampler=sampler, pruner=pruner, study_name="sweep", direction="maximize", load_if_exists=True
            )
        except (DatabaseError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise UserError(f"{self.folder / DATABASE} can't be read ({first}); start the sweep under another name") from None

    @contextmanager
    def next(self, study: Study, worker: int, on_requeued: Callable[[int], None]) -> Iterator[OptunaTrial | None]:
        """Begin the next trial and hold its lock; None if there are enough.

        ``on_requeued`` gets the number of each trial whose process has died.
        """
        with FileLock(self.folder / ".next.lock"):
            for number in self._requeue_dead(study):
                on_requeued(number)
            trial = self._ask(study, worker)
            lock = self._lock(trial.number) if trial is not None else None
            if lock is not None:
                lock.acquire()
        try:
            yield trial
        finally:
            if lock is not None:
                _release(lock)

    def _ask(self, study: Study, worker: int) -> OptunaTrial | None:
        states = [trial.state for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL or "why" in trial.user_attrs]
        if TrialState.WAITING not in states and len(states) >= self.max_trials:
            return None
        if TrialState.WAITING not in states and len(states) < max(self.startup, 1):
            study.enqueue_trial(self._first()[len(states)])
        # A random state for each trial, so that a resumed sweep draws as an uninterrupted one.
        study.sampler = self._sampler(len(states), worker)
        return study.ask({key: space.distribution() for key, space in self.spaces.items()})

    def _first(self) -> list[dict[str, Value]]:
        """Return the values of the first trials: ``start``, then a Latin hypercube.

        It takes one value from each stretch of each space; a few points drawn one by one often lie
        side by side (McKay, Beckman and Conover 1979, "A comparison of three methods for selecting
        values of input variables").
        """
        # Keys that ``start`` lacks have the values of the first drawn point.
        whole = self.start.keys() == self.spaces.keys()
        points = LatinHypercube(len(self.spaces), rng=self.seed).random(max(self.startup - whole, 1))
        drawn = [{key: space.at(float(part)) for (key, space), part in zip(self.spaces.items(), point, strict=True)} for point in points]
        return [dict(self.start), *drawn] if whole else [{**drawn[0], **self.start}, *drawn[1:]]

    def _requeue_dead(self, study: Study) -> list[int]:
        """Mark trials whose process has died as failed, queue them again, and return their numbers.

        A process holds a lock for the trial that it runs, which the system releases however it
        dies; so nothing has to be guessed from a heartbeat.
        """
        dead = []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = self._lock(trial.number)
            try:
                lock.acquire()
            except Timeout:
                continue
            _release(lock)
            deaths = int(trial.user_attrs.get("deaths", 0)) + 1
            if deaths >= _MAX_DEATHS:
                OptunaTrial(study, trial._trial_id).set_user_attr("why", f"its process died {deaths} times")
            study.tell(trial.number, state=TrialState.FAIL)
            # Only now, so that a kill in between can't queue it twice; the trial is then drawn
            # again, with the same values.
            if deaths < _MAX_DEATHS and set(trial.params) == set(self.spaces):
                study.enqueue_trial(trial.params, user_attrs={"deaths": deaths})
            dead.append(trial.number)
        return dead

    def _lock(self, number: int) -> BaseFileLock:
        return FileLock(self.folder / f".trial-{number}.lock", timeout=0)

    def _sampler(self, number: int, worker: int) -> optuna.samplers.TPESampler:
        seed = int(np.random.SeedSequence([self.seed, number, worker]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_liar is called experimental before Optuna 5
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup, constant_liar=True)


def _release(lock: BaseFileLock) -> None:
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def ended(study: Study) -> list[Trial]:
    """Return the trials that have ended, in order."""
    return [_trial(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def twin_of(study: Study, begun: OptunaTrial) -> FrozenTrial | None:
    """Return an earlier trial with the same values that finished or was pruned, for its result."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return next((trial for trial in study.get_trials(deepcopy=False, states=states) if trial.params == begun.params), None)


def importances(study: Study, seed: int) -> dict[str, float]:
    """Return each key's share of the variance of scores, largest first; empty with too few trials.

    Functional ANOVA over a random forest (Hutter, Hoos and Leyton-Brown 2014, "An efficient
    approach for assessing hyperparameter importance").
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied = [key for key in complete[0].params if len({trial.params[key] for trial in complete}) > 1] if complete else []
    if len(complete) < 4 or len(varied) < 2 or len({trial.value for trial in complete}) < 2:
        return {}
    shares = optuna.importance.get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed), params=varied)
    return {key: float(share) for key, share in shares.items()}


def _trial(trial: FrozenTrial) -> Trial:
    states = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}
    more = trial.user_attrs
    state = states.get(trial.state, "failed" if "why" in more else "lost")
    score = trial.value if trial.state in states else None
    return Trial(trial.number, state, dict(trial.params), score, more.get("run", ""), more.get("why", ""), more.get("twin"))

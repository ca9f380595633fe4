"""Distribute work on a Ray cluster: this machine reads, actors on any machine hold the model."""

import logging
import os
import pickle
import site
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from socket import create_connection
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import Field

from haltung import __version__, resources
from haltung.errors import UserError, first_line

Work = Callable[[Any], Any]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Cluster:
    """The keys ``ray`` of a config, which documents each of them."""

    address: str | None = None
    workers: Count | None = None
    threads: Count = 1

    def __post_init__(self) -> None:
        """Raise ``UserError`` if Ray is not installed, or nothing answers at the address."""
        if find_spec("ray") is None:
            raise UserError("engine=ray needs Ray, which is not installed; run: pip install 'haltung[ray]'")
        if self.address is not None:
            host, _, port = self.address.rpartition(":")
            try:  # Ray itself would retry for many minutes
                create_connection((host, int(port)), timeout=10).close()
            except (OSError, OverflowError, ValueError) as error:
                expected = "expected HOST:PORT of the head of the cluster, as `ray start --head` prints it"
                raise UserError(f"there is no Ray cluster at ray.address={self.address} ({error}); {expected}") from None


def results(
    cluster: Cluster, sources: Iterable[Any], read: Callable[[Any], Iterator[Any]], bundle: Path, make: Callable[[Path], Work]
) -> Iterator[Any]:
    """Yield the result of each item that ``read`` yields from a source, and None after a source.

    Results are in the order of the sources. Each worker calls ``make`` once, with a copy of the
    folder ``bundle``. The items of a lost worker are processed again. Raises the ``UserError`` of
    ``read`` and of workers after all earlier results, and its own if Ray or its cluster fails.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

    with _connected(cluster) as workers, DataContext.current(DataContext.get_current().copy()):
        context = DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        context.target_max_block_size = 1  # each item is a block, and thus a task
        files = ray.put({str(path.relative_to(bundle.parent)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()})
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}  # the node that has the sources
        rows = ray.data.from_items([{"item": pickle.dumps(source)} for source in sources])
        # Reading requests no CPU, because the workers may occupy all of them.
        rows = rows.flat_map(partial(_read, read, Path.cwd()), compute=TaskPoolStrategy(size=1), num_cpus=0, label_selector=here)
        given = (make, files, bundle.name, cluster.threads, __version__)
        rows = rows.map(_Worker, fn_constructor_args=given, compute=ActorPoolStrategy(size=workers), num_cpus=cluster.threads)
        try:
            for row in rows.iter_rows():
                result = pickle.loads(row["item"])
                if isinstance(result, UserError):
                    raise result
                yield result
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError):
                raise  # a bug in our code
            raise UserError(f"Ray can't continue: {str(error).strip().splitlines()[-1]}") from None


def _read(read: Callable[[Any], Iterator[Any]], folder: Path, row: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    os.chdir(folder)  # sources may name relative paths
    try:
        for item in chain(read(pickle.loads(row["item"])), [None]):
            yield {"item": pickle.dumps(item)}
    except UserError as error:
        yield {"item": pickle.dumps(error)}


class _Worker:
    """A Ray actor that processes items; None and errors pass through unchanged."""

    def __init__(self, make: Callable[[Path], Work], files: Any, name: str, cpus: int, version: str) -> None:
        import ray

        os.environ["OMP_NUM_THREADS"] = str(cpus)
        os.environ.update(resources.thread_settings())
        self._folder = TemporaryDirectory(prefix="haltung-")
        for path, data in ray.get(files).items():
            to = Path(self._folder.name, path)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(data)
        found = f"a worker has Haltung {__version__}; install {version} on all machines"
        self._wrong = None if version == __version__ else UserError(found)
        try:
            self._work = make(Path(self._folder.name, name))
        except UserError as error:  # Ray would retry an actor whose constructor fails
            self._wrong = error

    def __call__(self, row: Mapping[str, bytes]) -> Mapping[str, bytes]:
        item = self._wrong or pickle.loads(row["item"])
        try:
            result = item if item is None or isinstance(item, UserError) else self._work(item)
        except UserError as error:
            result = error
        return {"item": pickle.dumps(result)}


@contextmanager
def _connected(cluster: Cluster) -> Iterator[int]:
    """Join a cluster, or start one on this machine; yield the number of workers to use."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised as exceptions
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUSERBASE": site.getuserbase()})
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    home, cpus = str(Path.home()), None
    with TemporaryDirectory(prefix="haltung-") as folder:
        if not cluster.address:
            cpus = (cluster.workers or max(1, resources.threads() // cluster.threads)) * cluster.threads
            # Otherwise Ray queries a metadata address for the cloud that this machine is in.
            Path(folder, "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n", encoding="utf-8")
            os.environ["HOME"] = folder
        try:
            ray.init(cluster.address or "local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # noqa: BLE001 -- on a machine that is too slow, Ray raises no other class
            raise UserError(f"Ray could not be started with ray.address={cluster.address}: {first_line(error)}") from None
        finally:
            os.environ["HOME"] = home
        try:
            fitting = sum(int(node["Resources"].get("CPU", 0) // cluster.threads) for node in ray.nodes() if node["Alive"])
            if not fitting:
                raise UserError(f"no machine in the cluster has {cluster.threads} processors; reduce ray.threads")
            yield cluster.workers or fitting
        finally:
            ray.shutdown()

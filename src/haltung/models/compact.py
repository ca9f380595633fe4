"""Compact models: an exported bundle without the weights that it shares with the embedded encoder.

The difference to that encoder is stored in 6 bits per weight. Files of the bundle that hold weights
are stored without them, but with their offsets, so that the bundle is rebuilt byte for byte.
``news_de`` comes with Haltung, others with packages that have an entry point ``haltung.models``.
"""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from haltung import files, hub
from haltung.encoders import embedded
from haltung.encoders.load import KEPT, kept_layers
from haltung.errors import UserError, first_line, listed, nearest
from haltung.inference.client import file_of
from haltung.models import bundle

DEFAULT = "news_de"
HUB = "hub:"
ENTRY_POINTS = "haltung.models"
WEIGHTS = "model.safetensors"
# Parts of a compact model: the difference, the plan for rebuilding the bundle, and its files.
_DIFFERENCE, _PLAN, _FILES = "difference.safetensors", "compact.json", "bundle"
_ENCODER = "encoder."
# The key of the layers that a smaller encoder keeps, and the embedded encoder's name of a layer.
_LAYERS, _LAYER = "#layers", "encoder.layer."
_BITS = 6
_LARGEST = 2 ** (_BITS - 1) - 1
_SMALL = 4096  # smaller tensors (biases, norms) stay in float32, and in the bundle's files
Weights = dict[str, np.ndarray]
Hole = tuple[int, str, bool]  # a removed tensor's offset, its name, and whether it was transposed


def difference(trained: Path) -> Weights:
    """Return a trained bundle's packed difference; ``UserError`` if its encoder is another one."""
    from safetensors.numpy import load_file

    if bundle.describe(trained)["kind"] == "ensemble" or not (trained / WEIGHTS).is_file():
        raise UserError(f"{trained} has no encoder, so it has no compact form; use a model that was trained from the embedded encoder")
    base, own = _base(), load_file(trained / WEIGHTS)
    config, whole = (json.loads((folder / "config.json").read_bytes()) for folder in (trained, base))
    layers, every = (one.get("num_hidden_layers", 0) for one in (config, whole))
    packed: Weights = {_LAYERS: np.array(config.get(KEPT, kept_layers(layers, every)))} if layers < every else {}
    ours = _start(packed)
    known = [json.loads((folder / "tokenizer.json").read_bytes())["model"] for folder in (trained, base)]
    if known[0] != known[1] or any(getattr(own.get(name), "shape", None) != value.shape for name, value in ours.items()):
        raise UserError(f"{trained} was not trained from the embedded encoder e5_small_de, but a compact model is the difference from it")
    for name, value in own.items():
        before = ours.get(name)
        if before is None or not np.array_equal(value, before):
            packed |= _packed(name, value if before is None else value - before)
    return packed


def applied(packed: Weights) -> Weights:
    """Return all weights of a model in float32: the embedded encoder's plus the difference."""
    weights = _start(packed)
    for name in dict.fromkeys(key.partition("#")[0] for key in packed if key != _LAYERS):
        value = packed[name] if name in packed else _unpacked(name, packed)
        if name in weights and value.shape != weights[name].shape:
            raise ValueError(f"{name} has the shape {value.shape}, but in the embedded encoder {weights[name].shape}")
        weights[name] = weights[name] + value if name in weights else value
    return weights


def check_folder(to: Path) -> None:
    """Raise ``UserError`` if a folder to write to holds anything but a compact model."""
    if to.exists() and not (to / _PLAN).is_file() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} contains something that is not a compact model and would be lost; name an empty folder or a new one: to=DIR")


def write(exported: Path, packed: Weights, to: Path) -> Path:
    """Write the compact form of an exported bundle that has the weights ``applied(packed)``.

    Other files of an older one, such as its card, are kept. ``UserError`` as ``check_folder``.
    """
    from safetensors.numpy import save_file

    check_folder(to)
    weights, base = applied(packed), _base()
    holes: dict[str, list[Hole]] = {}
    with files.atomic_folder(to) as scratch:
        save_file(packed, scratch / _DIFFERENCE)
        sums = {path.relative_to(exported).as_posix(): files.sha256(path) for path in sorted(exported.rglob("*")) if path.is_file()}
        borrowed = [name for name, digest in sums.items() if (base / name).is_file() and files.sha256(base / name) == digest]
        for name in (name for name in sums if name not in borrowed):
            path = scratch / _FILES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = (exported / name).read_bytes()
            if path.suffix in (".onnx", ".safetensors"):
                data, holes[name] = _cut(data, weights)
            path.write_bytes(data)
        for path in to.iterdir() if to.exists() else ():
            if path.is_file() and not path.is_symlink() and path.name not in (_DIFFERENCE, _PLAN):
                shutil.copy2(path, scratch)
        plan = {"encoder": embedded.SHA256, "files": sums, "borrowed": borrowed, "holes": holes}
        (scratch / _PLAN).write_text(json.dumps(plan) + "\n", encoding="utf-8")
        for path in scratch.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
    return to


def rebuild(folder: Path, name: str) -> Path:
    """Return a compact model's bundle, rebuilt in the cache; ``UserError`` if a file is broken."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    again = f"install the model '{name}' again"
    try:
        plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
        out = files.cache() / f"{name}-{files.sha256(folder / _PLAN)[:12]}"
        if (out / bundle.DESCRIPTION).is_file():
            return out
        if plan["encoder"] != embedded.SHA256:
            raise UserError(f"the model '{name}' is for another version of the embedded encoder; install the Haltung that it was made with")
        weights = applied(load_file(folder / _DIFFERENCE))
        for file in plan["files"]:
            if not (out / file).resolve().is_relative_to(out.resolve()):
                raise UserError(f"the model '{name}' in {folder} names the file {file}, which lies outside a bundle; do not use it")
        sources = [(_base() if file in plan["borrowed"] else folder / _FILES) / file for file in plan["files"]]
        holes = [weights[part].nbytes for of_file in plan["holes"].values() for _, part, _ in of_file]
        if (size := sum(holes) + sum(path.stat().st_size for path in sources)) > 10**9:  # news_de has a third of that
            raise UserError(f"the model '{name}' in {folder} would have {size:,} bytes, but at most {10**9:,} are allowed; do not use it")
        with files.atomic_folder(out, keep=lambda there: (there / bundle.DESCRIPTION).is_file()) as scratch:
            for source, (file, digest) in zip(sources, plan["files"].items(), strict=True):
                path = scratch / file
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as opened:
                    opened.writelines(_whole(source.read_bytes(), plan["holes"].get(file, []), weights))
                if files.sha256(path) != digest:
                    raise UserError(f"{file} of the model '{name}' from {folder} is not what was shipped (its digest differs); {again}")
    except (LookupError, AttributeError, TypeError, ValueError, MemoryError, RecursionError, SafetensorError) as error:
        raise UserError(f"the model '{name}' in {folder} is broken ({' '.join(repr(error).split())[:120]}); {again}") from None
    except OSError as error:
        found = f"the model '{name}' could not be rebuilt ({error.filename or folder}: {error.strerror or error})"
        remedy = "free some space, or name another folder in the environment variable HALTUNG_CACHE"
        raise UserError(f"{found}; {again if isinstance(error, FileNotFoundError) else remedy}") from None
    return out


def installed() -> dict[str, Path]:
    """Return the folder of each installed model, by name: Haltung's own and those of packages.

    Packages are not imported; entry points of missing packages are ignored.
    """
    specs = {point.name: find_spec(point.module.partition(".")[0]) for point in metadata.entry_points(group=ENTRY_POINTS)}
    found = {name: Path(str(spec.origin)).parent for name, spec in specs.items() if spec is not None}
    return found | {path.parent.name: path.parent for path in sorted((files.shipped("data") / "models").glob(f"*/{_PLAN}"))}


def find(given: str | Path | None) -> Path:
    """Return a bundle's folder, given its path or an installed model's name, such as ``news_de``.

    None means the model that comes with Haltung, ``hub:ORGANISATION/NAME@REVISION`` one of the hub.
    Raises ``UserError`` as ``rebuild``, if the hub does not answer, or for a name that is close to
    a model's. The folder is not checked otherwise, and need not exist.
    """
    name = DEFAULT if given is None else str(given)
    if name.startswith(HUB):
        repository, _, revision = name.removeprefix(HUB).partition("@")
        return _opened(_downloaded(repository, revision or "main"), repository.replace("/", "-"))
    folder = Path(name).expanduser()
    if given is not None and folder.exists():
        return _opened(folder, folder.resolve().name)
    models = installed()
    if name in models:
        return rebuild(models[name], name) if (models[name] / _PLAN).is_file() else models[name]
    if given is None or nearest(name, models):
        raise UserError(f"there is no folder or installed model '{name}'{nearest(name, models)}; the models are {listed(models)}")
    return folder


def _opened(folder: Path, name: str) -> Path:
    """Return a folder, rebuilt if compact; ``UserError`` if a link in a bundle leads outside."""
    with bundle.broken_parts(folder):
        for path in folder.rglob("*") if any((folder / one).exists() for one in (_PLAN, bundle.DESCRIPTION)) else ():
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                file_of(folder, path.relative_to(folder).as_posix(), {}, math.inf)
    return rebuild(folder, name) if (folder / _PLAN).is_file() else folder


def _downloaded(repository: str, revision: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of httpx, or of httpx2, as the version has it

    try:
        return Path(snapshot_download(repository, revision=hub.pinned(repository, revision)))
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        found = f"the model {repository} (revision {revision}) could not be loaded from the hub {constants.ENDPOINT}"
        raise UserError(f"{found}: {first_line(error)}; check the name, the revision and the connection") from None


def _base() -> Path:
    return embedded.ensure(files.cache())


def _start(packed: Weights) -> Weights:
    """Return the embedded encoder's weights under a model's names, for the layers that it has."""
    from safetensors.numpy import load_file

    weights: Weights = {}
    for name, value in load_file(_base() / WEIGHTS).items():
        number, _, part = name.removeprefix(_LAYER).partition(".")
        if _LAYERS not in packed or not name.startswith(_LAYER):
            weights[_ENCODER + name] = value
        elif int(number) in (layers := packed[_LAYERS].tolist()):
            weights[f"{_ENCODER}{_LAYER}{layers.index(int(number))}.{part}"] = value
    return weights


def _packed(name: str, value: np.ndarray) -> Weights:
    """Return a tensor as 6-bit numbers from -31 to 31 and a scale per row; a small one as it is."""
    if value.size < _SMALL:
        return {name: value}
    rows = value.reshape(len(value), -1)
    scale = (np.abs(rows).max(axis=1, keepdims=True) / _LARGEST).astype(np.float16)
    # A row whose scale is too small for float16 counts as one of zeros.
    steps = np.divide(rows, scale.astype(np.float32), out=np.zeros_like(rows), where=scale > 0)
    numbers = (np.clip(np.rint(steps), -_LARGEST, _LARGEST) + _LARGEST).astype(np.uint8).reshape(-1)
    bits = np.unpackbits(numbers[:, None], axis=1)[:, 8 - _BITS :]
    return {f"{name}#bits": np.packbits(bits), f"{name}#scale": scale, f"{name}#shape": np.array(value.shape, np.int64)}


def _unpacked(name: str, packed: Weights) -> np.ndarray:
    shape, scale = packed[f"{name}#shape"].tolist(), packed[f"{name}#scale"].astype(np.float32)
    count = math.prod(shape)
    if min(shape) < 1 or packed[f"{name}#bits"].size != -(-count * _BITS // 8) or scale.shape != (shape[0], 1):
        raise ValueError(f"{name} has {packed[f'{name}#bits'].size} bytes, which is not its shape {shape} in {_BITS} bits")
    bits = np.unpackbits(packed[f"{name}#bits"], count=count * _BITS).reshape(count, _BITS)
    numbers = (np.packbits(bits, axis=1).reshape(-1) >> (8 - _BITS)).astype(np.float32)
    return np.asarray(((numbers - _LARGEST).reshape(shape[0], -1) * scale).reshape(shape))


def _bytes(value: np.ndarray, transposed: bool) -> bytes:
    return np.ascontiguousarray(value.T if transposed else value, "<f4").tobytes()


def _cut(data: bytes, weights: Weights) -> tuple[bytes, list[Hole]]:
    """Return a file's bytes without weights, each of which is cut out at most once, and holes."""
    holes = []
    for name, value in weights.items():
        if value.size >= _SMALL:
            for transposed in (False, True):
                if (position := data.find(_bytes(value, transposed))) >= 0:
                    holes.append((position, name, transposed))
                    break
    kept, used, done = list[bytes](), list[Hole](), 0
    for position, name, transposed in sorted(holes):
        # Tensors with the same numbers, such as zeros, are found at the same position.
        if position >= done:
            kept.append(data[done:position])
            used.append((position, name, transposed))
            done = position + weights[name].nbytes
    return b"".join([*kept, data[done:]]), used


def _whole(data: bytes, holes: Sequence[Hole], weights: Weights) -> Iterator[bytes]:
    """Yield the bytes of the whole file, with the weights back in the holes of ``_cut``."""
    taken = written = 0
    for position, name, transposed in holes:
        if position < written:
            raise ValueError(f"{name} should begin at {position}, where there is another tensor")
        part, value = data[taken : taken + position - written], _bytes(weights[name], transposed)
        taken, written = taken + len(part), position + len(value)
        yield from (part, value)
    yield data[taken:]

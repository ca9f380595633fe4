"""``haltung prepare``, ``annotate``, ``agree``, ``suggest``, ``issues``: texts and their labels."""

import shlex
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console, Group, RenderableType
from rich.text import Text

from haltung import tracking
from haltung.actors.finder import Actors
from haltung.annotation import work
from haltung.cli import hint
from haltung.cli.build import CorpusOptions, Language, Seed, command, corpus_of, make, output_file, scheme_for, typed
from haltung.cli.config import Request
from haltung.corpus.parsing.rows import Reading, source_files
from haltung.corpus.split import SPLITS
from haltung.corpus.store import REASONS, Prepared, label_rows
from haltung.errors import UserError, listed, writing
from haltung.evaluation.metrics.agreement import agreement
from haltung.evaluation.predictions import read_predictions
from haltung.evaluation.report import agreement as report
from haltung.evaluation.report.i18n import word
from haltung.evaluation.report.page import PREDICTIONS
from haltung.evaluation.report.tables import Grid
from haltung.experiments.compare import FOLDS
from haltung.experiments.labelling import issues as doubts
from haltung.experiments.labelling import suggest as next_ones
from haltung.experiments.predict import bundle_of
from haltung.labels import STANCE, Scheme
from haltung.models import bundle as bundles
from haltung.models import compact


@command("prepare")
def run(request: Request) -> None:
    """Prepare a corpus and print its table."""
    prepared = corpus_of(request.settings, request.config_dir)
    Console().print(table(prepared))
    print(f"written to {prepared.folder}")


@command("annotate", single="one coder at a time; start haltung annotate again for another one, with another port", lists=("settle",))
def annotate(
    request: Request, *, coder: Annotated[str, Field(pattern=r"^[\w-]{1,40}$")], output: str | None, settle: tuple[Path, ...],
    dyads: bool, actors: Path | None, host: str, port: Annotated[int, Field(ge=0, le=65535)], key_file: str | None,
) -> None:  # fmt: skip
    """Serve the page on which a coder labels texts, or settles disagreements of others."""
    try:
        from haltung.annotation import app
        from haltung.serving.engine import KEY_VARIABLE, secret
    except ModuleNotFoundError as error:
        raise UserError(f"the page needs the library {error.name}, which is not installed; pip install 'haltung[serve,events]'") from None
    if not request.settings.get("corpus"):
        raise UserError("name what to label: corpus=jsonl corpus.reader.path=FILE, or table=FILE, with its label scheme")
    if not (key := secret(key_file)) and host not in app.LOOPBACK:
        raise UserError(f"host={host} lets other machines connect; set a key for coders to enter: key_file=FILE, or {KEY_VARIABLE}")
    corpus = typed(CorpusOptions, request.settings["corpus"], "corpus")
    reader = make(corpus.reader, "corpus.reader")
    own = [path for path in settle if hasattr(reader, "annotators") and path.resolve() in map(Path.resolve, source_files(reader))]
    scheme = scheme_for(reader, corpus, request.config_dir, drafts=bool(own))
    scheme = scheme if corpus.tasks is None else scheme.only(corpus.tasks)
    reading = _undecided(reader, scheme)
    if own and not reading.votes:
        raise UserError(f"settle={own[0]} has no coders' labels; name their columns, coders=[A,B], or use columns called Coder and ID")
    reading = reading if own else replace(reading, votes={})
    finder = Actors.load(actors) if dyads and not own and STANCE in scheme.names else None  # the coders of a sheet were not asked for dyads
    file = work.AnswersFile(output_file(output or f"{corpus.name}-{coder}.jsonl", settle) or Path(), scheme)
    page = work.Work(scheme, reading, coder, file, [path for path in settle if path not in own], finder)
    print(file.mended or f"{len(page.described()['answered'])} answers so far")
    app.annotate(page, host, port, key)


@command("agree", lists=("answers",))
def agree(request: Request, *, answers: tuple[Path, ...], settle: str | None, language: Language, output: str | None) -> None:
    """Print how far coders agree; write a page on it, and a sheet of what is to be settled."""
    if not request.settings.get("corpus"):
        raise UserError("name what several people have coded: table=FILE with coders=[A,B], or corpus=NAME with corpus.reader.path=FILE")
    corpus, sheet = typed(CorpusOptions, request.settings["corpus"], "corpus"), output_file(settle)
    if sheet is not None and (sheet.suffix != ".xlsx" or sheet.exists()):
        raise UserError(f"settle={settle}: expected a new file that ends with .xlsx; an existing one may contain decisions, so it is kept")
    reader = make(corpus.reader, "corpus.reader")
    scheme = scheme_for(reader, corpus, request.config_dir)
    reading = _undecided(reader, scheme)
    files = [*(source_files(reader) if reading.votes else ()), *answers]
    reading = work.voted(reading, work.collect(reading, scheme, answers)) if answers else reading
    result, console = agreement(corpus.name, reading, scheme), Console()
    for grid in report.grids(result, scheme, language):
        console.print(grid.rich())
    for note in (*reading.notes, *report.notes(result, language)):
        console.print(Text(note, "dim"))
    folder = Path(output or f"experiments/reports/agreement-{corpus.name}")
    with writing(folder):
        report.write(folder, result, scheme, language, {word("command", language): " ".join(["haltung", *request.command])})
    hint("page", str(folder / report.PAGE))
    if sheet is not None:
        with writing(sheet):
            rows = report.write_open(sheet, reading, result.coders, [scheme[name] for name in result.tasks])
        hint("to settle", f"{rows} rows at the top of {sheet}; then: haltung train table={sheet} 'label=[{','.join(result.tasks)}]'")
    if any(task.measures["percent"].value not in (None, 1) for task in result.tasks.values()):
        words = [word for word in request.command[1:] if word.partition("=")[0] not in ("answers", "settle", "language", "output")]
        hint("on a page", shlex.join(["haltung", "annotate", *words, "coder=NAME", f"settle=[{','.join(map(str, files))}]"]))


@command("suggest")
def suggest(
    request: Request, *, n: Annotated[int, Field(ge=1)], strategy: next_ones.Strategy, articles: bool | None, run: str | None,
    bundle: str | None, seed: Seed, format: next_ones.Format, output: str | None, language: Language,  # noqa: A002 -- the key's name
) -> None:  # fmt: skip
    """Write what to label next, and print in a line what was chosen and why."""
    if not request.settings.get("corpus"):
        raise UserError("name the texts: table=FILE with labels=SCHEME, or corpus=NAME")
    corpus, model = corpus_of(request.settings, request.config_dir, unlabelled=True), None
    to = output_file(output or f"{corpus.name}.next.{'json' if format == 'labelstudio' else 'jsonl'}")
    if to is None or to.exists():
        raise UserError(f"{to} exists and may contain labels, so it is kept; name another file: output=FILE")
    if strategy not in next_ones.MODELLESS:
        model = bundles.load(bundle_of(make(request.settings["tracking"], "tracking"), run) if run else compact.find(bundle))
        if model.scheme.digest() != corpus.scheme.digest():
            other = f"strategy={strategy} uses a model, but {run or bundle or compact.DEFAULT} has different labels than {corpus.name}"
            raise UserError(f"{other}; name one with these labels, run=… or bundle=…, or choose strategy=random or diversity")
    found = next_ones.suggest(corpus, strategy, n, seed, model, articles)
    files = next_ones.write(to, found, corpus.scheme, format, language)
    what = f"{len(found):,} segments of {len({one.group for one in found}):,} articles, from the train split of {corpus.name}"
    print(f"{what}; {strategy}: {word(f'suggest_{strategy}', language)}")
    hint("to label", " and ".join(map(str, files)))


@command("issues")
def issues(request: Request, *, run: str | None, n: Annotated[int, Field(ge=1)], language: Language, output: str | None) -> None:
    """Write which labels of a cross-validated corpus are likely wrong."""
    if run is None:
        raise UserError("name the cross-validation by which each label is judged, as in run=pensions-folds-42; haltung runs lists them")
    store = make(request.settings["tracking"], "tracking")
    record = tracking.find(store, run)
    record = tracking.find(store, record.parent) if record.of_all_rows else record
    if record.kind != FOLDS:
        raise UserError(f"{record.name} is not a cross-validation, which is needed to judge labels; train with folds=5, and name that run")
    whole = {**record.config["corpus"], "split": {**record.config["corpus"]["split"], "fold": 0}}
    corpus = corpus_of({**request.settings, "corpus": whole}, request.config_dir, drafts=False)
    split = read_predictions(tracking.artifact(record, f"evaluation/{FOLDS}/{PREDICTIONS}"))
    folds = [one for one in tracking.children(record) if "haltung.bundle" in one.tags and not one.of_all_rows]
    judges = {}
    for one in folds:
        with suppress(UserError):  # without its model, a fold's labels are shown without weights of words
            judges[tracking.bundle_folder(one)] = read_predictions(tracking.artifact(one, f"evaluation/test/{PREDICTIONS}")).ids
    details = {"run": record.id, "command": " ".join(["haltung", *request.command])}
    folder = Path(output or f"experiments/reports/issues-{record.name}")
    with writing(folder):
        count = doubts.write(folder, split, corpus.segments("train"), n, language, details, judges)
    if several := [task.title(language) for task in split.tasks if task.kind == "multi"]:
        print(f"{word('issues_several', language)}: {listed(several)}")
    hint("page", str(folder / doubts.PAGE))
    again = f"haltung train table={folder / doubts.SHEET} 'label=[{','.join(corpus.scheme.names)}]' labels={whole['labels']}"
    hint("to correct", f"{count} labels at the top of {folder / doubts.SHEET}; then: {again}; or label {folder / doubts.ROWS} again")


def _undecided(reader: Any, scheme: Scheme) -> Reading:
    """Read a source, without deciding between coders who differ."""
    reading: Reading = (replace(reader, annotators="soft") if hasattr(reader, "annotators") else reader).read(scheme)
    return reading


def table(prepared: Prepared) -> Group:
    """Return tables of the label counts by split, then of dropped and repaired segments."""
    manifest = prepared.manifest
    parts: list[RenderableType] = [Text(prepared.name, style="bold")]
    parts += [Text(f"  {part}: {manifest.segments[part]:,} segments of {manifest.articles[part]:,} articles") for part in SPLITS]
    whole = max(1, manifest.segments["train"])
    for task in prepared.scheme:
        rows = tuple(
            (id, name, *(f"{count:,}" for count in counts.values()), f"{counts['train'] / whole:.1%}")
            for id, _, name, counts in label_rows(task, manifest)
        )
        parts.append(Grid(task.title(), ("label", "English", *SPLITS, "share of train"), rows, left=2).rich())
    losses = [(reason, REASONS.get(reason, "see dropped.jsonl"), f"{count:,}") for reason, count in sorted(manifest.dropped.items())]
    losses += [(f"repaired: {what}", "see repaired.jsonl", f"{count:,}") for what, count in sorted(manifest.repaired.items())]
    if losses:
        parts.append(Grid("Dropped and repaired", ("reason", "meaning", "segments"), tuple(losses), left=2).rich())
    return Group(*parts, *(Text(f"Note: {note}.", style="yellow") for note in manifest.notes))

"""``haltung export`` writes a bundle that other services run; ``haltung verify`` checks it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from haltung import tracking
from haltung.cli.build import Language, command, corpus_of, make
from haltung.cli.config import Request
from haltung.errors import UserError
from haltung.evaluation.report.i18n import word
from haltung.experiments.evaluate import TrainedModel
from haltung.experiments.export import check_exportable, export_model
from haltung.export import share, signature
from haltung.export.verify import verify as replay
from haltung.export.write import ExportResult
from haltung.labels import Scheme
from haltung.models import compact


@command("export", verbatim=("licence", "version"))
def run(
    request: Request, *, run: str | None, bundle: str | None, to: str | None, form: Literal["onnx", "compact", "transformers"], int8: bool,
    register: bool, licence: str | None, sign: str | None, wheel: str | None, version: str, hub: str | None, private: bool,
    language: Language,
) -> int:  # fmt: skip
    """Export and print the table of formats; return 1 if a requested one is refused or left out."""
    settings = request.settings
    own_corpus = not settings.get("corpus")
    if (run is None) == (bundle is None):
        raise UserError("name what to export: run=ID (of haltung train), or bundle=FOLDER with corpus=NAME; one of the two")
    if to is None:
        raise UserError("name the folder to write the bundle into: to=DIR")
    if Path(to).resolve() == Path.cwd():
        raise UserError(f"to is '{to}', the current folder, which can't be replaced; name another one: to=DIR")
    if form != "onnx" and (register or int8):
        raise UserError(f"form={form} has only fp32 and can't be registered; leave out register=true and int8=true, or export form=onnx")
    if form == "transformers" and (wheel or sign):
        raise UserError("wheel=… packs and sign=… signs models for Haltung, which form=transformers doesn't write; leave out one of them")
    key = signature.read_key(sign, "private") if sign else None
    if register and run is None:
        raise UserError("register=true makes a version of a run's model; name the run, as in run=ID, instead of bundle=…")
    if wheel:
        share.check_wheel(wheel, version)
    if hub:
        share.check_hub(hub)
    # A model that can't be exported is refused before a corpus is required or prepared.
    if bundle is not None:
        trained = TrainedModel(Path(bundle).name, compact.find(bundle))
        check_exportable(trained.bundle, form)
        if own_corpus:
            raise UserError("bundle=… needs a corpus, on whose dev split the formats are compared with it: corpus=NAME")
    else:
        record = tracking.find(make(settings["tracking"], "tracking"), str(run))
        first, *others = tracking.members(record)
        trained = TrainedModel(first.name, tracking.bundle_folder(first), first)
        check_exportable(trained.bundle, form)
        if first is not record:
            which = "trained a model on all rows" if record.kind == "folds" else f"has {len(others) + 1} seeds; this is the first"
            print(f"{record.name} {which}, {first.name}", file=sys.stderr)
        settings = {**settings, "corpus": first.config["corpus"]} if own_corpus else settings
    corpus = corpus_of(settings, request.config_dir)
    for task in corpus.scheme.names if hub and form == "transformers" else ():
        share.check_hub(f"{hub}-{task}")  # the repository of a task
    with Console(stderr=True).status("") as status:
        result, registered = export_model(
            trained, corpus, Path(to), own_corpus=own_corpus, licence=licence, int8=int8,
            register=register, form=form, callback=lambda step: status.update(f"exporting: {step}"), key=key,
        )  # fmt: skip
    Console().print(_table(result, corpus.scheme, language))
    if own_corpus and trained.record and trained.record.of_all_rows:
        print("this macro-F1 is on rows that the model was trained on; the out-of-fold one is in the model card")
    if registered and trained.record is not None:
        print(f"registered as {registered}; make it the champion: haltung promote run={trained.record.id[:8]}")
    for name, why in {**result.skipped, **result.refused}.items():
        print(f"{name} was {'refused' if name in result.refused else 'left out'}: {why}", file=sys.stderr)
    if result.folder is None:
        print("nothing was written, because the exported model does not agree with the trained model", file=sys.stderr)
        return 1
    print(f"written to {result.folder}")
    if wheel:
        print(f"packed as {(packed := share.wheel(result.folder, wheel, version, licence))}; install it: pip install {packed}")
    if hub:
        parts = {f"{hub}-{task}": result.folder / task for task in result.formats} if form == "transformers" else {hub: result.folder}
        for repository, folder in parts.items():
            print(f"uploaded: {share.upload(folder, repository, private)}")
    asked_for = corpus.scheme.names if form == "transformers" else ("int8",) if int8 else ()
    return 1 if {*asked_for} & {*result.refused, *result.skipped} else 0


@command("verify")
def verify(bundle: str | None, threads: int | None, key: str | None) -> int:
    """Replay the golden answers and print the table; return 1 if a file, answer or key differs."""
    if bundle is None:
        raise UserError("name what to verify: bundle=DIR, a folder that haltung export has written")
    folder, public = compact.find(bundle), signature.read_key(key, "public") if key else None
    if public and (fault := signature.fault(folder, public)):  # nothing of such a bundle is run
        print(f"{fault}; do not use it, or ask whoever should have signed it", file=sys.stderr)
        return 1
    with Console(stderr=True).status("") as status:
        result = replay(folder, threads, lambda step: status.update(f"verifying: {step}"))
    table = Table("format", "runtime", "inputs", "differs by", "allowed", "other labels", "")
    for check in result.checks:
        difference = "–" if check.difference is None else f"{check.difference:.1e}"
        verdict = Text(check.fault or "agrees", style="bold red" if check.fault else "green")
        table.add_row(check.format, check.runtime, str(check.inputs), difference, f"{check.tolerance:.1e}", str(check.differing), verdict)
    Console().print(table)
    lines = [f"{runtime} is not installed here, so it was left out" for runtime in result.absent]
    lines += [*result.broken, *(f"{check.format} by {check.runtime}: {check.fault}" for check in result.checks if check.fault)]
    for line in lines:
        print(line, file=sys.stderr)
    signed = f"{' and' if result.agrees else ', but it was'} signed by this key, {public.public_bytes_raw().hex()}" if public else ""
    print(f"{folder} {'is as it was exported' if result.agrees else 'is NOT as it was exported'}{signed}")
    return 0 if result.agrees else 1


def _table(result: ExportResult, scheme: Scheme, language: str) -> Table:
    heads = ("format", "megabytes", "distance", "texts_per_second", "", "task", "changed_labels", "macro_f1")
    table = Table(box=SIMPLE_HEAD)
    for head in heads:
        table.add_column(word(head, language) if head else "", justify="left" if head in ("format", "", "task") else "right", no_wrap=True)
    for row, task in enumerate(scheme):
        table.add_row(word("trained", language) if row == 0 else "", *[""] * 4, task.name, "", _score(result.reference, task.name))
    for name, comparison in result.comparisons.items():
        table.add_section()
        size = f"{result.bytes[name] / 1e6:.1f}" if name in result.bytes else ""
        refused = name in result.refused
        verdict = Text(word("refused" if refused else "included", language), style="bold red" if refused else "green")
        cells = [name, size, f"{comparison.difference:.1e}", f"{comparison.documents_per_second:.1f}", verdict]
        for row, task in enumerate(task for task in scheme if task.name in comparison.flips):
            flips = f"{comparison.flips[task.name]:.2%}"
            table.add_row(*(cells if row == 0 else [""] * 5), task.name, flips, _score(comparison.macro_f1, task.name))
    return table


def _score(macro_f1: Mapping[str, float], task: str) -> str:
    return f"{macro_f1[task]:.3f}" if task in macro_f1 else "–"

"""``haltung dyads``: dyads by a trained model and by word order, against gold."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from haltung.cli.build import Language, command, corpus_of
from haltung.cli.config import Request
from haltung.errors import UserError, listed


@command("dyads")
def run(
    request: Request, *, bundle: str | None, split: str, tune: bool, actors: str | None, output: str | None, language: Language
) -> None:
    """Score dyads on a split, or tune the thresholds on dev."""
    if bundle is None:
        raise UserError("name the model: bundle=DIR, a folder that haltung train or haltung export has written")
    if not request.settings.get("corpus"):
        raise UserError("name segments with gold dyads: corpus=NAME, for example corpus=gnad10_stance")

    from haltung.evaluation.report.tables import dyad_scores
    from haltung.events.dyads import model as dyad_model
    from haltung.events.dyads.scoring import AIMS
    from haltung.experiments import dyads
    from haltung.models import compact

    corpus, model = corpus_of(request.settings, request.config_dir), compact.find(bundle)
    own_actors, line = Path(actors) if actors else None, " ".join(["haltung", *request.command])
    if tune:
        if model != Path(bundle).expanduser():
            raise UserError(f"{bundle} is a compact model, which stays as it is; tune the trained bundle, and export it again")
        best, f1 = dyads.tune(model, corpus, split, line, own_actors)
        values = ", ".join(f"{name} {value:g}" for name, value in asdict(best).items())
        print(f"on the {split} split of {corpus.name} best is {values}: a mean F1 of {f1:.3f} over {listed(AIMS)}")
        print(f"written to {model / dyad_model.THRESHOLDS}")
        return
    scores = dyads.score(model, corpus, split, own_actors)
    for grid in dyad_scores(scores.settings, scores.swaps, scores.precisions, language):
        Console().print(grid.rich())
    # The bundle of a run is in the run's folder.
    folder = model.resolve()
    name = folder.parent.name if folder.name == "bundle" else folder.name
    folder = Path(output or f"experiments/reports/dyads-{name}-{corpus.name}-{split}")
    source = {"command": line, "corpus": corpus.name, "split": split, "bundle": bundle}
    dyads.write(scores, folder, f"{corpus.name}, {split}", source, language)
    print(f"metrics, plot and dyads: {folder}")

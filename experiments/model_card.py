"""Print the card of news_de: python experiments/model_card.py experiments/reports data/prepared > data/models/news_de/README.md

It reads the output of `haltung evaluate bundle=news_de corpus=NAME` for each corpus (see data/models/make.sh), and the figures of fairness.py.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from fairness import PAGE, section

from haltung.actors.matching import state_of
from haltung.actors.states import states
from haltung.evaluation.statistics.bootstrap import bca_intervals, ratio

TESTS = {"gnad10_stance": "Austrian newspaper", "wikinews_stance": "Wikinews", "bundestag_stance": "speeches of the Bundestag"}
HERE = Path(__file__).resolve().parents[1] / "data/models/news_de"


def result(corpus):
    return json.loads(Path(sys.argv[1], f"news_de-{corpus}-test", "evaluation.json").read_text(encoding="utf-8"))


def countries():
    """Return, by country, an array of right stances and sentences per article. Countries are the sides of gold dyads; neutral sentences have none."""
    found = defaultdict(lambda: defaultdict(lambda: np.zeros(2)))
    for corpus in TESTS:
        dyads = {row["id"]: row["dyads"] for row in pq.read_table(Path(sys.argv[2], corpus, "test.parquet")).to_pylist()}
        for row in pq.read_table(Path(sys.argv[1], f"news_de-{corpus}-test", "predictions.parquet")).to_pylist():
            for state in {state_of(dyad[side]) for dyad in dyads[row["id"]] for side in ("source", "target")} - {None, ""}:
                found[state][corpus, row["article"]] += (row["stance_predicted"] == row["stance_gold"], 1)
    return {state: np.array(list(articles.values())) for state, articles in found.items()}


def shown(value, interval):
    return f"{value:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]" if interval else f"{value:.3f}"


description = json.loads((HERE / "bundle" / "haltung.json").read_text(encoding="utf-8"))
results = {corpus: result(corpus) for corpus in TESTS}
source = description["provenance"]
print(f"""# `news_de`: the model that comes with Haltung

German political news, sentence by sentence: topic (11), stance (10), and who takes the stance towards whom. `haltung predict`, `haltung events`,
`haltung serve` and `haltung.load()` use it when nothing else is named. The folder holds the difference to the embedded encoder
(multilingual-e5-small cut to German, MIT), 6 bits a weight; it is rebuilt at first use and checked by its digest.

- **Trained** by `{source["command"]}` (seed {source["seed"]}) on the train splits of `news`: the written corpus `diplomacy` and labelled sentences of 10kGNAD,
  Wikinews and the Bundestag (all three rounds). The seed was set beforehand; epoch, share of the class weights, temperatures and thresholds were chosen on its dev split, of which it has learned nothing else. It has not learned from
  any test (short sentences that recur aside), nor from the items of `contrast` and `challenge`. Corpus digest `{source["corpus_digest"][:16]}`.
- **Licence:** the weights are under Apache 2.0 as the rest of Haltung; {source["licences"]["data"]}. The folder holds no texts; `learned.txt` has
  hashes of the training sentences, by which `haltung evaluate` refuses to score the model on what it knows. Whoever uses it commercially should look at the licence of 10kGNAD.

## Figures

Test splits (one training); 95 % intervals resample articles. `haltung evaluate bundle=news_de corpus=NAME`. **These tests are not untouched**: training chose nothing on them, but that this model is shipped instead of the one before it, and stays
instead of three later ones with contrast items, was decided by these figures (`experiments/README.md`, *Decided on tests*). So they may be better than on new articles, by how much is not known, and the intervals don't count it.

| test | segments, articles | topic, macro-F1 | stance, macro-F1 | topic, accuracy | stance, accuracy | dyads, F1 (source, target, stance) |
|---|---|---|---|---|---|---|""")
for corpus, what in TESTS.items():
    found = results[corpus]
    cells = [shown(found["tasks"][task][metric], found["tasks"][task]["intervals"][metric]) for metric in ("macro_f1", "accuracy") for task in ("topic", "stance")]
    whole = (found.get("dyads") or {"parts": {}})["parts"].get("source, target, stance")
    print(f"| `{corpus}` ({what}) | {found['n']}, {found['groups']} | {' | '.join(cells)} | {shown(whole['f1'], whole['interval']) if whole else '–'} |")
for task in ("stance", "topic"):
    print(f"\n{task.capitalize()} by label, F1 (segments):\n\n| | {' | '.join(f'`{corpus}`' for corpus in TESTS)} |\n|---|{'---|' * len(TESTS)}")
    labels = description["scheme"]["tasks"][task]["labels"]
    for label in labels:
        cells = []
        for corpus in TESTS:
            one = next(row for row in results[corpus]["tasks"][task]["labels"] if row["label"] == label)
            cells.append(f"{one['f1']:.2f} ({one['support']})" if one["support"] else "– (0)")
        print(f"| {label} | {' | '.join(cells)} |")
print("""
Stance by country, on the three tests together: sentences with a stance in which the country, or somebody in it, is source or target (countries with
20 sentences or more; a sentence counts for each of its countries; no interval where the articles are too few or too unlike).

| | sentences, articles | right stance |
|---|---|---|""")
for state, articles in sorted(countries().items(), key=lambda one: -one[1][:, 1].sum()):
    right, every = articles.sum(axis=0)
    if every >= 20:
        (interval,) = bca_intervals(articles, lambda sums: ratio(sums[..., :1], sums[..., 1:]))
        name = states()[state].name if state in states() else state
        print(f"| {name} | {every:.0f}, {len(articles)} | {shown(right / every, interval and {'low': interval.low, 'high': interval.high})} |")
pairs = result("challenge")["phenomena"]["stance"]
print("\nMinimal pairs (`challenge`), both sentences right:\n\n| phenomenon | pairs | both right |\n|---|---|---|")
for one in pairs:
    print(f"| {one['phenomenon']} | {one['pairs']} | {shown(one['both'], one['intervals']['both'])} |")
print("\n" + section(json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))), end="")
print("""
## Limits

- Labels were made by language models that followed our label standard; agreement with them is not agreement with independent people.
- On real news a quarter to a third of the sentences get a wrong stance, and most whole dyads are wrong (table above): count over many articles, read a
  sample, and do not quote a single sentence's label.
- Its real texts are an Austrian newspaper, Wikinews and speeches of the Bundestag; it has not been tested on anything else.
- It may judge by who acts rather than by what is done: see who is judged how. `haltung evaluate` shows what masking and exchanging names costs on texts of your own.""")

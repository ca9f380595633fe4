"""The computations of the benchmarks: files of figures, comparisons, scaling laws, containers, and
generated pages.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import exported
import tiny
from haltung.records import Segment, in_context
from haltung.serving.engine import Settings
from served import served_in_thread

MACHINE = {"processor": "P", "usable_cores": 2, "quota": None, "gpu": None, "versions": {"torch": "2"}, "time": "2026-11-30T00:00:00"}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, root: Path) -> dict[str, ModuleType]:
    """The modules of the benchmarks, which are not a package."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    names = ("measuring", "compare", "neighbour", "scaling", "inference", "generator", "texts", "known", "arithmetic", "profiling")
    return {name: importlib.import_module(name) for name in names}


def write(programs: dict[str, ModuleType], path: Path, benchmark: str = "training", **values: tuple[float, ...]) -> Path:
    """Write a file of figures for which higher is better."""
    figures = {name: programs["measuring"].Figure(found, "sentences/s") for name, found in values.items()}
    programs["measuring"].write(path, benchmark, MACHINE, figures)
    return path


def compared(root: Path, *words: object) -> tuple[int, str, str]:
    """Run compare.py; return its exit code, output and errors."""
    program = [sys.executable, root / "benchmarks/compare.py", *map(str, words)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0.0),
        ({"probabilities": {"topic": {"trade": 0.75, "war": 0.25}}}, 0.05),
        ({"topic": "war"}, float("inf")),
        ({"id": "2-0"}, float("inf")),
        ({"probabilities": {"topic": {"trade": 0.7}}}, float("inf")),
        ({"events": [{}]}, float("inf")),
    ],
)
def test_an_answer_is_the_known_one_but_for_rounding(programs: dict[str, ModuleType], change: dict[str, object], expected: float) -> None:
    """Another label, id or number of events is an infinite difference, however close the floats."""
    known = {"id": "1-0", "topic": "trade", "probabilities": {"topic": {"trade": 0.7, "war": 0.3}}, "events": []}
    assert programs["known"].difference([known], [known | change]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("before", "after", "better", "expected"),
    [
        ((10, 11, 12), (7, 8, 9), "higher", "slower"),
        ((10, 11, 12), (7, 8, 10), "higher", "same"),
        ((10, 11, 12), (13, 14, 15), "higher", "faster"),
        ((10, 11, 12), (13, 14, 15), "lower", "slower"),
        ((10, 11, 12), (7, 8, 9), "lower", "faster"),
        ((100, 100.1, 100.2), (99, 99.1, 99.2), "higher", "same"),
        ((10,), (7, 8, 9), "higher", "unknown"),
        ((10,), (10,), "higher", "same"),
    ],
)
def test_slower_is_what_lies_beyond_the_spread(
    programs: dict[str, ModuleType], before: tuple[float, ...], after: tuple[float, ...], better: str, expected: str
) -> None:
    """The median is worse by more than 2 %, and all new values are worse than all old ones."""
    figure = programs["measuring"].Figure
    assert programs["compare"].verdict(figure(before, "s", better), figure(after, "s", better), 0.02) == expected


def test_two_files_are_compared(programs: dict[str, ModuleType], root: Path, tmp_path: Path) -> None:
    """Exit code 1 if figures are slower, 0 for equal files; other machines are reported."""
    before = write(programs, tmp_path / "a.json", article=(50, 51, 52), network=(20, 21, 22), gone=(1, 2))
    after = write(programs, tmp_path / "b.json", article=(40, 41, 42), network=(20, 21, 22))
    document = json.loads(after.read_text())
    document["machine"]["usable_cores"] = 1
    after.write_text(json.dumps(document))
    code, out, _ = compared(root, before, after)
    assert (code, out.splitlines()[-1]) == (1, "1 of 2 figures are slower beyond the spread: article")
    assert "usable_cores differs: 2 before, 1 after" in out
    assert "only in" in out
    assert "gone" in out
    assert compared(root, before, before)[0] == 0


def test_what_can_not_be_compared_is_refused(programs: dict[str, ModuleType], root: Path, tmp_path: Path) -> None:
    """Missing or broken files, other benchmarks, no common figure: exit code 2 and one sentence."""
    one = write(programs, tmp_path / "a.json", article=(1, 2))
    broken = tmp_path / "broken.json"
    broken.write_text('{"figures": {"article": {"values": []}}}')
    others = {
        tmp_path / "absent.json": "absent.json can't be read",
        broken: "broken.json is no file of a benchmark",
        write(programs, tmp_path / "b.json", "scaling", article=(1, 2)): "b.json of scaling",
        write(programs, tmp_path / "c.json", network=(1, 2)): "no figure in common",
    }
    for other, told in others.items():
        code, out, errors = compared(root, one, other)
        assert (code, out, errors.count("\n")) == (2, "", 1)
        assert told in errors


def test_a_process_is_measured(programs: dict[str, ModuleType], tmp_path: Path) -> None:
    """Exit code, processor time, elapsed time and peak memory."""
    program = "import sys; print('said'); block = bytearray(b'x') * 80_000_000; sys.exit(3)"
    code, cost = programs["measuring"].run([sys.executable, "-c", program], tmp_path, tmp_path / "log.txt")
    assert (code, (tmp_path / "log.txt").read_text()) == (3, "said\n")
    assert cost.peak_bytes > 80e6
    assert cost.cpu_seconds > 0
    assert cost.seconds > 0


def test_a_process_is_asked_line_by_line(programs: dict[str, ModuleType], tmp_path: Path) -> None:
    """Each line gets an answer; if the process ends, its errors are reported."""
    program = "import sys\nfor line in sys.stdin: print(10 // int(line), flush=True)"
    with programs["measuring"].worker([sys.executable, "-c", program], tmp_path / "log.txt") as ask:
        assert [ask("2"), ask("5")] == ["5\n", "2\n"]
        with pytest.raises(SystemExit, match="ZeroDivisionError"):
            ask("0")


def test_the_machine_is_described(programs: dict[str, ModuleType]) -> None:
    """The description has all that figures depend on."""
    found = programs["measuring"].machine()
    assert found["processor"]
    assert 1 <= found["usable_cores"] <= found["cores"]
    assert {"torch", "transformers"} <= found["versions"].keys()
    json.dumps(found)


def test_a_line_goes_through_the_logarithms(programs: dict[str, ModuleType]) -> None:
    """``Line`` finds the exponent of a power law, ``Price`` a fixed cost and a cost per row."""
    scaling = programs["scaling"]
    line = scaling.Line.through([(size, 3 * size**1.5) for size in (10, 100, 1000)])
    assert (line.slope, line.factor) == (pytest.approx(1.5), pytest.approx(3))
    price = scaling.Price.of([(size, 7 + 0.01 * size) for size in (1_000, 10_000, 100_000)])
    assert (price.start, price.row) == (pytest.approx(7), pytest.approx(0.01))
    assert price.hours(3_600_000, 10) == pytest.approx(1 + 7 / 3600)
    assert scaling.Line.through([(10, 1), (10, 2)]) is None
    assert scaling.Price.of([]) is None


def test_sentences_that_are_cut_elsewhere_lose_no_word(programs: dict[str, ModuleType]) -> None:
    """Only the words before the first cut are omitted, and no text equals an original one."""
    parts = [f"{letter}1 {letter}2 {letter}3 {letter}4" for letter in "ABC"]
    scaling = programs["scaling"]
    assert scaling.moved(parts, 0) == parts
    for cut in range(1, 4):
        texts = scaling.moved(parts, cut)
        assert " ".join(texts).split() == " ".join(parts).split()[cut:]
        assert not set(texts) & set(parts)


def test_a_training_has_the_size_that_is_asked_for(programs: dict[str, ModuleType], tmp_path: Path) -> None:
    """Articles are repeated as often as needed, and no id occurs twice."""
    scaling = programs["scaling"]
    scaling.command("train", 11_000, tmp_path, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "given.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(row["split"] == "train" for row in rows) == 11_000
    assert 0 < sum(row["split"] == "dev" for row in rows) < 1_000
    assert len({row["id"] for row in rows}) == len(rows)


def test_what_is_in_the_file_is_not_measured_again(programs: dict[str, ModuleType]) -> None:
    """The second round begins when the first is complete, and earlier figures are kept."""
    scaling = programs["scaling"]
    there = [scaling.Point("train", 20, 1.0, 1.0, 1)]
    assert scaling.left(there, ["predict", "train"], [20, 10], 1) == [("predict", 10), ("predict", 20), ("train", 10)]
    assert scaling.left(there, ["train"], [20, 10], 2) == [("train", 10), ("train", 10), ("train", 20)]
    assert scaling.left([], ["predict"], None, 1) == [("predict", size) for size in scaling.SIZES["predict"]]


def test_the_page_is_filled_in_from_the_file(programs: dict[str, ModuleType], root: Path, tmp_path: Path) -> None:
    """The real page has all markers, and filling it again changes nothing."""
    scaling = programs["scaling"]
    page, file = tmp_path / "page.md", tmp_path / "scaling.json"
    page.write_text((root / "docs/scaling.md").read_text(encoding="utf-8"), encoding="utf-8")
    points = [scaling.Point("predict", size, 5 + 0.002 * size, 1.0, 500_000_000) for size in (1_000, 10_000, 100_000)]
    scaling.store(file, MACHINE, points)
    assert scaling.load(file) == (MACHINE, points)
    scaling.fill(page, [file], 0.5, "EUR")
    text = page.read_text(encoding="utf-8")
    assert "| predict | 100,000 | 205 |" in text
    # 10⁹ sentences at 2 ms each on 1,000 workers: 5 + 2,000 seconds, 0.557 hours.
    assert "| 1,000,000,000 | 1000 | 0.6 | 556.9 | 278.47 |" in text
    scaling.fill(page, [file], 0.5, "EUR")
    assert page.read_text(encoding="utf-8") == text
    with pytest.raises(ValueError, match="no figures"):
        scaling.fill(page, [tmp_path / "absent.json"], None, "EUR")


def test_what_is_kept_is_the_ratio_of_one_round(programs: dict[str, ModuleType]) -> None:
    """The ratio is to a variant's own speed alone, and to that of the fastest variant."""
    found = programs["neighbour"].figures({("training", "haltung"): [(10, 6), (20, 16)], ("training", "one-less"): [(8, 8), (40, 20)]})
    assert found["training, haltung: kept"].values == (0.6, 0.8)
    assert found["training, haltung: kept of the fastest"].values == (0.6, 0.4)
    assert found["training, one-less: kept of the fastest"].values == (0.8, 0.5)


def _article(name: str, sentences: int) -> list[Segment]:
    """Return the sentences of an article with their contexts."""
    texts = [f"Peru lobt den Zoll in {country}." for country in ("Chile", "Ghana", "Malta")[:sentences]]
    rows = [Segment(f"{name}{place}", text, article=name, headline=f"Über {name}", position=place) for place, text in enumerate(texts)]
    return in_context(rows)


def test_all_servers_are_sent_the_same_sentences(programs: dict[str, ModuleType]) -> None:
    """For whole articles, mlflow gets the sentences into which our server splits the text. Single
    sentences have their context, but no article, headline or position.
    """
    articles = [_article("a", 3), _article("b", 2)]
    whole = programs["inference"].requests("articles", articles)
    assert whole["haltung"][1] == (2, {"text": "Peru lobt den Zoll in Chile. Peru lobt den Zoll in Ghana.", "headline": "Über b"})
    assert [sentences for sentences, _ in whole["mlflow"]] == [3, 2]
    assert whole["mlflow"][1][1]["dataframe_records"][1] == {
        "text": "Peru lobt den Zoll in Ghana.", "context": "Über b Peru lobt den Zoll in Chile.",
        "article": "a", "headline": "Über b", "position": 1,
    }  # fmt: skip
    single = programs["inference"].requests("single", articles)
    assert {form: len(sent) for form, sent in single.items()} == {"haltung": 5, "mlflow": 5, "mlflow-pipeline": 5}
    sentence = {"text": articles[0][1].text, "context": articles[0][1].context}
    assert single["haltung"][1] == (1, sentence)
    assert single["mlflow"][1] == (1, {"dataframe_records": [sentence]})
    assert single["mlflow-pipeline"][1] == (1, {"dataframe_records": [{"text": sentence["context"], "text_pair": sentence["text"]}]})


def test_requests_and_their_sentences_are_counted(programs: dict[str, ModuleType], tmp_path: Path) -> None:
    """Refused requests count as failed."""
    bundle, path = exported.write(tmp_path / "bundle"), tmp_path / "bodies.jsonl"
    write, load = programs["generator"].write, programs["generator"].load
    with served_in_thread(Settings(bundle, runtime="onnxruntime", threads=1)) as address:
        write(path, [(2, {"segments": [{"text": "Peru"}, {"text": "Chile"}]}), (1, {"text": "Peru"})])
        told = asyncio.run(load(f"{address}classify", path, 2, 0.3))
        assert (told["failed"], told["requests"] > 1) == (0, True)
        assert 0 < told["p50"] <= told["p99"]
        assert told["sentences"] / told["rate"] == pytest.approx(1.5, abs=0.5)
        write(path, [(1, {"text": ""})])
        told = asyncio.run(load(f"{address}classify", path, 1, 0.1))
        assert told["failed"] == told["requests"]


def test_a_ratio_is_that_of_one_round_to_the_best_rival_in_it(programs: dict[str, ModuleType]) -> None:
    """More sentences are better, and fewer milliseconds; an aim applies to the median."""
    inference = programs["inference"]
    found = inference.figures({
        ("bulk", "predict", "sentences"): [60, 50], ("bulk", "pipeline 1", "sentences"): [10, 20],
        ("bulk", "pipeline 32", "sentences"): [20, 10], ("single, 1 client", "haltung", "p99"): [10, 30],
        ("single, 1 client", "mlflow", "p99"): [40, 40], ("single, 1 client", "mlflow-torch", "p99"): [20, 60],
        ("cache, 32 clients", "haltung", "rate"): [5, 5], ("cache, 32 clients", "cache", "rate"): [50, 40],
    })  # fmt: skip
    assert found["bulk: sentences, predict / the best of them"].values == (3, 2.5)
    assert found["bulk: sentences, predict / pipeline 1"].values == (6, 2.5)
    late = found["single, 1 client: p99, haltung / the best of them"]
    assert (late.values, late.better) == ((0.5, 0.75), "lower")
    assert found["cache, 32 clients: requests, cache / haltung"].values == (10, 8)
    assert not [name for name in found if "haltung / cache" in name or "mlflow /" in name]
    told = {name: inference.verdict(name, figure) for name, figure in found.items()}
    assert told["bulk: sentences, predict / the best of them"] == "at least 5: no"
    assert told["single, 1 client: p99, haltung / mlflow"] == "at most 0.5: yes"
    assert told["bulk: sentences, predict"] == told["cache, 32 clients: requests, cache / haltung"] == ""


def test_whole_articles_are_drawn(programs: dict[str, ModuleType]) -> None:
    """All sentences of an article in order, with contexts, until there are enough."""
    drawn = programs["texts"].articles("diplomacy", 30)
    assert sum(map(len, drawn)) >= 30 > sum(map(len, drawn[:-1]))
    for article in drawn:
        assert {one.article for one in article} == {article[0].article}
        assert [one.position for one in article] == list(range(len(article)))
        assert article[-1].context
    assert drawn == programs["texts"].articles("diplomacy", 30)


def test_a_container_has_its_quota(programs: dict[str, ModuleType]) -> None:
    """A process in the container sees the quota; the control group is removed afterwards."""
    neighbour = programs["neighbour"]
    if neighbour.possible(["quota"])[1]:
        pytest.skip("this user may make no control group with a quota")
    program = "from haltung import resources; print(resources.quota())"
    with neighbour.container(0.5) as prefix:
        done = subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0.5\n"
    assert not Path(prefix[-1]).exists()


def test_a_container_that_may_not_be_made_says_so(programs: dict[str, ModuleType], tmp_path: Path) -> None:
    """The message says that it has to run as root."""
    neighbour = programs["neighbour"]
    with pytest.raises(neighbour.NotPossible, match="as root"), neighbour.container(1.5, tmp_path / "absent"):
        pass


def test_the_busy_process_ends_with_the_block(programs: dict[str, ModuleType]) -> None:
    """Also if the block raises."""
    neighbour = programs["neighbour"]
    before = os.times()
    with pytest.raises(RuntimeError), neighbour.busy([], apart=False):
        raise RuntimeError
    after = os.times()
    # Its time is counted only after it has ended and been waited for.
    assert after.children_user > before.children_user


def test_a_frozen_layer_counts_forwards_and_a_trained_one_three_times(programs: dict[str, ModuleType], bert: Path) -> None:
    """Computed by hand for an encoder of two layers, the lower one frozen, and a head per task."""
    model = tiny.network(bert, freeze_layers=1)
    config, arithmetic = model.network.encoder.config, programs["arithmetic"]
    assert config.num_hidden_layers == 2
    square, wide = config.hidden_size**2, config.hidden_size * config.intermediate_size
    layer, heads = 2 * (4 * square + 2 * wide), 2 * config.hidden_size * sum(map(len, tiny.scheme()))
    assert arithmetic.cost(model.network, trains=False) == arithmetic.Cost(2 * layer, heads)
    # The input of the trained layer's query, key and value needs no gradient.
    assert arithmetic.cost(model.network, trains=True) == arithmetic.Cost(layer + 3 * layer - 3 * 2 * square, 3 * heads)
    whole = tiny.network(bert).network
    assert arithmetic.cost(whole, trains=True) == arithmetic.Cost(3 * 2 * layer, 3 * heads)
    assert arithmetic.cost(whole, trains=True).of(tokens=10, sentences=2) == 60 * layer + 6 * heads


def test_embeddings_and_dyads_are_not_counted(programs: dict[str, ModuleType], bert: Path) -> None:
    """But the network over sentences is counted once per sentence."""
    model, arithmetic = tiny.article_model(bert, dyads=True, layers=1), programs["arithmetic"]
    width = model.network.width
    over, heads = 2 * (4 * width**2 + 2 * 2 * width**2), 2 * 2 * width * sum(map(len, model.scheme))
    assert arithmetic.cost(model.network, trains=False).sentence == over + heads


def test_a_peak_is_measured_at_the_shapes_of_the_encoder(programs: dict[str, ModuleType], bert: Path) -> None:
    """Matrix products within the hidden size, and to the intermediate size and back."""
    model = tiny.network(bert)
    config = model.network.encoder.config
    width, wide = config.hidden_size, config.intermediate_size
    found = programs["arithmetic"].peak(model, 7, torch.float32)
    assert list(found) == [f"7 x {width} x {width}", f"7 x {width} x {wide}", f"7 x {wide} x {width}"]
    assert min(found.values()) > 1e6


def test_time_within_a_part_counts_to_the_innermost(programs: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """``turn_to`` assigns the rest of a part to another one."""
    clock = iter([0, 1, 5, 7, 10, 14, 20])  # at each start, turn and end
    monkeypatch.setattr(programs["profiling"], "now", lambda: next(clock))
    parts = programs["profiling"].Parts()
    with parts.within("outer"):
        with parts.within("inner"):
            pass
        with parts.within("first"):
            parts.turn_to("second")
    assert parts.seconds == {"outer": 1 + 2 + 6, "inner": 4, "first": 3, "second": 4}
    assert parts.counts == {"outer": 1, "inner": 1, "first": 1, "second": 1}


@pytest.mark.slow
def test_the_benchmark_of_training_measures_all_sides(root: Path, bert: Path, tmp_path: Path) -> None:
    """Rates, shares of the peak, ratios, and a profile of each part, for a tiny encoder."""
    program = [
        sys.executable,
        root / "benchmarks/training.py",
        "--sentences",
        "12",
        "encoder=local",
        f"encoder.path={bert}",
        "corpus.max_length=64",
        "corpus=diplomacy",
        f"corpus.reader.path={root}/data/diplomacy/articles-12.jsonl",  # 90 articles
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*program, "--rounds", "1", "--padded", "64"], capture_output=True, text=True, check=True, env=environment)
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    for side in ("article", "network", "article predicts", "network predicts"):
        share, reached, peak = (figures[f"{side}, {name}"]["values"][0] for name in ("share of the peak", "operations", "peak"))
        assert 0 < share < 1
        assert share == pytest.approx(reached / peak)
    assert {"plain, tokens", "article / plain", "article / plain, tokens", "article / network, tokens"} <= figures.keys()
    page = tmp_path / "profile.txt"
    subprocess.run([*program, "--profile", page], capture_output=True, text=True, check=True, env=environment)
    for part in ("forward: encoder", "backward: encoder", "forward: dyads", "optimizer", "collate", "evaluation on dev", "aten::addmm"):
        assert part in page.read_text(encoding="utf-8")

"""The JavaScript client under Node and in a real browser: the trained model's answers from files
alone, also for difficult inputs.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haltung.inference.client import Classifier
from haltung.models.predictor import Model
from haltung.records import Segment
from nasty_sentences import sentences

ROOT = Path(__file__).resolve().parents[2]

# npm fetches 100 MB, which unpack to four times as much.
pytestmark = [pytest.mark.slow, pytest.mark.system("node", "npm")]

KINDS = ("bert", "multilingual", "linear", "article")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clients with their npm packages, so that nothing of npm's is left in the
    checkout.
    """
    folder = tmp_path_factory.mktemp("clients") / "clients"
    shutil.copytree(ROOT / "clients", folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder / "javascript", capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bundles(clients: Path, client_bundle: Callable[[str], tuple[object, Path]]) -> dict[str, Path]:
    """A bundle of each kind, in the folder of the page, where its server finds them."""
    return {kind: Path(shutil.copytree(client_bundle(kind)[1], clients / "browser" / kind)) for kind in KINDS}


def _node(clients: Path, program: str, *words: str) -> Any:
    """Run a program that imports the client and prints JSON."""
    command = ["node", "--input-type=module", "--eval", program, *words]
    done = subprocess.run(command, cwd=clients / "javascript", capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _replay(clients: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["node", clients / "javascript/replay.mjs", *words], capture_output=True, text=True, check=False, timeout=600)


def _largest(text: str) -> float:
    match = re.search(r"(?:difference|Abweichung) ([0-9.e+-]+),", text)
    assert match, text
    return float(match[1])


@pytest.mark.parametrize("kind", KINDS)
def test_node_meets_the_golden_answers(clients: Path, bundles: dict[str, Path], kind: str) -> None:
    """All probabilities agree and no label differs, also for decomposed umlauts, emoji, joiners,
    tabs, lone surrogates, and 100 kB.
    """
    done = _replay(clients, str(bundles[kind]))
    assert (done.returncode, done.stderr) == (0, "")
    assert "labels that differ: 0" in done.stdout
    assert _largest(done.stdout) < 1e-4


def test_the_client_leaves_no_identifier_of_the_machine(
    clients: Path, bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's telemetry writes one as soon as it is loaded, except in CI, so the test unsets
    ``CI``.
    """
    for name in ("CI", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _replay(clients, str(bundles["linear"])).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_replay_fails_where_an_answer_differs(clients: Path, bundles: dict[str, Path], tmp_path: Path) -> None:
    """By more than a thousandth, or NaN, in a single probability; and a file without answers or a
    wrong folder is reported without a traceback.
    """
    folder = tmp_path / "changed"
    shutil.copytree(bundles["linear"], folder)
    rows = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").split("\n") if line]
    answer = rows[7]["probabilities"]["stance"]
    for changed in (answer["warning"] + 0.0011, "NaN"):
        answer["warning"] = changed
        (folder / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        assert _replay(clients, str(folder)).returncode == 1
    (folder / "golden.jsonl").write_text(json.dumps(rows[0]) + '\n\n{"id": "g02", "text": \n', encoding="utf-8")
    broken = _replay(clients, str(folder))
    assert (broken.returncode, broken.stderr.count("\n")) == (2, 1)
    assert broken.stderr.startswith("line 3 of golden.jsonl of the bundle is broken (")
    (folder / "golden.jsonl").write_text("", encoding="utf-8")
    empty = _replay(clients, str(folder))
    assert (empty.returncode, empty.stderr) == (2, "golden.jsonl of the bundle is empty; export the bundle again\n")
    wrong = _replay(clients, str(tmp_path / "none"))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "haltung.json of the bundle can't be read" in wrong.stderr


TOKENS = """
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
import { tokenizer } from "./tokenizer.mjs";
const [file, texts] = process.argv.slice(1);
const ids = tokenizer(Tokenizer, JSON.parse(readFileSync(file, "utf8")));
console.log(JSON.stringify(JSON.parse(readFileSync(texts, "utf8")).map(ids)));
"""


@pytest.mark.parametrize("kind", ["bert", "multilingual"])
def test_ids_are_those_of_the_rust_library(clients: Path, bundles: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """For difficult sentences, and for each early character whose Unicode category is stable, at
    the edge, in the middle and alone.
    """
    from tokenizers import Tokenizer

    # On younger ones the engine and the Rust library may disagree (see tokenizer.mjs).
    old, young = unicodedata.ucd_3_2_0.category, unicodedata.category
    characters = [one for one in map(chr, range(1, 12_000)) if young(one) == old(one) != "Cn"]
    texts = [*sentences(), *(f"{one}a{one}b {one}" for one in characters), "Chile " * 20_000, "🧻" * 30_000, f"x{' ' * 50_000}y"]
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    file = bundles[kind] / "tokenizer.json"
    expected = [one.ids for one in Tokenizer.from_file(str(file)).encode_batch(texts, add_special_tokens=False)]
    found = _node(clients, TOKENS, str(file), str(tmp_path / "texts.json"))
    differing = [text[:60] for text, ours, theirs in zip(texts, found, expected, strict=True) if ours != theirs]
    assert differing == []


def test_predictions_are_those_of_the_python_client(clients: Path, bundles: dict[str, Path]) -> None:
    """Ids, labels of both kinds of task, abstentions, and the order of the texts."""
    texts = [text for text in sentences() if text.strip()][:80]
    segments = [
        {"id": f"n{place}", "text": text, "context": texts[-place], "target": "Soll Peru zahlen?"} for place, text in enumerate(texts)
    ]
    program = (
        'import { load } from "./node.mjs"; const [folder, segments] = process.argv.slice(1);'
        "console.log(JSON.stringify(await (await load(folder)).classify(JSON.parse(segments), { abstain: 0.8 })));"
    )
    found = _node(clients, program, str(bundles["bert"]), json.dumps(segments))
    expected = Classifier(bundles["bert"]).classify(segments, abstain=0.8)
    assert [{**row, "probabilities": {}} for row in found] == [{**row, "probabilities": {}} for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for task, values in theirs["probabilities"].items():
            assert ours["probabilities"][task] == pytest.approx(values, abs=1e-5)


@pytest.fixture(scope="module")
def article_model(client_bundle: Callable[[str], tuple[Model, Path]]) -> Model:
    """The trained model behind the bundle of whole articles."""
    return client_bundle("article")[0]


def _articles() -> list[Segment]:
    """Return shuffled sentences of articles, two of them longer than a window, and single texts."""
    rng = random.Random(4)
    texts = [text for text in sentences() if text.strip()]
    out = []
    for place, text in enumerate(texts[:60]):
        context, target = rng.choice(["", " ", texts[-place]]), rng.choice(["", "Chile"])
        out.append(Segment(f"s{place}", text, context=context, target=target, article=rng.choice(["", "a1"])))
    headlines = {3: "Streit um Zoll", 1: " Peru warnt\u2003", 70: "Österreich", 12: "", 40: "\ufeff"}
    for size, headline in headlines.items():
        for place in range(size):
            # An article has the first headline given; contexts in articles are not read.
            first = headline and f"{headline} {('Peru', 'Chile', 'Malta')[place % 3]}"
            where = {"article": f"a{size}", "position": 3 * place - 4, "headline": first, "context": "ungelesen"}
            out.append(Segment(f"a{size}-{place}", rng.choice(texts), target=rng.choice(["", "Soll Peru zahlen?"]), **where))  # type: ignore[arg-type]
    rng.shuffle(out)
    return out


def _given(segments: list[Segment]) -> list[dict[str, Any]]:
    names = ("id", "text", "context", "target", "article", "position", "headline")
    return [{name: getattr(one, name) for name in names} for one in segments]


def _differing(found: list[dict[str, Any]], expected: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of a probability."""
    values = {task: np.array([[*row["probabilities"][task].values()] for row in found]) for task in expected}
    return max(float(np.abs(values[task] - expected[task]).max()) for task in expected)


CLASSIFY = """
import { readFileSync } from "node:fs";
import { load } from "./node.mjs";
const [folder, file] = process.argv.slice(1);
console.log(JSON.stringify(await (await load(folder)).classify(JSON.parse(readFileSync(file, "utf8")))));
"""


def test_whole_articles_are_read_as_the_model_reads_them(
    clients: Path, bundles: dict[str, Path], article_model: Model, tmp_path: Path
) -> None:
    """Each sentence with its neighbours, in the given order, whatever their number."""
    segments = _articles()
    (tmp_path / "segments.json").write_text(json.dumps(_given(segments)), encoding="utf-8")
    found = _node(clients, CLASSIFY, str(bundles["article"]), str(tmp_path / "segments.json"))
    assert [row["id"] for row in found] == [one.id for one in segments]
    assert _differing(found, article_model.probabilities(segments, precision="fp32")) < 1e-4
    # Read alone, they would get other answers.
    alone = [replace(one, article="") for one in segments]
    assert _differing(found, article_model.probabilities(alone, precision="fp32")) > 1e-2


def test_positions_begin_where_those_of_the_encoder_do(clients: Path, bundles: dict[str, Path], tmp_path: Path) -> None:
    """RoBERTa's first one is 2; here the description of another bundle is changed to say so."""
    folder = Path(shutil.copytree(bundles["article"], tmp_path / "moved"))
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    description["input"]["first_position"] = 2
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
    given = _given(_articles())
    (tmp_path / "segments.json").write_text(json.dumps(given), encoding="utf-8")
    found = _node(clients, CLASSIFY, str(folder), str(tmp_path / "segments.json"))
    moved, usual = Classifier(folder).probabilities(given), Classifier(bundles["article"]).probabilities(given)
    assert _differing(found, moved) < 1e-4 < 1e-2 < _differing(found, usual)


@pytest.mark.parametrize(
    ("segment", "sentence"),
    [
        ({"text": "Ja", "article": 5}, "the article of row 1 is not text but number"),
        ({"text": "Ja", "headline": ["Zoll"]}, "the headline of row 1 is not text but object"),
        ({"text": "Ja", "article": "a", "position": "3"}, "the position of row 1 is not a whole number but string"),
        ({"text": "Ja", "article": "a", "position": 1.5}, "the position of row 1 is not a whole number but 1.5"),
    ],
)
def test_a_wrong_place_in_an_article_is_one_sentence(
    clients: Path, bundles: dict[str, Path], segment: dict[str, Any], sentence: str
) -> None:
    """A bundle that reads no articles ignores it."""
    program = """
    import { BundleError, load } from "./node.mjs";
    const [wrong, ...folders] = process.argv.slice(1);
    const said = [];
    for (const folder of folders) {
      const classifier = await load(folder);
      said.push(await classifier.classify([JSON.parse(wrong)]).then(() => "", (error) => error instanceof BundleError && error.message));
    }
    console.log(JSON.stringify(said));
    """
    assert _node(clients, program, json.dumps(segment), str(bundles["article"]), str(bundles["bert"])) == [sentence, ""]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("classify([' '])", "the text of row 1 is empty; leave it out"),
        ("classify('Ja')", "one segment was given where a list of them is expected; put it into brackets"),
        ("classify([{ text: 5 }])", "the text of row 1 is not text but number"),
        ("classify([null])", "row 1 is neither a text nor an object with a 'text'"),
        ("classify(['Ja'], { abstain: 0.7 })", "the bundle has no thresholds for the precision 0.7; it has those for 0.8, 0.9"),
    ],
)
def test_a_callers_mistake_is_one_sentence(clients: Path, bundles: dict[str, Path], statement: str, sentence: str) -> None:
    """As in Python."""
    program = (
        'import { BundleError, load } from "./node.mjs"; const classifier = await load(process.argv[1]);'
        f"try {{ await classifier.{statement}; }} catch (error) {{"
        "  console.log(JSON.stringify([error instanceof BundleError, error.message])); }"
    )
    assert _node(clients, program, str(bundles["linear"])) == [True, sentence]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the library's own name
        pass


@pytest.fixture(scope="module")
def address(clients: Path) -> Iterator[str]:
    """The address of a plain static file server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(clients))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The system's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.mark.system("chromium")
@pytest.mark.parametrize("kind", KINDS)
def test_the_page_meets_the_golden_answers(bundles: dict[str, Path], address: str, browser: Any, kind: str) -> None:
    """The model runs in the page, in half precision, without a request to another server and
    without an error in the console.
    """
    page = browser.new_page()
    page.set_default_timeout(120_000)
    requested: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    page.goto(f"{address}browser/?bundle={kind}/")
    page.get_by_role("button", name="Antworten prüfen").click()
    output = page.locator("output")
    page.wait_for_function("document.querySelector('output').value.includes('Abweichung')")
    assert "andere Antworten: 0" in output.inner_text()
    assert _largest(output.inner_text()) < 1e-3
    page.locator("textarea[name=text]").fill("Chile warnt die Marine .")
    page.get_by_role("button", name="Einordnen").click()
    # For articles the sentence and its label for each task, otherwise the only sentence's labels.
    page.wait_for_function(f"document.querySelectorAll('tr').length === {3 if kind == 'article' else 5}")
    (prediction,) = Classifier(bundles[kind]).classify(["Chile warnt die Marine ."])
    assert page.get_by_role("row").filter(has_text="stance").first.inner_text().split()[1] == prediction["stance"]
    assert {url for url in requested if not url.startswith((address, "data:"))} == set()
    assert any(url.endswith("model.fp16.onnx") for url in requested)
    assert wrong == []
    page.close()


@pytest.mark.system("chromium")
def test_the_page_says_what_is_wrong_with_a_bundle(bundles: dict[str, Path], address: str, browser: Any) -> None:
    """In place of the answer."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}browser/?bundle=none/")
    page.wait_for_function("document.querySelector('output').value.includes('name an exported bundle')")
    page.goto(f"{address}browser/?bundle=linear/&format=fp99")
    page.wait_for_function("document.querySelector('output').value.includes(\"has no format 'fp99'\")")
    page.close()


@pytest.mark.system("chromium")
@pytest.mark.usefixtures("bundles")
def test_the_page_reads_a_whole_article(address: str, browser: Any, article_model: Model) -> None:
    """Each sentence is read with the headline and its neighbours; abbreviations and ordinals end
    none.
    """
    texts = [
        "Chile warnt am 3. Oktober Peru .",
        "Das kostet z. B. die Bank 3 Mrd. Euro.",
        "„Malta lobt den Zoll“, sagt Dr. Meier.",
        "Peru mahnt",
    ]
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}browser/?bundle=article/&format=fp32")
    page.locator("textarea[name=context]").fill("Streit um den Truppenabzug")
    page.locator("textarea[name=text]").fill(f"{texts[0]} {texts[1]} {texts[2]}\n\n{texts[3]}")
    page.get_by_role("button", name="Einordnen").click()
    page.wait_for_function("document.querySelectorAll('th').length === 4")
    said = [row.inner_text().split("\t")[:3] for row in page.get_by_role("row").all()]
    headline = "Streit um den Truppenabzug"
    segments = [Segment("", text, article="a", position=place, headline=headline) for place, text in enumerate(texts)]
    probabilities = article_model.probabilities(segments, precision="fp32")
    for place, text in enumerate(texts):
        assert said.pop(0)[0] == text
        for task in article_model.scheme:
            values = probabilities[task.name][place]
            name, label, share = said.pop(0)
            assert (name, label) == (task.name, task.ids[values.argmax()])
            assert float(share.removesuffix(" %")) == pytest.approx(100 * values.max(), abs=0.06)
    assert said == []
    page.close()


@pytest.mark.system("chromium")
@pytest.mark.usefixtures("bundles")
def test_a_browser_reads_whole_articles_as_the_model_reads_them(address: str, browser: Any, article_model: Model) -> None:
    """Long ones, short ones and single sentences at once."""
    segments = _articles()
    page = browser.new_page()
    page.goto(f"{address}browser/?bundle=none/")
    program = """async (segments) => {
        const { load } = await import("../javascript/browser.mjs");
        const wasm = "../javascript/node_modules/onnxruntime-web/dist/";
        return (await load("article/", { format: "fp32", wasm })).classify(segments);
    }"""
    found = page.evaluate(program, _given(segments))
    assert [row["id"] for row in found] == [one.id for one in segments]
    assert _differing(found, article_model.probabilities(segments, precision="fp32")) < 1e-4
    page.close()

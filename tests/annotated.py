"""A corpus to label, whose texts and labels contain markup, and servers of its annotation page."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from haltung.actors.finder import Actors
from haltung.annotation.app import application
from haltung.annotation.work import AnswersFile, Work
from haltung.corpus.readers.tables import Jsonl
from haltung.labels import load

PATIENCE = 60
EVIL = "<script>document.title = 'evil'</script><img src=x onerror=\"document.title = 'evil'\">"
SCHEME = f"""
name: small
tasks:
  topic:
    de: Thema
    en: Topic
    labels:
      security: {{de: Sicherheit, en: Security, definition: "War <b>and</b> peace."}}
      economy: {{de: Wirtschaft, en: Economy}}
      other: {{de: {json.dumps(EVIL)}, en: Other}}
  themes:
    kind: multi
    labels: [energy, migration]
  stance:
    de: Haltung
    en: Stance
    labels:
      warning: {{de: Warnung, en: Warning}}
      support: {{de: Unterstützung, en: Support}}
      neutral: {{de: Neutral, en: Neutral}}
"""
SENTENCES = (
    "Die USA haben Russland vor neuen Raketen gewarnt.",
    f"China droht Taiwan {EVIL}.",
    "Polen begrüßt den Schritt der Ukraine.",
    "Der Vertrag gilt seit einem Jahr.",
)
CORPUS = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=labels.yaml")
GOOD: dict[str, Any] = {"topic": "security", "stance": "warning", "themes": []}


def write(folder: Path, articles: int = 2) -> Path:
    """Write the corpus, each article with its position and headline, and its scheme."""
    rows = [
        {"id": f"{article}-{n}", "text": f"{text} ({article})", "article": f"a{article}", "position": n, "headline": f"Artikel {EVIL}"}
        for article in range(articles)
        for n, text in enumerate(SENTENCES)
    ]
    (folder / "labels.yaml").write_text(SCHEME, encoding="utf-8")
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def work(folder: Path, name: str, settle: Sequence[str] = (), coder: str = "") -> Work:
    """Open the corpus of a folder for a coder, or for a judge who settles the answers in files."""
    scheme = load(folder / "labels.yaml")
    reading = Jsonl(str(folder / "texts.jsonl")).read(scheme)
    file = AnswersFile(folder / f"{name}.jsonl", scheme)
    return Work(scheme, reading, coder or name, file, [folder / other for other in settle], Actors.load())


def answer(of: Work, number: int, dyads: Sequence[tuple[str, str]] = (), comment: str = "", **labels: Any) -> None:
    """Answer a segment, by default with the labels of ``GOOD``."""
    said = {**GOOD, **labels}
    own = of.view(number)["answer"]
    given = [{"source": source, "target": target, "stance": said["stance"]} for source, target in dyads]
    of.answer(number, {"labels": said, "dyads": given, "comment": comment, "seen": own and own["time"]})


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of answers."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def served(of: Work, key: str | None = None) -> Iterator[str]:
    """Serve the annotation page in a thread; yield its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application(of, "127.0.0.1", key), log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        end = time.monotonic() + PATIENCE
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join(PATIENCE)


class Server:
    """A command that serves a page, run in a separate process."""

    def __init__(self, folder: Path, name: str, *words: str) -> None:
        with (folder / f"{name}.log").open("w") as log:
            program = [sys.executable, "-m", "haltung", *words]
            self.process = subprocess.Popen(program, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line)
            if " at http://" in line:
                self.address = line.partition(" at ")[2].split()[0]
                return
        raise AssertionError("".join(self.said) + (folder / f"{name}.log").read_text())

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON that the server returns for a path."""
        return dict(httpx.get(f"{self.address}/{path}", timeout=PATIENCE, trust_env=False).raise_for_status().json())

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send an answer."""
        return httpx.post(f"{self.address}/{path}", json=body, timeout=PATIENCE, trust_env=False)

    def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """End the process with a signal; return its exit code."""
        self.process.send_signal(sign)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


class Process(Server):
    """``haltung annotate`` in a folder, by default on the corpus written there."""

    def __init__(self, folder: Path, coder: str, *words: str, corpus: Sequence[str] = CORPUS) -> None:
        super().__init__(folder, coder, "annotate", *corpus, f"coder={coder}", "port=0", *words)

"""A real Label Studio: it imports our tasks and interface, two people label, we read its export.

Installing it and creating its database take minutes, so only ``make label-studio`` runs this test.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

import annotated
from command_line import run_here
from haltung import labels
from haltung.corpus.readers.label_studio import LabelStudio
from page_visits import chromium

PROGRAM = os.environ.get("HALTUNG_LABEL_STUDIO", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system("chromium"),
    pytest.mark.skipif(not PROGRAM, reason="needs Label Studio, which `make label-studio` installs (HALTUNG_LABEL_STUDIO=PROGRAM)"),
]

PATIENCE = 1200
TOKEN, PASSWORD = "0123456789abcdef" * 2 + "01234567", "drei-Woerter-sicher"
SOURCE = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=labels.yaml", "corpus.rules.near=0")
EXPORT = ("corpus=label_studio", "corpus.reader.path=export.json", "corpus.labels=labels.yaml", "corpus.reader.columns.id=id")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Label Studio with a new database and without access to other hosts."""
    folder = tmp_path_factory.mktemp("label-studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    words = ["--port", str(port), "--internal-host", "127.0.0.1", "--data-dir", str(folder), "--username", "anna@example.org"]
    words += ["--password", PASSWORD, "--user-token", TOKEN, "--enable-legacy-api-token", "--no-browser"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([PROGRAM, "start", *words], cwd=folder, env=os.environ | quiet | nowhere, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE
    try:
        while process.poll() is None and time.monotonic() < end:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success:
                    break
            time.sleep(0.5)
        else:
            raise AssertionError((folder / "log").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def asked(client: httpx.Client, method: str, path: str, **more: Any) -> Any:
    """Return the JSON of a response; fail if it is an error."""
    answer = client.request(method, path, **more)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
    return answer.json()


def signed_up(address: str, invited: str, email: str) -> httpx.Client:
    """Sign up with an invitation, as a colleague does; return a client with their token."""
    with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE, follow_redirects=True) as person:
        person.get(invited)
        form = {"email": email, "password": PASSWORD, "csrfmiddlewaretoken": person.cookies["csrftoken"]}
        assert person.post(invited, data=form, headers={"Referer": address}).is_success
        token = asked(person, "GET", "/api/current-user/token")["token"]
    return httpx.Client(base_url=address, headers={"Authorization": f"Token {token}"}, trust_env=False, timeout=PATIENCE)


def result(said: dict[str, list[str]]) -> list[dict[str, object]]:
    """Return answers in the form that Label Studio's interface sends."""
    return [{"from_name": task, "to_name": "text", "type": "choices", "value": {"choices": chosen}} for task, chosen in said.items()]


def clicked(address: str, project: int, task: int) -> None:
    """Label a task by hand in a browser: security, energy and migration, neutral."""
    with chromium() as browser:
        page = browser.new_context(locale="de-DE", viewport={"width": 1400, "height": 1000}).new_page()
        page.set_default_timeout(120_000)
        page.goto(f"{address}/user/login/?next=/projects/{project}/data?task={task}")
        page.fill("input[name=email]", "anna@example.org")
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        for name in ("Sicherheit", "energy", "migration", "Neutral"):
            page.locator("label", has_text=name).click()
        with page.expect_response(lambda answer: answer.request.method == "POST" and "/annotations" in answer.url) as saved:
            page.get_by_role("button", name="Submit").click()
        assert saved.value.ok
        assert page.title() != "evil"


def test_what_two_people_label_in_label_studio_comes_back(server: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """``suggest`` writes tasks and interface, people answer by clicks and the API, and ``prepare``
    and ``agree`` read the export: segments and labels are the same, in the order of answers.
    """
    annotated.write(tmp_path, articles=12)
    done = run_here("suggest", *SOURCE, "n=100", "format=labelstudio", "language=de", "output=tasks.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    anna = httpx.Client(base_url=server, headers={"Authorization": f"Token {TOKEN}"}, trust_env=False, timeout=PATIENCE)
    request.addfinalizer(anna.close)
    config = (tmp_path / "tasks.config.xml").read_text(encoding="utf-8")
    project = asked(anna, "POST", "/api/projects", json={"title": "Haltung", "label_config": config})["id"]
    given = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    assert asked(anna, "POST", f"/api/projects/{project}/import", json=given)["task_count"] == len(given) >= 24
    tasks = asked(anna, "GET", "/api/tasks", params={"project": project, "page_size": 100, "fields": "all"})["tasks"]
    ids = {task["data"]["id"]: task["id"] for task in tasks}
    ben = signed_up(server, asked(anna, "GET", "/api/invite")["invite_url"], "ben@example.org")
    request.addfinalizer(ben.close)

    # Starts with the last task, so that times are not in the order of rows; the first is left open.
    order = [item["data"]["id"] for item in given[:0:-1]]
    clicked(server, project, ids[order[0]])
    said = {order[0]: {"topic": ["security"], "themes": ["energy", "migration"], "stance": ["neutral"]}}
    for number, id in enumerate(order):
        path = f"/api/tasks/{ids[id]}/annotations/"
        if number:
            said[id] = {"topic": [("other", "economy", "security")[number % 3]], "themes": ["migration"], "stance": ["warning"]}
            asked(anna, "POST", path, json={"result": result(said[id])})
        if number == 1:  # Ben skips it
            asked(ben, "POST", path, params={"was_cancelled": 1}, json={"result": []})
        else:
            asked(ben, "POST", path, json={"result": result(said[id] | ({"stance": ["support"]} if number % 4 == 3 else {}))})
    export = anna.get(f"/api/projects/{project}/export", params={"exportType": "JSON", "download_all_tasks": "true"})
    (tmp_path / "export.json").write_bytes(export.content)

    scheme = labels.load(tmp_path / "labels.yaml")
    reading = LabelStudio(str(tmp_path / "export.json"), {"id": "id"}).read(scheme)
    sent = {item["data"]["id"]: item["data"] for item in given}
    for segment in reading.segments:
        names, chosen = ("text", "headline", "context", "article", "position"), said[segment.id]
        assert [getattr(segment, name) for name in names] == [sent[segment.id][name] for name in names]
        assert segment.labels == {"topic": chosen["topic"][0], "themes": tuple(chosen["themes"]), "stance": chosen["stance"][0]}
    assert [(one.id, one.reason) for one in reading.dropped] == [(str(ids[given[0]["data"]["id"]]), "unlabelled")]
    assert sorted(reading.times, key=reading.times.__getitem__) == order
    assert [len(reading.votes[id]) for id in order[:3]] == [2, 1, 2]

    done = run_here("prepare", *EXPORT, "splits@corpus.split=test_only", "corpus.rules.near=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    prepared = pd.read_parquet(tmp_path / "data/prepared/label_studio/test.parquet")
    assert dict(zip(prepared.id, prepared.topic, strict=True)) == {id: chosen["topic"][0] for id, chosen in said.items()}
    done = run_here("agree", *EXPORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "experiments/reports/agreement-label_studio"
    found = json.loads((folder / "agreement.json").read_text(encoding="utf-8"))
    stance, n = found["tasks"]["stance"], len(order) - 1
    people = [str(asked(one, "GET", "/api/current-user/whoami")["id"]) for one in (anna, ben)]
    assert (found["coders"], stance["n"]) == (people, n)
    assert stance["measures"]["percent"]["value"] == pytest.approx(1 - len(order) // 4 / n)
    assert ([*stance["course"]][-1], (folder / "stance_course.png").is_file()) == (str(n), True)

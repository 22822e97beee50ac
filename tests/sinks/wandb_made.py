"""What the tests of W&B share: a cell, W&B's own reader, and a stand-in for its server."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from tl_robust import metrics
from tl_robust.seeding import digest
from tl_robust.types import Cell, Outcome, Result, Verdict

EPS = [0.0, 2 / 255, 8 / 255]
API_KEY = "0123456789" * 4
BENCH = {"bench": "tiny", "axes": {"seed": [0, 1]}}


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No W&B variable, key or settings file of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NETRC", raising=False)


def result(seed: int = 0, right: int = 14) -> Result:
    """20 samples, 3 eps: B is right on ``right`` clean samples, and on 4 fewer at every further eps."""
    label = torch.arange(20) % 10
    wrong = (label + 1) % 10

    def classes(count: int) -> torch.Tensor:
        return torch.where(torch.arange(20) < count, label, wrong)

    outcome = Outcome(
        sample_id=torch.arange(20),
        label=label,
        clean_a=classes(18),
        clean_b=classes(right),
        adv_a=torch.stack([classes(18), classes(5), classes(0)]),
        adv_b=torch.stack([classes(right - 4 * k) for k in range(3)]),
        size=torch.tensor(EPS)[:, None].expand(3, 20),
        eps=torch.tensor(EPS, dtype=torch.float64),
        zero_gradient=torch.zeros(20, dtype=torch.bool),
        valid=torch.ones(3, 20, dtype=torch.bool),
        same_labels=torch.ones(20, dtype=torch.bool),
    )
    a = {"key": "a" * 8, "domain": "print", "by": "scratch", "parent": None}
    cell = Cell("tiny", "print", "hand", "dtn", "finetune", "", "none", "pgd(steps=3)", "linf", "black", seed, 500)
    return Result(
        key=digest(["cell", seed]),
        cell=cell,
        outcome=outcome,
        beside={"white": outcome},
        curves=metrics.curves(outcome, "black", {"white": outcome}),
        verdict=Verdict("amber", ("Few samples.", "One seed.")),
        provenance={
            "surrogate": a,
            "victim": {"key": "b" * 8, "domain": "hand", "by": "finetune", "parent": a},
            "where": Path("x"),
        },
    )


def runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("*run-*/*.wandb"))


def records(file: Path) -> list[dict[str, Any]]:
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "-json", "-no-observability", "-run-file", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def of_type(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in found if record["type"] == kind]


def summary_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for record in of_type(found, "summary"):
        merged |= record["update"]
    return merged


@dataclass
class Server:
    """A stand-in for W&B's server on this machine, as far as uploads and dashboards go.

    Attributes:
        calls: Names of the GraphQL operations, in order.
        received: Content of uploaded files by path.
        lines: History rows by run.
        views: Saved dashboards by name.
        refused: Uploads whose path has this in it are answered with 403.
    """

    calls: list[str] = field(default_factory=list)
    received: dict[str, bytes] = field(default_factory=dict)
    lines: dict[str, list[Any]] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: str = "none"
    address: str = ""

    def stream(self, path: str, body: dict[str, Any]) -> None:
        history = body.get("files", {}).get("wandb-history.jsonl", {"content": []})
        self.lines.setdefault(path.split("/")[-2], []).extend(map(json.loads, history["content"]))

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(name)
        manifest = {"id": "m", "file": {"id": "f", "uploadUrl": f"{self.address}/put/manifest", "uploadHeaders": []}}
        manifest["file"] |= {"name": "wandb_manifest.json", "displayName": "wandb_manifest.json"}
        if name == "UpsertBucket":
            project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "r", "name": given["name"], "displayName": given["displayName"], "project": project}
            return {"upsertBucket": {"bucket": bucket | {"historyLineCount": 0}, "inserted": True}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.address}/put/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if name == "CreateArtifact":
            sequence = {"id": "s", "latestArtifact": None}
            artifact = {
                "id": given["input"]["artifactCollectionName"],
                "state": "PENDING",
                "artifactSequence": sequence,
            }
            return {"createArtifact": {"artifact": artifact}}
        if name == "CreateArtifactManifest":
            return {"createArtifactManifest": {"artifactManifest": manifest}}
        if name == "CreateArtifactFiles":
            edges = []
            for file in given["input"]["artifactFiles"]:
                where = f"{file['artifactID']}/{file['name']}"
                node = {"id": where, "name": file["name"], "displayName": file["name"], "uploadHeaders": []}
                node |= {"uploadUrl": f"{self.address}/put/{where}", "storagePath": where, "artifact": {"id": "a"}}
                edges.append({"node": node})
            return {"createArtifactFiles": {"files": {"edges": edges}}}
        if name == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}}
        if name in ("Viewer", "GetDefaultEntity"):
            return {"viewer": {"id": "v", "entity": "me", "username": "me", "name": "me", "teams": {"edges": []}}}
        if name == "ProjectInternalId":
            return {"project": {"internalId": "p"}}
        if name == "GetProjects":
            node = {"id": "p", "name": "tl_robust", "entityName": "me", "createdAt": "", "isBenchmark": False}
            page = {"endCursor": None, "hasNextPage": False}
            return {"models": {"pageInfo": page, "edges": [{"node": node | {"user": None}}]}}
        if name == "upsertView":  # a report
            self.views[given["name"]] = given
            view = {item: given[item] for item in ("name", "displayName", "description", "spec")}
            view |= {"id": f"id-{given['name']}", "project": {"name": given["projectName"], "entityName": "me"}}
            return {"upsertView": {"view": view}}
        if name == "UpsertView2":
            self.views[given["name"]] = given
            return {"upsertView": {"view": {"id": f"id-{given['name']}", "name": given["name"]}, "inserted": True}}
        if name == "View":
            known = [self.views[given["viewName"]]] if given["viewName"] in self.views else []
            nodes = [{"node": {"id": f"id-{one['name']}", "displayName": "d", "spec": one["spec"]}} for one in known]
            return {"project": {"allViews": {"edges": nodes}}}
        return {}


@contextmanager
def server() -> Iterator[Server]:
    """A server that runs meanwhile."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            else:
                content = b""
                while size := int(self.rfile.readline(), 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

        def reply(self, content: object, status: int = 200) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def do_GET(self) -> None:
            self.reply({})

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            body = self.body()
            if self.path == "/graphql":
                asked = json.loads(body)
                name = asked.get("operationName") or asked["query"].split("(")[0].split("{")[0].split()[-1]
                self.reply({"data": state.answer(name, asked.get("variables") or {})})
                return
            if self.path.endswith("/file_stream"):
                state.stream(self.path, json.loads(body))
            self.reply({"limits": {}})

        def do_PUT(self) -> None:
            body = self.body()
            if state.refused in self.path:
                self.reply({}, 403)
                return
            state.received[self.path.removeprefix("/put/")] = body
            self.reply({})

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.handle_error = lambda *arguments: None  # type: ignore[method-assign]  # W&B hangs up when it is done
        state.address = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield state
        finally:
            running.shutdown()
            thread.join()

"""tools/check_links.py against a server of this test: what lives, what is dead, what is unsure."""

import importlib.util
import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

PATH = Path(__file__).parents[1] / "tools/check_links.py"
spec = importlib.util.spec_from_file_location("check_links", PATH)
check_links = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_links)


class Answers(BaseHTTPRequestHandler):
    """/404 answers 404, /moved goes to /200, /no-head refuses HEAD, and so on."""

    def do_HEAD(self):
        status = {"/moved": 301, "/moved-away": 301, "/no-head": 405}.get(self.path)
        self.send_response(status or int(self.path[1:]))
        if status == 301:
            self.send_header("Location", "/200" if self.path == "/moved" else "/410")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        if self.path == "/no-head":
            self.path = "/200"
        self.do_HEAD()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "path, status, dead",
    [
        ("/200", 200, False),
        ("/moved", 200, False),
        ("/no-head", 200, False),
        ("/404", 404, True),
        ("/410", 410, True),
        ("/moved-away", 410, True),
        ("/403", 403, False),
        ("/429", 429, False),
        ("/500", 500, False),
    ],
)
def test_answers(server, path, status, dead):
    assert check_links.answer(server + path) == status
    assert check_links.is_dead(status) == dead


def test_hosts(server, monkeypatch):
    unknown = socket.gaierror(socket.EAI_NONAME, "no such host")
    busy = socket.gaierror(socket.EAI_AGAIN, "try again")

    def no_lookup(*arguments):
        raise unknown

    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and never answers
    link = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    assert "timed out" in str(check_links.answer(link, seconds=0.2))
    silent.close()
    refused = check_links.answer(link)
    assert isinstance(refused, OSError) and not check_links.is_dead(refused)
    monkeypatch.setattr(socket, "getaddrinfo", no_lookup)
    assert check_links.is_dead(check_links.answer("http://nowhere.invalid/"))
    assert not check_links.is_dead(busy)


@pytest.fixture
def book(tmp_path):
    cell = {"cell_type": "markdown", "source": "<https://a.example/c>, [x](https://a.example/d)."}
    code = {"cell_type": "code", "source": "'https://a.example/code'"}
    files = {
        "README.md": "See https://a.example/a#b, (https://a.example/b). http://localhost:8888\n",
        "book/page.md": "[page](https://a.example/wiki/A_(b))\n",
        "book/references.bib": "@a{b, doi = {10.1/2}, url = {https://a.example/a}}\n",
        "notebooks/01_a.ipynb": json.dumps({"cells": [cell, code]}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_links_are_collected(book):
    assert check_links.addresses(book) == {
        "https://a.example/a": {"README.md", "references.bib"},
        "https://a.example/b": {"README.md"},
        "https://a.example/c": {"01_a.ipynb"},
        "https://a.example/d": {"01_a.ipynb"},
        "https://a.example/wiki/A_(b)": {"page.md"},
        "https://doi.org/10.1/2": {"references.bib"},
    }


def test_the_book_has_links():
    assert len(check_links.addresses(PATH.parents[1])) > 50


def test_report(book, server, monkeypatch, capsys):
    statuses = {"https://a.example/b": 404, "https://a.example/d": 503}
    monkeypatch.setattr(check_links, "answer", lambda link: statuses.get(link, 200))
    assert check_links.main(book, network=lambda: True) == 1
    assert capsys.readouterr().out.splitlines() == [
        "dead: https://a.example/b (README.md): 404",
        "warning: https://a.example/d (01_a.ipynb): 503",
        "6 links, 1 dead, 1 warnings",
    ]
    del statuses["https://a.example/b"]
    assert check_links.main(book, network=lambda: True) == 0


def test_no_network_is_said(book, monkeypatch, capsys):
    monkeypatch.setattr(check_links, "answer", lambda link, seconds: OSError("unreachable"))
    assert check_links.main(book) == 0
    assert capsys.readouterr().out == "No network: none of the 6 links was checked.\n"

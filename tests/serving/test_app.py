"""The server over real sockets: replies, limits, refusals and counts."""

import asyncio
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn

from medtransfer.errors import DataError
from medtransfer.serving.app import Limits, build_app

ABOUT = {"model": "models:/toy@champion", "version": "3", "sha256": "ab" * 32, "notice": "For <research>."}


@pytest.fixture
def serve():
    """Start servers with an answer and limits; return how to ask one: (status, reply, headers)."""
    running = []

    def serve(answer, *, token="", **limits):
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = build_app(answer, lambda: ABOUT, Limits(**limits), token=token)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)

        def ask(method, path, body=None, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            reply = connection.getresponse()
            content = reply.read()
            known = reply.getheader("content-type", "").startswith("application/json")
            connection.close()
            return reply.status, json.loads(content) if known else content.decode(), dict(reply.headers)

        ask.port = port
        return ask

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(30)


def echo(data, wants_map):
    if data == b"bad":
        raise DataError("not an image")
    return {"answer": {"bytes": len(data)}, "wants_map": wants_map}


def test_every_reply_names_the_model_and_a_refusal_its_reason(serve):
    ask = serve(echo)
    assert ask("POST", "/predict", b"12345")[:2] == (200, {**ABOUT, "answer": {"bytes": 5}, "wants_map": False})
    assert ask("POST", "/predict?map=1", b"1")[1]["wants_map"] is True
    assert ask("POST", "/predict", b"bad")[:2] == (400, {**ABOUT, "error": "not an image"})
    assert ask("POST", "/predict", b"")[0] == 400
    assert ask("GET", "/predict")[0] == 405
    assert ask("GET", "/health")[1] == {"status": "ready", **ABOUT}
    counted = ask("GET", "/metrics")[1]
    assert 'medtransfer_replies_total{status="200"} 2' in counted
    assert 'medtransfer_replies_total{status="400"} 2' in counted
    assert "medtransfer_waiting 0" in counted


def test_the_page_escapes_and_loads_nothing_from_elsewhere(serve):
    status, page, headers = serve(echo)("GET", "/")
    assert status == 200
    assert "For &lt;research&gt;." in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "//" not in page.replace("<!doctype", "").split("<style>")[0]


def test_fifty_at_once_are_answered_or_told_to_come_back(serve):
    def slow(data, wants_map):
        time.sleep(0.02)
        return echo(data, wants_map)

    ask = serve(slow, waiting=8)
    with ThreadPoolExecutor(50) as clients:
        replies = list(clients.map(lambda _: ask("POST", "/predict", b"1" * 1000), range(50)))
    assert {status for status, *_ in replies} == {200, 503}
    assert sum(status == 200 for status, *_ in replies) >= 8
    assert {headers["retry-after"] for status, _, headers in replies if status == 503} == {"1"}
    assert ask("POST", "/predict", b"1")[0] == 200
    assert "medtransfer_waiting 0" in ask("GET", "/metrics")[1]


def test_answers_are_computed_one_at_a_time(serve):
    inside, most = [], []

    def watched(data, wants_map):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return {}

    ask = serve(watched)
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda _: ask("POST", "/predict", b"1"), range(16)))
    assert max(most) == 1


def test_large_and_slow_bodies_are_refused_and_give_their_place_back(serve):
    ask = serve(echo, megabytes=1, seconds=0.5, waiting=1)
    assert ask("POST", "/predict", b"1" * (2**20 + 1))[0] == 413
    assert ask("POST", "/predict", iter([b"1" * 2**19] * 3))[0] == 413
    slow = socket.create_connection(("127.0.0.1", ask.port))
    slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
    time.sleep(0.1)
    assert ask("POST", "/predict", b"1")[0] == 503
    assert b" 408 " in slow.recv(100)
    slow.close()
    gone = socket.create_connection(("127.0.0.1", ask.port))
    gone.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
    gone.close()
    time.sleep(0.2)
    assert ask("POST", "/predict", b"1")[0] == 200
    assert 'status="500"' not in ask("GET", "/metrics")[1]


def test_images_that_wait_have_a_limit_together(serve):
    begun, go_on = threading.Event(), threading.Event()

    def held(data, wants_map):
        begun.set()
        go_on.wait(30)
        return echo(data, wants_map)

    ask, body = serve(held, megabytes=1, megabytes_waiting=1), b"1" * (600 * 1024)
    with ThreadPoolExecutor(1) as client:
        first = client.submit(ask, "POST", "/predict", body)
        assert begun.wait(30)
        status, reply, headers = ask("POST", "/predict", body)
        assert (status, headers["retry-after"]) == (503, "1")
        assert reply["error"] == "images of 1 MB are waiting; repeat later"
        assert ask("POST", "/predict", iter([b"1"]))[0] == 503  # no declared size: counts as the largest
        small = ThreadPoolExecutor(1).submit(ask, "POST", "/predict", b"1" * 1000)
        go_on.set()
        assert first.result()[1]["answer"]["bytes"] == len(body)
        assert small.result()[0] == 200
    assert ask("POST", "/predict", body)[0] == 200
    assert ask("POST", "/predict", iter([b"1"]))[0] == 200


def test_another_host_name_or_no_token_is_refused(serve):
    ask = serve(echo, token="secret")
    assert ask("GET", "/", Host="evil.example")[0] == 400
    assert ask("POST", "/predict", b"1")[0] == 401
    assert ask("POST", "/predict", b"1", Authorization="Bearer other")[0] == 401
    assert ask("POST", "/predict", b"1", Authorization="Bearer secret")[0] == 200


def test_a_fault_is_a_500_without_its_text(serve):
    def broken(data, wants_map):
        raise RuntimeError("/secret/place")

    ask = serve(broken)
    status, reply, _ = ask("POST", "/predict", b"1")
    assert status == 500
    assert "secret" not in str(reply)
    assert 'status="500"} 1' in ask("GET", "/metrics")[1]

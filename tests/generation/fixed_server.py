"""A server with fixed answers, for answers that the simulator does not give."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import JsonValue

JsonObject = dict[str, JsonValue]
Answer = tuple[int, object] | Callable[[str, float], tuple[int, object]]
"""Status and body, or a function that returns them for a prompt and a temperature."""


class Server:
    """Address and window of a running server."""

    def __init__(self, url: str, window_s: float) -> None:
        self.url, self.window_s = url, window_s


@contextmanager
def server(*answers: Answer, window_s: float = 0.1) -> Iterator[Server]:
    """Serve the answers in turn, and the last one to every further request."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = left.pop(0) if len(left) > 1 else left[0]
            prompt = request["contents"][0]["parts"][0]["text"]
            status, body = answer(prompt, request["generationConfig"]["temperature"]) if callable(answer) else answer
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield Server(f"http://127.0.0.1:{httpd.server_port}", window_s)
        httpd.shutdown()


def completion(text: str, finish: str = "STOP", tokens: Sequence[int] = (100, 50)) -> JsonObject:
    """Return the body of a generateContent response."""
    usage: JsonObject = {"promptTokenCount": tokens[0], "candidatesTokenCount": tokens[1]}
    return {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": finish}], "usageMetadata": usage}

"""A stub of the Lambda Runtime API: gives one process of the function its events, and can kill it."""

import json
import os
import queue
import signal
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler

from proxy import Server

ACCOUNT = "000000000000"
REGION = "us-east-1"
# Lambda's time-out for the function, in seconds.
TIME_OUT = 60


class Function:
    """A function with its settings. A process starts with the first event, and again after each death."""

    def __init__(self, binary, name, environment, log):
        self.name = name
        self.arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self._binary, self._environment, self._log = binary, environment, log
        self._events, self._answers = queue.Queue(), queue.Queue()
        self._process = None
        self._server = Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def invoke(self, event, time_out=TIME_OUT):
        """Sends one event and returns the answer; `None` if the process died or exceeded the time-out."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        run = str(uuid.uuid4())
        self._events.put((run, event, time.time() + time_out))
        until = time.monotonic() + time_out
        while time.monotonic() < until:
            try:
                answered, answer = self._answers.get(timeout=0.05)
            except queue.Empty:
                if self._process.poll() is not None:
                    return None
                continue
            if answered == run:
                return answer
        self.kill()
        return None

    def kill(self):
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def close(self):
        self.kill()
        self._server.shutdown()
        self._server.server_close()

    def _start(self):
        address = f"127.0.0.1:{self._server.server_port}"
        with open(self._log, "ab") as output:
            self._process = subprocess.Popen(
                [self._binary], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=dict(self._environment, AWS_LAMBDA_RUNTIME_API=address, AWS_LAMBDA_FUNCTION_NAME=self.name,
                         AWS_LAMBDA_FUNCTION_MEMORY_SIZE="256", AWS_LAMBDA_FUNCTION_VERSION="$LATEST"),
                start_new_session=True)

    def _handler(function):  # noqa: N805 - the handler's own `self` is the request
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args):
                pass

            def do_GET(self):
                process = function._process
                while True:
                    try:
                        run, event, deadline = function._events.get(timeout=0.2)
                        break
                    except queue.Empty:
                        if process is not function._process or process.poll() is not None:
                            self.close_connection = True
                            return
                self._answer(200, json.dumps(event).encode(), [
                    ("Lambda-Runtime-Aws-Request-Id", run),
                    ("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000))),
                    ("Lambda-Runtime-Invoked-Function-Arn", function.arn),
                ])

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                segments = self.path.strip("/").split("/")
                if segments[-1] in ("response", "error") and segments[-2] != "init":
                    function._answers.put((segments[-2], json.loads(body or b"null")))
                self._answer(202, b"", [])

            def _answer(self, status, content, headers):
                self.send_response_only(status)
                for name, value in [("Content-Type", "application/json"), *headers]:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        return Handler

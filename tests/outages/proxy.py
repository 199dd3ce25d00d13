"""A proxy between the function and the emulator that delays, drops, refuses and repeats calls, and notes each of them."""

import http.client
import json
import socket
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The operations of the REST interfaces: method, path, name.
REST = [
    ("GET", "/restapis/*/stages/*", "GetStage"),
    ("PATCH", "/restapis/*/stages/*", "UpdateStage"),
    ("GET", "/restapis/*/stages", "GetStages"),
    ("POST", "/restapis/*/stages", "CreateStage"),
    ("GET", "/restapis/*/deployments/*", "GetDeployment"),
    ("GET", "/restapis/*", "GetRestApi"),
    ("GET", "/restapis", "GetRestApis"),
    ("GET", "/domainnames/*/basepathmappings/*", "GetBasePathMapping"),
    ("PATCH", "/domainnames/*/basepathmappings/*", "UpdateBasePathMapping"),
    ("GET", "/2015-03-31/functions/*/aliases/*", "GetAlias"),
    ("PUT", "/2015-03-31/functions/*/aliases/*", "UpdateAlias"),
    ("GET", "/2015-03-31/functions/*/configuration", "GetFunctionConfiguration"),
    ("POST", "/2015-03-31/functions/*/invocations", "Invoke"),
]

# MiniStack has no CodeDeploy.
STUBS = {"ListDeployments": '{"deployments":[]}'}


@dataclass(frozen=True)
class Fault:
    """What happens to the calls of an operation. Times are in seconds."""

    operation: str
    # A part of the path or the body, if only some of the operation's calls are meant.
    about: str = ""
    # Only the first calls; 0 means all.
    first: int = 0
    # Only for this long after the first of them; 0 means for good.
    lasts: float = 0
    # The call reaches the emulator so much later.
    held: float = 0
    # The answer comes so much later.
    late: float = 0
    # The connection breaks before the call reaches the emulator, or after it took effect.
    dropped: bool = False
    lost: bool = False
    # The answer is this status and error code, and the call has no effect.
    status: int = 0
    code: str = "ServiceUnavailable"
    # The answer's body is passed through this function.
    rewritten: object = None
    # The emulator does not get the call, and the answer is this text.
    answer: str = ""
    # The function's process is killed, before the call takes effect.
    kills: bool = False


@dataclass
class Call:
    """One call of the function: when it arrived, when it took effect, and what came of it."""

    operation: str
    about: str
    arrived: float
    done: float = 0
    status: int = 0
    body: bytes = field(default=b"", repr=False)


class Server(ThreadingHTTPServer):
    """A server whose clients may be killed."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Proxy:
    """One story's proxy. `faults` apply from `arm` on; `on_call` is called with each operation that arrives."""

    def __init__(self, endpoint):
        self.backend = urllib.parse.urlsplit(endpoint).netloc
        self.calls = []
        self.on_call = lambda operation, about: None
        self.kill = lambda: None
        self._faults = []
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def arm(self, faults):
        with self._lock:
            self._faults = [[fault, 0, None] for fault in faults]
            self.calls = []

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def of(self, operation, about=""):
        return [call for call in self.calls if call.operation == operation and about in call.about]

    def fault_of(self, operation, about):
        """Returns the fault of a call that arrives now, if any, and counts it."""
        with self._lock:
            for entry in self._faults:
                fault, seen, since = entry
                if fault.operation not in (operation, "every call") or fault.about not in about:
                    continue
                now = time.monotonic()
                entry[1], entry[2] = seen + 1, since or now
                if (fault.first and seen >= fault.first) or (fault.lasts and now - entry[2] > fault.lasts):
                    continue
                return fault
        return None

    def note(self, call):
        with self._lock:
            self.calls.append(call)


def operation_of(method, path, headers, body):
    """Returns the operation and what it is about."""
    target = headers.get("X-Amz-Target")
    if target:
        return target.rsplit(".", 1)[1], body.decode(errors="replace")
    if "/operation/" in path:
        return path.rsplit("/", 1)[1], body.decode(errors="replace")
    if body.startswith(b"Action="):
        form = urllib.parse.parse_qs(body.decode())
        return form["Action"][0], body.decode()
    segments = path.split("?")[0].strip("/").split("/")
    for verb, pattern, name in REST:
        wanted = pattern.strip("/").split("/")
        if verb == method and len(wanted) == len(segments) and all(
                want in ("*", have) for want, have in zip(wanted, segments)):
            return name, path
    return f"{method} {path}", path


def refusal(status, code):
    text = json.dumps({"__type": code, "message": "a fault of the test"})
    return status, [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)], text.encode()


def xml_refusal(status, code):
    text = f"<ErrorResponse><Error><Type>Receiver</Type><Code>{code}</Code><Message>a fault of the test</Message></Error></ErrorResponse>"
    return status, [("Content-Type", "text/xml")], text.encode()


def _handler(proxy):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args):
            pass

        def _serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation, about = operation_of(self.command, self.path, self.headers, body)
            call = Call(operation, about, time.monotonic(), body=body)
            fault = proxy.fault_of(operation, about) or Fault(operation)
            proxy.on_call(operation, about)
            proxy.note(call)
            if fault.kills:
                proxy.kill()
            if fault.dropped or fault.kills:
                return self._break()
            time.sleep(fault.held)
            if fault.status:
                is_form = body.startswith(b"Action=")
                answer = (xml_refusal if is_form else refusal)(fault.status, fault.code)
            elif fault.answer or operation in STUBS:
                text = fault.answer or STUBS[operation]
                answer = (200, [("Content-Type", "application/json")], text.encode())
            else:
                answer = self._forward(body)
            if fault.rewritten:
                answer = (*answer[:2], fault.rewritten(answer[2]))
            call.status, call.done = answer[0], time.monotonic()
            time.sleep(fault.late)
            if fault.lost:
                return self._break()
            return self._answer(*answer)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

        def _forward(self, body):
            emulator = http.client.HTTPConnection(proxy.backend, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            emulator.request(self.command, self.path, body=body, headers=headers)
            answer = emulator.getresponse()
            content = answer.read()
            emulator.close()
            left_out = ("transfer-encoding", "content-length", "connection")
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in left_out]
            return answer.status, kept, content

        def _answer(self, status, headers, content):
            try:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                # The function gave up waiting.
                self.close_connection = True

        def _break(self):
            self.close_connection = True
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    return Handler

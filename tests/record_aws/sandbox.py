"""What the recording creates in the account, and how it is removed again, also after an interruption.

Each creation is preceded by its removal as data, in a file. So a later run can remove what a killed one left behind.
"""

import json
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError

PREFIX = "apigw-rollback-record-"
# A removal of what is gone already.
GONE = {"NotFoundException", "ResourceNotFoundException", "NoSuchEntity", "ResourceNotFound", "NotFound",
        "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ParameterNotFound"}
PATIENCE = 150


class Sandbox:
    """The resources of one run."""

    def __init__(self, recorder, name, undo_file, deadline):
        self.recorder, self.name, self.deadline = recorder, name, deadline
        self._file, self._lock = undo_file, threading.Lock()
        self.stopping = threading.Event()

    def undo_by(self, service, operation, **params):
        """Says how what is created next is removed."""
        with self._lock, self._file.open("a") as file:
            file.write(json.dumps([service, operation, params]) + "\n")

    def left(self):
        """Returns the seconds that are left for questions; none once the run was interrupted."""
        return 0 if self.stopping.is_set() else max(0, self.deadline - time.monotonic())

    def wait(self, seconds):
        """Waits, but not longer than there is time. Returns whether there is some left."""
        self.stopping.wait(min(seconds, self.left()))
        return self.left() > 0

    def until(self, look, seconds, every=2.0):
        """Looks until there is something to see, and returns it with the seconds that it took; or `None` and those."""
        began = time.monotonic()
        while True:
            seen = look()
            took = time.monotonic() - began
            if seen or took > seconds or not self.wait(every):
                return seen or None, round(took, 1)

    def clean_up(self, say):
        """Removes everything, the latest first. Returns what could not be removed."""
        return clean_up(self.recorder, self._file, say)


def clean_up(recorder, undo_file, say):
    """Carries out the removals of a file, and then removes the APIs of any run that have no removal there."""
    steps = [json.loads(line) for line in undo_file.read_text().splitlines()] if undo_file.exists() else []
    failed = []
    for service, operation, params in reversed(steps):
        if (why := _removed(recorder, service, operation, params)) is not None:
            failed.append((f"{service} {operation} {params}: {why}", [service, operation, params]))
    for service, listing, operation, key in (
            ("apigateway", "GetRestApis", "DeleteRestApi", "restApiId"),
            ("apigatewayv2", "GetApis", "DeleteApi", "ApiId")):
        for one in _named(recorder, service, listing):
            if (why := _removed(recorder, service, operation, {key: one})) is not None:
                failed.append((f"{operation} {one}: {why}", [service, operation, {key: one}]))
    undo_file.write_text("".join(json.dumps(step) + "\n" for _, step in reversed(failed)))
    say(f"{len(steps)} removals carried out, {len(failed)} failed")
    return [why for why, _ in failed]


def _named(recorder, service, listing):
    """Returns the ids of the APIs that a run of this script made."""
    found, more = [], {}
    while True:
        answer, error = recorder.ask(service, listing, **more)
        if error is not None:
            return found
        for one in answer.get("items", answer.get("Items", [])):
            if one.get("name", one.get("Name", "")).startswith(PREFIX):
                found.append(one.get("id", one.get("ApiId")))
        token = answer.get("position") or answer.get("NextToken")
        if not token:
            return found
        more = {"position": token} if "position" in answer else {"NextToken": token}


def _removed(recorder, service, operation, params):
    """Removes something. Returns why not; `None` if it is gone."""
    until, why = time.monotonic() + PATIENCE, None
    while True:
        try:
            _, error = recorder.ask(service, operation, **params)
        except BotoCoreError as broken:
            error = broken
        if error is None or (isinstance(error, ClientError) and error.response["Error"].get("Code") in GONE):
            return None
        why = str(error)
        # One API may be deleted in 30 s, and what something else still uses can be deleted a moment later.
        if time.monotonic() > until or not isinstance(error, ClientError):
            return why
        code = error.response["Error"].get("Code", "")
        if code not in {"TooManyRequestsException", "ThrottlingException", "Throttling", "ConflictException",
                        "DeleteConflict", "BadRequestException", "ServiceUnavailableException"}:
            return why
        time.sleep(3)

"""Calls AWS and writes what it answered, one file a call: `{source, recorded, kind, request, response | error, note}`.

Account and resource ids become placeholders, so that a transcript can be published.
"""

import datetime
import json
import os
import threading

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

# With another endpoint, the answers are not those of AWS.
SOURCE = "make record-aws" + (", on an emulator" if os.environ.get("AWS_ENDPOINT_URL") else "")


class Refused(Exception):
    """AWS refused a call that a question needs."""


class Recorder:
    """The clients, the placeholders and the folder of the transcripts."""

    def __init__(self, folder, region, session=None):
        self.folder, self.region = folder, region
        self._session = session or boto3.session.Session(region_name=region)
        self._clients, self._lock, self._places = {}, threading.Lock(), {}
        self.written = []

    def client(self, service):
        with self._lock:
            if service not in self._clients:
                # Management calls to API Gateway share a few requests a second; some deletions one in 30 s.
                retries = Config(retries={"mode": "standard", "max_attempts": 12}, read_timeout=20)
                self._clients[service] = self._session.client(service, config=retries)
            return self._clients[service]

    def hide(self, text, placeholder):
        """Lets a text appear as a placeholder in all transcripts from now on."""
        if text:
            self._places[str(text)] = placeholder

    def plain(self, value):
        """Returns a value as JSON has it, with placeholders."""
        if isinstance(value, dict):
            return {self.plain(key): self.plain(one) for key, one in value.items() if key != "ResponseMetadata"}
        if isinstance(value, (list, tuple)):
            return [self.plain(one) for one in value]
        if isinstance(value, datetime.datetime):
            return value.isoformat()
        if isinstance(value, (bytes, bytearray)):
            return self.plain(value.decode(errors="replace"))
        if isinstance(value, str):
            # Longer texts first: an ARN contains the account.
            for text in sorted(self._places, key=len, reverse=True):
                value = value.replace(text, self._places[text])
        return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)

    def ask(self, service, operation, file=None, note=None, **params):
        """Calls AWS. Returns the answer and no error, or no answer and the error. With a file name, both are written."""
        began = datetime.datetime.now(datetime.timezone.utc)
        try:
            answer, error = getattr(self.client(service), xform_name(operation))(**params), None
        except ClientError as refused:
            answer, error = None, refused
        if file:
            outcome = {"response": answer} if error is None else {"error": {
                "status": error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
                "code": error.response["Error"].get("Code", ""),
                "message": error.response["Error"].get("Message", ""),
            }}
            self.write(service, f"{operation}-{file}", "recorded", began,
                       request={"operation": operation, "params": params}, note=note, **outcome)
        return answer, error

    def do(self, service, operation, **params):
        """Calls AWS where only success is of use."""
        answer, error = self.ask(service, operation, **params)
        if error is not None:
            raise Refused(f"{operation}: {error}") from error
        return answer

    def measured(self, name, note=None, **values):
        """Writes what was measured, which is no answer of a call."""
        now = datetime.datetime.now(datetime.timezone.utc)
        self.write("measured", name, "measured", now, request={"operation": "measurement"}, response=values, note=note)

    def write(self, service, name, kind, began, **members):
        path = self.folder / service / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = {"source": SOURCE, "recorded": began.strftime("%Y-%m-%dT%H:%M:%SZ"), "kind": kind}
        text.update({key: self.plain(value) for key, value in members.items() if value is not None})
        path.write_text(json.dumps(text, indent=1) + "\n")
        with self._lock:
            self.written.append(f"{service}/{name}.json")

"""Background programs of a test, with their logs."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from stack import StepFailed, stop_group, tail

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Processes:
    """The programs and their working folder. `end` stops the programs and deletes the folder."""

    def __init__(self):
        self.work = Path(tempfile.mkdtemp(prefix="apigw-rollback-"))
        self._all = {}

    def start(self, name, command, env):
        with (self.work / f"{name}.log").open("wb") as output:
            self._all[name] = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, cwd=self.work, env=env, start_new_session=True,
            )

    def wait(self, name, url):
        """Waits until the URL answers with any status."""
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError):
                try:
                    _DIRECT.open(url, timeout=2).close()
                except urllib.error.HTTPError:
                    pass
                return
            if self._all[name].poll() is not None or time.monotonic() > deadline:
                print(tail(self.work / f"{name}.log"), file=sys.stderr)
                raise StepFailed(f"{name} did not start; read the end of its log above")
            time.sleep(0.2)

    def end(self):
        for process in reversed(self._all.values()):
            stop_group(process)
        shutil.rmtree(self.work, ignore_errors=True)

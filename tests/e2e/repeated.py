"""Work that a thread repeats beside the scenario."""

import threading

from stack import StepFailed


class Repeated:
    """Repeats `work` in a thread while the object is entered as a context manager, until `work` raises something.

    A subclass gives `work`, and `pause`, the seconds before the next round.
    """

    def __init__(self, failed):
        """`failed` says what could not be done if `work` raises something."""
        self._failed = failed
        self._failure = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._until_over, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._over.set()
        self._thread.join(30)

    def check(self):
        """Raises what ended the work, if anything did."""
        if self._failure:
            raise StepFailed(f"{self._failed}: {self._failure}") from self._failure

    def _until_over(self):
        try:
            while not self._over.wait(self.pause()):
                self.work()
        except Exception as failure:  # `check` raises it in the main thread
            self._failure = failure

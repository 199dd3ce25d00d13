"""The checks of a test, counted and printed."""


class Checks:
    """Counts the checks that failed, and prints the result of each check."""

    def __init__(self, say):
        self.say = say
        self.failed = []

    def that(self, name, passed, facts=""):
        if passed:
            self.say(f"ok      {name}")
        else:
            self.failed.append(name)
            self.say(f"NOT OK  {name}: {facts}")

    def equal(self, name, got, wanted):
        self.that(name, got == wanted, f"got {got!r}, wanted {wanted!r}")

    def status(self):
        """Prints the failed checks once more, so that they end the output, and returns the exit status."""
        for name in self.failed:
            self.say(f"NOT OK  {name}")
        self.say(f"{len(self.failed)} checks failed" if self.failed else "all checks passed")
        return 1 if self.failed else 0

"""What a test found out, counted and told."""


class Checks:
    """Counts what held and what did not, and says so."""

    def __init__(self, say):
        self.say = say
        self.failed = []

    def that(self, what, holds, facts=""):
        if holds:
            self.say(f"ok      {what}")
        else:
            self.failed.append(what)
            self.say(f"NOT OK  {what}: {facts}")

    def equal(self, what, got, wanted):
        self.that(what, got == wanted, f"got {got!r}, wanted {wanted!r}")

    def status(self):
        """Tells the end, and gives the exit status. Who sees the last lines only learns what failed from them."""
        for what in self.failed:
            self.say(f"NOT OK  {what}")
        self.say(f"{len(self.failed)} checks failed" if self.failed else "all checks held")
        return 1 if self.failed else 0

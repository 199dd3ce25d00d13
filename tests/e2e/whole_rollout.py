"""Rollouts on LocalEmu's canary: its real share of the requests at each step, a promotion, and two aborts.

The emulators extract no metrics from access logs, so this test writes the lines and their metrics (rolling.py); the function counts
the requests by reading them. The test does what the schedule does, without a minute in between.
"""

import math
import time

from rolling import RolloutStack, RolloutUsers, answered_by
from story import wait_for

STEPS = [10, 50, 100]
BAKE, MIN_REQUESTS = 2, 50
# So many that half and double the share are beyond the bounds.
REQUESTS = 2000
# All shares of a run together are wrong by chance at most once in a million runs.
ALPHA = 1e-6 / 5
PATIENCE = 60


def play(timeline, emulator, checks):
    with RolloutStack(timeline, emulator.endpoint) as stack:
        rollout = Rollouts(stack, checks)
        rollout.promote_a_good_release()
        rollout.roll_a_bad_release_back()
        rollout.abort_as_an_operator()


class Rollouts:
    """The stage, its users, and what the function reports."""

    def __init__(self, stack, checks):
        self.stack, self.checks, self.users = stack, checks, RolloutUsers(stack)

    def promote_a_good_release(self):
        base = self.stack.deployments["v1"]
        checks = self.checks
        checks.say("        the emulators write no access log and extract no metrics from it: the test does both, for each request")
        checks.say(f"        a step lasts {BAKE} s, and the test advances the rollout oftener than the schedule, once a minute")
        new = self.stack.release("v2", 200)
        refused = self.start(new)
        checks.equal("a rollout needs a known-good release to go back to", refused[0].get("reason"), "cannot-roll-out")
        self.stack.ask("record", label="v1")
        reports = self.start(new)
        checks.equal("a rollout starts with its first step", outcomes(reports), ["rollout-started", "rollout-step"])
        for nth, share in enumerate(STEPS):
            if nth > 0:
                reports = self.advance_until("rollout-step")
            told = reports[-1]["message"] if reports else "nothing"
            checks.that(f"step {nth + 1}: the function reports {share} %",
                        f"gets {share} % of the traffic (step {nth + 1} of {len(STEPS)})" in told, told)
            checks.equal("  the stage has a canary with that share", self.stack.share(), (base, (new, float(share))))
            answers = self.check_share(base, new, share)
            if nth == 0:
                self.check_that_uncounted_requests_move_nothing((base, new, share), answers)
            self.users.log(answers)
        reports = self.advance_until("rollout-promoted")
        checks.that("after the last step the function reports the promotion",
                    bool(reports) and "gets all traffic" in reports[-1]["message"], reports)
        checks.equal("  the stage serves the new deployment, and has no canary", self.stack.share(), (new, None))
        self.check_all("  every request is answered by the new deployment", new)

    def roll_a_bad_release_back(self):
        checks, good = self.checks, self.stack.deployments["v2"]
        bad = self.stack.release("v3", 500)
        refused = self.start(bad)
        checks.that("a release that has not baked yet is no base",
                    refused[0].get("reason") == "cannot-roll-out" and "not its known-good" in refused[0]["message"], refused)
        self.stack.ask("record", label="v2")
        self.start(bad)
        checks.equal("a bad release gets 10 %", self.stack.share(), (good, (bad, 10.0)))
        began = len(self.users.answers)
        reports = self.advance_until("rolled-back")
        checks.equal("the function reports the rollback and the end of the rollout", outcomes(reports)[:2],
                     ["rolled-back", "rollout-aborted"])
        test = next((report.get("test") or {} for report in reports if report["outcome"] == "rolled-back"), {})
        checks.equal("its requests convict it, and the stage is rolled back",
                     (test.get("verdict"), test.get("deployment"), test.get("source")), ("convicted", bad, "deployments"))
        answers = self.users.answers[began:]
        checks.equal("  each of them failed", test.get("bad"), test.get("requests"))
        hurt = answered_by(answers, bad)
        checks.that("  and they are among those that users sent", 0 < test.get("requests", 0) <= hurt, f"{test}, {hurt} failed")
        checks.equal("  the canary is gone", self.stack.share(), (good, None))
        self.check_all("  every request is answered by the base", good)
        [status] = self.stack.ask("rollout-status")
        checks.equal("  the rollout has ended", status["details"]["rollout"]["state"]["is"], "rolled-back")
        refused = self.start(bad)
        checks.that("  the release cannot be rolled out again", "is in quarantine" in refused[0]["message"], refused)

    def abort_as_an_operator(self):
        checks, good = self.checks, self.stack.deployments["v2"]
        new = self.stack.release("v4", 200)
        self.start(new, steps=[50, 100])
        self.users.log(self.check_share(good, new, 50))
        reports = self.stack.ask("rollout-abort")
        checks.equal("an operator aborts a rollout", outcomes(reports), ["done", "rollout-aborted"])
        checks.equal("  the canary is gone", self.stack.share(), (good, None))
        self.check_all("  every request is answered by the base", good)

    def start(self, deployment, steps=STEPS):
        return self.stack.ask(
            "rollout-start", deployment=deployment, steps=steps, bake_seconds=BAKE, min_requests=MIN_REQUESTS)

    def advance_until(self, outcome):
        """Lets users send requests, and the rollout advance, until the function reports this outcome. Returns the reports of that
        run; none if it takes too long."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.users.send(20)
            reports, _ = self.stack.advance()
            if outcome in outcomes(reports):
                return reports
        return []

    def check_that_uncounted_requests_move_nothing(self, step, answers):
        """No line of these answers is written yet."""
        base, new, share = step
        waits = wait_for("the step to wait for requests", self.waits_for_requests, PATIENCE)
        self.checks.that("  the step waits while nobody counts the requests", f"answered 0 of the {MIN_REQUESTS}" in waits, waits)
        self.checks.equal("  and the canary keeps its share", self.stack.share(), (base, (new, float(share))))

    def waits_for_requests(self):
        """Returns what the rollout waits for, once its step has lasted for its bake time."""
        _, state = self.stack.advance()
        return "requests that the step needs" in state and state

    def check_share(self, base, new, share):
        """Checks the share over HTTP. Returns the answers, of which no line is written yet."""
        answers = self.users.ask(REQUESTS)
        got, (least, most) = answered_by(answers, new), bounds(REQUESTS, share / 100)
        self.checks.that(f"  of {REQUESTS} requests it answers {got}: {least} to {most} are about {share} %",
                         least <= got <= most and got + answered_by(answers, base) == REQUESTS, "and the base answers the others")
        return answers

    def check_all(self, name, deployment):
        answers = self.users.send(100)
        self.checks.equal(name, answered_by(answers, deployment), len(answers))


def outcomes(reports):
    return [report["outcome"] for report in reports]


def bounds(number, share):
    """Returns the least and the most of so many requests that a canary with this share answers, but for a chance of ALPHA."""
    if share in (0, 1):
        return (round(number * share),) * 2
    logs = [math.lgamma(number + 1) - math.lgamma(one + 1) - math.lgamma(number - one + 1)
            + one * math.log(share) + (number - one) * math.log(1 - share) for one in range(number + 1)]
    least, most, below, above = 0, number, math.exp(logs[0]), math.exp(logs[number])
    while below <= ALPHA / 2:
        least += 1
        below += math.exp(logs[least])
    while above <= ALPHA / 2:
        most -= 1
        above += math.exp(logs[most])
    return least, most

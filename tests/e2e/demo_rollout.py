"""`make demo-rollout`: a good release gets 10, 50 and 100 % of the traffic and is promoted; a bad one is removed at 10 %."""

import contextlib
import shlex
import subprocess
import sys
import time

import localemu
from picture import Panel, draw
from processes import Processes
from repeated import Repeated
from rolling import API_NAME, COMMAND_LINE, RolloutStack, RolloutUsers, answered_by, reports_of
from stack import ROOT, STAGE_NAME, StepFailed, Timeline, free_port, stop_group, stop_on_signals
from story import counted, wait_for

STAGE = f"{API_NAME}/{STAGE_NAME}"
TERMS = "--steps 10,50,100 --bake 10s --min-requests 50"
# Of 50 requests a second, a step of 10 % gets 50 in 10 s. They count from the next full ten seconds on.
PATIENCE = 120
# A line of the access log counts a few seconds after its request, as `make detect` assumes for AWS.
LATE = 5
# What the picture shows before and after a rollout, in seconds.
BEFORE, AFTER = 5, 5
PROMOTED, ENDED_WITHOUT = 0, 10
COLOURS = {"v1: 2xx": "#718096", "v2: 2xx": "#2f855a", "v3: 5xx": "#c53030", "other": "#b7791f"}


def main():
    stop_on_signals()
    timeline = Timeline()
    processes = Processes()
    try:
        gateway = f"http://127.0.0.1:{free_port()}"
        localemu.start(processes, gateway)
        timeline.say(f"the emulated API Gateway (LocalEmu) listens on {gateway}")
        with RolloutStack(timeline, gateway) as stack, RolloutUsers(stack, LATE) as users, Schedule(stack, timeline.say) as schedule:
            return play(Shell(stack, timeline.say), stack, users, schedule)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    finally:
        processes.end()


def play(shell, stack, users, schedule):
    say = shell.say
    say(f"users send requests to {stack.url}: about 50 a second, and stage {STAGE} serves release v1")
    say("(MiniStack is the rest of AWS. The emulators write no access log and extract no metrics from it: the demo writes a line")
    say(f" for each request, {LATE} s after it, and publishes the metrics that CloudWatch would extract. Steps of 10 s are shorter")
    say(" than in real life, and the function looks at the rollout every 2 s, where the stack's schedule does so once a minute.")
    say(" The emulated canary decides which release answers a request, and the function decides what the requests prove)")
    shell.run(f"apigw-rollback record {STAGE} --label v1 --yes")
    since(users, time.time(), BEFORE)
    good = roll_out(shell, stack, users, schedule, "v2", 200)
    if good.status != PROMOTED or stack.share() != (good.deployment, None):
        say(f"FAILED: release v2 was not promoted: exit status {good.status}, the stage serves {stack.share()}")
        return 1
    later = since(users, good.ended(), AFTER + 1)
    say(f"release v2 is promoted: the canary is gone, and of {len(later)} requests since then deployment {good.deployment} "
        f"answers {answered_by(later, good.deployment)}")
    say("it is a candidate now, and would be known-good after its bake time. Its own tests prove it sooner:")
    shell.run(f"apigw-rollback record {STAGE} --label v2 --yes")
    say("release v3 answers every request with 500")
    bad = roll_out(shell, stack, users, schedule, "v3", 500)
    test = next((report["test"] for _, report in bad.reports if report["outcome"] == "rolled-back"), None)
    if bad.status != ENDED_WITHOUT or stack.share() != (good.deployment, None) or not test:
        say(f"FAILED: release v3 was not convicted: exit status {bad.status}, the stage serves {stack.share()}, test {test}")
        return 1
    say(f"why: {test['bad']} of {test['requests']} requests of deployment {test['deployment']} failed, "
        f"tolerated {test['tolerated']:.0%}; at most one of 10^{test['log10_e_value']:.0f} innocent releases would look like this")
    hurt, all_answers = answered_by(users.answers, bad.deployment), len(bad.answers(users))
    seconds = bad.ended() - bad.moments[0][0]
    say(f"{seconds:.1f} s passed from the step to 10 % to the rollback: {hurt} of {all_answers} requests in that time failed")
    say(f"since then users get {counted([answer.status for answer in since(users, bad.ended(), AFTER + 1)])}")
    say(f"the requests by deployment and status as a picture: {picture(users, good, bad)}")
    return 0


class Rollout:
    """What became of a rollout: the exit status of `rollout wait`, and the reports and moments with their times."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.status = None
        self.reports = []
        self.moments = []

    def note(self, at, report):
        """Notes a report, and the moment that it stands for in the picture."""
        self.reports.append((at, report))
        canary = (report.get("after") or {}).get("canary") or {}
        text = {"rollout-step": f"{canary.get('percent')} %", "rollout-promoted": "promoted",
                "rolled-back": "convicted, canary is removed"}.get(report["outcome"])
        if text:
            self.moments.append((at, text))

    def answers(self, users):
        """Returns the answers from the first step to the end."""
        return [one for one in users.answers if self.moments[0][0] <= one.at <= self.ended()]

    def ended(self):
        return self.moments[-1][0]


def since(users, begin, seconds):
    """Waits until users had answers for so many seconds since a time. Returns these answers."""
    def is_over():
        users.check()
        return users.answers and users.answers[-1].at > begin + seconds

    wait_for("answers to users", is_over, PATIENCE)
    return [answer for answer in users.answers if answer.at > begin]


def roll_out(shell, stack, users, schedule, name, status):
    """Deploys a release without giving it to the stage, and rolls it out as a pipeline does."""
    deployment = stack.release(name, status)
    shell.say(f"release {name} is deployment {deployment}, and not on the stage yet")
    rollout = Rollout(deployment)
    schedule.rollout = rollout
    started = shell.run(
        f"apigw-rollback rollout start {STAGE} --deployment {deployment} {TERMS} --label {name} --yes")
    if started != 0:
        raise StepFailed(f"`rollout start` ended with status {started}; its output is above")
    # The command line has moved the canary itself.
    rollout.moments.insert(0, (shell.ended, "10 %"))
    rollout.status = shell.run(f"apigw-rollback rollout wait {STAGE} --every 2s --timeout {PATIENCE}s")
    users.check()
    wait_for("the schedule to report the end", lambda: schedule.has_reported_the_end(rollout), 10)
    return rollout


class Schedule(Repeated):
    """Sends `advance` every two seconds, and prints what the function reports."""

    EVERY = 2

    def __init__(self, stack, say):
        super().__init__("the rollout could not be looked after")
        self._stack, self._say = stack, say
        self.rollout = None

    def has_reported_the_end(self, rollout):
        self.check()
        return any(report["outcome"] in ("rollout-promoted", "rollout-aborted") for _, report in rollout.reports)

    def pause(self):
        return self.EVERY

    def work(self):
        for report in reports_of(self._stack.invoke({"command": "advance"})):
            if report["stage"] and report["outcome"] != "attention":
                self.rollout.note(time.time(), report)
                self._say(f"    the function reports: {report['outcome']}: {report['message']}")


class Shell:
    """Runs commands as an operator types them, and prints what they print."""

    def __init__(self, stack, say):
        self._env = dict(stack.environment, PATH=f"{COMMAND_LINE.parent}:{stack.environment['PATH']}")
        self.say = say
        self.ended = None

    def run(self, command):
        """Runs a command, and returns its exit status."""
        self.say(f"$ {command}")
        process = subprocess.Popen(
            shlex.split(command), env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            for line in filter(str.strip, process.stdout):
                self.say(f"  {line.rstrip()}")
            status = process.wait(30)
        finally:
            self.ended = time.time()
            with contextlib.suppress(ProcessLookupError):
                stop_group(process)
        return status


def picture(users, good, bad):
    """Draws the requests by release and status during both rollouts. Returns the file."""
    names = {deployment: name for name, deployment in users.stack.deployments.items()}

    def kind(answer):
        named = f"{names.get(answer.deployment)}: {answer.status // 100}xx"
        return named if named in COLOURS else "other"

    answers = [(answer.at, kind(answer)) for answer in users.answers]

    def panel(title, rollout):
        zero, end = rollout.moments[0][0], rollout.ended() - rollout.moments[0][0]
        return Panel(title, answers, rollout.moments, zero, (-BEFORE, end + AFTER), 1.0, colours=COLOURS,
                     since="the rollout began")

    return draw(ROOT / "target" / "demo-rollout.svg", "Two rollouts: requests by release and status", [
        panel("A good release, v2: 10, 50, 100 %, promoted", good),
        panel("A bad release, v3: all its requests fail", bad),
    ])


if __name__ == "__main__":
    sys.exit(main())

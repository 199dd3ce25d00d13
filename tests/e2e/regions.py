"""`make regions`: three Regions with the same API, each an emulator of its own with the real stack.

On AWS, EventBridge carries what a rule forwards to the bus of another Region. The emulator only writes it down
(emulator.py), and `Fleet` carries it: once, twice, late, in another order, or never.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from checks import Checks
from fast import new_release
from orders import PREFIX
from parts import a_later_second
from stack import (
    CARRIER, ROOT, STACK_NAME, STAGE_NAME, Stack, StepFailed, Timeline, clean_environment, stop_on_signals,
)
from story import ALARM, in_words, wait_for

IRELAND, VIRGINIA, MUMBAI = ALL = ("eu-west-1", "us-east-1", "ap-south-1")
COMMAND_LINE = ROOT / "target" / "debug" / "apigw-rollback"
# Nothing but the stories may act: no sweep, no cooldown.
SETTINGS = {"Siblings": ",".join(ALL), "SweepMinutes": 60, "CooldownSeconds": 0, "FastDetection": "off"}
# So long the command line waits for a Region that does not answer, and a little more.
PATIENCE = 40


class Within:
    """The timeline, with the name of a Region before each text."""

    def __init__(self, timeline, region):
        self._timeline, self._region = timeline, region

    def say(self, text):
        self._timeline.say(f"{self._region}: {text}")


class Region(Stack):
    """One Region: the stack, and what happens there."""

    def __init__(self, timeline, region):
        super().__init__(Within(timeline, region), region=region)
        self.good = None
        # How many of the forwarded events were taken.
        self._taken = 0

    def prepare(self):
        """Deploys the stack, and records its first release as known-good."""
        self.build()
        self.deploy(release=1, **SETTINGS)
        self.good = self.live()
        self.command("record", label="v1", who="pipeline")

    def live(self):
        return self.stage()["deploymentId"]

    def follows_policy(self, siblings):
        """Stores what the reports of other Regions lead to here."""
        self.client("ssm").put_parameter(
            Name=f"{PREFIX}/stages/{self.api}/{STAGE_NAME}/policy", Type="String", Overwrite=True,
            Value=json.dumps({"schema": 1, "siblings": siblings}))

    def gets(self, label):
        """A pipeline deploys a release and announces its label."""
        made = new_release(self, label)
        self.command("announce", label=label, who="pipeline")
        return made

    def serve(self, deployment):
        """An operator puts a deployment on the stage."""
        a_later_second()
        self.client("apigateway").update_stage(restApiId=self.api, stageName=STAGE_NAME, patchOperations=[
            {"op": "replace", "path": "/deploymentId", "value": deployment}])

    def finds_it_bad(self):
        """The alarm fires, and the function rolls back by it."""
        a_later_second()
        self._set_alarm("ALARM")
        wait_for(f"the rollback in {self.region}", lambda: self.live() == self.good)
        self._set_alarm("OK")

    def back_to_the_first_release(self):
        """Ends a story. What is forwarded by this is not carried."""
        if self.live() != self.good:
            self.command("rollback", reason="the story is over")
        self.command("release-hold", who="on call")
        self.new_messages()

    def new_messages(self):
        """Returns the events for other Regions that were not taken yet."""
        lines = self.forwarded.read_text().splitlines() if self.forwarded.exists() else []
        new, self._taken = lines[self._taken:], len(lines)
        return [json.loads(line) for line in new]

    def hears(self, event, is_heard=True):
        """Puts an event of another Region on the bus. Returns the function's report, or `None` if no rule takes the event."""
        before = len(self.reports())
        self.client("events").put_events(Entries=[{
            "Source": CARRIER, "DetailType": "carried", "Detail": json.dumps(event)}])
        if not is_heard:
            time.sleep(2)
            return json.loads(self.reports()[before]["report"]) if len(self.reports()) > before else None
        new = wait_for(f"a report in {self.region}", lambda: self.reports()[before:])
        return json.loads(new[0]["report"])

    @contextlib.contextmanager
    def down(self):
        """Nothing in this Region answers."""
        os.killpg(self.emulator.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.emulator.pid, signal.SIGCONT)

    def _set_alarm(self, state):
        self.client("cloudwatch").set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason="a story")


class Fleet:
    """The Regions, and what carries the events between them."""

    def __init__(self, regions, checks):
        self.regions = {region.region: region for region in regions}
        self.checks = checks

    def __getitem__(self, region):
        return self.regions[region]

    def messages_of(self, region, wanted):
        """Returns the new events that a Region's rule forwards, by their Region. Checks which Regions they are for."""
        new = {message["region"]: message["event"] for message in self[region].new_messages()}
        self.checks.equal(f"{region} tells {' and '.join(wanted) or 'nobody'}", sorted(new), sorted(wanted))
        return new

    def everywhere(self, siblings, label, regions=ALL):
        """Gives the Regions a policy and a release."""
        for each in regions:
            self[each].follows_policy(siblings)
            self[each].gets(label)

    def expects(self, region, report, outcome, reason=None):
        found = (report or {}).get("outcome"), (report or {}).get("reason")
        self.checks.that(f"{region}: {outcome}{f' ({reason})' if reason else ''}", found == (outcome, reason),
                         report and in_words(report))

    def serves(self, region, deployment, what):
        self.checks.equal(f"{region} serves {what}", self[region].live(), deployment)


def a_bad_release_in_all_regions(fleet):
    """Ireland rolls back. Both others follow, once, and pass nothing on."""
    fleet.everywhere("follow", "v2")
    bad = fleet[VIRGINIA].live()
    fleet[IRELAND].finds_it_bad()
    told = fleet.messages_of(IRELAND, [VIRGINIA, MUMBAI])
    for region in (VIRGINIA, MUMBAI):
        fleet.expects(region, fleet[region].hears(told[region]), "rolled-back")
        fleet.serves(region, fleet[region].good, "its first release again")
        fleet.messages_of(region, [])
    fleet[VIRGINIA].serve(bad)
    fleet.expects(VIRGINIA, fleet[VIRGINIA].hears(told[VIRGINIA]), "held", "sibling-incident")
    fleet.serves(VIRGINIA, bad, "what an operator brought back, although the message came twice")


def people_are_told_and_a_message_is_lost(fleet):
    """Virginia's people are told and decide. Mumbai hears nothing, acts by its own alarm, and tells the others."""
    fleet.everywhere("tell", "v3")
    fleet[IRELAND].finds_it_bad()
    told = fleet.messages_of(IRELAND, [VIRGINIA, MUMBAI])
    bad = fleet[VIRGINIA].live()
    fleet.expects(VIRGINIA, fleet[VIRGINIA].hears(told[VIRGINIA]), "held", "sibling-incident")
    fleet.serves(VIRGINIA, bad, "the release still")
    fleet[MUMBAI].finds_it_bad()
    told = fleet.messages_of(MUMBAI, [IRELAND, VIRGINIA])
    fleet.expects(IRELAND, fleet[IRELAND].hears(told[IRELAND]), "ignored", "sibling-elsewhere")


def messages_come_early_and_in_another_order(fleet):
    """Only Ireland has two releases, and both are bad. Virginia hears of them before it gets one, the later one first."""
    fleet[VIRGINIA].follows_policy("hold")
    incidents = []
    for label in ("v4", "v5"):
        fleet[IRELAND].gets(label)
        fleet[IRELAND].finds_it_bad()
        incidents.append(fleet.messages_of(IRELAND, [VIRGINIA, MUMBAI]))
    for told in reversed(incidents):
        fleet.expects(VIRGINIA, fleet[VIRGINIA].hears(told[VIRGINIA]), "ignored", "sibling-elsewhere")
        fleet.serves(VIRGINIA, fleet[VIRGINIA].good, "its first release")
    fleet[VIRGINIA].gets("v4")
    refused = fleet[VIRGINIA].command("promote", who="pipeline")
    fleet.checks.that("a release that comes after the message about it is not promoted in us-east-1",
                      refused.get("outcome") == "held" and IRELAND in json.dumps(refused), in_words(refused))


def forged_messages(fleet):
    """Somebody puts a report on Virginia's bus; another comes from a Region that is no sibling."""
    fleet.everywhere("follow", "v6")
    fleet[IRELAND].finds_it_bad()
    told = fleet.messages_of(IRELAND, [VIRGINIA, MUMBAI])[VIRGINIA]
    bad = fleet[VIRGINIA].live()
    fleet.expects(VIRGINIA, fleet[VIRGINIA].hears(dict(told, Region=VIRGINIA)), "rejected", "not-a-sibling")
    for what, forged in {"Region": dict(told, Region="sa-east-1"), "account": dict(told, Account="999999999999")}.items():
        heard = fleet[VIRGINIA].hears(forged, is_heard=False)
        fleet.checks.equal(f"no rule takes an event of another {what}", heard, None)
    fleet.serves(VIRGINIA, bad, "the release still")


def a_region_is_down(fleet):
    """Mumbai does not answer. The others go on without it, and EventBridge's later try finds it again."""
    fleet.everywhere("follow", "v7")
    with fleet[MUMBAI].down():
        fleet[IRELAND].finds_it_bad()
        told = fleet.messages_of(IRELAND, [VIRGINIA, MUMBAI])
        fleet.expects(VIRGINIA, fleet[VIRGINIA].hears(told[VIRGINIA]), "rolled-back")
        status, output = status_of_all(fleet)
        fleet.checks.equal("`status --regions` ends with status 1", status, 1)
        for region in ALL:
            rows = [line for line in output.splitlines() if region in line]
            fleet.checks.that(f"  and has a row for {region}", rows, output)
    fleet.expects(MUMBAI, fleet[MUMBAI].hears(told[MUMBAI]), "rolled-back")
    status, output = status_of_all(fleet)
    fleet.checks.equal("`status --regions` ends with status 0 once all answer", status, 0)


def status_of_all(fleet):
    """Runs `status --regions` as an operator in Ireland. Returns the exit status and the output."""
    with Router({region.region: region.port for region in fleet.regions.values()}) as router:
        env = clean_environment(router.endpoint, IRELAND)
        command = [COMMAND_LINE, "status", "--regions", "--function", STACK_NAME]
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    for line in (ran.stdout + ran.stderr).splitlines():
        fleet.checks.say(f"    {line}")
    return ran.returncode, ran.stdout


class Router:
    """One address for all Regions: each request goes to the emulator of the Region that it is signed for."""

    def __init__(self, ports):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                region = self.headers["Authorization"].split("Credential=")[1].split("/")[2]
                onward = http.client.HTTPConnection("127.0.0.1", ports[region], timeout=PATIENCE)
                onward.request(self.command, self.path, body, dict(self.headers))
                answer = onward.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A client may leave before its answer comes, as when a Region is down.
        self._server.handle_error = lambda *_connection: None
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exception):
        self._server.shutdown()
        self._server.server_close()


STORIES = [
    a_bad_release_in_all_regions, people_are_told_and_a_message_is_lost, messages_come_early_and_in_another_order,
    forged_messages, a_region_is_down,
]


def play(fleet):
    for story in STORIES:
        fleet.checks.say(story.__doc__)
        story(fleet)
        for region in fleet.regions.values():
            region.back_to_the_first_release()


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with contextlib.ExitStack() as running:
            regions = [running.enter_context(Region(timeline, region)) for region in ALL]
            with ThreadPoolExecutor(len(regions)) as each:
                list(each.map(Region.prepare, regions))
            play(Fleet(regions, checks))
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())

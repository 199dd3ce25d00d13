"""`make contract`: the function against LocalEmu, by real HTTP traffic through frozen deployments."""

import sys

import documented
import reader
import whole_http
import whole_rest
from alarms import alarm_from_traffic
from checks import Checks
from function import ACCOUNT
from localemu import API_NAME, STAGE, LocalEmu
from stack import StepFailed, Timeline, stop_on_signals

ALARM = "orders-prod-5xx"
PARKED = f"{STAGE}-known-good"


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with LocalEmu(timeline.say) as emulator:
            bad = frozen_deployments(emulator, checks)
            canaries(emulator, checks, bad)
            an_alarm_through_sns(emulator, checks, bad)
            a_deployment_that_is_gone(emulator, checks)
            what_localemu_cannot_do(emulator, checks)
            whole_http.play(emulator, checks)
            # Last, because it leaves a deployment of CodeDeploy behind that never ends.
            whole_rest.play(emulator, checks, bad)
            # The mapping that it made is one that the documents change.
            what_the_documents_say(emulator, checks)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


def frozen_deployments(emulator, checks):
    """Release 1 is recorded and pinned, release 2 goes out, and release 1 serves again."""
    checks.equal("release 1 serves", emulator.request(), 200)
    recorded = emulator.command("record", label="v1")
    checks.that("it is recorded", recorded.get("outcome") == "recorded", recorded)
    checks.equal("a parked stage holds it", emulator.stage(PARKED)["deploymentId"], emulator.good)
    bad = emulator.release(500)
    emulator.patch(deploymentId=bad, variables__release="2", variables__extra="x")
    checks.equal("release 2 fails", emulator.request(), 500)
    gateway = emulator.client("apigateway")
    try:
        gateway.delete_deployment(restApiId=emulator.api, deploymentId=emulator.good)
        refusal = "deleted"
    except gateway.exceptions.BadRequestException as refused:
        refusal = str(refused)
    checks.that("the pinned deployment cannot be deleted", "Active stages pointing" in refusal, refusal)
    checks.equal("a plan changes nothing", (emulator.command("plan")["outcome"], emulator.request()),
                 ("would-roll-back", 500))
    checks.equal("a rollback is done", emulator.command("rollback").get("outcome"), "rolled-back")
    checks.equal("release 1 serves again", emulator.request(), 200)
    checks.equal("with its variables and no others", emulator.stage().get("variables"), {"release": "1"})
    return bad


def canaries(emulator, checks, bad):
    canary = {"canarySettings__deploymentId": bad, "canarySettings__percentTraffic": "50"}
    emulator.patch(**canary)
    refused = emulator.command("record")
    checks.equal("a stage with a canary is not recorded", refused.get("reason"), "not-recordable")
    report = emulator.command("rollback")
    checks.that("the canary's share is told", "50 % of the traffic" in report.get("message", ""), report)
    checks.that("the canary is gone", "canarySettings" not in emulator.stage())
    checks.equal("and all are served", {emulator.request() for _ in range(20)}, {200})
    emulator.patch(deploymentId=bad, **canary)
    emulator.command("rollback")
    stage = emulator.stage()
    checks.equal("canary and base come back together",
                 ("canarySettings" in stage, stage["deploymentId"]), (False, emulator.good))


def an_alarm_through_sns(emulator, checks, bad):
    """The emulator's CloudWatch evaluates, SNS carries the message to a queue, the function gets the batch."""
    emulator.patch(deploymentId=bad, variables__release="3")
    event = alarm_from_traffic(
        emulator, ALARM, "5XXError", {"ApiName": API_NAME, "Stage": STAGE}, emulator.request)
    checks.that("the alarm's message comes through SNS", event is not None, "none in 120 s")
    if event is None:
        return
    answer = emulator.invoke(event)
    checks.equal("the function takes the release off",
                 [report["outcome"] for report in answer.get("reports", [])], ["rolled-back"])
    checks.equal("no message goes back to the queue", answer.get("batchItemFailures"), [])
    checks.equal("release 1 serves", (emulator.request(), emulator.stage()["variables"]), (200, {"release": "1"}))
    again = emulator.invoke(event)["reports"][0]
    checks.equal("the same message again changes nothing", again.get("reason"), "already-known-good")


def a_deployment_that_is_gone(emulator, checks):
    """A record of a deployment that does not exist, and no older one: nothing is written."""
    record = emulator.record(emulator.api, STAGE)
    record["release"]["deployment"] = "gone"
    emulator.write(emulator.api, STAGE, "known-good", record)
    report = emulator.command("rollback")
    checks.equal("a deleted deployment is held", report.get("reason"), "known-good-missing")
    checks.equal("and the stage is as it was", (emulator.stage()["deploymentId"], emulator.request()),
                 (emulator.good, 200))


def what_the_documents_say(emulator, checks):
    """The documents' commands that MiniStack cannot run; the others are of `make documents`."""
    person = reader.Reader(emulator.endpoint, checks, AWS_ACCESS_KEY_ID=ACCOUNT)
    reader.play(documented.LOCALEMU, person, emulator, checks)


def what_localemu_cannot_do(emulator, checks):
    limits = emulator.stage(PARKED)["methodSettings"]["*/*"]
    checks.equal("the parked stage is closed by its settings",
                 (limits["throttlingRateLimit"], limits["throttlingBurstLimit"]), (0, 0))
    checks.say("        LocalEmu 1.3.2 does not throttle: it answers "
               f"{emulator.request(PARKED)} where AWS refuses; the wire tests have the exact request")
    failed = emulator.invoke({"command": "sweep"})
    told = "DescribeAlarms" in failed.get("errorMessage", "")
    checks.that("a sweep that cannot read its alarms fails, and names the call", told, failed)
    checks.say("        LocalEmu 1.3.2 fails on DescribeAlarms by action; `make e2e` and the wire tests sweep")


if __name__ == "__main__":
    sys.exit(main())

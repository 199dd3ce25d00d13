"""`make contract`: runs the function against LocalEmu, with real HTTP traffic through frozen deployments."""

import sys

import documented
import reader
import whole_http
import whole_rest
import whole_rollout
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
            deleted_deployment(emulator, checks)
            limits_of_localemu(emulator, checks)
            whole_http.play(emulator, checks)
            whole_rollout.play(timeline, emulator, checks)
            # Last, because it leaves a CodeDeploy deployment behind that never ends.
            whole_rest.play(emulator, checks, bad)
            # The documents change the mapping that `whole_rest` made.
            commands_of_the_documents(emulator, checks)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


def frozen_deployments(emulator, checks):
    """Release 1 is recorded and pinned, release 2 is deployed, and a rollback makes release 1 serve again."""
    checks.equal("release 1 serves", emulator.request(), 200)
    recorded = emulator.command("record", label="v1")
    checks.that("release 1 is recorded", recorded.get("outcome") == "recorded", recorded)
    checks.equal("a parked stage keeps its deployment", emulator.stage(PARKED)["deploymentId"], emulator.good)
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
    checks.equal("a rollback command rolls the stage back", emulator.command("rollback").get("outcome"), "rolled-back")
    checks.equal("release 1 serves again", emulator.request(), 200)
    checks.equal("  with its own variables only", emulator.stage().get("variables"), {"release": "1"})
    return bad


def canaries(emulator, checks, bad):
    canary = {"canarySettings__deploymentId": bad, "canarySettings__percentTraffic": "50"}
    emulator.patch(**canary)
    refused = emulator.command("record")
    checks.equal("a stage with a canary is not recorded", refused.get("reason"), "not-recordable")
    report = emulator.command("rollback")
    share = "50 % of the traffic" in report.get("message", "")
    checks.that("the report gives the canary's share of the traffic", share, report)
    checks.that("the rollback removes the canary", "canarySettings" not in emulator.stage())
    checks.equal("  and every request succeeds", {emulator.request() for _ in range(20)}, {200})
    emulator.patch(deploymentId=bad, **canary)
    emulator.command("rollback")
    stage = emulator.stage()
    checks.equal("one rollback removes the canary and restores the base deployment",
                 ("canarySettings" in stage, stage["deploymentId"]), (False, emulator.good))


def an_alarm_through_sns(emulator, checks, bad):
    """CloudWatch evaluates the alarm, SNS delivers its message to a queue, and the function gets the batch."""
    emulator.patch(deploymentId=bad, variables__release="3")
    event = alarm_from_traffic(
        emulator, ALARM, "5XXError", {"ApiName": API_NAME, "Stage": STAGE}, emulator.request)
    checks.that("the alarm's message arrives through SNS", event is not None, "none in 120 s")
    if event is None:
        return
    answer = emulator.invoke(event)
    checks.equal("the function rolls the stage back",
                 [report["outcome"] for report in answer.get("reports", [])], ["rolled-back"])
    checks.equal("the function returns no message to the queue", answer.get("batchItemFailures"), [])
    checks.equal("release 1 serves", (emulator.request(), emulator.stage()["variables"]), (200, {"release": "1"}))
    again = emulator.invoke(event)["reports"][0]
    checks.equal("a second delivery of the message changes nothing", again.get("reason"), "already-known-good")


def deleted_deployment(emulator, checks):
    """The only known-good record names a deleted deployment, so the function changes nothing."""
    record = emulator.record(emulator.api, STAGE)
    record["release"]["deployment"] = "gone"
    emulator.write(emulator.api, STAGE, "known-good", record)
    report = emulator.command("rollback")
    checks.equal("a rollback to a deleted deployment is held", report.get("reason"), "known-good-missing")
    checks.equal("  and the stage is unchanged", (emulator.stage()["deploymentId"], emulator.request()),
                 (emulator.good, 200))


def commands_of_the_documents(emulator, checks):
    """Runs the documents' commands that MiniStack cannot run; `make documents` runs the others."""
    operator = reader.Reader(emulator.endpoint, checks, AWS_ACCESS_KEY_ID=ACCOUNT)
    reader.play(documented.LOCALEMU, operator, emulator, checks)


def limits_of_localemu(emulator, checks):
    limits = emulator.stage(PARKED)["methodSettings"]["*/*"]
    checks.equal("the settings of the parked stage allow no requests",
                 (limits["throttlingRateLimit"], limits["throttlingBurstLimit"]), (0, 0))
    checks.say("        LocalEmu 1.3.2 does not throttle: it answers "
               f"{emulator.request(PARKED)} where AWS refuses; the wire tests check the exact request")
    failed = emulator.invoke({"command": "sweep"})
    named = "DescribeAlarms" in failed.get("errorMessage", "")
    checks.that("a sweep that cannot read the alarms fails and names the call", named, failed)
    checks.say("        LocalEmu 1.3.2 cannot find alarms by their action; `make e2e` and the wire tests run the sweep")


if __name__ == "__main__":
    sys.exit(main())

"""The part of the end-to-end test about fast detection: an acquittal, a release on which the requests do not decide, and the
time that the function takes."""

import datetime
import io
import json
import statistics
import time
import zipfile

from metrics import AT_ONCE, PAUSED
from stack import COOLDOWN, STACK_NAME, STAGE_NAME
from story import ALARM, in_words, rolled_back, swept, wait_for
from watch import EVERY, FAST_ALARM

# When the sample's backend fails: a Python expression over the release and the number of its answers so far.
AS_DEPLOYED = 'release != "1"'
SOMETIMES = 'release != "1" and answers % 6 == 0'
OUTAGE = "True"
BACKEND = """\
import json

answers = 0


def handler(event, context):
    global answers
    answers += 1
    release = (event.get("stageVariables") or {}).get("release", "unknown")
    return {"statusCode": 500 if %s else 200, "body": json.dumps({"release": release, "code": %r})}
"""
# The function trusts a sweep's look at the stage only for what was a minute before it.
CERTAIN = 60 + 2 * EVERY
# The sweep runs once a minute; the emulator may start it ten seconds late.
ONE_SWEEP = 90
ROUNDS = 5
# So many failed requests convict by far.
ENOUGH = 40
# Seconds. The emulator's own delays are not among them.
AT_MOST = 2.0


def backend_fails(stack, users, when):
    """Replaces the code of the sample's backend, which all releases share. Users wait until it is in use."""
    functions = stack.client("lambda")
    described = stack.client("cloudformation").describe_stack_resource(
        StackName=STACK_NAME, LogicalResourceId="SampleBackend")
    name = described["StackResourceDetail"]["PhysicalResourceId"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", BACKEND % (when, when))

    def is_in_use():
        answer = json.loads(functions.invoke(FunctionName=name, Payload="{}")["Payload"].read())
        return json.loads(answer["body"]).get("code") == when

    with users.away():
        functions.update_function_code(FunctionName=name, ZipFile=packed.getvalue())
        wait_for("the backend's new code", is_in_use)


def new_release(stack, name):
    """Deploys a release of this name. Returns its deployment."""
    gateway = stack.client("apigateway")
    made = gateway.create_deployment(restApiId=stack.api, description=f"release {name}")["id"]
    gateway.update_stage(restApiId=stack.api, stageName=STAGE_NAME, patchOperations=[
        {"op": "replace", "path": "/deploymentId", "value": made},
        {"op": "replace", "path": "/variables/release", "value": name}])
    return made


def the_emulator_counts_as_cloudwatch(stack, checks):
    """The statistics that emulator.py adds exclude the lower bound and include the upper one, as CloudWatch documents."""
    metric = {"Namespace": "bounds", "MetricName": "Status"}
    stack.client("cloudwatch").put_metric_data(
        Namespace="bounds", MetricData=[{"MetricName": "Status", "Values": [200, 499, 500, 599, 600], "Counts": [1, 1, 2, 3, 3]}])
    wanted = {"TC(499:599)": 5.0, "PR(499:599)": 50.0, "TC(599:)": 3.0, "TC(:499)": 2.0}
    queries = [
        {"Id": f"q{nth}", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": stat}} for nth, stat in enumerate(wanted)]
    results = stack.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=time.time() - 3600, EndTime=time.time() + 60)["MetricDataResults"]
    read = {stat: result["Values"] for stat, result in zip(wanted, results)}
    checks.equal("the emulator counts values between bounds as CloudWatch does", read, {
        stat: [value] for stat, value in wanted.items()})


def numbers_are_those_of_the_lines(users, checks, report, deployment):
    """The function must have counted the requests of this deployment that are in the access log, all of them until it looked."""
    test = report.get("test") or {}
    since = 1000 * datetime.datetime.fromisoformat(test["since"].replace("Z", "+00:00")).timestamp() if test.get("since") else 0
    lines = [
        line for line in users.access_log.lines()
        if line["DeploymentId"] == deployment and line["_aws"]["Timestamp"] >= since]
    bad = sum(line["Status"] >= 500 for line in lines)
    # More lines may have been written since it looked, in ten seconds at most.
    later = 10 / users.PAUSE * users.AT_ONCE
    checks.that("  by the requests of this deployment that are in the access log",
                (test.get("deployment"), test.get("source")) == (deployment, "deployments")
                and max(1, bad - later) <= test["bad"] <= bad and len(lines) - later <= test["requests"] <= len(lines),
                f"{test}; the log has {bad} failures in {len(lines)} lines since then")


def one_in_six_fails(stack, users, watch, reports, checks, good):
    """The fast alarm fires, the requests do not decide within DecideSeconds, and the alarm on the minute rolls back."""
    backend_fails(stack, users, SOMETIMES)
    users.own_metrics.pace = PAUSED
    reports.skip()
    with users.away():
        bad = new_release(stack, "partly bad")
    wait_for("the fast alarm on a release that fails sometimes", lambda: watch.state() == "ALARM", 60)
    report = reports.until("the function's verdict", lambda each: each["signal"].get("name") == FAST_ALARM, 60)
    checks.equal("the fast alarm alone convicts nobody", (report["outcome"], report["reason"]), ("ignored", "not-decided"))
    checks.equal("  because the requests do not decide", (report.get("test") or {}).get("verdict"), "undecided")
    numbers_are_those_of_the_lines(users, checks, report, bad)
    checks.equal("  and the release stays live", stack.stage()["deploymentId"], bad)
    users.own_metrics.pace = AT_ONCE
    report = reports.until("the alarm on the minute to roll back", rolled_back, 60)
    checks.equal("the alarm on the minute decides", report["signal"]["name"], ALARM)
    checks.equal("  and release 1 serves again", stack.stage()["deploymentId"], good)
    backend_fails(stack, users, AS_DEPLOYED)


def an_outage(stack, users, watch, reports, checks, good, world):
    """The backend of all releases fails, and during the outage a release goes live. An alarm accuses it, its requests do not."""
    users.own_metrics.pace = PAUSED
    backend_fails(stack, users, OUTAGE)
    wait_for("the outage", lambda: users.healthy_in_a_row == 0)
    wait_for("the fast alarm", lambda: watch.state() == "ALARM", 60)
    checks.equal("an outage of the known-good release changes nothing", stack.stage()["deploymentId"], good)
    time.sleep(CERTAIN)
    reports.skip()
    reports.until("a sweep during the outage", swept, ONE_SWEEP)
    with users.away():
        new = new_release(stack, "innocent")
    before = world(stack)
    wait_for("requests of the new release", lambda: any(line["DeploymentId"] == new for line in users.access_log.lines()))
    users.own_metrics.pace = AT_ONCE
    report = reports.until("the verdict on the new release", lambda each: each["signal"].get("name") == ALARM, 60)
    checks.equal("a release that fails no more often than the known-good one is acquitted",
                 (report["outcome"], report["reason"]), ("held", "not-this-release"))
    test = report.get("test") or {}
    checks.that("  by the requests of both", test.get("verdict") == "acquitted" and test["compared"]["deployment"] == good
                and test["compared"]["bad"] > 0, test)
    checks.equal("  and nothing is written", world(stack), before)


def seconds_to_the_rollback(stack, users, watch, reports, checks, good):
    """Measures the function: from the moment at which the requests that convict are readable until the stage is back.

    The line's way to CloudWatch, the alarm's period and its evaluation are left out: the requests are published, read back,
    and only then the alarm is set.
    """
    watch.is_paused = True
    took = []
    for nth in range(ROUNDS):
        with users.away():
            stack.client("cloudwatch").set_alarm_state(AlarmName=FAST_ALARM, StateValue="OK", StateReason="the next round")
            bad = new_release(stack, f"bad {nth}")
            time.sleep(1.1)
            users.send(ENOUGH)
            wait_for("the numbers of the release", lambda: failures(stack, bad) >= ENOUGH)
            began = time.monotonic()
            stack.client("cloudwatch").set_alarm_state(
                AlarmName=FAST_ALARM, StateValue="ALARM", StateReason="Threshold Crossed: 1 out of the last 6 datapoints")
            wait_for("the rollback", lambda: stack.stage()["deploymentId"] == good, 60, every=0.01)
            took.append(time.monotonic() - began)
        time.sleep(COOLDOWN)
    reports.skip()
    convicted = [
        each for each in reports.all() if rolled_back(each) and (each.get("test") or {}).get("verdict") == "convicted"]
    checks.that("each bad release of the measurement was convicted by its requests", len(convicted) > ROUNDS,
                [in_words(each) for each in reports.all() if rolled_back(each)])
    middle = statistics.median(took)
    checks.that(
        f"from readable requests to the rolled-back stage: p50 {middle:.2f} s, at most {AT_MOST} s "
        f"({', '.join(f'{each:.2f}' for each in took)})", middle <= AT_MOST, f"{took}")
    watch.is_paused = False


def failures(stack, deployment):
    """Returns how many failed requests of a deployment can be read, in the way in which the function reads them."""
    now = time.time()
    dimensions = [("ApiId", stack.api), ("Stage", STAGE_NAME), ("DeploymentId", deployment)]
    metric = {"Namespace": "apigw-rollback/access-log", "MetricName": "Status",
              "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions]}
    answer = stack.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "failed", "MetricStat": {"Metric": metric, "Period": EVERY, "Stat": "TC(499:599)"}}],
        StartTime=now - 600, EndTime=now + EVERY)
    return sum(answer["MetricDataResults"][0]["Values"])

"""Deploys the example of the CDK construct to an emulator with the CDK's own command line, and uses what it deployed.

    cdk_deploy.py DIST      the folder of a built release, whose function runs
"""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from checks import Checks  # noqa: E402
from stack import REGION, STAGE_NAME, Stack, StepFailed, Timeline, stop_on_signals  # noqa: E402

ACCOUNT, OUTER = "000000000000", "orders"
EXAMPLE = ROOT / "deploy" / "cdk" / "example"


def cdk(stack, title, *arguments, status=0, **env):
    """Runs the CDK's command line in the example and returns what it said."""
    stack.timeline.say(title)
    ran = subprocess.run(
        [ROOT / "deploy" / "node.sh", "npx", "--no-install", "cdk", *arguments, "--output", stack.work / "cdk.out"],
        cwd=EXAMPLE, env=dict(stack.env, CI="true", CDK_DISABLE_VERSION_CHECK="1", HOME=str(stack.work), **env),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    said = ran.stdout + ran.stderr
    if (ran.returncode == 0) != (status == 0):
        raise StepFailed(f"`{title}` ended with status {ran.returncode}:\n{said[-3000:]}")
    return said


def play(stack, checks, dist):
    cdk(stack, "cdk bootstrap", "bootstrap", f"aws://{ACCOUNT}/{REGION}", RELEASE=str(dist))
    said = cdk(stack, "cdk deploy with a release that is not there", "deploy", "--require-approval", "never",
               status=1, RELEASE=str(stack.work / "none"))
    checks.that("a release that is not there fails the synthesis", "There is no template.yaml in" in said, said[-500:])
    names = [one["StackName"] for one in stack.client("cloudformation").list_stacks()["StackSummaries"]]
    checks.that("  and no stack was created", OUTER not in names, names)
    cdk(stack, "cdk deploy", "deploy", "--require-approval", "never", RELEASE=str(dist))
    stack.read_outputs(OUTER)
    api, function = stack.outputs["ApiId"], stack.outputs["FunctionName"]
    checks.that("the function has the name of the nested stack", function.startswith(f"{OUTER}-Rollback"), function)
    checks.that("  which Lambda allows", len(function) <= 64, function)
    variables = stack.client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    checks.that("the function protects the API of the app", f'"api":"{api}"' in variables["PROTECTED_STAGES"], variables)
    (alarm,) = [one for one in stack.client("cloudwatch").describe_alarms()["MetricAlarms"] if "Checkout" in one["AlarmName"]]
    checks.equal("the alarm of the app names the stage", alarm["AlarmDescription"], f"rollback-target: {api}/{STAGE_NAME}")
    checks.equal("  and notifies the function's topic", alarm["AlarmActions"], [variables["ALARM_TOPIC_ARN"]])
    answer = stack.invoke({"command": "record", "stage": {"api": api, "name": STAGE_NAME}, "label": "v1"})
    checks.equal("the deployed function records the live release", answer.get("outcome"), "recorded")
    status = stack.invoke({"command": "status", "stage": {"api": api, "name": STAGE_NAME}})
    checks.equal("  and shows it", status.get("outcome"), "status")
    cdk(stack, "cdk destroy", "destroy", "--force", RELEASE=str(dist))
    left = [each["FunctionName"] for each in stack.client("lambda").list_functions()["Functions"]]
    checks.that("the function is deleted with the app", function not in left, left)


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    dist = pathlib.Path(sys.argv[1]).resolve()
    if not (dist / "template.yaml").is_file():
        print(f"error: there is no release in {dist}: run `make dist`, or give DIST=path", file=sys.stderr)
        return 1
    try:
        with Stack(timeline, keep=os.environ.get("KEEP", "") not in ("", "0")) as stack:
            play(stack, checks, dist)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())

"""Deploys the example of the CDK construct to an emulator with the CDK's own command line, and runs the action on it.

    deploy.py DIST      the folder of a built release, whose function runs
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from checks import Checks  # noqa: E402
from stack import REGION, STAGE_NAME, Stack, StepFailed, Timeline, stop_on_signals  # noqa: E402

ACCOUNT, OUTER = "000000000000", "orders"
EXAMPLE = ROOT / "deploy" / "cdk" / "example"
PROGRAM = "apigw-rollback-x86_64-linux"


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
    run_actions(stack, checks, f"{api}/{STAGE_NAME}", function)
    cdk(stack, "cdk destroy", "destroy", "--force", RELEASE=str(dist))
    left = [each["FunctionName"] for each in stack.client("lambda").list_functions()["Functions"]]
    checks.that("the function is deleted with the app", function not in left, left)


def action(stack, **inputs):
    """Runs the program of the action as its step does, with the command line of this repository as the release."""
    release = stack.work / "release"
    if not release.is_dir():
        release.mkdir()
        shutil.copy(ROOT / "target" / "debug" / "apigw-rollback", release / PROGRAM)
        program = (release / PROGRAM).read_bytes()
        (release / "SHA256SUMS").write_text(f"{hashlib.sha256(program).hexdigest()}  {PROGRAM}\n")
    output = stack.work / "output"
    output.write_text("")
    version = (ROOT / "Cargo.toml").read_text().split('version = "')[1].split('"')[0]
    env = dict(stack.env, INPUT_RELEASE=str(release), INPUT_VERSION=version, RUNNER_TEMP=str(stack.work / "runner"),
               GITHUB_OUTPUT=str(output), GITHUB_ACTOR="ada", GITHUB_REPOSITORY="o/r", GITHUB_WORKFLOW="deploy",
               GITHUB_RUN_ID="7", **{f"INPUT_{name.upper()}": text for name, text in inputs.items()})
    ran = subprocess.run([sys.executable, ROOT / "deploy" / "action" / "run.py"], env=env, capture_output=True, text=True,
                         timeout=120, check=False)
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return ran.returncode, outputs, ran.stdout + ran.stderr


def run_actions(stack, checks, stage, function):
    for command, texts, outcome in [
        ("announce", {"label": "v2", "note": "new checkout"}, "done"),
        ("record", {"label": "v2"}, "recorded"),
        # The emulator has no data for the alarms, without which nothing is promoted.
        ("promote", {}, "held"),
    ]:
        status, outputs, said = action(stack, command=command, stage=stage, function=function, **texts)
        wanted = ("0", outcome) if outcome != "held" else ("3", outcome)
        checks.equal(f"the action's {command} ends as it should", (outputs["exit-code"], outputs["outcome"]), wanted)
        checks.equal("  and so does its step", status, int(wanted[0]))
    record = stack.client("ssm").get_parameter(Name=f"/apigw-rollback/stages/{stage}/known-good")["Parameter"]["Value"]
    checks.that("the record has the label and the pipeline's run", '"v2"' in record and "ada (o/r/deploy/7)" in record, record)
    status, outputs, said = action(stack, command="doctor", stage=stage, function=function, accept="not-checked")
    findings = json.loads(outputs["report"])["findings"]
    # The emulator cannot simulate policies, which the doctor reports, and more that it lacks.
    gate = (status == 0) == (outputs["exit-code"] in ("0", "5", "9"))
    checks.that("the action's doctor reports its findings and decides by the worst", gate and len(findings) > 10, said[-800:])
    status, outputs, said = action(stack, command="record", stage="nobody/prod", function=function)
    checks.that("the action fails for a stage that does not exist", status != 0 and "::error" in said, said[-800:])
    status, outputs, said = action(stack, command="doctor", function="another")
    checks.equal("the action says that a function does not exist", outputs["exit-code"], "8")


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    dist = pathlib.Path(sys.argv[1]).resolve()
    if not (dist / "template.yaml").is_file():
        print(f"error: there is no release in {dist}: run `make dist`, or give DIST=path", file=sys.stderr)
        return 1
    try:
        with Stack(timeline) as stack:
            play(stack, checks, dist)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())

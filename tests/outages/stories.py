"""The stories: what fails during a run, who does what meanwhile, and how it must end. A story is one sentence and data."""

import datetime
from dataclasses import dataclass, field

import cbor2

from proxy import Fault


@dataclass(frozen=True)
class Story:
    """One story. The stage serves a bad release, and its alarm fires; `faults` hold from then on."""

    name: str
    faults: tuple = ()
    # The release that is live at the end: `good`, `bad`, or the `fix` that somebody deploys meanwhile.
    live: str = "good"
    # When somebody deploys the fix: an operation, which of its calls, and the seconds after it arrived. A fourth entry says
    # what they do instead: they set `weights` of the alias, or move it to this version.
    fix: tuple = ()
    # Whether somebody deploys the fix after the alarm has fired and before the event arrives.
    fixed_before: bool = False
    # Whether a second API of the same name appears, and a sweep runs, before the alarm fires.
    namesake: bool = False
    # The outcome of the last run; `None` if it does not matter.
    outcome: str | None = "rolled-back"
    # A part of the last run's message or warnings.
    says: str = ""
    # The least and the most notifications whose subject begins with one of `subjects`.
    told: tuple = (1, 1)
    subjects: tuple = ("ROLLED BACK",)
    # What happens after the run: "again" sends the event again, "sweep" starts a sweep, both without faults; "later" waits until
    # the run counts as dead, as Lambda does before it repeats an event.
    then: tuple = ()
    # The seconds that the run may take at most, and that Lambda gives it.
    seconds: float = 60
    time_out: float = 60
    settings: dict = field(default_factory=dict)
    # The stage variables of a release, and how many APIs the event is about.
    variables: object = None
    apis: int = 1
    # Whether a Lambda alias belongs to the release, and whether the event says when the alarm fired.
    alias: bool = False
    knows_time: bool = True
    # Whether no other story may be played at the same time.
    alone: bool = False
    # A function of the world that says what else is wrong at the end, if anything.
    also: object = None


# A. A fix that somebody deploys during the run stays: each operation fails or is slow, and the fix comes meanwhile.

# The calls of a plain run. The claim is written beside the change, the list after it.
CALLS = {
    "GetStage": "GetStage",
    "GetParameters": "GetParameters",
    "DescribeAlarms": "DescribeAlarms",
    "the claim": "PutParameter incidents",
    "UpdateStage": "UpdateStage",
    "the list": "PutParameter /rollbacks",
    "the mark": "PutParameter /told/",
    "Publish": "Publish",
}

FAILURES = {
    "answers 2.5 s late": {"late": 2.5},
    "is held for 2.5 s": {"held": 2.5, "first": 1},
    "is refused with 503 for 1.5 s": {"status": 503, "lasts": 1.5},
    "is throttled for 2 s": {"status": 429, "code": "TooManyRequestsException", "lasts": 2},
    "is dropped once": {"dropped": True, "first": 1},
    "takes effect and loses its answer": {"lost": True, "first": 1},
}

# A change that is on its way takes effect whatever happens meanwhile: API Gateway has no compare-and-swap.
UNAVOIDABLE = {("UpdateStage", "is held for 2.5 s")}


def fault(call, **how):
    operation, *about = CALLS.get(call, call).split(" ")
    return Fault(operation, about=about[0] if about else "", **how)


def windows():
    """Returns a story for each call and failure."""
    for call in CALLS:
        for failure, how in FAILURES.items():
            if (call, failure) in UNAVOIDABLE:
                continue
            yield Story(
                f"a fix stays while {call} {failure}", (fault(call, **how),), live="fix",
                fix=(CALLS[call], 1, 0.8), outcome=None, told=(0, 2))


A = [
    *windows(),
    Story("a fix stays when UpdateStage commits and answers 4 s late", (fault("UpdateStage", late=4, first=1),),
          live="fix", fix=("UpdateStage", 1, 1), outcome=None, told=(0, 1)),
    Story("a fix stays when UpdateStage is throttled for 12 s",
          (fault("UpdateStage", status=429, code="TooManyRequestsException", lasts=12),),
          live="fix", fix=("UpdateStage", 1, 6), outcome=None, told=(0, 1)),
    Story("a fix stays when the hook takes 2.5 s", (fault("Invoke", late=2.5, answer="{}"),),
          live="fix", fix=("Invoke", 1, 1), outcome=None, told=(0, 1), settings={"HOOK_FUNCTION": "capture"}),
    Story("a hook may repair the stage itself", (fault("Invoke", late=0.3, answer="{}"),),
          live="fix", fix=("Invoke", 1, 0.05), outcome=None, told=(0, 1), settings={"HOOK_FUNCTION": "capture"}),
]

# B to N: news, time-outs, size, neighbors, settings, deaths.

SLOW_TOPIC = Fault("Publish", late=8, first=1)
FULL = Fault("PutParameter", about='"Overwrite":false', status=400, code="ParameterLimitExceeded")


def no_message_is_too_long(world):
    sizes = [len(call.body) for call in world.proxy.of("Publish")]
    # SNS counts the decoded message; the form encodes it, so this is an upper bound of a plain text.
    decoded = [len(message.encode()) for message in world.messages()]
    return "" if sizes and max(decoded) < 256 * 1024 else f"messages of {decoded} bytes"


def neighbors_do_not_wait(world):
    changed = {call.about.split("/")[2]: call.done - world.began for call in world.proxy.of("UpdateStage")}
    slow = [api.name for api in world.apis[1:] if changed.get(api.id, 99) > 10]
    return f"these waited: {slow}; {changed}" if slow else ""


def the_incident_is_there(world):
    names = world.parameters()
    return "" if any("/incidents/" in name for name in names) else f"no incident among {sorted(names)}"


def the_bad_release_is_refused(world):
    world.apis[0].deploy(world.apis[0].bad, "2")
    answer = world.function.invoke({"command": "record", **world.apis[0].command})
    return "" if "in quarantine" in str(answer) else f"record answers {answer}"


def missing_or(*checks):
    return lambda world: next((wrong for wrong in (check(world) for check in checks) if wrong), "")


def long_variables(number, length):
    return lambda release: {f"variable{n}": release * length for n in range(number)}


OTHERS = [
    Story("a rollback without faults is told once"),
    Story("a notification is told at most twice if SNS answers late", (SLOW_TOPIC,), told=(1, 2)),
    Story("a notification is told once if SNS is busy", (Fault("Publish", status=503, first=1),), told=(1, 1)),
    Story("people are told although no parameter can be created", (FULL,), says="ParameterLimitExceeded"),
    Story("a failure is told although no parameter can be created",
          (FULL, Fault("UpdateStage", status=403, code="AccessDeniedException")), live="bad",
          outcome=None, subjects=("STILL BAD", "MAY BE BAD", "MANUAL"), told=(1, 2)),
    Story("people are told although PutParameter hangs", (Fault("PutParameter", held=60),), outcome=None, time_out=30),
    Story("what SNS refused is told by the next sweep, once",
          (Fault("Publish", status=403, code="AuthorizationError", first=1),), then=("sweep", "sweep"), outcome=None),
    Story("a release with a hundred long variables fits into a notification",
          variables=lambda release: {"release": "1"} if release == "1" else long_variables(100, 500)(release),
          also=no_message_is_too_long),
    Story("slow calls of Parameter Store are not dead ones", (Fault("GetParameters", held=3.2),), seconds=40),
    Story("people are told that the function cannot act when Parameter Store hangs",
          (Fault("GetParameters", held=60),), live="bad", outcome=None, time_out=30,
          subjects=("STILL BAD", "MAY BE BAD", "MANUAL"), told=(1, 2)),
    Story("nine stages of a batch do not wait for one that hangs", (), apis=10, live="", outcome=None,
          told=(9, 10), time_out=40, also=neighbors_do_not_wait),
    Story("a hook has the time that its setting gives it", (Fault("Invoke", late=5, answer="{}"),),
          settings={"HOOK_FUNCTION": "capture", "HOOK_SECONDS": "8"}, outcome="rolled-back", seconds=30),
    Story("a hook that exceeds its time does not prevent the rollback", (Fault("Invoke", late=5, answer="{}"),),
          settings={"HOOK_FUNCTION": "capture", "HOOK_SECONDS": "2"}, says="hook", seconds=30),
    Story("an incident of two large releases is kept, and its release stays in quarantine",
          variables=long_variables(14, 480), also=missing_or(the_incident_is_there, the_bad_release_is_refused)),
    Story("nobody reads NOT ROLLED BACK after a run that died writing its list",
          (Fault("PutParameter", about="/rollbacks", kills=True, first=1),), then=("again",), outcome=None,
          subjects=("STILL BAD", "MAY BE BAD"), told=(0, 0)),
    Story("a run that died before its change is made up for by its repetition, which tells people",
          (Fault("UpdateStage", kills=True, first=1),), then=("later", "again")),
    Story("an event that comes again changes nothing and is not told again", then=("again",), outcome=None),
    Story("a refused change is told with the code that AWS gave",
          (Fault("UpdateStage", status=403, code="AccessDeniedException"),), live="bad", outcome=None,
          says="AccessDenied", subjects=("STILL BAD", "MANUAL"), told=(1, 2)),
]



def later_by_five_seconds(body):
    """Moves the alarms' only times in an answer of DescribeAlarms."""
    answer = cbor2.loads(body)
    for alarm in answer.get("MetricAlarms", []):
        alarm.pop("StateTransitionedTimestamp", None)
        alarm["StateUpdatedTimestamp"] += datetime.timedelta(seconds=5)
    return cbor2.dumps(answer)


def events_are_few(world):
    sent = len([call for call in world.calls if call.operation == "PutEvents"])
    return "" if 1 <= sent <= 2 else f"{sent} events"


def alias_is(version, **weights):
    return lambda world: "" if world.apis[0].alias() == (version, weights) else f"the alias: {world.apis[0].alias()}"


def the_second_function_holds(world):
    second = world.start(f"{world.name}-second", world.apis)
    try:
        recorded = second.invoke({"command": "record", **world.apis[0].command})
        swept = second.invoke({"command": "sweep"})
    finally:
        second.close()
    holds = recorded["outcome"] == "rejected" and world.name in recorded["message"] and "protects" in str(swept)
    return "" if holds else f"{recorded['message']}; {swept}"


OTHERS += [
    Story("an event for programs is sent at most twice if EventBridge answers late",
          (Fault("PutEvents", late=8, first=1),), settings={"EVENT_BUS": "default"}, also=events_are_few),
    Story("an alarm without a time changes nothing", live="bad", knows_time=False, outcome=None,
          subjects=("STILL BAD", "MAY BE BAD"), told=(1, 1)),
    Story("a fix after the event's time stays although CloudWatch gives a later time",
          (Fault("DescribeAlarms", rewritten=later_by_five_seconds),), fixed_before=True, live="fix", outcome=None,
          told=(0, 0)),
    Story("a release with an alias is rolled back as a whole", alias=True, also=alias_is("1")),
    Story("weights of the alias that somebody sets during the run are told", alias=True,
          fix=("UpdateStage", 1, 0.1, "weights"), faults=(fault("UpdateStage", late=1, first=1),), outcome=None,
          subjects=("MANUAL",), says="somebody else changed it", also=alias_is("1", **{"2": 0.5})),
    Story("an alias that somebody moves while UpdateAlias is refused is not overwritten", alias=True,
          fix=("UpdateAlias", 1, 0.5, "1"), faults=(Fault("UpdateAlias", status=503, lasts=1),), outcome=None,
          also=alias_is("1")),
    Story("a second function leaves the stage to the first and says so", also=the_second_function_holds),
]



def the_first_release_is_pinned_before_it_is_recorded(world):
    api, name = world.api(f"{world.name}-first"), f"{world.name}-first"
    function = world.start(name, [api])
    world.proxy.arm([Fault("PutParameter", about="/known-good", kills=True, first=1)])
    world.proxy.kill = function.kill
    try:
        answer = function.invoke({"command": "record", **api.command})
    finally:
        function.close()
    return "" if answer is None and "prod-known-good" in api.stages() else f"{answer}, {api.stages()}"


OTHERS += [
    Story("an alarm whose name for the API can mean two does nothing", namesake=True, live="bad", outcome=None,
          subjects=("MAY BE BAD",), told=(1, 1), says="can mean 2 APIs"),
    Story("the first release of a stage is pinned before it is recorded",
          also=the_first_release_is_pinned_before_it_is_recorded),
]

ALL = [*A, *OTHERS]

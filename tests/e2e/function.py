"""The function as a local process, under the Runtime Interface Emulator of aws-sam-cli."""

import json
import platform
import urllib.request

from stack import ROOT, TOOLS, StepFailed, clean_environment, free_port

# The account that the Runtime Interface Emulator gives a function. The emulators read an access key of twelve
# digits as the account, and the function rejects alarms of any other account.
ACCOUNT = "012345678912"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Function:
    """One process with its own settings; `entry` is its stage's entry in PROTECTED_STAGES."""

    def __init__(self, entry, url):
        self.entry = entry
        self.url = url

    def invoke(self, event):
        """Invokes the function and returns its answer; an error is `{"errorType", "errorMessage"}`."""
        url = f"{self.url}/2015-03-31/functions/function/invocations"
        with _DIRECT.open(urllib.request.Request(url, data=json.dumps(event).encode()), timeout=90) as answer:
            return json.loads(answer.read())

    def command(self, name, **arguments):
        stage = {"api": self.entry["api"], "name": self.entry["stage"]}
        return self.invoke({"command": name, "stage": stage, **arguments})


def start(processes, entry, endpoint, **settings):
    """Starts the function for one stage. `settings` are additional environment variables."""
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    found = sorted((TOOLS / "sam").glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"))
    if not found:
        raise StepFailed("aws-sam-cli in .tools/sam has no aws-lambda-rie; run `make setup`")
    own, runtime = free_port(), free_port()
    name = f"function-{entry['api']}-{entry['stage'].strip('$')}"
    processes.start(
        name,
        [found[0], "--runtime-interface-emulator-address", f"127.0.0.1:{own}",
         "--runtime-api-address", f"127.0.0.1:{runtime}",
         ROOT / "target" / "debug" / "apigw-rollback-function"],
        dict(clean_environment(endpoint), AWS_ACCESS_KEY_ID=ACCOUNT, AWS_LAMBDA_FUNCTION_TIMEOUT="60",
             PROTECTED_STAGES=json.dumps([entry]),
             # A queue delivers the alarms.
             UNWIRED_ALARM_PREFIXES="orders-,web-", **settings),
    )
    function = Function(entry, f"http://127.0.0.1:{own}")
    processes.wait(name, f"{function.url}/")
    return function

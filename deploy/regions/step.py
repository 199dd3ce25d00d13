"""A step for a plan of Application Recovery Controller's Region switch: asks whether the stage of the Region to which traffic
is about to move serves a known-good release. If it does not, the step fails, and the plan waits or stops.

Run it as a custom action Lambda execution block with `regionToRun` set to `activatingRegion`, so that each Region's own
copy asks the function of its own Region. Its variables: FUNCTION, the name of the function; API, the id or name of the
API; STAGE. Its role needs lambda:InvokeFunction on the function.
"""

import json
import os


class NotKnownGood(Exception):
    """Traffic must not move to this Region yet."""


def serves_known_good(status):
    """Returns the known-good release by its name if the stage serves it, and raises otherwise."""
    live = (status.get("live") or {}).get("release")
    record = status["known_good"].get("record")
    if live is None or record is None:
        raise NotKnownGood("the stage or its known-good record does not exist, or the record cannot be used")
    good = record["release"]
    # Components that the record does not name do not belong to the release.
    parts = all(live.get(kind, {}).get(name) == one for kind in ("aliases", "mappings") for name, one in good.get(kind, {}).items())
    same = all(live.get(name) == good.get(name) for name in ("deployment", "variables", "canary"))
    if not (same and parts):
        raise NotKnownGood(f"the stage serves deployment {live['deployment']}, and {good['deployment']} is known-good")
    against = [one for one in status.get("siblings", []) if not one.get("cleared") and one["bad"]["label"] == record["label"]]
    if record["label"] and against:
        raise NotKnownGood(f"Region {against[-1]['bad']['region']} found {record['label']} bad")
    return record["label"] or good["deployment"]


def asked(client, function, api, stage):
    """Returns the status of the stage, as the function of this Region reports it."""
    command = {"command": "status", "stage": {"api": api, "name": stage}}
    answer = client.invoke(FunctionName=function, Payload=json.dumps(command))
    report = json.loads(answer["Payload"].read())
    if answer.get("FunctionError") or report.get("outcome") != "status":
        raise NotKnownGood(f"the function does not know the stage: {report.get('message') or report.get('errorMessage')}")
    return report["details"]


def handler(_event, _context):
    # The tests need no SDK.
    import boto3

    names = [os.environ[name] for name in ("FUNCTION", "API", "STAGE")]
    return {"known_good": serves_known_good(asked(boto3.client("lambda"), *names))}

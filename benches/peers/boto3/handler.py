"""The same rollback as a boto3 function: reads the record and the stage, then rolls the stage back."""

import json
import os

import boto3
from botocore.config import Config

CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 5})
ssm = boto3.client("ssm", config=CONFIG)
gateway = boto3.client("apigateway", config=CONFIG)
# Alarms identify an API by its name, calls by its id.
API_IDS = json.loads(os.environ["API_IDS"])


def handler(event, _context):
    alarm = json.loads(event["Records"][0]["Sns"]["Message"])
    if alarm["NewStateValue"] != "ALARM":
        return {"outcome": "ignored"}
    dimensions = {one["name"]: one["value"] for one in alarm["Trigger"]["Dimensions"]}
    api = API_IDS[dimensions["ApiName"]]
    stage = {"restApiId": api, "stageName": dimensions["Stage"]}

    name = f"/apigw-rollback/stages/{api}/{dimensions['Stage']}/known-good"
    record = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    good = record["release"]
    live = gateway.get_stage(**stage)
    if live["deploymentId"] == good["deployment"]:
        return {"outcome": "already-known-good"}

    patch = [{"op": "replace", "path": "/deploymentId", "value": good["deployment"]}]
    variables = live.get("variables", {})
    for name, value in good["variables"].items():
        if variables.get(name) != value:
            patch.append({"op": "replace", "path": f"/variables/{name}", "value": value})
    for name in variables.keys() - good["variables"].keys():
        patch.append({"op": "remove", "path": f"/variables/{name}"})
    after = gateway.update_stage(**stage, patchOperations=patch)
    report = {"outcome": "rolled-back", "before": live["deploymentId"], "after": after["deploymentId"]}
    print(json.dumps(report))
    return report

"""The questions about data: when requests are counted, under which names, and when log lines become metrics."""

import datetime
import json
import time

from gateway import STAGE, Rest, replace

TRUST = {"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
PUSH = "arn:{partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
CANARY = "How does API Gateway name the metrics of a canary?"
COUNTED = "How late does API Gateway count a request?"
EXTRACTED = "Does CloudWatch extract the metrics of the access-log format, and how late?"
DELIVERED = "How late does API Gateway deliver a line of the access log?"
CACHED = "Does the cache serve old answers after the change?"
UTC = datetime.timezone.utc


def values(box, namespace, metric, dimensions, statistic, period, since, file=None):
    """Returns the datapoints of a metric: the beginning of each period with its value."""
    query = {"Id": "q", "MetricStat": {"Metric": {
        "Namespace": namespace, "MetricName": metric,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()]},
        "Period": period, "Stat": statistic}}
    answer, _ = box.recorder.ask(
        "cloudwatch", "GetMetricData", file=file, MetricDataQueries=[query], StartTime=since,
        EndTime=datetime.datetime.now(UTC) + datetime.timedelta(minutes=1))
    results = (answer or {}).get("MetricDataResults") or [{}]
    return dict(zip(results[0].get("Timestamps", []), results[0].get("Values", []), strict=False))


def canary_metrics(box, address):
    """Sends requests to a stage with a canary, and looks where they are counted."""
    rest = Rest(box, "canary", address)
    one = rest.deploy("one")
    rest.do("apigateway", "CreateStage", restApiId=rest.api, stageName=STAGE, deploymentId=one)
    rest.canary(rest.deploy("two"))
    since = datetime.datetime.now(UTC) - datetime.timedelta(minutes=2)
    seen = [rest.request()[1] for _ in range(60)]
    sent = datetime.datetime.now(UTC)

    def found():
        named = {}
        for stage in (STAGE, f"{STAGE}/Canary"):
            counted = values(box, "AWS/ApiGateway", "Count", {"ApiName": rest.name, "Stage": stage}, "Sum", 60, since)
            if counted:
                named[stage] = sum(counted.values())
        return named if sum(named.values()) >= len(seen) else None

    named, _ = box.until(found, 480, every=10)
    took = (datetime.datetime.now(UTC) - sent).total_seconds()
    listed, _ = box.recorder.ask("cloudwatch", "ListMetrics", file="of-a-canary", Namespace="AWS/ApiGateway",
                                 Dimensions=[{"Name": "ApiName", "Value": rest.name}])
    stages = sorted({one["Value"] for metric in (listed or {}).get("Metrics", []) for one in metric["Dimensions"]
                     if one["Name"] == "Stage"})
    box.recorder.measured("canary-metrics", requests=len(seen), by_canary=seen.count("two"), counted=named,
                          listed=stages, all_counted_after=round(took, 1))
    if not named and not stages:
        return {CANARY: f"not seen: no request was counted within {took:.0f} s"}
    return {CANARY: f"{named or stages} ({seen.count('two')} of {len(seen)} requests went to the canary)"}


def counted_late(box, address):
    """Sends one request at the very end of a minute, and looks to which minute it belongs."""
    rest = Rest(box, "count", address)
    rest.do("apigateway", "CreateStage", restApiId=rest.api, stageName=STAGE, deploymentId=rest.deploy("one"))
    box.until(lambda: rest.request()[0] == 200, 60, every=1)
    box.wait(61)
    now = datetime.datetime.now(UTC)
    box.wait(59.3 - (now.second + now.microsecond / 1e6) % 60 if now.second < 59 else 0)
    sent = datetime.datetime.now(UTC)
    rest.request()
    since = sent.replace(second=0, microsecond=0)

    def found():
        counted = values(box, "AWS/ApiGateway", "Count", {"ApiName": rest.name, "Stage": STAGE}, "Sum", 60, since,
                         file="count-of-a-late-request")
        return [begins.astimezone(UTC) for begins, number in counted.items() if number] or None

    minutes, took = box.until(found, 300, every=5)
    if not minutes:
        return {COUNTED: f"not seen: the request was not counted within {took} s"}
    late = round((min(minutes) - since).total_seconds() / 60)
    box.recorder.measured("counted-late", sent=sent, in_minute=min(minutes), readable_after=took)
    return {COUNTED: f"sent at {sent:%H:%M:%S}, counted {late} minutes later; readable after {took} s"}


def may_write_logs(box):
    """Lets API Gateway write logs in this account and Region, unless a role is set: then it stays. Returns why not."""
    ask, do = box.recorder.ask, box.recorder.do
    account, error = ask("apigateway", "GetAccount")
    if error is not None:
        return str(error)
    if account.get("cloudwatchRoleArn"):
        return None
    who = do("sts", "GetCallerIdentity")["Arn"]
    role = f"{box.name}-logs"
    policy = PUSH.format(partition=who.split(":")[1])
    box.undo_by("iam", "DeleteRole", RoleName=role)
    made = do("iam", "CreateRole", RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
    box.undo_by("iam", "DetachRolePolicy", RoleName=role, PolicyArn=policy)
    do("iam", "AttachRolePolicy", RoleName=role, PolicyArn=policy)
    box.undo_by("apigateway", "UpdateAccount",
                patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}])
    last = []

    def is_set():
        _, refused = ask("apigateway", "UpdateAccount", patchOperations=[replace("/cloudwatchRoleArn", made["Role"]["Arn"])])
        last[:] = [refused]
        return refused is None

    # A new role is known everywhere only after some seconds.
    box.until(is_set, 90, every=5)
    return None if last[0] is None else str(last[0])


def access_log(box, address, log_format):
    """Sends requests to a stage with the product's access log, and waits for the lines and their metrics."""
    if (why := may_write_logs(box)) is not None:
        return {EXTRACTED: f"not asked: API Gateway may not write logs: {why}"}
    rest = Rest(box, "log", address)
    group = f"/{box.name}/access"
    box.undo_by("logs", "DeleteLogGroup", logGroupName=group)
    box.recorder.do("logs", "CreateLogGroup", logGroupName=group)
    listed = box.recorder.do("logs", "DescribeLogGroups", logGroupNamePrefix=group)["logGroups"][0]["arn"]
    deployment = rest.deploy("one")
    rest.do("apigateway", "CreateStage", restApiId=rest.api, stageName=STAGE, deploymentId=deployment)
    _, error = rest.update(replace("/accessLogSettings/destinationArn", listed.removesuffix(":*")),
                           replace("/accessLogSettings/format", log_format), file="access-log-format")
    if error is not None:
        return {EXTRACTED: f"the format is refused: {error}"}
    box.until(lambda: rest.request()[0] == 200, 60, every=1)
    since = datetime.datetime.now(UTC) - datetime.timedelta(seconds=30)
    began = time.time()

    def lines():
        # A request every look: the stage takes some time to begin to log.
        rest.request()
        answer, _ = box.recorder.ask("logs", "FilterLogEvents", file="of-the-access-log", logGroupName=group,
                                     startTime=int(began * 1000), limit=20)
        return (answer or {}).get("events")

    first, took = box.until(lines, 300, every=2)
    if not first:
        return {EXTRACTED: f"not seen: no line was delivered within {took} s",
                DELIVERED: f"not seen within {took} s"}
    # The stage logs now. From here on each delay is that of one request.
    delays, dimensions = [], {"ApiId": rest.api, "Stage": STAGE, "DeploymentId": deployment}
    for _ in range(3):
        sent = time.time()
        rest.request()
        arrived, _ = box.until(lambda sent=sent: [
            one for one in (box.recorder.ask("logs", "FilterLogEvents", logGroupName=group,
                                             startTime=int(sent * 1000))[0] or {}).get("events", [])], 60, every=0.5)
        delays.extend([round(time.time() - sent, 1)] if arrived else [])
    sent = datetime.datetime.now(UTC)
    rest.request()
    metric, metric_took = box.until(lambda: values(
        box, "apigw-rollback/access-log", "Status", dimensions, "SampleCount", 10,
        sent.replace(second=sent.second // 10 * 10, microsecond=0), file="of-access-log-metrics"), 120, every=1)
    share = values(box, "apigw-rollback/access-log", "Status", dimensions, "PR(499:599)", 10, since,
                   file="percentile-rank-at-10-seconds")
    box.recorder.measured("access-log", first_line_after=took, line_delays=delays,
                          metric_after=metric_took if metric else None, lines=[one["message"] for one in first[:3]],
                          percentile_rank=list(share.values()))
    return {EXTRACTED: f"yes, after {metric_took} s" if metric else f"not seen within {metric_took} s",
            DELIVERED: f"after {delays} s; the first line of the stage after {took} s"}


def cached(box, address):
    """Has an answer cached, changes the deployment, and looks whether the old answer is still served."""
    rest = Rest(box, "cache", address)
    one = rest.deploy("one")
    _, error = rest.ask("apigateway", "CreateStage", file="with-cache", restApiId=rest.api, stageName=STAGE,
                        deploymentId=one, cacheClusterEnabled=True, cacheClusterSize="0.5")
    if error is not None:
        return {CACHED: f"not asked: {error}"}
    rest.update(replace("/*/*/caching/enabled", "true"), replace("/*/*/caching/ttlInSeconds", "3600"))
    status, took = box.until(lambda: rest.stage().get("cacheClusterStatus") == "AVAILABLE", 480, every=10)
    if not status:
        return {CACHED: f"not asked: the cache was not available within {took} s"}
    box.wait(15)
    before = [rest.request()[1] for _ in range(5)]
    two = rest.deploy("two")
    rest.update(replace("/deploymentId", two))
    box.wait(30)
    after = [rest.request()[1] for _ in range(10)]
    rest.ask("apigateway", "FlushStageCache", file="after-a-change", restApiId=rest.api, stageName=STAGE)
    box.wait(5)
    flushed = [rest.request()[1] for _ in range(10)]
    box.recorder.measured("cache", before=before, thirty_seconds_after_the_change=after, after_flush=flushed)
    old = after.count("one")
    return {CACHED: f"{'yes' if old else 'no'}: {old} of {len(after)} answers are old 30 s after the change, "
                    f"{flushed.count('one')} of {len(flushed)} after a flush"}

"""Measures how late the metrics of a stage's access log arrive: from a request to the first datapoint that counts it."""

import statistics
import time
import urllib.error
import urllib.request

NAMESPACE = "apigw-rollback/access-log"
TIMES = 5
# Seconds. CloudWatch keeps these metrics by the second.
PATIENCE = 120
EVERY = 0.5
# The clocks of API Gateway and of this machine differ.
SKEW = 30


def measure(sandbox, say, request=None):
    """Sends requests and waits for each to be counted. Returns the seconds, or nothing if they cannot be measured, and says why.

    `request` sends one request; without it, the stage's address gets one.
    """
    why = why_not(sandbox)
    if why:
        say(f"log delivery is not measured: {why}")
        return []
    request = request or (lambda: get(sandbox.url))
    began = time.time()
    took = []
    for nth in range(TIMES):
        try:
            request()
        except OSError as failure:
            say(f"log delivery is not measured: no answer from {sandbox.url} ({failure}); URL=https://... names another address")
            return []
        sent = time.monotonic()
        while counted(sandbox, began) <= nth:
            if time.monotonic() - sent > PATIENCE:
                say(f"log delivery: no datapoint within {PATIENCE} s after request {nth + 1} of {TIMES}. Run `doctor`, which checks "
                    "the log group, the format and API Gateway's role for logs")
                return took
            time.sleep(EVERY)
        took.append(time.monotonic() - sent)
        say(f"    request {nth + 1} of {TIMES} is counted by the access log's metric after {took[-1]:.1f} s")
    say(f"log delivery, from a request to the first datapoint of its metric: median {statistics.median(took):.1f} s, longest "
        f"{max(took):.1f} s (asked every {EVERY} s; requests of others to this stage would make it look shorter)")
    return took


def why_not(sandbox):
    log = sandbox.access_log()
    if not log:
        return f"stage {sandbox.stage} has no access log; docs/access-log.md says how to set it up"
    if f'"{NAMESPACE}"' not in log:
        return f"the access log of stage {sandbox.stage} has another format than the one that `apigw-rollback access-log` prints"
    if not sandbox.url:
        return "the requests of a WebSocket API are messages of a connection, which this drill does not open"
    return None


def counted(sandbox, began):
    """Returns how many requests of the stage the metric of the access log has counted since then, by the second."""
    dimensions = [{"Name": "ApiId", "Value": sandbox.api}, {"Name": "Stage", "Value": sandbox.stage}]
    metric = {"Namespace": NAMESPACE, "MetricName": "Status", "Dimensions": dimensions}
    answer = sandbox.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "requests", "MetricStat": {"Metric": metric, "Period": 1, "Stat": "SampleCount"}}],
        StartTime=int(began), EndTime=int(time.time()) + SKEW)
    return sum(sum(result["Values"]) for result in answer["MetricDataResults"])


def get(url):
    """Sends a request. An error status is an answer, too."""
    try:
        urllib.request.urlopen(url, timeout=30).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()

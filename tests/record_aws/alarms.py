"""The questions about alarms: mute rules, log alarms, and the datapoints that CloudWatch keeps; and Parameter Store."""

import datetime
import json

MUTED = "Does EventBridge report a muted alarm?"
LOG_ALARM = "How far back does a log alarm look?"
RENEWED = "Are the datapoints that CloudWatch keeps with an alarm renewed while it stays in ALARM?"
CONSISTENT = "Are reads of Parameter Store consistent?"
UTC = datetime.timezone.utc


class Inbox:
    """A queue that gets what EventBridge and SNS report."""

    def __init__(self, box, name):
        self.box, do = box, box.recorder.do
        self.url = do("sqs", "CreateQueue", QueueName=f"{box.name}-{name}")["QueueUrl"]
        box.undo_by("sqs", "DeleteQueue", QueueUrl=self.url)
        self.arn = do("sqs", "GetQueueAttributes", QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def allow(self, service, source):
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": self.arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": source}}}]}
        self.box.recorder.do("sqs", "SetQueueAttributes", QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})

    def next(self, about, seconds):
        """Waits for a message with this text, and returns it."""
        def look():
            got, _ = self.box.recorder.ask("sqs", "ReceiveMessage", QueueUrl=self.url, WaitTimeSeconds=2,
                                           MaxNumberOfMessages=10)
            for one in (got or {}).get("Messages", []):
                self.box.recorder.ask("sqs", "DeleteMessage", QueueUrl=self.url, ReceiptHandle=one["ReceiptHandle"])
                if about in one["Body"]:
                    return json.loads(one["Body"])
            return None
        return self.box.until(look, seconds, every=0.1)


def metric_alarm(box, name, **more):
    """Makes an alarm on a metric of the run, with a threshold of 0."""
    alarm = f"{box.name}-{name}"
    box.undo_by("cloudwatch", "DeleteAlarms", AlarmNames=[alarm])
    box.recorder.do("cloudwatch", "PutMetricAlarm", AlarmName=alarm, Namespace=box.name, MetricName=name,
                    Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=0.0,
                    ComparisonOperator="GreaterThanThreshold", **more)
    return alarm


def mute_rules(box):
    """Has EventBridge report an alarm without a mute rule, and then with one."""
    ask, do = box.recorder.ask, box.recorder.do
    alarm, inbox = metric_alarm(box, "muted"), Inbox(box, "events")
    rule = f"{box.name}-states"
    pattern = {"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"],
               "detail": {"alarmName": [alarm]}}
    box.undo_by("events", "DeleteRule", Name=rule)
    arn = do("events", "PutRule", Name=rule, EventPattern=json.dumps(pattern))["RuleArn"]
    inbox.allow("events.amazonaws.com", arn)
    box.undo_by("events", "RemoveTargets", Rule=rule, Ids=["queue"])
    do("events", "PutTargets", Rule=rule, Targets=[{"Id": "queue", "Arn": inbox.arn}])
    box.wait(5)

    def reported(state):
        do("cloudwatch", "SetAlarmState", AlarmName=alarm, StateValue=state, StateReason="recording")
        return inbox.next(alarm, 45)

    plain, took = reported("ALARM")
    if not plain:
        return {MUTED: f"not asked: without a mute rule, no event arrived within {took} s"}
    reported("OK")
    name = f"{box.name}-mute"
    box.undo_by("cloudwatch", "DeleteAlarmMuteRule", AlarmMuteRuleName=name)
    begins = datetime.datetime.now(UTC) + datetime.timedelta(minutes=1)
    _, error = ask("cloudwatch", "PutAlarmMuteRule", file="now", Name=name, MuteTargets={"AlarmNames": [alarm]},
                   Rule={"Schedule": {"Expression": f"at({begins:%Y-%m-%dT%H:%M})", "Duration": "PT15M",
                                      "Timezone": "UTC"}})
    if error is not None:
        return {MUTED: f"not asked: {error}"}
    box.wait(75)
    ask("cloudwatch", "GetAlarmMuteRule", file="active", AlarmMuteRuleName=name)
    ask("cloudwatch", "ListAlarmMuteRules", file="active", AlarmName=alarm, Statuses=["ACTIVE"])
    muted, took = reported("ALARM")
    box.recorder.write("events", "event-of-a-muted-alarm", "recorded", datetime.datetime.now(UTC),
                       request={"operation": "EventBridge event of a muted alarm"}, response={"event": muted},
                       note=None if muted else f"no event arrived within {took} s")
    return {MUTED: f"yes, after {took} s" if muted else f"no: none arrived within {took} s"}


def log_alarm(box):
    """Makes an alarm on a query of logs, lets it fire, and records its state and its notification."""
    ask, do = box.recorder.ask, box.recorder.do
    group, alarm, role = f"/{box.name}/errors", f"{box.name}-log", f"{box.name}-query"
    box.undo_by("logs", "DeleteLogGroup", logGroupName=group)
    do("logs", "CreateLogGroup", logGroupName=group)
    do("logs", "CreateLogStream", logGroupName=group, logStreamName="s")
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    allows = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Resource": "*",
        "Action": ["logs:StartQuery", "logs:GetQueryResults", "logs:StopQuery", "logs:DescribeLogGroups"]}]}
    box.undo_by("iam", "DeleteRole", RoleName=role)
    arn = do("iam", "CreateRole", RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    box.undo_by("iam", "DeleteRolePolicy", RoleName=role, PolicyName="query")
    do("iam", "PutRolePolicy", RoleName=role, PolicyName="query", PolicyDocument=json.dumps(allows))
    topic = do("sns", "CreateTopic", Name=f"{box.name}-log")["TopicArn"]
    box.undo_by("sns", "DeleteTopic", TopicArn=topic)
    inbox = Inbox(box, "log")
    inbox.allow("sns.amazonaws.com", topic)
    do("sns", "Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn)
    box.undo_by("cloudwatch", "DeleteAlarms", AlarmNames=[alarm])
    query = {"QueryString": "filter @message like /ERROR/ | stats count(*) as errors", "LogGroupIdentifiers": [group],
             "ScheduledQueryRoleARN": arn, "AggregationExpression": "max(errors)",
             "ScheduleConfiguration": {"ScheduleExpression": "rate(1 minute)", "StartTimeOffset": 300}}
    refused = []

    def made():
        _, error = ask("cloudwatch", "PutLogAlarm", file="made", AlarmName=alarm, AlarmActions=[topic],
                       ScheduledQueryConfiguration=query, QueryResultsToEvaluate=1, QueryResultsToAlarm=1,
                       Threshold=0.0, ComparisonOperator="GreaterThanThreshold")
        refused[:] = [error]
        return error is None

    # A new role is known everywhere only after some seconds; other refusals stay.
    box.until(made, 45, every=5)
    if refused[0] is not None:
        return {LOG_ALARM: f"not asked: {refused[0]}"}
    now = datetime.datetime.now(UTC)
    do("logs", "PutLogEvents", logGroupName=group, logStreamName="s",
       logEvents=[{"timestamp": int(now.timestamp() * 1000), "message": "ERROR recorded"}])
    told, took = inbox.next(alarm, 420)
    answer, _ = ask("cloudwatch", "DescribeAlarms", file="log-alarm", AlarmNames=[alarm], AlarmTypes=["LogAlarm"])
    if not told:
        return {LOG_ALARM: f"not seen: no notification within {took} s"}
    box.recorder.write("cloudwatch", "notification-of-a-log-alarm", "recorded", datetime.datetime.now(UTC),
                       request={"operation": "SNS message of an alarm action"}, response=json.loads(told["Message"]))

    # The line leaves the window of five minutes; the alarm returns when it no longer looks back so far.
    def is_ok():
        found, _ = ask("cloudwatch", "DescribeAlarms", AlarmNames=[alarm], AlarmTypes=["LogAlarm"])
        return any(one.get("StateValue") != "ALARM" for one in (found or {}).get("LogAlarms", []))
    _, back = box.until(is_ok, 600, every=15)
    box.recorder.measured("log-alarm", fired_after=took, left_after=round(took + back, 1), window=300,
                          keys=sorted((answer or {}).get("LogAlarms", [{}])[0]))
    return {LOG_ALARM: f"fired {took} s after a line, and left ALARM {took + back:.0f} s after it, with a window of 300 s"}


def renewed(box):
    """Keeps an alarm in ALARM for some minutes, and compares the datapoints that CloudWatch keeps with it."""
    alarm = metric_alarm(box, "renewed", TreatMissingData="notBreaching")

    def state():
        answer, _ = box.recorder.ask("cloudwatch", "DescribeAlarms", AlarmNames=[alarm])
        found = (answer or {}).get("MetricAlarms", [])
        return found[0] if found and found[0]["StateValue"] == "ALARM" else None

    def put():
        box.recorder.do("cloudwatch", "PutMetricData", Namespace=box.name,
                        MetricData=[{"MetricName": "renewed", "Value": 1.0}])

    def fires():
        put()
        return state()

    first, took = box.until(fires, 240, every=10)
    if not first:
        return {RENEWED: f"not seen: the alarm did not fire within {took} s"}
    for _ in range(8):
        put()
        box.wait(25)
    if not box.left():
        return {RENEWED: "not seen: the time was over before CloudWatch had evaluated the alarm three times more"}
    later = state()
    if not later:
        return {RENEWED: "not seen: the alarm left ALARM although its data breached"}
    box.recorder.ask("cloudwatch", "DescribeAlarms", file="three-minutes-in-alarm", AlarmNames=[alarm])
    same = first.get("StateReasonData") == later.get("StateReasonData")
    box.recorder.measured("state-reason-data", first=first.get("StateReasonData"), later=later.get("StateReasonData"),
                          updated=[first.get("StateUpdatedTimestamp"), later.get("StateUpdatedTimestamp")])
    return {RENEWED: "no" if same else "yes"}


def parameters(box):
    """Reads parameters right after they were written."""
    name, stale = f"/{box.name}/read-after-write", 0
    box.undo_by("ssm", "DeleteParameter", Name=name)
    for number in range(20):
        box.recorder.do("ssm", "PutParameter", Name=name, Value=str(number), Type="String", Overwrite=True)
        read, error = box.recorder.ask("ssm", "GetParameter", Name=name)
        stale += error is not None or read["Parameter"]["Value"] != str(number)
        box.wait(0.4)
    box.recorder.measured("parameters", reads=20, stale=stale)
    return {CONSISTENT: f"{stale} of 20 reads right after a write were stale"}

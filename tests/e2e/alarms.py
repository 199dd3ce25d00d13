"""Alarms that LocalEmu's CloudWatch evaluates, and their messages as an SQS queue delivers them to the function."""

import json
import time


def alarm_from_traffic(emulator, alarm, metric, dimensions, request):
    """Lets bad traffic set off an alarm. Returns an SQS event with its message, or `None` if no alarm fired.

    `request` sends one request as a user; the statuses become metric data, as API Gateway would publish them.
    """
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    topic = emulator.client("sns").create_topic(Name=alarm)["TopicArn"]
    queues = emulator.client("sqs")
    queue = queues.create_queue(QueueName=alarm)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    emulator.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    # Some of the times are whole seconds: the alarm must be visibly later than the change.
    time.sleep(1.5)
    cloudwatch = emulator.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=alarm, Namespace="AWS/ApiGateway", MetricName=metric, Dimensions=named,
        Statistic="Average", Period=10, EvaluationPeriods=1, Threshold=0.05,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching", AlarmActions=[topic])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        failed = [1.0 if request() >= 500 else 0.0 for _ in range(5)]
        cloudwatch.put_metric_data(Namespace="AWS/ApiGateway", MetricData=[
            {"MetricName": metric, "Dimensions": named, "Value": value} for value in failed])
        received = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
        for message in received.get("Messages", []):
            if json.loads(json.loads(message["Body"])["Message"]).get("NewStateValue") == "ALARM":
                return {"Records": [{
                    "messageId": message["MessageId"], "body": message["Body"], "eventSource": "aws:sqs"}]}
    return None

"""Deploys and deletes the template as part of another stack, exactly as docs/many-apis.md shows it.

CloudFormation also expands the SAM templates of nested stacks, but MiniStack expands only the outermost one. So this
test expands the nested template with AWS's own translator, between `sam build` and `sam deploy`. MiniStack also
rejects alarms on a rate, which is why the example gets `MinimumRequests: 0`.
"""

import json
import re
import textwrap

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

import terminal
from documented import YES
from reader import CLONE
from stack import REGION, ROOT, STAGE_NAME

OUTER = "orders"
FOLDER = CLONE.parent
AROUND = """\
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  PeopleTopic:
    Type: AWS::SNS::Topic
  OrdersApi:
    Type: AWS::ApiGateway::RestApi
    Properties: { Name: orders-api }
  OrdersMethod:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref OrdersApi
      ResourceId: !GetAtt OrdersApi.RootResourceId
      HttpMethod: GET
      AuthorizationType: NONE
      Integration: { Type: MOCK }
  OrdersDeployment:
    Type: AWS::ApiGateway::Deployment
    DependsOn: OrdersMethod
    Properties: { RestApiId: !Ref OrdersApi }
  OrdersStage:
    Type: AWS::ApiGateway::Stage
    Properties: { RestApiId: !Ref OrdersApi, DeploymentId: !Ref OrdersDeployment, StageName: prod }
"""


def page_example():
    """Returns the example, the capabilities and the output from the page."""
    page = (ROOT / "docs" / "many-apis.md").read_text()
    [example] = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "Application" in block]
    [capabilities] = re.findall(r"`(--capabilities [^`]+)`", page)
    [output] = re.findall(r"`!GetAtt (Rollback\.Outputs\.\w+)`", page)
    return example, " ".join(capabilities.split()), output


def outer_template():
    """Returns a stack with an API and the example, which passes on outputs of the nested stack."""
    example, _, output = page_example()
    names = {"Shown": output, "FunctionName": "Rollback.Outputs.FunctionName", "Api": "Rollback.Outputs.ProtectedApi"}
    outputs = "".join(f"  {name}: {{ Value: !GetAtt {value} }}\n" for name, value in names.items())
    return f"{AROUND}{textwrap.indent(example, '  ')}Outputs:\n{outputs}"


def play(stack, reader, checks):
    example = textwrap.indent(page_example()[0], "  ")
    simpler = example.replace("    Parameters:\n", "    Parameters:\n        MinimumRequests: 0\n")
    (FOLDER / "template.yaml").write_text(outer_template().replace(example, simpler))

    def step(what, command, patience=3600):
        ran = terminal.run(command, FOLDER, reader.env, YES, patience, checks.say)
        checks.that(what, ran.status == 0, f"status {ran.status}\n{ran.end(1500)}")
        return ran.status == 0

    deploy = f"sam deploy --stack-name {OUTER} --resolve-s3 {page_example()[1]}"
    if not step("`sam build` builds the function of the nested template", "sam build"):
        return
    expand(FOLDER / ".aws-sam" / "build" / "Rollback" / "template.yaml")
    if not step(f"`sam deploy` deploys the stack `{OUTER}` with the nested one", deploy, 600):
        return
    check_nested_stack(stack, checks)
    # `sam delete` does not recognise an emulator's bucket addresses for nested templates.
    delete = f"aws cloudformation delete-stack --stack-name {OUTER} && aws cloudformation wait stack-delete-complete"
    step("the outer stack can be deleted", f"{delete} --stack-name {OUTER}", 300)
    left = [each["FunctionName"] for each in stack.client("lambda").list_functions()["Functions"]]
    left = [name for name in left if "Rollback" in name]
    checks.equal("  and the nested function is deleted with it", left, [])


def check_nested_stack(stack, checks):
    """Checks that the nested stack exists, that its outputs work, and that it protects the outer stack's API."""
    formation = stack.client("cloudformation")
    nested = formation.describe_stack_resource(StackName=OUTER, LogicalResourceId="Rollback")
    nested = formation.describe_stacks(StackName=nested["StackResourceDetail"]["PhysicalResourceId"])["Stacks"][0]
    api = formation.describe_stack_resource(StackName=OUTER, LogicalResourceId="OrdersApi")
    api = api["StackResourceDetail"]["PhysicalResourceId"]
    inner = {each["OutputKey"]: each["OutputValue"] for each in nested["Outputs"]}
    stack.read_outputs(OUTER)
    checks.equal("the nested stack exists", nested["StackStatus"], "CREATE_COMPLETE")
    pattern = r"orders-Rollback-[A-Za-z0-9-]{12}$"
    checks.that("  with the name that the page gives", re.match(pattern, nested["StackName"]), nested["StackName"])
    checks.equal("  and its function has the stack's name", inner["FunctionName"], nested["StackName"])
    output = page_example()[2].rpartition(".")[2]
    checks.equal("the outer stack has the output that the page shows", stack.outputs["Shown"], inner[output])
    checks.equal("the nested function protects the API of the outer stack", stack.outputs["Api"], api)
    answer = stack.invoke({"command": "record", "stage": {"api": api, "name": STAGE_NAME}})
    checks.equal("the nested function records the stage's release", answer.get("outcome"), "recorded")


def expand(built):
    """Expands the SAM resources of a built template in place. `sam deploy` still uploads its code."""
    template = yaml_parse(built.read_text())
    function = template["Resources"]["RollbackFunction"]["Properties"]
    code = function["CodeUri"]
    # The translator accepts only uploaded code.
    function["CodeUri"] = "s3://bucket/code"
    defaults = {name: str(one["Default"]) for name, one in template["Parameters"].items()}
    session = boto3.Session(region_name=REGION)
    expanded = Translator({}, Parser(), boto_session=session).translate(template, defaults)
    expanded["Resources"]["RollbackFunction"]["Properties"]["Code"] = code
    built.write_text(json.dumps(expanded))

"""A REST release of three components on LocalEmu: a Lambda alias, the stage, and the mapping of a custom domain."""

from botocore.exceptions import ClientError

from localemu import API_NAME
from parts import a_later_second, function_of_two_versions, target_of

BLUE, GREEN = "blue", "green"
FUNCTION, ALIAS = "orders", "live"
DOMAIN, PATH = "api.example.com", "orders"
LISTED_ALIAS, LISTED_MAPPING = f"{FUNCTION}:{ALIAS}", f"{DOMAIN}/{PATH}"


def play(emulator, checks, bad):
    release = RestRelease(emulator, bad)
    roll_back_the_whole_release(release, checks)
    alias_alone(release, checks)
    missing_component(release, checks)
    caches(release, checks)
    codedeploy(release, checks)


class RestRelease:
    """Two stages of the API, a domain that is mapped to one of them, and an alias."""

    def __init__(self, emulator, bad):
        self.emulator, self.bad = emulator, bad
        self.gateway = emulator.client("apigateway")
        self.functions = emulator.client("lambda")
        function_of_two_versions(emulator.client, FUNCTION, ALIAS)
        for stage in (BLUE, GREEN):
            self.gateway.create_stage(
                restApiId=emulator.api, stageName=stage, deploymentId=emulator.good, variables={"release": "1"})
        # The emulator does not check the certificate.
        self.gateway.create_domain_name(
            domainName=DOMAIN, endpointConfiguration={"types": ["REGIONAL"]},
            regionalCertificateArn="arn:aws:acm:us-east-1:012345678912:certificate/none")
        self.map_to(BLUE)
        self.function = emulator.start_function(
            {"api": emulator.api, "name": API_NAME, "stage": BLUE, "aliases": [LISTED_ALIAS],
             "mappings": [LISTED_MAPPING]},
            FLUSH_CACHE="on")

    def map_to(self, stage):
        self.gateway.create_base_path_mapping(
            domainName=DOMAIN, basePath=PATH, restApiId=self.emulator.api, stage=stage)

    def break_all(self):
        """Deploys all components of release 2; the alias still sends a tenth of the traffic to the old code."""
        a_later_second()
        self.emulator.patch(BLUE, deploymentId=self.bad, variables__release="2")
        self.functions.update_alias(
            FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="2",
            RoutingConfig={"AdditionalVersionWeights": {"1": 0.1}})
        operations = [{"op": "replace", "path": "/stage", "value": GREEN}]
        self.gateway.update_base_path_mapping(domainName=DOMAIN, basePath=PATH, patchOperations=operations)

    def now(self):
        stage = self.emulator.stage(BLUE)
        mapping = self.gateway.get_base_path_mapping(domainName=DOMAIN, basePath=PATH)
        return {
            "alias": target_of(self.functions, FUNCTION, ALIAS),
            "stage": (stage["deploymentId"], stage["variables"]),
            "mapping": (mapping["restApiId"], mapping["stage"]),
        }


def roll_back_the_whole_release(release, checks):
    good = release.now()
    recorded = release.function.command("record", label="v1")
    checks.that("a release of three components is recorded", recorded.get("outcome") == "recorded", recorded)
    record = release.emulator.record(release.emulator.api, BLUE)["release"]
    checks.equal("  with its alias", record.get("aliases"), {LISTED_ALIAS: {"version": "1"}})
    checks.equal("  and its mapping", record.get("mappings"),
                 {LISTED_MAPPING: {"api": release.emulator.api, "stage": BLUE}})
    release.break_all()
    bad = release.now()
    checks.equal("release 2 fails", release.emulator.request(BLUE), 500)
    plan = release.function.command("plan")
    checks.equal("a plan changes no component", (plan.get("outcome"), release.now()), ("would-roll-back", bad))
    report = release.function.command("rollback")
    checks.that("a rollback command rolls the stage back", report.get("outcome") == "rolled-back", report)
    order = [report.get("message", "").find(step) for step in (f"alias `{LISTED_ALIAS}`", "deployment", "mapping")]
    checks.that("  the alias first, the mapping last", -1 < order[0] < order[1] < order[2], report)
    checks.equal("the rollback restores all three components", release.now(), good)
    checks.equal("release 1 serves", release.emulator.request(BLUE), 200)
    again = release.function.command("rollback")
    checks.equal("a second rollback has nothing to do", again.get("reason"), "already-known-good")


def alias_alone(release, checks):
    """Only the alias moved. The emulator refuses a write whose revision is not the newest."""
    try:
        release.functions.update_alias(
            FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="2", RevisionId="00000000-0000-0000-0000-000000000000")
        refusal = None
    except ClientError as refused:
        refusal = refused.response["ResponseMetadata"]["HTTPStatusCode"]
    checks.equal("an alias cannot be moved with a wrong revision", refusal, 412)
    good, stage = release.now(), release.emulator.stage(BLUE)["lastUpdatedDate"]
    a_later_second()
    release.functions.update_alias(
        FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    report = release.function.command("rollback")
    checks.equal("a rollback clears the traffic weights of an alias", (report.get("outcome"), release.now()),
                 ("rolled-back", good))
    checks.equal("  and does not write the stage", release.emulator.stage(BLUE)["lastUpdatedDate"], stage)


def missing_component(release, checks):
    """The function finds a missing component before it changes anything."""
    record = release.emulator.record(release.emulator.api, BLUE)
    wrong = {**record, "release": {**record["release"], "aliases": {LISTED_ALIAS: {"version": "99"}}}}
    release.emulator.write(release.emulator.api, BLUE, "known-good", wrong)
    release.break_all()
    bad = release.now()
    report = release.function.command("rollback")
    checks.equal("a rollback to a deleted version is held, and nothing changes",
                 (report.get("reason"), release.now()), ("part-missing", bad))
    release.emulator.write(release.emulator.api, BLUE, "policy", {"schema": 1, "missing_parts": "skip"})
    report = release.function.command("rollback")
    checks.equal("the policy allows a rollback of the rest", report.get("outcome"), "rolled-back")
    checks.equal("  without the alias", release.now()["alias"][0], "2")
    release.emulator.write(release.emulator.api, BLUE, "policy", {"schema": 1})
    release.emulator.write(release.emulator.api, BLUE, "known-good", record)
    release.gateway.delete_base_path_mapping(domainName=DOMAIN, basePath=PATH)
    release.functions.delete_alias(FunctionName=FUNCTION, Name=ALIAS)
    refused = release.function.command("record")
    text = str(refused)
    checks.that("a release with missing components is not recorded", refused.get("outcome") != "recorded", refused)
    checks.that("  and the report lists them all", LISTED_ALIAS in text and LISTED_MAPPING in text, refused)
    release.map_to(BLUE)
    release.functions.create_alias(FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="1")


def caches(release, checks):
    release.emulator.patch(BLUE, cacheClusterEnabled="true", cacheClusterSize="0.5")
    release.break_all()
    report = release.function.command("rollback")
    warned = [each for each in report.get("warnings") or [] if "FlushStageCache" in each]
    checks.that("the function tries to flush the cache after the rollback",
                report.get("outcome") == "rolled-back" and warned, report)
    checks.say("        LocalEmu 1.3.2 has no FlushStageCache, so this test sees only the refused call; the "
               "wire tests check the exact requests")
    release.emulator.patch(BLUE, cacheClusterEnabled="false")


def codedeploy(release, checks):
    deploy = release.emulator.client("codedeploy")
    deploy.create_application(applicationName="orders", computePlatform="Lambda")
    deploy.create_deployment_group(
        applicationName="orders", deploymentGroupName="orders",
        serviceRoleArn="arn:aws:iam::012345678912:role/none")
    deploy.create_deployment(
        applicationName="orders", deploymentGroupName="orders",
        revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": "{}"}})
    release.break_all()
    bad = release.now()
    failed = release.function.command("rollback")
    named = "ListDeploymentTargets" in str(failed)
    checks.that("a CodeDeploy deployment that cannot be read stops the rollback", named, failed)
    checks.equal("  and nothing changes", release.now(), bad)
    checks.say("        LocalEmu 1.3.2 lists CodeDeploy deployments but not their targets; the wire tests check that "
               "the function holds while one moves the alias")

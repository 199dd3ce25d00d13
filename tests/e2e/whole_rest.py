"""A REST release of three parts on LocalEmu: a Lambda alias, the stage, and the mapping of a custom domain."""

from botocore.exceptions import ClientError

from localemu import API_NAME
from parts import a_later_second, function_of_two_versions, target_of

BLUE, GREEN = "blue", "green"
FUNCTION, ALIAS = "orders", "live"
DOMAIN, PATH = "api.example.com", "orders"
PART, MAPPED = f"{FUNCTION}:{ALIAS}", f"{DOMAIN}/{PATH}"


def play(emulator, checks, bad):
    release = RestRelease(emulator, bad)
    comes_back_whole(release, checks)
    an_alias_alone(release, checks)
    a_missing_part(release, checks)
    caches(release, checks)
    codedeploy(release, checks)


class RestRelease:
    """Two stages of the API, a domain that points at one of them, and an alias."""

    def __init__(self, emulator, bad):
        self.emulator, self.bad = emulator, bad
        self.gateway = emulator.client("apigateway")
        self.functions = emulator.client("lambda")
        function_of_two_versions(emulator.client, FUNCTION, ALIAS)
        for stage in (BLUE, GREEN):
            self.gateway.create_stage(
                restApiId=emulator.api, stageName=stage, deploymentId=emulator.good, variables={"release": "1"})
        # No certificate is looked at.
        self.gateway.create_domain_name(
            domainName=DOMAIN, endpointConfiguration={"types": ["REGIONAL"]},
            regionalCertificateArn="arn:aws:acm:us-east-1:012345678912:certificate/none")
        self.map_to(BLUE)
        self.function = emulator.start_function(
            {"api": emulator.api, "name": API_NAME, "stage": BLUE, "aliases": [PART], "mappings": [MAPPED]},
            FLUSH_CACHE="on")

    def map_to(self, stage):
        self.gateway.create_base_path_mapping(
            domainName=DOMAIN, basePath=PATH, restApiId=self.emulator.api, stage=stage)

    def break_all(self):
        """Release 2 goes out in all its parts, and a tenth of the traffic still goes to the old code."""
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


def comes_back_whole(release, checks):
    good = release.now()
    recorded = release.function.command("record", label="v1")
    checks.that("a release of three parts is recorded", recorded.get("outcome") == "recorded", recorded)
    record = release.emulator.record(release.emulator.api, BLUE)["release"]
    checks.equal("  with its alias", record.get("aliases"), {PART: {"version": "1"}})
    checks.equal("  and its mapping", record.get("mappings"),
                 {MAPPED: {"api": release.emulator.api, "stage": BLUE}})
    release.break_all()
    bad = release.now()
    checks.equal("release 2 fails", release.emulator.request(BLUE), 500)
    plan = release.function.command("plan")
    checks.equal("a plan touches no part", (plan.get("outcome"), release.now()), ("would-roll-back", bad))
    report = release.function.command("rollback")
    checks.that("a rollback is done", report.get("outcome") == "rolled-back", report)
    told = [report.get("message", "").find(part) for part in (f"alias `{PART}`", "deployment", "mapping")]
    checks.that("  the alias first, the mapping last", -1 < told[0] < told[1] < told[2], report)
    checks.equal("all three parts are back", release.now(), good)
    checks.equal("release 1 serves", release.emulator.request(BLUE), 200)
    again = release.function.command("rollback")
    checks.equal("a second rollback finds nothing to do", again.get("reason"), "already-known-good")


def an_alias_alone(release, checks):
    """Only the code moved. The emulator refuses a write whose revision is not the newest."""
    try:
        release.functions.update_alias(
            FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="2", RevisionId="00000000-0000-0000-0000-000000000000")
        refusal = None
    except ClientError as refused:
        refusal = refused.response["ResponseMetadata"]["HTTPStatusCode"]
    checks.equal("an alias is not moved with a wrong revision", refusal, 412)
    good, stage = release.now(), release.emulator.stage(BLUE)["lastUpdatedDate"]
    a_later_second()
    release.functions.update_alias(
        FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    report = release.function.command("rollback")
    checks.equal("shared traffic of an alias is taken back", (report.get("outcome"), release.now()),
                 ("rolled-back", good))
    checks.equal("  and the stage is not written", release.emulator.stage(BLUE)["lastUpdatedDate"], stage)


def a_missing_part(release, checks):
    """What cannot come back is found before anything is touched."""
    record = release.emulator.record(release.emulator.api, BLUE)
    wrong = {**record, "release": {**record["release"], "aliases": {PART: {"version": "99"}}}}
    release.emulator.write(release.emulator.api, BLUE, "known-good", wrong)
    release.break_all()
    bad = release.now()
    report = release.function.command("rollback")
    checks.equal("a version that is gone is held, with nothing touched",
                 (report.get("reason"), release.now()), ("part-missing", bad))
    release.emulator.write(release.emulator.api, BLUE, "policy", {"schema": 1, "missing_parts": "skip"})
    report = release.function.command("rollback")
    checks.equal("the policy lets the rest come back", report.get("outcome"), "rolled-back")
    checks.equal("  without the alias", release.now()["alias"][0], "2")
    release.emulator.write(release.emulator.api, BLUE, "policy", {"schema": 1})
    release.emulator.write(release.emulator.api, BLUE, "known-good", record)
    release.gateway.delete_base_path_mapping(domainName=DOMAIN, basePath=PATH)
    release.functions.delete_alias(FunctionName=FUNCTION, Name=ALIAS)
    refused = release.function.command("record")
    told = str(refused)
    checks.that("a release without its parts is not recorded", refused.get("outcome") != "recorded", refused)
    checks.that("  and all that is wrong is listed", PART in told and MAPPED in told, refused)
    release.map_to(BLUE)
    release.functions.create_alias(FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="1")


def caches(release, checks):
    release.emulator.patch(BLUE, cacheClusterEnabled="true", cacheClusterSize="0.5")
    release.break_all()
    report = release.function.command("rollback")
    told = [each for each in report.get("warnings") or [] if "FlushStageCache" in each]
    checks.that("a cache that is on is flushed after the rollback", report.get("outcome") == "rolled-back" and told,
                report)
    checks.say("        LocalEmu 1.3.2 has no FlushStageCache, so that the refusal of the call is what is seen; the "
               "wire tests have the exact requests")
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
    told = "ListDeploymentTargets" in str(failed)
    checks.that("a CodeDeploy deployment that cannot be looked at stops the rollback", told, failed)
    checks.equal("  with nothing touched", release.now(), bad)
    checks.say("        LocalEmu 1.3.2 lists deployments of CodeDeploy but not what they move; the wire tests hold "
               "for one that moves the alias")

"""The stages and features with recorded requests, each with its parameters, its role and its calls."""

from calls import ALWAYS_BY_AWS, ENCRYPTING, KEY, arn, recorded, tagging
from policy import is_allowed, of_role
from stack import Stack, translated

PEOPLE = arn("sns", "people")
# The parameters that switch each feature on.
FEATURES = {
    "pinning": {"Pin": "on"},
    "tags": {"Pin": "on", "Tags": "team=orders,cost-center=42"},
    "aliases": {"Functions": "orders,carts_2", "FunctionAlias": "live"},
    "mapping": {"DomainName": "api.example.com", "BasePath": "orders"},
    "mapping-root": {"DomainName": "api.example.com"},
    "caches": {"FlushCache": "on"},
    "people": {"NotificationTopicArn": PEOPLE},
    "programs": {"EventBus": "default"},
    "hook": {"HookFunctionArn": arn("lambda", "function:capture")},
    "encryption": {"KmsKey": KEY},
}
OFF = {"Pin": "off", "EventBus": ""}
# The features that another one needs.
BASES = {"tags": ["pinning"]}
PROTOCOLS = {"rest": "REST", "http": "HTTP", "websocket": "WEBSOCKET"}


def place_of(key):
    """Returns the parameters with which the template protects this stage."""
    protocol, api, stage = key.split("/")
    names = {"rest": {"ApiName": "orders-api"}}
    return {"Protocol": PROTOCOLS[protocol], "ApiId": api, "StageName": stage} | names.get(protocol, {})


class Cases:
    def __init__(self):
        requests, self.doctor = recorded()
        self.anywhere = requests.pop("any")
        self.by_record = [one["by-record"] for one in requests.values() if "by-record" in one]
        self.places = {key: one for key, one in requests.items() if "by-record" not in one}
        for key, features in self.places.items():
            (create,) = [one for one in features["pinning"] if one.operation == "CreateStage"]
            parked = key.split("/")[2].replace("$", "_") + "-known-good"
            features["tags"] = features["pinning"] + tagging(create, parked)
        self.template = translated()

    def role(self, key, features, more=None):
        values = dict(OFF, **place_of(key))
        for feature in features:
            values |= FEATURES[feature]
        return of_role(Stack(values | (more or {}), self.template), "FunctionRole")

    def calls(self, key, feature):
        return self.places[key].get(feature) or self.anywhere.get(feature, [])

    def features(self, key):
        """Returns the features that this stage can have, with both forms of a mapping."""
        return [one for one in FEATURES if one != "encryption" and self.calls(key, one)]

    def together(self, key, mapping="mapping"):
        """Returns all features together, with one form of a mapping."""
        return [one for one in self.features(key) if one == mapping or "mapping" not in one] + ["encryption"]

    def needed(self, key, features):
        by_key = ENCRYPTING["sqs"] + (ENCRYPTING["sns"] if "people" in features else [])
        calls = self.places[key]["always"] + ALWAYS_BY_AWS + (by_key if "encryption" in features else [])
        return calls + [one for feature in features for one in self.calls(key, feature)]

    @staticmethod
    def refused(given, calls):
        asked = ((one, resource) for one in calls for resource in one.resources)
        return [
            f"{one.operation} ({one.action} on {resource})"
            for one, resource in asked
            if not is_allowed(given, one.action, resource, dict(one.context))
        ]

    def choices(self, key):
        alone = [[], *([one] for one in self.features(key)), ["encryption"], ["encryption", "people"]]
        return [*alone, self.together(key), self.together(key, "mapping-root")]

"""The documents describe exactly the permissions that the template grants and the requests need."""

import json
import re
import unittest

from calls import KEY
from cases import BASES, FEATURES, Cases
from policy import is_allowed, statements
from stack import NAME, ROOT, Stack, source
from test_doors import key_statements

# The feature behind each entry in the tables' column `when`, if any.
WHEN = {
    "always": None,
    "HTTP, WebSocket": None,
    "pinning": "pinning",
    "tags": "tags",
    "aliases": "aliases",
    "a mapping, REST": "mapping",
    "a mapping, HTTP or WebSocket": "mapping",
    "any mapping": "mapping",
    "caches": "caches",
    "notifications": "people",
    "events": "programs",
    "a hook": "hook",
    "a key": "encryption",
}
ONLY = {"HTTP, WebSocket": ("http", "websocket"), "a mapping, REST": ("rest",), "caches": ("rest",)}
ONLY["a mapping, HTTP or WebSocket"] = ONLY["HTTP, WebSocket"]
PROTOCOLS = ("rest", "http", "websocket")
PLACES = ("rest/a1b2c3d4e5/prod", "http/ju6maoy9o2/prod", "websocket/k7v2m9x1q4/prod")


def page(name):
    return (ROOT / "docs" / name).read_text()


def json_blocks(text):
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def rows():
    """Yields the rows of the tables of calls: when, calls, actions, resources."""
    when = "always"
    for line in page("permissions.md").split("## Who may call")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or set(line) <= set("|-"):
            continue
        if cells[0] in ("AWS call", "when"):
            continue
        if len(cells) == 5:
            first, *cells = cells
            when = first or when
        calls, actions, resources, _ = cells
        code = re.compile(r"`([^`]+)`")
        yield when, calls.split(", "), code.findall(actions), code.findall(resources)


def in_words(arn, key):
    """Returns a resource in the notation of the tables."""
    protocol, api, stage = key.split("/")
    kind = "restapis" if protocol == "rest" else "apis"
    text = arn if arn == "*" else arn.split(":", 5)[5]
    for pattern, word in [
        ("^/tags/.*", "/tags/<parked stage>"),
        (rf"^/{kind}(?=/{api}/authorizers|/{api}/stages/{stage}/cache)", f"/{kind}"),
        (rf"^/{kind}(?!/{api}/authorizers|/{api}/stages/{stage}/cache)", "/A"),
        (rf"/{api}\b", "/<api>"),
        (rf"/{stage}\b", "/<stage>"),
        ("^parameter/apigw-rollback", "<prefix>"),
        (r"/names/.*", "/names/*"),
        (r"^function:(orders|carts_2)", "function:<function>"),
        ("^function:capture$", "<hook>"),
        (f"^function:{NAME}$", "<function>"),
        (f"^{NAME}-AlarmTopic-X1$", "<alarm topic>"),
        ("^people$", "<notification topic>"),
        (f"^{NAME}-DeadLetterQueue-X1$", "<dead-letter queue>"),
        (f"^log-group:/aws/lambda/{NAME}", "<log group>"),
        ("^event-bus/default$", "event-bus/<bus>"),
        (f"^{KEY.split(':', 5)[5]}$", "<key>"),
        ("api.example.com", "<domain>"),
        ("basepathmappings/orders", "basepathmappings/<path>"),
    ]:
        text = re.sub(pattern, word, text)
    return text


def paired(calls, actions):
    """Pairs the calls with their actions: one action for all calls, or one for each."""
    if len(actions) == 1:
        return [(call, actions[0]) for call in calls]
    if len(calls) == 1:
        return [(calls[0], action) for action in actions]
    return list(zip(calls, actions, strict=True))


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cases = Cases()

    def test_the_tables_of_permissions_match_the_policies(self):
        for key in PLACES:
            for feature in [None, *self.cases.features(key), "encryption"]:
                given = self.cases.role(key, [feature] if feature else [])
                without = self.cases.role(key, BASES.get(feature, []))
                plain = {(action, in_words(on, key)) for one in without for action, on in one.pairs()}
                allowing = (one for one in given if one.effect == "Allow")
                granted = {(action, in_words(on, key)) for one in allowing for action, on in one.pairs()}
                if feature == "mapping-root":
                    continue
                documented = {
                    (action, resource)
                    for when, _, actions, resources in rows()
                    if WHEN[when] == feature and key.split("/")[0] in ONLY.get(when, PROTOCOLS)
                    for action in actions
                    for resource in resources
                }
                self.assertEqual(documented, granted - plain if feature else granted, f"{key}, {feature}")

    def test_the_tables_of_permissions_list_every_call_and_no_other(self):
        for key in PLACES:
            features = self.cases.together(key)
            needed = {(one.operation, one.action) for one in self.cases.needed(key, features)}
            documented = {
                (call, action)
                for when, calls, actions, _ in rows()
                if key.split("/")[0] in ONLY.get(when, PROTOCOLS)
                for call, action in paired(calls, actions)
            }
            # The table lists the calls for both kinds of APIs in one row.
            other = "GetRestApis" if not key.startswith("rest") else "GetApis"
            self.assertEqual(documented - {(other, "apigateway:GET")}, needed, key)

    def test_every_feature_is_in_the_tables(self):
        self.assertEqual({when for when, *_ in rows()}, set(WHEN))
        self.assertEqual({feature.removesuffix("-root") for feature in FEATURES}, set(WHEN.values()) - {None})

    def test_the_policy_for_one_more_api_allows_what_it_needs_and_no_more(self):
        (policy,) = (block for block in json_blocks(page("many-apis.md")) if "Statement" in block)
        more = list(statements("docs/many-apis.md", policy))
        for requests in self.cases.by_record:
            given = self.cases.role("rest/a1b2c3d4e5/prod", ["pinning"]) + more
            self.assertEqual(self.cases.refused(given, requests), [])
            asked = {(one.action, resource) for one in requests for resource in one.resources}
            for statement in more:
                for action, resource in statement.pairs():
                    alone = [statement.narrowed(action, resource)]
                    needed = any(is_allowed(alone, *one, {}) for one in asked)
                    self.assertTrue(needed, f"docs/many-apis.md allows {action} on {resource}, which no call needs")

    def test_the_documented_key_policy_is_that_of_the_key_that_the_stack_creates(self):
        (policy,) = (block for block in json_blocks(page("security.md")) if "Statement" in block)
        made = key_statements(Stack({"KmsKey": "create", "Siblings": "us-east-1"}, self.cases.template))
        own = list(statements("Key", policy))
        self.assertEqual([vars(one) for one in own], [vars(one) for one in made if one.sid != "AsIamSays"])

    def test_the_page_of_settings_lists_every_parameter_and_every_variable(self):
        parameters, variables = page("settings.md").split("## Variables of the function")
        shown = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", parameters, re.MULTILINE))
        defaults = {name: str(one["Default"]) for name, one in source()["Parameters"].items()}
        self.assertEqual(shown, {name: f"`{default}`" if default else "empty" for name, default in defaults.items()})
        function = Stack({}, self.cases.template).resources("AWS::Lambda::Function")["RollbackFunction"]
        listed = set(re.findall(r"^\| `([A-Z_]+)` \|", variables, re.MULTILINE))
        self.assertEqual(listed, set(function["Environment"]["Variables"]))


if __name__ == "__main__":
    unittest.main()

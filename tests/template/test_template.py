"""The template is consistent for all values of its parameters."""

import re
import unittest

import yaml
from combinations import Combinations
from samcli.yamlhelper import yaml_dump, yaml_parse
from stack import ROOT, Dangling, Stack, translated


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated()
        cls.combinations = Combinations(cls.template)

    def test_no_combination_of_conditions_refers_to_a_missing_resource(self):
        tried = 0
        for name, resource in self.template["Resources"].items():
            for values in self.combinations.of(resource):
                tried += 1
                stack = Stack(values, self.template)
                if not stack.is_there(name):
                    continue
                try:
                    stack.resource(name)
                except Dangling as missing:
                    self.fail(f"{name} refers to {missing}, which does not exist with {values}")
        for name, output in self.template["Outputs"].items():
            for values in self.combinations.of(output):
                tried += 1
                stack = Stack(values, self.template)
                try:
                    if "Condition" not in output or stack.has(output["Condition"]):
                        stack.value(output["Value"])
                except Dangling as missing:
                    self.fail(f"the output {name} refers to {missing}, which does not exist with {values}")
        whole = self.combinations.count()
        print(f"{whole} combinations, of which resources and outputs distinguish {tried}: all are consistent")

    def test_sam_expands_the_template_alike_for_all_parameters(self):
        """The other tests use the template expanded with its parameters left open."""
        for values in self.combinations.each_rule_with_the_rest():
            with self.subTest(values=values):
                really, openly = Stack(values), Stack(values, self.template)
                self.assertEqual(really.resources(), openly.resources())
                self.assertEqual(really.outputs(), openly.outputs())

    def test_every_condition_is_true_in_one_combination_and_false_in_another(self):
        for condition in self.template["Conditions"]:
            seen = {Stack(one, self.template).has(condition) for one in self.combinations.of({"Condition": condition})}
            self.assertEqual(seen, {True, False}, condition)

    def test_the_function_gets_exactly_the_settings_that_it_reads(self):
        source = (ROOT / "src/config/mod.rs").read_text()
        read = set(re.findall(r'"([A-Z_]+)"', source.split("pub const VARIABLES", 1)[1].split("];", 1)[0]))
        function = Stack({}, self.template).resources("AWS::Lambda::Function")["RollbackFunction"]
        # Lambda sets the Region.
        self.assertEqual(set(function["Environment"]["Variables"]), read - {"AWS_REGION"})

    def test_no_yaml_alias_reaches_cloudformation(self):
        """CloudFormation does not accept YAML aliases. SAM writes every built or packaged template with this dumper."""

        def aliases(text):
            return sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))

        source = (ROOT / "template.yaml").read_text()
        written = yaml_dump(yaml_parse(source))
        self.assertGreater(aliases(source), 0)
        self.assertEqual(aliases(written), 0)
        self.assertEqual(yaml_parse(written), yaml_parse(source))

    def test_only_the_choice_of_the_api_and_of_the_stage_mentions_the_sample_outside_its_sections(self):
        """The sample API's sections end the conditions and the resources; the second includes the first output."""
        body = (ROOT / "template.yaml").read_text().split("\nConditions:\n")[1]
        body, sections = re.subn(r"(?s)  # The sample API\b.*?(\nResources:|\n  FunctionName:)", r"\1", body)
        self.assertEqual(sections, 2)
        owner, mentioning = None, set()
        for line in body.splitlines():
            heading = re.fullmatch(r"  (\w+):", line)
            owner = heading.group(1) if heading else owner
            if re.search(r"[Ss]ample(?!Count)", line):
                mentioning.add(owner)
        self.assertEqual(mentioning, {"RollbackFunction", "SweepSchedule"})


if __name__ == "__main__":
    unittest.main()

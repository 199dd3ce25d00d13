"""The template holds together whatever its parameters are."""

import re
import unittest

from combinations import Combinations
from stack import ROOT, Dangling, Stack, translated


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated()
        cls.combinations = Combinations(cls.template)

    def test_no_combination_of_conditions_refers_to_what_is_not_there(self):
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
                    self.fail(f"{name} refers to {missing}, which is not there with {values}")
        for name, output in self.template["Outputs"].items():
            for values in self.combinations.of(output):
                tried += 1
                stack = Stack(values, self.template)
                try:
                    if "Condition" not in output or stack.has(output["Condition"]):
                        stack.value(output["Value"])
                except Dangling as missing:
                    self.fail(f"the output {name} refers to {missing}, which is not there with {values}")
        whole = self.combinations.count()
        print(f"{whole} combinations, of which resources and outputs can tell {tried}: all hold together")

    def test_sam_expands_the_template_alike_for_all_parameters(self):
        """What the other tests work with is the template expanded with its parameters left open."""
        for values in self.combinations.each_rule_with_the_rest():
            with self.subTest(values=values):
                really, openly = Stack(values), Stack(values, self.template)
                self.assertEqual(really.resources(), openly.resources())
                self.assertEqual(really.outputs(), openly.outputs())

    def test_every_condition_is_true_in_one_combination_and_false_in_another(self):
        for condition in self.template["Conditions"]:
            seen = {Stack(one, self.template).has(condition) for one in self.combinations.of({"Condition": condition})}
            self.assertEqual(seen, {True, False}, condition)

    def test_the_function_is_given_the_settings_that_it_reads(self):
        source = (ROOT / "src/config.rs").read_text()
        read = set(re.findall(r'"([A-Z_]+)"', source.split("pub const VARIABLES", 1)[1].split("];", 1)[0]))
        function = Stack({}, self.template).resources("AWS::Lambda::Function")["RollbackFunction"]
        # Lambda itself sets the region.
        self.assertEqual(set(function["Environment"]["Variables"]), read - {"AWS_REGION"})


if __name__ == "__main__":
    unittest.main()

"""The generated files of the Terraform module: variables.tf, parameters.tf, outputs.tf and the tables of README.md."""

import json
import re

from parameters import LIST, MAP, NUMBER, SWITCH, groups, parameters, rules, template, version

NOTE = "# Written by `make door-files` from template.yaml. Change the template, not this file.\n"
TYPES = {SWITCH: "bool", NUMBER: "number", LIST: "list(string)", MAP: "map(string)"}
BEGIN, END = "<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"

# The variables that are not parameters of the template: name, type, default, description, and the validations. A
# variable without a default is required.
NO_DEFAULT = object()
DIST_FILES = ("template.yaml", "apigw-rollback-function-${var.architecture}.zip", "SHA256SUMS")
OWN = [
    ("name", "string", "apigw-rollback",
     "Name of the stack. The function and its alarms get this name.",
     [('can(regex("^[A-Za-z][A-Za-z0-9-]{0,63}$", var.name))',
       "A function's name has at most 64 letters, digits and hyphens, and begins with a letter.")]),
    ("bucket", "string", NO_DEFAULT,
     "Name of an S3 bucket of yours in the Region of the API. Lambda reads the function's code from it.", []),
    ("dist", "string", None,
     "Folder with an unpacked release. The module uploads it to the bucket. null uses the release that is already in "
     "the bucket, under prefix/release_version/.",
     [('var.dist == null || fileexists("${coalesce(var.dist, ".")}/template.yaml")',
       "This folder has no template.yaml. Unpack a release of apigw-rollback there, or run `make dist` and give "
       "target/dist.")]),
    ("prefix", "string", "apigw-rollback", "Prefix of the releases in the bucket.", []),
    ("release_version", "string", version(),
     "Release to deploy. It must be the release of this module, whose variables are the parameters of the template.",
     [('can(regex("^[0-9]+\\\\.[0-9]+\\\\.[0-9]+(-[0-9A-Za-z.-]+)?$", var.release_version))',
       "Give a version such as 1.2.3, without a v.")]),
    ("deployment_role_arn", "string", None,
     "Role that CloudFormation assumes for the stack. null uses the credentials of Terraform.", []),
    ("timeout_in_minutes", "number", 30, "Minutes after which CloudFormation gives up and rolls the stack back.", []),
]


def quoted(text):
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def literal(value):
    return quoted(value) if isinstance(value, str) else json.dumps(value)


# What the module does with a parameter besides passing it on.
MORE = {"Tags": "The module also gives them to the stack, and CloudFormation to its resources."}


def description(one):
    more = "true stands for on, and false for off." if one.kind == SWITCH else MORE.get(one.name, "")
    return f"{one.description} {more}".rstrip()


def text_of(one):
    """Returns the expression for the value of a text, a list or a map as the template takes it."""
    variable = f"var.{one.snake}"
    pairs = f'[for name, value in {variable} : "${{name}}=${{value}}"]'
    return {LIST: f'join(",", {variable})', MAP: f'join(",", {pairs})'}.get(one.kind, variable)


def validations(one):
    """Yields the conditions that a value must meet, with their messages."""
    variable = f"var.{one.snake}"
    if one.kind == SWITCH:
        return
    if one.allowed:
        allowed = ", ".join(map(str, one.allowed))
        yield f"contains({json.dumps(one.allowed)}, {variable})", f"{one.name} must be one of {allowed}."
    if one.pattern:
        message = f"{one.name} must be {one.constraint.rstrip('.')}."
        if one.kind in (LIST, MAP):
            yield from for_each_part(one, message)
        else:
            yield matches(one.pattern, variable), message
    bounds = [(one.lowest, ">=", "at least"), (one.highest, "<=", "at most")]
    bounds = [(bound, sign, words) for bound, sign, words in bounds if bound is not None]
    if bounds:
        condition = " && ".join(f"{variable} {sign} {bound}" for bound, sign, _ in bounds)
        yield condition, f"{one.name} must be " + " and ".join(f"{words} {bound}" for bound, _, words in bounds) + "."
    if one.longest is not None:
        yield f"length({variable}) <= {one.longest}", f"{one.name} can have at most {one.longest} characters."


def matches(pattern, variable):
    """Returns the condition that a value matches a pattern. Terraform has no negative lookahead, so it is a second pattern."""
    refused = re.match(r"\^\(\?!([^)]+)\)", pattern)
    if not refused:
        return f"can(regex({quoted(pattern)}, {variable}))"
    allowed = quoted("^" + pattern[refused.end():])
    return f"can(regex({allowed}, {variable})) && !can(regex({quoted(f'^({refused[1]})')}, {variable}))"


def for_each_part(one, message):
    """Yields the conditions for the parts of a list or a map.

    Terraform's regular expressions allow fewer repetitions than CloudFormation's, so they check one part each.
    """
    part = one.pattern.removeprefix("^(").partition("(,")[0]
    most = re.fullmatch(re.escape(f"^({part}(,{part})") + r"(?:\*|\{0,(\d+)\})\)\?\$", one.pattern)
    assert most, f"{one.name} has a pattern of another form: {one.pattern}"
    values = f"part in var.{one.snake}" if one.kind == LIST else f"name, value in var.{one.snake}"
    text = "part" if one.kind == LIST else '"${name}=${value}"'
    yield f"alltrue([for {values} : can(regex({quoted(f'^{part}$')}, {text}))])", message
    if most[1]:
        yield f"length(var.{one.snake}) <= {int(most[1]) + 1}", message


def block(name, kind, default, text, conditions, nullable):
    lines = [f'variable "{name}" {{', f"  description = {quoted(text)}", f"  type = {kind}"]
    if default is not NO_DEFAULT:
        lines.append(f"  default = {literal(default)}")
    if not nullable:
        lines.append("  nullable = false")
    for condition, message in conditions:
        lines += ["", "  validation {", f"    condition = {condition}",
                  f"    error_message = {quoted(message)}", "  }"]
    return "\n".join([*lines, "}\n"])


def variables_tf():
    own = [block(*one, nullable=one[2] is None) for one in OWN]
    known = {one.name: one for one in parameters()}
    parts = [NOTE, *own]
    for label, names in groups():
        blocks = [
            block(one.snake, TYPES.get(one.kind, "string"), one.default, description(one), validations(one), False)
            for one in (known.pop(name) for name in names if name in known)
        ]
        parts.append(f"# {label}\n\n" + "\n".join(blocks))
    assert not known, f"the template's groups of parameters lack {sorted(known)}"
    return "\n".join(parts)


def value_of(one):
    variable = f"var.{one.snake}"
    return {SWITCH: f'{variable} ? "on" : "off"', NUMBER: f"tostring({variable})"}.get(one.kind, text_of(one))


def expression(test):
    """Writes a condition of one of the template's rules in Terraform's language."""
    (kind, of), = test.items()
    if kind == "Fn::Equals":
        return " == ".join(operand(one) for one in of)
    if kind == "Fn::Not":
        return f"!({expression(of[0])})"
    sign = {"Fn::And": " && ", "Fn::Or": " || "}[kind]
    return sign.join(f"({expression(one)})" for one in of)


def operand(one):
    return f'local.parameters["{one["Ref"]}"]' if isinstance(one, dict) else quoted(str(one))


def parameters_tf():
    values = "\n".join(f"    {one.name} = {value_of(one)}" for one in parameters())
    broken = []
    for applies, holds, message in rules():
        condition = expression(holds) if applies is None else f"!({expression(applies)}) || {expression(holds)}"
        broken.append(f"    {condition} ? null : {quoted(message)},")
    checks = "\n".join(broken)
    return f"""{NOTE}
locals {{
  # The values as the template takes them.
  parameters = {{
{values}
  }}

  # The messages of the template's rules that these values break. CloudFormation checks the rules too, but only while it
  # creates the stack.
  broken_rules = compact([
{checks}
  ])
}}
"""


def outputs():
    """Yields name, description and value of each output."""
    yield "stack_id", "Id of the stack", "aws_cloudformation_stack.this.id"
    for name, one in template()["Outputs"].items():
        words = "_".join(re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+", name)).lower()
        value = f'aws_cloudformation_stack.this.outputs["{name}"]'
        text = " ".join(one["Description"].split())
        if "Condition" in one:
            value, text = f"try({value}, null)", f"{text}. null without a sample API"
        yield words, text, value


def outputs_tf():
    blocks = [
        f'output "{name}" {{\n  description = {quoted(text)}\n  value = {value}\n}}\n' for name, text, value in outputs()
    ]
    return "\n".join([NOTE, *blocks])


def cell(text):
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")


def input_row(name, text, kind, default):
    shown = "n/a" if default is NO_DEFAULT else f"`{json.dumps(default)}`"
    needed = "yes" if default is NO_DEFAULT else "no"
    return f'| <a name="input_{name}"></a> [{name}](#input\\_{name}) | {cell(text)} | `{kind}` | {shown} | {needed} |'


def table(columns, rows):
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "|".join("-" * (len(c) + 2) for c in columns) + "|", *rows])


def requirements(versions_tf):
    """Yields name and version of Terraform and of each provider, as versions.tf has them."""
    yield "terraform", re.search(r'required_version\s*=\s*"([^"]+)"', versions_tf)[1]
    for name, wanted in re.findall(r'(\w+)\s*=\s*\{[^}]*version\s*=\s*"([^"]+)"', versions_tf):
        yield name, wanted


def readme(text, versions_tf, main_tf):
    """Returns README.md with new tables, in the layout of terraform-docs."""
    needed = list(requirements(versions_tf))
    inputs = [(name, text, kind, default) for name, kind, default, text, _ in OWN]
    inputs += [(one.snake, description(one), TYPES.get(one.kind, "string"), one.default) for one in parameters()]
    resources = re.findall(r'^(resource|data) "(\w+)" "(\w+)"', main_tf, re.MULTILINE)
    kinds = {"resource": "resource", "data": "data source"}
    sections = [
        "## Requirements\n\n" + table(["Name", "Version"], [
            f'| <a name="requirement_{name}"></a> [{name}](#requirement\\_{name}) | {cell(wanted)} |' for name, wanted in needed]),
        "## Providers\n\n" + table(["Name", "Version"], [
            f'| <a name="provider_{name}"></a> [{name}](#provider\\_{name}) | {cell(wanted)} |' for name, wanted in needed[1:]]),
        "## Modules\n\nNo modules.",
        "## Resources\n\n" + table(["Name", "Type"], sorted(
            f"| {'' if kind == 'resource' else 'data.'}{of}.{name} | {kinds[kind]} |" for kind, of, name in resources)),
        "## Inputs\n\n" + table(["Name", "Description", "Type", "Default", "Required"], [
            input_row(*one) for one in sorted(inputs, key=lambda one: one[0])]),
        "## Outputs\n\n" + table(["Name", "Description"], [
            f'| <a name="output_{name}"></a> [{name}](#output\\_{name}) | {cell(text)} |'
            for name, text, _ in sorted(outputs())]),
    ]
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + "\n\n".join(sections) + "\n" + END + rest.split(END)[1]

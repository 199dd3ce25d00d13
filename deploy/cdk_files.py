"""The generated files of the CDK construct: src/settings.ts and src/parameters.ts."""

import json

from parameters import LIST, MAP, NUMBER, OF_RELEASE, SWITCH, parameters, version

NOTE = "// Written by `make door-files` from template.yaml. Change the template, not this file.\n"
TYPES = {SWITCH: "boolean", NUMBER: "number", LIST: "string[]", MAP: "{ [name: string]: string }"}

# The parameters that the construct's own typed properties set, and the properties.
TYPED = {
    "Protocol": "api", "ApiId": "api", "ApiName": "api", "StageName": "stage", "NotificationTopicArn": "notificationTopic",
    "HookFunctionArn": "hook", "KmsKey": "encryptionKey", "EventBus": "eventBus", "LogGroupName": "logGroup",
    "PermissionsBoundary": "permissionsBoundary",
}
# The parameters without a property, and why.
WITHOUT = {"SampleRelease": "the construct protects an API of the app, so there is no sample API"}


def shown(one):
    return f"`{json.dumps(one.default)}`"


def property_of(one):
    text = [one.description]
    if one.kind == SWITCH:
        text.append("`true` stands for on, and `false` for off.")
    if one.allowed and one.kind != SWITCH:
        text.append(f"One of {', '.join(map(str, one.allowed))}.")
    lines = [" ".join(text).replace("*/", "* /"), "", f"@default {shown(one)}"]
    doc = "\n".join(f"   * {line}".rstrip() for line in lines)
    return f"  /**\n{doc}\n   */\n  readonly {one.camel}?: {TYPES.get(one.kind, 'string')};\n"


def own():
    """Returns the parameters that have a property of their own in the settings."""
    known = parameters()
    lost = (set(TYPED) | set(WITHOUT)) - {one.name for one in known}
    assert not lost, f"the template lacks {lost}"
    return [one for one in known if one.name not in TYPED and one.name not in WITHOUT]


def settings_ts():
    properties = "\n".join(property_of(one) for one in own())
    return f"""{NOTE}
/**
 * The parameters of the template that have no typed property of their own. The template says what they may be, and
 * `cdk synth` checks it.
 */
export interface ApiGatewayRollbackSettings {{
{properties}}}
"""


def parameters_ts():
    names = [one.name for one in own()]
    table = "\n".join(f"  {one.name}: '{one.camel}'," for one in own())
    others = [one.name for one in parameters() if one.name not in names] + list(OF_RELEASE)
    lines = "\n".join(f"  '{name}'," for name in others)
    return f"""{NOTE}
import type {{ ApiGatewayRollbackSettings }} from './settings';

/** The release of the template that this construct deploys. */
export const VERSION = '{version()}';

/** The template's parameter of each setting. */
export const SETTINGS: {{ readonly [parameter: string]: keyof ApiGatewayRollbackSettings }} = {{
{table}
}};

/** The other parameters of the template: of the typed properties, of the sample API, and of the release. */
export const OTHERS: readonly string[] = [
{lines}
];
"""

import { createHash } from 'crypto';
import * as fs from 'fs';
import * as path from 'path';
import { Token } from 'aws-cdk-lib';
import { parse } from 'yaml';
import { OTHERS, SETTINGS, VERSION } from './parameters';

/** What the template says of one parameter. */
interface Parameter {
  readonly Type: string;
  readonly AllowedValues?: (string | number)[];
  readonly AllowedPattern?: string;
  readonly ConstraintDescription?: string;
  readonly MinValue?: number;
  readonly MaxValue?: number;
  readonly MaxLength?: number;
  readonly Default?: string | number;
}

interface Template {
  readonly Mappings?: { readonly Release?: { readonly This?: { readonly Version?: string } } };
  readonly Parameters: { readonly [name: string]: Parameter };
  readonly Rules?: { readonly [name: string]: { RuleCondition?: unknown; Assertions: Assertion[] } };
  readonly Resources: { readonly [id: string]: { Type: string } };
}

interface Assertion {
  readonly Assert: unknown;
  readonly AssertDescription: string;
}

/** A built release in a folder: the plain template, the function's code, and their checksums. */
export class Release {
  public readonly templateFile: string;
  public readonly codeFile: string;
  private readonly template: Template;

  constructor(private readonly folder: string, architecture: string) {
    this.templateFile = this.file('template.yaml');
    this.codeFile = this.file(`apigw-rollback-function-${architecture}.zip`);
    this.compareSums();
    this.template = this.readTemplate();
    this.compareVersions();
  }

  /** Fails if the template would refuse these values. A value that only the deployment knows is not checked. */
  public check(values: { readonly [name: string]: string }): void {
    const problems = Object.entries(values).flatMap(([name, value]) => this.problemsOf(name, value));
    problems.push(...(problems.length === 0 ? this.brokenRules(values) : []));
    if (problems.length > 0) {
      throw new Error(problems.join('\n'));
    }
  }

  private file(name: string): string {
    const file = path.join(this.folder, name);
    if (!fs.existsSync(file)) {
      throw new Error(`There is no ${name} in ${this.folder}. Unpack a release of apigw-rollback ${VERSION} there, `
        + 'or run `make dist` and give target/dist.');
    }
    return file;
  }

  private compareSums(): void {
    const lines = fs.readFileSync(this.file('SHA256SUMS'), 'utf8').split('\n');
    for (const file of [this.templateFile, this.codeFile]) {
      const sum = createHash('sha256').update(fs.readFileSync(file)).digest('hex');
      const name = path.basename(file);
      if (!lines.some((line) => line.startsWith(`${sum} `) && path.basename(line.slice(66)) === name)) {
        throw new Error(`${name} differs from SHA256SUMS in ${this.folder}. Unpack the release again.`);
      }
    }
  }

  private readTemplate(): Template {
    let template: Template | undefined;
    try {
      template = parse(fs.readFileSync(this.templateFile, 'utf8'));
    } catch {
      template = undefined;
    }
    if (!template?.Parameters || !template?.Resources) {
      throw new Error(`${this.templateFile} is not the template of a release. Unpack the release again.`);
    }
    return template;
  }

  private compareVersions(): void {
    const version = this.template.Mappings?.Release?.This?.Version ?? 'unknown';
    const known = new Set([...Object.keys(SETTINGS), ...OTHERS]);
    const present = Object.keys(this.template.Parameters);
    const missing = [...known].filter((name) => !present.includes(name));
    const unknown = present.filter((name) => !known.has(name));
    const differences = [
      ...(missing.length > 0 ? [`it lacks the parameters ${missing.join(', ')}`] : []),
      ...(unknown.length > 0 ? [`it has the parameters ${unknown.join(', ')}, which the construct does not know`] : []),
    ];
    if (version !== VERSION || differences.length > 0) {
      const detail = differences.length > 0 ? `: ${differences.join('; ')}` : '';
      throw new Error(`The template in ${this.folder} is of release ${version}, and this construct of release ${VERSION}`
        + `${detail}. Use both of the same release.`);
    }
  }

  private problemsOf(name: string, value: string): string[] {
    const parameter = this.template.Parameters[name];
    if (!parameter || Token.isUnresolved(value)) {
      return [];
    }
    const problem = (words: string) => [`${name} is ${JSON.stringify(value)}, and must be ${words}.`];
    if (parameter.AllowedValues && !parameter.AllowedValues.map(String).includes(value)) {
      return problem(`one of ${parameter.AllowedValues.join(', ')}`);
    }
    if (parameter.AllowedPattern && !new RegExp(parameter.AllowedPattern).test(value)) {
      return problem(parameter.ConstraintDescription ?? `like ${parameter.AllowedPattern}`);
    }
    if (parameter.MaxLength !== undefined && value.length > parameter.MaxLength) {
      return problem(`at most ${parameter.MaxLength} characters long`);
    }
    if (parameter.Type === 'Number') {
      const { MinValue: lowest = -Infinity, MaxValue: highest = Infinity } = parameter;
      const number = value === '' ? NaN : Number(value);
      if (!(number >= lowest && number <= highest)) {
        return problem(`a number from ${lowest} to ${highest}`);
      }
    }
    return [];
  }

  private brokenRules(values: { readonly [name: string]: string }): string[] {
    const value = (operand: unknown): string | undefined => {
      const name = (operand as { Ref?: string })?.Ref;
      const text = name === undefined ? String(operand) : values[name] ?? String(this.template.Parameters[name]?.Default);
      return Token.isUnresolved(text) ? undefined : text;
    };
    return Object.values(this.template.Rules ?? {})
      .filter((rule) => rule.RuleCondition === undefined || holds(rule.RuleCondition, value) === true)
      .flatMap((rule) => rule.Assertions)
      .filter((assertion) => holds(assertion.Assert, value) === false)
      .map((assertion) => assertion.AssertDescription);
  }
}

/** Evaluates a condition of a rule. `undefined`: it depends on a value that only the deployment knows. */
function holds(test: unknown, value: (operand: unknown) => string | undefined): boolean | undefined {
  const [[kind, operands]] = Object.entries(test as { [kind: string]: unknown[] });
  if (kind === 'Fn::Equals') {
    const [first, second] = operands.map(value);
    return first === undefined || second === undefined ? undefined : first === second;
  }
  const parts = operands.map((operand) => holds(operand, value));
  if (kind === 'Fn::Not') {
    return parts[0] === undefined ? undefined : !parts[0];
  }
  if (kind !== 'Fn::And' && kind !== 'Fn::Or') {
    return undefined;
  }
  const decisive = kind === 'Fn::Or';
  return parts.includes(decisive) ? decisive : parts.includes(undefined) ? undefined : !decisive;
}

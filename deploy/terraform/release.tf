# The checks of the release. This file, variables.tf and parameters.tf need no provider, so the tests can plan them.

locals {
  zip = "apigw-rollback-function-${var.architecture}.zip"

  # The release's template, in which YAML needs no tags of CloudFormation. null: it cannot be read.
  template     = try(yamldecode(local.template_text), null)
  has_template = can(keys(local.template.Parameters)) && can(keys(local.template.Resources))

  template_version    = try(local.template.Mappings.Release.This.Version, "unknown")
  template_parameters = try(keys(local.template.Parameters), [])
  set_parameters      = concat(keys(local.parameters), ["CodeBucket", "CodeKey"])
  missing_parameters  = setsubtract(local.set_parameters, local.template_parameters)
  unknown_parameters  = setsubtract(local.template_parameters, local.set_parameters)

  # File name to SHA-256, for a local release.
  sums = var.dist == null ? {} : {
    for line in try(split("\n", trimspace(file("${var.dist}/SHA256SUMS"))), []) :
    trimprefix(regex("^[0-9a-f]{64} [ *](.*)$", line)[0], "./") => substr(line, 0, 64)
    if can(regex("^[0-9a-f]{64} [ *](.*)$", line))
  }
  damaged_files = var.dist == null ? [] : [
    for file in ["template.yaml", local.zip] : file
    if try(filesha256("${var.dist}/${file}"), "missing") != lookup(local.sums, file, "not listed")
  ]

  # Each problem is one sentence that says what is wrong, and one that says what to do. All are found in the plan.
  problems = concat(
    local.has_template ? [] : [
      "The release has no readable template.yaml. Upload an unpacked release, the template with the content type text/yaml."
    ],
    !local.has_template || local.template_version == var.release_version ? [] : [
      "The template is of release ${local.template_version}, not ${var.release_version}. Give the release of this module, or use the module of release ${local.template_version}."
    ],
    !local.has_template || length(local.missing_parameters) == 0 ? [] : [
      "The template lacks parameters that this module sets: ${join(", ", local.missing_parameters)}. It is older than the module: give the release of this module, or use an older module."
    ],
    !local.has_template || length(local.unknown_parameters) == 0 ? [] : [
      "The template has parameters that this module does not know: ${join(", ", local.unknown_parameters)}. It is newer than the module: use the module of that release."
    ],
    length(local.damaged_files) == 0 ? [] : [
      "Files of the release are missing, or differ from SHA256SUMS: ${join(", ", local.damaged_files)}. Unpack the release again."
    ],
    local.broken_rules,
  )
}

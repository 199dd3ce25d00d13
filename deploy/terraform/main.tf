data "aws_region" "current" {}

data "aws_s3_bucket" "release" {
  bucket = var.bucket
}

# Without a local release, the plan reads the template in the bucket: a release that is not there fails the plan.
data "aws_s3_object" "template" {
  count = var.dist == null ? 1 : 0

  bucket = var.bucket
  key    = "${local.folder}/template.yaml"
}

data "aws_s3_object" "code" {
  count = var.dist == null ? 1 : 0

  bucket = var.bucket
  key    = "${local.folder}/${local.zip}"
}

resource "aws_s3_object" "template" {
  count = var.dist == null ? 0 : 1

  bucket       = var.bucket
  key          = "${local.folder}/template.yaml"
  source       = "${var.dist}/template.yaml"
  source_hash  = filesha256("${var.dist}/template.yaml")
  content_type = "text/yaml"

  lifecycle {
    precondition {
      condition     = length(local.problems) == 0
      error_message = join("\n", local.problems)
    }
  }
}

resource "aws_s3_object" "code" {
  count = var.dist == null ? 0 : 1

  bucket      = var.bucket
  key         = "${local.folder}/${local.zip}"
  source      = "${var.dist}/${local.zip}"
  source_hash = try(filesha256("${var.dist}/${local.zip}"), null)

  lifecycle {
    precondition {
      condition     = length(local.problems) == 0
      error_message = join("\n", local.problems)
    }
  }
}

locals {
  # A local release has its checksum in the key, so that CloudFormation notices a new build of the same version.
  build  = var.dist == null ? "" : try("/${substr(filesha256("${var.dist}/${local.zip}"), 0, 12)}", "")
  folder = "${var.prefix}/${var.release_version}${local.build}"

  template_text = var.dist == null ? data.aws_s3_object.template[0].body : file("${var.dist}/template.yaml")
  template_key  = var.dist == null ? data.aws_s3_object.template[0].key : aws_s3_object.template[0].key
  code_key      = var.dist == null ? data.aws_s3_object.code[0].key : aws_s3_object.code[0].key
}

# The template is longer than the 51,200 bytes that CloudFormation takes in a request, so it is read from the bucket.
resource "aws_cloudformation_stack" "this" {
  name         = var.name
  template_url = "https://${data.aws_s3_bucket.release.bucket_regional_domain_name}/${local.template_key}"
  parameters   = merge(local.parameters, { CodeBucket = var.bucket, CodeKey = local.code_key })
  # The stack creates roles.
  capabilities       = ["CAPABILITY_IAM"]
  iam_role_arn       = var.deployment_role_arn
  timeout_in_minutes = var.timeout_in_minutes
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = length(local.problems) == 0
      error_message = join("\n", local.problems)
    }

    precondition {
      condition     = strcontains(data.aws_s3_bucket.release.bucket_regional_domain_name, ".s3.${data.aws_region.current.id}.")
      error_message = "The bucket ${var.bucket} is not in ${data.aws_region.current.id}. Lambda reads code only from a bucket in its own Region: give a bucket there."
    }
  }
}

# A sample API and its protection, to try apigw-rollback without an API of your own.

variable "bucket" {
  description = "S3 bucket in the Region of the provider"
  type        = string
}

module "rollback" {
  source = "../.."

  bucket = var.bucket
  dist   = "${path.root}/dist"
}

output "sample_url" {
  description = "Address of the sample API"
  value       = module.rollback.sample_url
}

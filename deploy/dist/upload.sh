#!/usr/bin/env bash
# Uploads the code of this release to a bucket of yours, and prints the command that deploys the plain template with it.
# Before it changes anything, it checks the files and the Region of the bucket.
#
#   bash upload.sh BUCKET
set -euo pipefail

version=@VERSION@

fail() {
    echo "error: $1" >&2
    exit 1
}

[[ $# == 1 && $1 != -* ]] || fail "give the name of a bucket: bash upload.sh BUCKET"
bucket=$1
cd "$(dirname "${BASH_SOURCE[0]}")"
command -v aws >/dev/null || fail "the AWS CLI is not installed: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"

sum() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi
}
for file in template.yaml apigw-rollback-function-*.zip; do
    grep -qxF "$(sum "$file" 2>/dev/null)" SHA256SUMS || fail "$file is not the file of this release: download the release again"
done

region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[[ -n $region ]] || fail "no Region is set: set AWS_REGION to the Region of your API"
home=$(aws s3api get-bucket-location --bucket "$bucket" --query LocationConstraint --output text) ||
    fail "the Region of the bucket $bucket cannot be read: create it with \`aws s3 mb s3://$bucket\`, or give another one"
# The oldest Region has no constraint, and the second oldest an older name.
case $home in None | null | "") home=us-east-1 ;; EU) home=eu-west-1 ;; esac
[[ $home == "$region" ]] ||
    fail "the bucket $bucket is in $home, and the stack would be in $region: Lambda reads code only from a bucket of its own Region"

for zip in apigw-rollback-function-*.zip; do
    aws s3 cp --only-show-errors "$zip" "s3://$bucket/apigw-rollback/$version/$zip"
done
cat <<END
The code is in s3://$bucket/apigw-rollback/$version/. Deploy a stack with a sample API, or add the parameters of yours:

    aws cloudformation deploy --stack-name apigw-rollback --template-file template.yaml --s3-bucket $bucket \\
        --capabilities CAPABILITY_IAM --parameter-overrides CodeBucket=$bucket
END

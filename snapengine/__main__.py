"""`python -m snapengine` is the command line."""

import sys

from snapengine import cli

sys.exit(cli.main())

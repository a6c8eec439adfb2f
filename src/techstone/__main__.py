"""`python -m techstone`: the command line."""

import sys

from techstone.app.cli import main

sys.exit(main())

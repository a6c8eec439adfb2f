"""`python -m techstoneai`."""

import sys

from ._terminal import main

sys.exit(main())

"""``python -m fastinit``: the command line."""

import sys

from fastinit.cli import main

sys.exit(main())

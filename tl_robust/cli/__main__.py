"""``python -m tl_robust.cli``."""

import sys

from tl_robust.cli.program import main

sys.exit(main())

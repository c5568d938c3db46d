"""The operations behind `inv`: tasks ask and say, builders decide, one place runs commands."""

import sys

# invoke turns this off for what it loads, and every command would compile all of slipway/ again.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

"""The child of a kernel without Landlock."""

import sys

from pixsim.core.confined import child, sandbox

sandbox._restrict_by_landlock = lambda libc: False
child.main(sys.argv[1:])

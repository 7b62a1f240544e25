"""Child processes in which untrusted bytes are parsed.

    parent   process.Confined    starts a child, asks it, ends it
    child    child.main          runs one module's `prepare` and `serve`, after sandbox.confine
    both     frames              how requests and answers travel through the two pipes

What the child promises, as root and not:

- It has no environment of its parent, no files but its two pipes and what the parent hands it,
  and a limit on its memory.
- It cannot open, make, rename or delete files, connect, listen, start processes or threads, send
  signals, trace or read other processes, load code, or change limits: a seccomp filter allows only
  the system calls that computing needs (Linux on x86-64 and arm64). Landlock, where the kernel has
  it, forbids files, the network and signals once more.
- It ends with its parent, when its input closes.

What the parent promises: each answer has a deadline; each has a length that is checked before it
is read, and is checked like untrusted input; a child that dies costs only what it
had in hand.

Limits: the processor time between two answers is measured by the child itself (`allow_cpu`), so a
parser that a file has taken over can extend it up to the parent's deadline. Where the kernel
has no seccomp, the child can still read files and start processes; then the parent logs one warning
that names what is missing. A child that was taken over can use the processor, and tell its parent
lies about what it is given, until it is replaced.
"""

from pixsim.core.confined.process import Confined, Died, Unavailable

__all__ = ["Confined", "Died", "Unavailable"]

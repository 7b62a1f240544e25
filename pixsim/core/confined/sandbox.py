"""Takes a process's rights away, for good: limits, seccomp, Landlock.

Sources: seccomp(2), prctl(2), landlock(7), and the system call tables of Linux for x86-64 and
arm64 (the latter is the generic one).
"""

import ctypes
import os
import platform
import signal
import struct
import sys

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC = 1, 1
LANDLOCK_CREATE_RULESET_VERSION = 1
ALLOW, KILL_PROCESS, ERRNO_EPERM = 0x7FFF0000, 0x80000000, 0x00050001
PROT_EXEC = 4

# What computing needs, by name: (x86-64, arm64). A new mapping may not be executable.
ALLOWED = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66), "sched_yield": (24, 124),
    "mremap": (25, 216), "madvise": (28, 233), "getpid": (39, 172), "setitimer": (38, 103),
    "exit": (60, 93), "gettimeofday": (96, 169), "getrusage": (98, 165), "times": (100, 153),
    "sigaltstack": (131, 132), "gettid": (186, 178), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "restart_syscall": (219, 128), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "exit_group": (231, 94), "getrandom": (318, 278),
    "membarrier": (324, 283), "rseq": (334, 293),
}  # fmt: skip
WITHOUT_EXEC = ("mmap", "mprotect")
ARCHITECTURES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}
"""Column in ALLOWED, AUDIT_ARCH, number of seccomp(2)."""
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
X32_SYSCALL_BIT = 0x40000000


def confine(memory_bytes: int) -> list[str]:
    """Take this process's rights away; return what the kernel does not have.

    `memory_bytes` is what it may use beyond what it uses now. Call it when only one thread is left.
    """
    missing = []
    libc = ctypes.CDLL(None, use_errno=True)
    memory = _mapped_bytes() + memory_bytes
    # In this order: each takes away what the one before needs.
    if not (_hide(libc) and _gain_nothing(libc) and _restrict_by_landlock(libc)):
        missing.append("landlock")
    _limit(memory)
    if not _filter_system_calls(libc):
        missing.append("seccomp")
    return missing


def allow_cpu(seconds: float) -> None:
    """Have the kernel end this process (SIGPROF) when it uses more processor time from now."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def hide_memory() -> None:
    """Keep other processes of this user from tracing this one and reading its memory."""
    _hide(ctypes.CDLL(None))


def _hide(libc: ctypes.CDLL) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    return True


def _gain_nothing(libc: ctypes.CDLL) -> bool:
    """Give up what starting another program could gain, which seccomp and Landlock require."""
    return bool(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def _mapped_bytes() -> int:
    import resource

    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


def _limit(memory: int) -> None:
    import resource

    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _filter_system_calls(libc: ctypes.CDLL) -> bool:
    machine = ARCHITECTURES.get(platform.machine())
    if machine is None or not sys.platform.startswith("linux"):
        return False
    column, architecture, seccomp = machine
    program = _program(column, architecture)
    instructions = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    wanted = Filter(len(program) // 8, ctypes.addressof(instructions))
    done = libc.syscall(
        seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(wanted)
    )
    return bool(done == 0)


def _program(column: int, architecture: int) -> bytes:
    """Return the filter in the language of BPF: what is not allowed fails with EPERM."""
    load, if_equal, if_at_least, if_any_bit, ret = 0x20, 0x15, 0x35, 0x45, 0x06
    number_at, architecture_at, third_argument_at = 0, 4, 16 + 2 * 8

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    parts = [
        step(load, architecture_at),
        step(if_equal, architecture, 1),
        step(ret, KILL_PROCESS),
        step(load, number_at),
        step(if_at_least, X32_SYSCALL_BIT, 0, 1),
        step(ret, KILL_PROCESS),
    ]
    for name, numbers in ALLOWED.items():
        if name in WITHOUT_EXEC:
            parts += [
                step(if_equal, numbers[column], 0, 4),
                step(load, third_argument_at),
                step(if_any_bit, PROT_EXEC, 1),
                step(ret, ALLOW),
                step(ret, ERRNO_EPERM),
            ]
        else:
            parts += [step(if_equal, numbers[column], 0, 1), step(ret, ALLOW)]
    return b"".join([*parts, step(ret, ERRNO_EPERM)])


def _restrict_by_landlock(libc: ctypes.CDLL) -> bool:
    """Forbid every right on files, ports, abstract sockets and signals that this kernel knows."""
    abi = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    if abi < 1:
        return False
    files = (1 << (13 if abi == 1 else 14 if abi == 2 else 15 if abi < 5 else 16)) - 1
    ports = 3 if abi >= 4 else 0
    scopes = 3 if abi >= 6 else 0
    rights = ctypes.create_string_buffer(struct.pack("=QQQ", files, ports, scopes), 24)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    rules = libc.syscall(LANDLOCK_CREATE_RULESET, rights, size, 0)
    if rules < 0:
        return False
    done = libc.syscall(LANDLOCK_RESTRICT_SELF, rules, 0)
    os.close(rules)
    return bool(done == 0)

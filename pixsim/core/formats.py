"""Durations, sizes and errors as short texts, for terminals and pages."""


def format_duration(seconds: float | None) -> str:
    """Return about how long: "40 ms", "1.5 s", "90 s", "3 min", "5 h 20 min", "12 d"; "-" for None."""
    if seconds is None:
        return "-"
    if 0 < seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if 0 < seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 120:
        return f"{max(0, int(seconds))} s"
    minutes = int(seconds) // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min"
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"


def format_size(size: float) -> str:
    """Return a number of bytes as "812 B", "4.2 kB", "310 MB", "1,024 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    digits = 1 if unit != "B" and size < 100 else 0
    return f"{size:,.{digits}f}".removesuffix(".0") + f" {unit}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without a full stop at its end."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__

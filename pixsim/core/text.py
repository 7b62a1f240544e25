"""Text of strangers, as far as PostgreSQL can hold it."""


def storable(text: str, *, longest: int) -> str:
    """`text` cut to `longest` characters, with NUL and halves of surrogate pairs written out.

    PostgreSQL refuses both, and what a server answers or a file is named may contain them.
    """
    plain = text[:longest].replace("\x00", "\\0")
    return plain.encode("utf-8", "backslashreplace").decode()[:longest]

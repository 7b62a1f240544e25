"""The bearer token by which one program proves to another that it may ask."""

from django.utils.crypto import constant_time_compare


def has_token(authorization: str, token: str) -> bool:
    """Return whether the value of an Authorization header carries this token; never without one."""
    return bool(token) and constant_time_compare(authorization, f"Bearer {token}")

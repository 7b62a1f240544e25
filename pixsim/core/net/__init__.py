"""The guarded HTTP client: every request to a server outside goes through it."""

from pixsim.core.net.addresses import AddressPolicy
from pixsim.core.net.client import Client, Response, address_refusal
from pixsim.core.net.errors import FetchError, Reason
from pixsim.core.net.limits import Limits

__all__ = [
    "AddressPolicy",
    "Client",
    "FetchError",
    "Limits",
    "Reason",
    "Response",
    "address_refusal",
]

"""The guarded connector: every request to a stranger's server goes through here."""

from pixsim.core.net.addresses import AddressPolicy
from pixsim.core.net.client import Client, Response, fetch
from pixsim.core.net.errors import FetchError, Reason
from pixsim.core.net.limits import Limits

__all__ = ["AddressPolicy", "Client", "FetchError", "Limits", "Reason", "Response", "fetch"]

"""Index classes that allow the names our schema contract has."""

from django.db import models


class NamedIndex(models.Index):
    """An index whose name may be as long as PostgreSQL allows (63 bytes).

    Django refuses names over 30 characters (models.E034) for the sake of other databases; the
    names of the older systems, which are a contract, are longer.
    """

    max_name_length = 63

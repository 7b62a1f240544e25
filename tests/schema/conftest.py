"""What the tests of `manage.py db` share."""

from tests.schema.packages import packages as packages
from tests.scratch import db as db

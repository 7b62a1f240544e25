"""A backfill that the tool finds by the name of this module."""

from pixsim.core.db.backfill import Backfill

FILL = Backfill(
    name="toy-prices",
    help="Give every toy a price.",
    table="toys_toy",
    pending="price IS NULL",
    change="UPDATE toys_toy SET price = 1 WHERE price IS NULL AND id BETWEEN %s AND %s",
)

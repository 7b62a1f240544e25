"""`manage.py tiers`: people by tier, what they use of each limit, and whose tier changed."""

from argparse import ArgumentParser
from typing import Any

from pixsim import tiers
from pixsim.core import cli
from pixsim.core.cli.tables import render, table
from pixsim.core.formats import format_size


class Command(cli.Command):
    help = (
        "Show the people of each tier over time, what they use of each limit, and the latest changes "
        "of tiers: who, when and by whom."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        cli.add_json_flag(parser)
        parser.add_argument(
            "--by", choices=("day", "week"), default="week", help="periods (default: week)"
        )

    def handle(self, *, by: tiers.Unit, **options: Any) -> None:
        if options["json"]:
            self.print_json(tiers.as_dict(by))
            return
        totals, over_time = tiers.totals(), tiers.people_over_time(by)
        names = [each.tier for each in totals]
        self.stdout.write(
            render(
                table(
                    ["tier", "people", "images", "traffic", "credits"],
                    (
                        (
                            each.tier,
                            each.people,
                            f"{each.images:,}",
                            format_size(each.traffic_bytes),
                            f"{each.credits:,}",
                        )
                        for each in totals
                    ),
                    title=f"People and their use: last {tiers.DAYS} days; credits of this month",
                ),
                table(
                    ["tier", "what", "limit", "people", "at the limit", "most", "by"],
                    (
                        (
                            each.tier,
                            each.what,
                            each.allowed,
                            each.people,
                            each.at_limit,
                            each.most,
                            each.most_by,
                        )
                        for each in tiers.uses()
                    ),
                    title="Use against each limit",
                    texts=2,
                ),
                table(
                    [f"{by} (UTC)", *names],
                    (
                        (f"{start:%Y-%m-%d}", *(people[name] for name in names))
                        for start, people in over_time
                    ),
                    title="People over time",
                ),
                table(
                    ["at", "who", "from", "to", "by"],
                    (
                        (
                            f"{each.at:%Y-%m-%d %H:%M:%S}",
                            each.email or each.profile_id,
                            each.before,
                            each.after,
                            each.by or "system",
                        )
                        for each in tiers.changes()
                    ),
                    title="Changes",
                    texts=5,
                ),
            )
        )

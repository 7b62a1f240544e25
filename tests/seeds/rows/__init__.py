"""The tables, one guide each."""

from tests.seeds.rows import pixsim7_params
from tests.seeds.table import Guide

GUIDES: tuple[Guide, ...] = (pixsim7_params.GUIDE,)

"""The tables, one guide each."""

from tests.seeds.rows import aiproxysrv, aistory, pixcrawler, pixsim7_guide, pixsim7_params
from tests.seeds.table import Guide

GUIDES: tuple[Guide, ...] = (
    pixsim7_params.GUIDE,
    pixcrawler.GUIDE,
    pixsim7_guide.GUIDE,
    aistory.GUIDE,
    aiproxysrv.GUIDE,
)

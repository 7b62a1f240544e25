"""The rules of a crawl: the operator's, tightened by its own options."""

import pytest

from crawler.fetch.rules import Rules, RulesError


def test_without_options_the_operators_settings_hold(settings):
    settings.CRAWL_MAX_BYTES, settings.CRAWL_MIN_SIDE = 1000, 64
    rules = Rules.from_options({})
    assert (rules.max_bytes, rules.min_side, rules.honour_robots) == (1000, 64, True)
    assert "jpeg" in rules.formats


def test_options_tighten(settings):
    rules = Rules.from_options(
        {
            "max_bytes": 10,
            "min_side": 256,
            "max_aspect": 2,
            "formats": ["png"],
            "licences": ["cc0*"],
        }
    )
    assert (rules.max_bytes, rules.min_side, rules.max_aspect) == (10, 256, 2.0)
    assert (rules.formats, rules.licences) == (("png",), ("cc0*",))


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"min_sid": 3}, "min_sid", "unknown; there are formats, honour_robots"),
        ({"max_bytes": 10**12}, "max_bytes", "at most 20971520 here (CRAWL_MAX_BYTES)"),
        ({"max_pixels": 0}, "max_pixels", "whole number, at least 1, not 0"),
        ({"max_pixels": True}, "max_pixels", "whole number"),
        ({"min_side": "64"}, "min_side", "whole number"),
        ({"max_aspect": 0.5}, "max_aspect", "at least 1"),
        ({"max_aspect": float("nan")}, "max_aspect", "at least 1"),
        ({"formats": "jpeg"}, "formats", "list of texts"),
        ({"formats": []}, "formats", "at least one"),
        ({"formats": ["eps"]}, "formats", "'eps' is unknown"),
        ({"licences": [1]}, "licences", "list of texts"),
        ({"honour_robots": False}, "honour_robots", "only the operator"),
        ({"honour_robots": "no"}, "honour_robots", "true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(settings, options, field, words):
    settings.CRAWL_MAX_BYTES, settings.CRAWL_HONOUR_ROBOTS = 20 * 1024**2, True
    with pytest.raises(RulesError) as refused:
        Rules.from_options(options)
    assert refused.value.field == field
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [("CC0", True), ("cc-by-4.0", True), ("CC-BY-NC-4.0", False), ("", False), (None, False)],
)
def test_a_licence_must_match_a_pattern_in_any_case(licence, is_allowed):
    rules = Rules.from_options({"licences": ["cc0", "CC-BY-[0-9]*"]})
    assert (rules.licence_refusal({"licence": licence}) is None) == is_allowed
    assert Rules.from_options({}).licence_refusal(None) is None

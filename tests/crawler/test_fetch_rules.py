"""The rules of a crawl: the operator's, tightened by its own options."""

import pytest

from crawler.fetch.rules import Rules, RulesError, canonical_options


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
        ({"formats": ["eps"]}, "formats", "'eps' is unknown; there are jpeg, png, webp"),
        ({"formats": ["image/svg+xml"]}, "formats", "'image/svg+xml' is unknown"),
        ({"near_duplicate_distance": 12}, "near_duplicate_distance", "from 1 to 11, or 0 or none"),
        ({"near_duplicate_distance": -1}, "near_duplicate_distance", "not -1"),
        ({"near_duplicate_distance": "3"}, "near_duplicate_distance", "not '3'"),
        ({"near_duplicate_distance": True}, "near_duplicate_distance", "not True"),
        ({"near_duplicate_distance": 2.5}, "near_duplicate_distance", "not 2.5"),
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


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (["jpg"], ["jpeg"]),
        (["JPG", ".jpg", "*.jpe", "jfif", "image/jpeg", "image/pjpeg", " Jpeg "], ["jpeg"]),
        (["tif", ".TIFF", "image/tiff"], ["tiff"]),
        (["image/x-png", "apng", "image/x-ms-bmp", "dib"], ["png", "bmp"]),
        (["image/webp", "AVIF", ".gif", "image/avifs"], ["webp", "avif", "gif"]),
    ],
)
def test_formats_may_be_called_as_people_call_them_and_are_stored_by_one_name(given, stored):
    assert Rules.from_options({"formats": given}).formats == tuple(stored)
    assert canonical_options({"formats": given, "min_side": 9}) == {
        "formats": stored,
        "min_side": 9,
    }


@pytest.mark.parametrize("off", [0, None, False, "none", "Off", ""])
def test_a_crawl_says_what_a_near_duplicate_is_and_switches_it_off(settings, off):
    settings.CRAWL_NEAR_DUPLICATE_DISTANCE = 3
    assert Rules.from_options({}).near_duplicate_distance == 3
    assert Rules.from_options({"near_duplicate_distance": 11}).near_duplicate_distance == 11
    assert canonical_options({"near_duplicate_distance": off}) == {"near_duplicate_distance": 0}
    settings.CRAWL_NEAR_DUPLICATE_DISTANCE = -1
    assert Rules.from_options({}).near_duplicate_distance == 0

"""Every sentence of the older systems' guides, as a row that is run.

`rows/` has a table per guide. A row says what became of a sentence, and has the check that runs
it: `test_seeds.py` makes each row a test, `make seeds` prints them all, and `page.py` writes
docs/coming-from.md from them.
"""

"""The migrations of provider accounts and submissions.

The files of an older system's history, up to 0006, are never edited, since databases keep their
hashes. What `manage.py db check` wants to be said of one of them is said here.

0005_submission_account_required
Breaks: an INSERT into provider_submissions that names no account.
"""

"""Backfill the params of jobs from the payloads that were sent for them."""

from pixsim.core.db.backfill import Backfill

# The first payload, since later attempts may have been changed to get through.
FILL = """
    UPDATE jobs AS job SET params = first.payload, params_source = 'payload'
    FROM (
        SELECT DISTINCT ON (submission.job_id) submission.job_id, submission.payload
        FROM provider_submissions AS submission JOIN jobs AS empty ON empty.id = submission.job_id
        WHERE empty.id BETWEEN %s AND %s AND empty.params = '{}'
            AND jsonb_typeof(submission.payload) = 'object' AND submission.payload <> '{}'
        ORDER BY submission.job_id, submission.submitted_at, submission.id
    ) AS first
    WHERE job.id = first.job_id AND job.params = '{}'
"""

EMPTY = """
    UPDATE jobs SET params = '{}', params_source = NULL
    WHERE id BETWEEN %s AND %s AND params_source = 'payload'
"""

PARAMS_FROM_PAYLOADS_UNDO = Backfill(
    name="params-from-payloads-undo",
    help="What params-from-payloads filled is emptied again.",
    table="jobs",
    pending="params_source = 'payload'",
    change=EMPTY,
)

PARAMS_FROM_PAYLOADS = Backfill(
    name="params-from-payloads",
    help="Jobs without params get the payload of their first submission, marked as such.",
    table="jobs",
    pending="params = '{}'",
    change=FILL,
    undo=PARAMS_FROM_PAYLOADS_UNDO,
)

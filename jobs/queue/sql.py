"""Every state change of a work item, as one statement each.

`{table}` is the kind's table; the other names in braces are fragments of the kind (see
`kinds.Kind`). A condition names the old state, so the number of rows
that come back says who won. Picked rows stand in `id = ANY(ARRAY(SELECT ...))`: with a join the
planner scans the table.

States in the vocabulary of the statements:
    ready      pending, admitted: `ready_at` is set
    waiting    pending, not held, not admitted
    occupying  ready or processing: `ready_at` is set
"""

# The most urgent ready items, under one new lease, but none of the parents that rest.
CLAIM = """
UPDATE {table} SET
    status = 'processing',
    lease_id = (SELECT nextval('work_lease_id_seq')),
    lease_expires_at = now() + make_interval(secs => %(lease_seconds)s),
    task_id = %(task_id)s,
    started_at = now(),
    updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE status = 'pending' AND ready_at IS NOT NULL
      AND ({parent} = ANY(%(resting)s::bigint[])) IS NOT TRUE AND ({claimable})
    ORDER BY priority DESC, ready_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED))
RETURNING id, lease_id, priority, extract(epoch FROM ready_at)::float8
"""

# One named item, if it is ready.
CLAIM_ONE = """
UPDATE {table} SET
    status = 'processing',
    lease_id = nextval('work_lease_id_seq'),
    lease_expires_at = now() + make_interval(secs => %(lease_seconds)s),
    task_id = %(task_id)s,
    started_at = now(),
    updated_at = now()
WHERE id = %(id)s AND status = 'pending' AND ready_at IS NOT NULL
RETURNING id, lease_id, priority, extract(epoch FROM ready_at)::float8
"""

# Heartbeat. Rows that do not come back were lost.
RENEW = """
UPDATE {table} SET lease_expires_at = now() + make_interval(secs => %(lease_seconds)s)
WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
RETURNING id, lease_id
"""

# The fence: held until commit, so that what is written with it belongs to the lease.
LOCK_LEASE = """
SELECT 1 FROM {table}
WHERE id = %(id)s AND lease_id = %(lease)s AND status = 'processing'
FOR NO KEY UPDATE
"""

# The same for many, in the order in which all transactions lock items.
LOCK_LEASES = """
SELECT id, lease_id FROM {table}
WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
ORDER BY id FOR NO KEY UPDATE
"""

# Not begun, or stopped on request: back to its old place, without a retry.
GIVE_BACK = """
UPDATE {table} SET
    status = 'pending', lease_id = NULL, lease_expires_at = NULL, started_at = NULL,
    updated_at = now()
WHERE id = ANY(%(ids)s) AND lease_id = %(lease)s AND status = 'processing'
RETURNING id, status, {parent}
"""

# Items leave the window; the owners' next ones enter it, in the same statement. No owner is
# locked and nothing is waited for: the rows to admit are skipped when somebody holds them (the
# sweeper repairs that). `least(...)` keeps a window that has shrunk from being filled again.
_ADMIT_NEXT = """
, room AS (
    SELECT gone.owner_id, least(
        count(*),
        count(*)
          + coalesce((%(windows)s::jsonb ->> (
                SELECT user_tier FROM profiles WHERE profiles.id = gone.owner_id))::int, 0)
          - (SELECT count(*) FROM {table} used
             WHERE used.owner_id = gone.owner_id AND used.ready_at IS NOT NULL)
    ) AS free
    FROM gone WHERE gone.owner_id IS NOT NULL GROUP BY gone.owner_id
), admitted AS (
    UPDATE {table} SET ready_at = {place}
    WHERE id = ANY(ARRAY(
        SELECT best.id FROM room CROSS JOIN LATERAL (
            SELECT id FROM {table}
            WHERE owner_id = room.owner_id
              AND status = 'pending' AND ready_at IS NULL AND NOT held AND {finished} IS NULL
            ORDER BY priority DESC, created_at, id
            LIMIT greatest(0, room.free)
            FOR UPDATE SKIP LOCKED) best))
    RETURNING id
)
SELECT gone.id, gone.status, gone.parent_id, (SELECT count(*) FROM admitted) FROM gone
"""

COMPLETE = (
    """
WITH gone AS (
    UPDATE {table} SET
        status = 'completed', ready_at = NULL, lease_id = NULL, lease_expires_at = NULL,
        error_message = NULL, {finished} = now(), updated_at = now()
    WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
    RETURNING id, status, owner_id, {parent} AS parent_id
)"""
    + _ADMIT_NEXT
)

# A failed attempt: back to pending after a backoff, or failed when no retry is left. `failed`
# always leaves retry_count at its limit, so the documented query for failed items with retries
# left finds only what something outside the queue has failed.
_FAILED_ATTEMPT = """
        status = CASE WHEN {final} THEN 'failed' ELSE 'pending' END,
        retry_count = least(CASE WHEN {final} THEN %(max_retries)s ELSE retry_count + 1 END,
                            %(max_retries)s),
        held = NOT ({final}),
        available_at = CASE WHEN {final} THEN NULL ELSE
            now() + make_interval(secs => %(backoff_seconds)s * power(2, retry_count)
                                          * (0.5 + random())) END,
        {finished} = CASE WHEN {final} THEN now() END,
        ready_at = NULL, lease_id = NULL, lease_expires_at = NULL, updated_at = now(),
"""

FAIL = (
    """
WITH gone AS (
    UPDATE {table} SET"""
    + _FAILED_ATTEMPT.replace("{final}", "(%(permanent)s OR retry_count >= %(max_retries)s)")
    + """
        error_message = %(error)s
    WHERE id = %(id)s AND lease_id = %(lease)s AND status = 'processing'
    RETURNING id, status, owner_id, {parent} AS parent_id
)"""
    + _ADMIT_NEXT
)

# A worker died or stalled. Counts as a retry, so that an item that kills workers ends as failed.
RESCUE = (
    """
WITH gone AS (
    UPDATE {table} SET"""
    + _FAILED_ATTEMPT.replace("{final}", "(retry_count >= %(max_retries)s)")
    + """
        error_message = 'The worker that held this (task ' || coalesce(task_id, 'unknown')
            || ') died or stalled: its lease ended '
            || coalesce('at ' || lease_expires_at::text, 'without a heartbeat') || '.'
    WHERE id = ANY(ARRAY(
        SELECT id FROM {table} item
        WHERE status = 'processing'
          AND (lease_expires_at IS NULL OR lease_expires_at < now())
          AND ({rescuable})
        ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING id, status, owner_id, {parent} AS parent_id
)"""
    + _ADMIT_NEXT
)

# Waits for something else (candidates, a slot): no retry, and its place in the window is free. One
# that waits until its job is resumed is looked at by RELEASE, for the job may be so already.
WAIT = (
    """
WITH gone AS (
    UPDATE {table} SET
        status = 'pending', held = TRUE,
        available_at = now() + make_interval(secs => coalesce(%(seconds)s::float8, 0)),
        error_message = %(reason)s,
        ready_at = NULL, lease_id = NULL, lease_expires_at = NULL, started_at = NULL,
        updated_at = now()
    WHERE id = %(id)s AND lease_id = %(lease)s AND status = 'processing'
    RETURNING id, status, owner_id, {parent} AS parent_id
)"""
    + _ADMIT_NEXT
)

# The time of these has come. Without an owner they are ready at their old place; with one they
# wait for the window. What belongs to a paused or ended job rests until somebody resumes it.
RELEASE = """
UPDATE {table} item SET
    held = NOT ({runnable}), available_at = NULL,
    error_message = CASE WHEN {runnable} THEN error_message
        ELSE coalesce({reason}, error_message) END,
    ready_at = CASE WHEN owner_id IS NULL AND ({runnable}) THEN created_at END,
    updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE held AND available_at IS NOT NULL AND available_at <= now() AND status = 'pending'
    ORDER BY available_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING owner_id, held
"""

# What a parent's items wait for has come. Items in a backoff, which have begun, stay.
WAKE = """
UPDATE {table} SET
    held = FALSE, available_at = NULL,
    ready_at = CASE WHEN owner_id IS NULL THEN created_at END,
    updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table} item
    WHERE {parent} = %(parent)s AND status = 'pending' AND held
      AND available_at IS NOT NULL AND started_at IS NULL AND ({runnable})
    ORDER BY id FOR UPDATE SKIP LOCKED))
RETURNING id, owner_id
"""

# Rows that somebody inserted by hand, which know no owner and were never admitted, or revived by
# hand: they say when they ended. Until they are counted nobody admits them. Sorted as the index
# `waiting` is, of which the planner does not see that one owner's part is sorted by the rest.
STRANGERS = """
(SELECT id, {parent} FROM {table}
 WHERE owner_id IS NULL AND status = 'pending' AND ready_at IS NULL AND NOT held
   AND (%(id)s::bigint IS NULL OR id = %(id)s)
 ORDER BY owner_id, priority DESC, created_at, id LIMIT %(limit)s)
UNION
(SELECT id, {parent} FROM {table}
 WHERE status = 'pending' AND {finished} IS NOT NULL
   AND (%(id)s::bigint IS NULL OR id = %(id)s)
 ORDER BY id LIMIT %(limit)s)
"""

ADOPT = """
UPDATE {table} item SET
    owner_id = coalesce(owner_id, ({owner})),
    {finished} = NULL,
    held = NOT ({runnable}),
    error_message = CASE WHEN {runnable} THEN error_message
        ELSE coalesce({reason}, error_message) END,
    ready_at = CASE WHEN coalesce(owner_id, ({owner})) IS NULL AND ({runnable}) THEN created_at END
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE id = ANY(%(ids)s) AND status = 'pending'
      AND ({finished} IS NOT NULL OR owner_id IS NULL AND ready_at IS NULL AND NOT held)
    ORDER BY id FOR UPDATE SKIP LOCKED))
RETURNING id, owner_id
"""

# Items that somebody has ended by hand, or that an older system ended: they leave their window, if
# they were in it at all. So it is left to the exact admission to fill it.
SETTLE = """
UPDATE {table} SET
    ready_at = NULL, held = FALSE, available_at = NULL, lease_id = NULL,
    lease_expires_at = NULL, {finished} = updated_at
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE status IN ({ended}) AND {finished} IS NULL
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING id, status, {parent}
"""

LOCK_OWNER = "SELECT user_tier FROM profiles WHERE id = %(owner)s FOR NO KEY UPDATE"

# Exact admission, step 1: ready items that better waiting ones displace, or that a smaller window
# has no room for. Ready items that stay are never locked. A claim that comes between wins.
WITHDRAW = """
UPDATE {table} SET ready_at = NULL
WHERE id = ANY(ARRAY(
    SELECT id FROM (
        SELECT id, is_ready, row_number() OVER (
            ORDER BY priority DESC, is_ready DESC, ready_at, created_at, id) AS place
        FROM (
            (SELECT id, priority, ready_at, created_at, TRUE AS is_ready FROM {table}
             WHERE owner_id = %(owner)s AND ready_at IS NOT NULL AND status = 'pending')
            UNION ALL
            (SELECT id, priority, NULL, created_at, FALSE FROM {table}
             WHERE owner_id = %(owner)s
               AND status = 'pending' AND ready_at IS NULL AND NOT held
             ORDER BY priority DESC, created_at, id LIMIT %(window)s)
        ) eligible
    ) ranked
    WHERE is_ready AND place > %(window)s - (
        SELECT count(*) FROM {table}
        WHERE owner_id = %(owner)s AND ready_at IS NOT NULL AND status = 'processing')))
  AND status = 'pending' AND ready_at IS NOT NULL
RETURNING id
"""

# Exact admission, step 2, a statement of its own so that it sees what was claimed meanwhile.
GRANT = """
UPDATE {table} SET ready_at = {place}
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE owner_id = %(owner)s
      AND status = 'pending' AND ready_at IS NULL AND NOT held AND {finished} IS NULL
    ORDER BY priority DESC, created_at, id
    LIMIT greatest(0, %(window)s - (
        SELECT count(*) FROM {table} WHERE owner_id = %(owner)s AND ready_at IS NOT NULL))
    FOR UPDATE SKIP LOCKED))
RETURNING id
"""

# The next owners who have anything waiting or ready, by key, and whether their window is not what
# it should be: a skip scan, never a DISTINCT over the backlog.
OWNERS = """
WITH RECURSIVE owners AS (
    SELECT %(after)s::uuid AS owner_id, 0 AS place
    UNION ALL
    SELECT least(
        (SELECT owner_id FROM {table}
         WHERE status = 'pending' AND ready_at IS NULL AND NOT held
           AND owner_id > owners.owner_id
         ORDER BY owner_id LIMIT 1),
        (SELECT owner_id FROM {table}
         WHERE ready_at IS NOT NULL AND owner_id > owners.owner_id
         ORDER BY owner_id LIMIT 1)), place + 1
    FROM owners WHERE owner_id IS NOT NULL AND place < %(limit)s
), state AS (
    SELECT owners.owner_id,
        (SELECT coalesce((%(windows)s::jsonb ->> user_tier)::int, 0)
         FROM profiles WHERE profiles.id = owners.owner_id) AS size,
        (SELECT count(*) FROM {table} used
         WHERE used.owner_id = owners.owner_id AND used.ready_at IS NOT NULL) AS used,
        (SELECT priority FROM {table} best
         WHERE best.owner_id = owners.owner_id
           AND best.status = 'pending' AND best.ready_at IS NULL AND NOT best.held
         ORDER BY priority DESC, created_at, id LIMIT 1) AS best_waiting,
        (SELECT min(priority) FROM {table} worst
         WHERE worst.owner_id = owners.owner_id AND worst.ready_at IS NOT NULL
           AND worst.status = 'pending') AS worst_ready
    FROM owners WHERE place > 0 AND owners.owner_id IS NOT NULL
)
SELECT owner_id, coalesce(best_waiting IS NOT NULL AND used < size
    OR worst_ready IS NOT NULL AND used > size
    OR best_waiting > worst_ready, FALSE)
FROM state ORDER BY owner_id
"""

# In the order of the claim: EXISTS would let the planner read the table until it meets one.
ANY_READY = """
SELECT (SELECT id FROM {table} WHERE status = 'pending' AND ready_at IS NOT NULL
        ORDER BY priority DESC, ready_at, id LIMIT 1) IS NOT NULL
"""

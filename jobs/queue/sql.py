"""Every statement that changes a work row, and those that read rows in the queue's order.

`{table}` is the kind's table; the other names in braces are SQL fragments of the kind (see
`kinds.Kind`). Each statement begins with its tag, `/* queue:name */`. A condition names the old
state, so the rows that come back say who won. Chosen rows stand in `id = ANY(ARRAY(SELECT ...))`:
with a join the planner scans the table. Rows are locked in the order of their ids.

Terms:
    ready         pending and admitted: `ready_at` is set
    waiting       pending, not held, not admitted
    unregistered  pending, inserted without an owner or revived by hand (`{finished}` is still set):
                  not admitted until it is registered
    gone          rows that this statement takes from a worker
"""

# How an attempt ended, written with that end. `{recorded}` is empty for a kind that records none.
# `%(outcome)s` NULL: the item's new status tells.
_GONE = """id, status, {parent} AS parent_id, owner_id, attempt_count, worker, task_id,
        error_message"""
_RECORDED = """
, recorded AS (
    INSERT INTO work_attempts (kind, item_id, number, outcome, worker, task_id,
                               started_at, ended_at, error_class, error_message, details)
    SELECT '[kind]', id, attempt_count, outcome, worker, task_id, began, now(),
           %(error_class)s, error_message, %(details)s::jsonb -> id::text
    FROM ends WHERE began IS NOT NULL
    ON CONFLICT DO NOTHING)"""


def recorded(kind: str) -> str:
    """Return the part of a statement that writes the attempts of this kind."""
    return _RECORDED.replace("[kind]", kind)


# Rows that a person or another app takes, also from a worker, whose attempt ends here.
_TAKEN = """
, recorded AS (
    INSERT INTO work_attempts (kind, item_id, number, outcome, worker, task_id,
                               started_at, ended_at, error_message)
    SELECT '[kind]', id, attempt_count, 'taken', worker, task_id, started_at, now(), error_message
    FROM taken WHERE status = 'processing' AND started_at IS NOT NULL
    ON CONFLICT DO NOTHING)"""


def taken(kind: str) -> str:
    """Return the part of a statement that writes the attempts which it cuts off."""
    return _TAKEN.replace("[kind]", kind)


_ENDS = """
, ends AS (
    SELECT *, coalesce(%(outcome)s, CASE status WHEN 'pending' THEN 'retry' ELSE status END)
        AS outcome
    FROM gone
){recorded}
"""
_LEFT = """
SELECT id, status, parent_id, owner_id, outcome, attempt_count,
       extract(epoch FROM now() - began)::float8, worker, task_id,
       %(error_class)s::text, error_message
FROM ends
"""

# Claimed items

# The most urgent ready items, under one new lease, but none of the parents that are skipped.
CLAIM = """/* queue:claim */
UPDATE {table} SET
    status = 'processing',
    lease_id = (SELECT nextval('work_lease_id_seq')),
    lease_expires_at = now() + make_interval(secs => %(lease_seconds)s),
    task_id = %(task_id)s,
    worker = %(worker)s,
    attempt_count = attempt_count + 1,
    started_at = now(),
    updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE status = 'pending' AND ready_at IS NOT NULL
      AND ({parent} = ANY(%(skipped)s::bigint[])) IS NOT TRUE AND ({claimable})
    ORDER BY priority DESC, ready_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED))
RETURNING id, lease_id, started_at, attempt_count, priority, ready_at
"""

# One named item, if it is ready.
CLAIM_ONE = """/* queue:claim_one */
UPDATE {table} SET
    status = 'processing',
    lease_id = nextval('work_lease_id_seq'),
    lease_expires_at = now() + make_interval(secs => %(lease_seconds)s),
    task_id = %(task_id)s,
    worker = %(worker)s,
    attempt_count = attempt_count + 1,
    started_at = now(),
    updated_at = now()
WHERE id = %(id)s AND status = 'pending' AND ready_at IS NOT NULL
RETURNING id, lease_id, started_at, attempt_count, priority, ready_at
"""

# Heartbeat. Rows that do not come back were lost.
RENEW = """/* queue:renew */
UPDATE {table} SET lease_expires_at = now() + make_interval(secs => %(lease_seconds)s)
WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
RETURNING id, lease_id
"""

# The fence: held until commit, so that what is written with it belongs to the lease.
LOCK_LEASE = """/* queue:lock_lease */
SELECT 1 FROM {table}
WHERE id = %(id)s AND lease_id = %(lease)s AND status = 'processing'
FOR NO KEY UPDATE
"""

# The same for many, in the order in which all transactions lock items.
LOCK_LEASES = """/* queue:lock_leases */
SELECT id, lease_id FROM {table}
WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
ORDER BY id FOR NO KEY UPDATE
"""

# Not begun, or stopped on request: back to its old place, without a retry.
GIVE_BACK = (
    """/* queue:give_back */
WITH gone AS (
    UPDATE {table} SET
        status = 'pending', lease_id = NULL, lease_expires_at = NULL, started_at = NULL,
        updated_at = now()
    WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
    RETURNING """
    + _GONE
    + """,
        CASE WHEN id = ANY(%(begun)s) THEN %(began)s::timestamptz END AS began
)"""
    + _ENDS
    + _LEFT
)

# Items leave the window; the owners' next ones enter it, in the same statement. No owner is
# locked and nothing is waited for: the rows to admit are skipped when somebody holds them (the
# sweeper repairs that). `least(...)` keeps a window that has shrunk from being filled again.
_ADMIT_NEXT = (
    _ENDS
    + """
, room AS (
    SELECT gone.owner_id, least(
        count(*),
        count(*)
          + coalesce((%(windows)s::jsonb ->> (
                SELECT user_tier FROM profiles WHERE profiles.id = gone.owner_id
                  AND profiles.id <> ALL(%(paused)s::uuid[])))::int, 0)
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
)"""
    + _LEFT
)

COMPLETE = (
    """/* queue:complete */
WITH gone AS (
    UPDATE {table} SET
        status = 'completed', ready_at = NULL, lease_id = NULL, lease_expires_at = NULL,
        error_message = NULL, {finished} = now(), updated_at = now()
    WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
    RETURNING """
    + _GONE
    + """, started_at AS began
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
    """/* queue:fail */
WITH gone AS (
    UPDATE {table} SET"""
    + _FAILED_ATTEMPT.replace("{final}", "(%(permanent)s OR retry_count >= %(max_retries)s)")
    + """
        error_message = %(error)s
    WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
    RETURNING """
    + _GONE
    + """, started_at AS began
)"""
    + _ADMIT_NEXT
)

# A worker died or stalled. Counts as a retry, so that an item that kills workers ends as failed.
RESCUE = (
    """/* queue:rescue */
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
    RETURNING """
    + _GONE
    + """, started_at AS began
)"""
    + _ADMIT_NEXT
)

# Waits for something else (candidates, a slot): no retry, and its place in the window is free. One
# that waits until its job is resumed is looked at by RESUME_DUE, for the job may be so already.
WAIT = (
    """/* queue:wait */
WITH gone AS (
    UPDATE {table} SET
        status = 'pending', held = TRUE,
        available_at = now() + make_interval(secs => coalesce(%(seconds)s::float8, 0)),
        error_message = %(reason)s,
        ready_at = NULL, lease_id = NULL, lease_expires_at = NULL, started_at = NULL,
        updated_at = now()
    WHERE id = ANY(%(ids)s) AND lease_id = ANY(%(leases)s) AND status = 'processing'
    RETURNING """
    + _GONE
    + """, %(began)s::timestamptz AS began
)"""
    + _ADMIT_NEXT
)

# Something else than a lease guards the item from now on (see `Kind.rescuable_sql`).
UNLEASE = """/* queue:unlease */
UPDATE {table} SET lease_expires_at = NULL
WHERE id = %(id)s AND lease_id = %(lease)s AND status = 'processing'
RETURNING id
"""

# A failed item whose work turns out to be done after all: back under its old lease, with a place in
# the window, which COMPLETE frees.
RECLAIM = """/* queue:reclaim */
UPDATE {table} SET
    status = 'processing', lease_id = %(lease)s, ready_at = now(), {finished} = NULL,
    worker = %(worker)s, attempt_count = attempt_count + 1, updated_at = now()
WHERE id = %(id)s AND status = 'failed'
RETURNING id
"""

# New items, and items that a person or another app changes

# `[columns]` are the kind's own, `[rows]` a query for their values. Without an owner an item is
# ready at once, at the place of its age.
INSERT = """/* queue:insert */
INSERT INTO {table} ([columns], priority, owner_id, ready_at)
SELECT [columns], %(priority)s, %(owner)s::uuid, CASE WHEN %(owner)s::uuid IS NULL THEN now() END
FROM ([rows]) AS new
RETURNING id
"""

# Rows that were inserted without these columns, or requeued.
START = """/* queue:start */
UPDATE {table} SET
    priority = %(priority)s, owner_id = %(owner)s::uuid,
    held = %(held)s, available_at = %(at)s::timestamptz, {finished} = NULL,
    error_message = coalesce(%(reason)s, error_message),
    ready_at = CASE WHEN %(owner)s::uuid IS NULL AND NOT %(held)s THEN created_at END,
    updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE id = ANY(%(ids)s) AND status = 'pending' AND ready_at IS NULL AND NOT held
    ORDER BY id FOR UPDATE))
RETURNING id, owner_id
"""

# What is not registered is not counted by its parent yet. So it is neither held nor ended before
# REGISTER has found its owner, and held it if its job is paused.
_REGISTERED = """(status <> 'pending' OR {finished} IS NULL
        AND (owner_id IS NOT NULL OR ready_at IS NOT NULL OR held))"""

# What waits already is held by whoever calls from now on, so that it no longer goes on by itself.
HOLD = (
    """/* queue:hold */
UPDATE {table} item SET
    held = TRUE, ready_at = NULL, available_at = NULL,
    error_message = nullif(error_message, {reason}), updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table} item
    WHERE id = ANY(%(ids)s) AND status = 'pending'
      AND (NOT held OR available_at IS NOT NULL OR error_message = {reason})
      AND """
    + _REGISTERED
    + """
    ORDER BY id FOR UPDATE))
RETURNING id, owner_id
"""
)

# In a transaction that has locked the items' parent, which comes after items in the lock order: so
# no item is waited for. A worker that holds one loses its lease.
STOP = (
    """/* queue:stop */
WITH taken AS (
    SELECT * FROM {table}
    WHERE id = ANY(%(ids)s) AND status IN ('pending', 'processing')
      AND """
    + _REGISTERED
    + """
    ORDER BY id FOR UPDATE SKIP LOCKED){taken}
UPDATE {table} SET
    status = 'pending', held = TRUE, ready_at = NULL, available_at = NULL, lease_id = NULL,
    lease_expires_at = NULL, updated_at = now()
WHERE id = ANY(ARRAY(SELECT id FROM taken))
RETURNING id, owner_id
"""
)

RESUME = """/* queue:resume */
UPDATE {table} SET
    held = FALSE, available_at = NULL, updated_at = now(),
    ready_at = CASE WHEN owner_id IS NULL THEN created_at END
WHERE id = ANY(ARRAY(
    SELECT id FROM {table} WHERE id = ANY(%(ids)s) AND status = 'pending' AND held
    ORDER BY id FOR UPDATE))
RETURNING id, owner_id
"""

# Items whose time has come. Without an owner they are ready at their old place; with one they wait
# for the window. What belongs to a paused or ended job stays held until somebody resumes it.
RESUME_DUE = """/* queue:resume_due */
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

# What a parent's items wait for has come. Items in a backoff, which have begun, stay. No item is
# waited for, since the caller may have locked the parent.
_RESUME_WAITING = """
UPDATE {table} SET
    held = FALSE, available_at = NULL, error_message = [error],
    ready_at = CASE WHEN owner_id IS NULL THEN created_at END,
    updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table} item
    WHERE {parent} = %(parent)s AND status = 'pending' AND held AND [waiting] AND ({runnable})
    ORDER BY id FOR UPDATE SKIP LOCKED))
RETURNING id, owner_id
"""

RESUME_WAITING = "/* queue:resume_waiting */" + _RESUME_WAITING.replace(
    "[waiting]", "available_at IS NOT NULL AND started_at IS NULL"
).replace("[error]", "error_message")

RESUME_BY_REASON = "/* queue:resume_by_reason */" + _RESUME_WAITING.replace(
    "[waiting]", "available_at IS NULL AND error_message = %(reason)s"
).replace("[error]", "NULL")

# Held items, each with the time at which it is due.
SCHEDULE = """/* queue:schedule */
UPDATE {table} SET
    available_at = greatest(
        now(), (%(times)s::timestamptz[])[array_position(%(ids)s::bigint[], id::bigint)]),
    updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE id = ANY(%(ids)s) AND status = 'pending' AND held AND available_at IS NULL
    ORDER BY id FOR UPDATE))
RETURNING id
"""

# Failed items whose last attempt ended with this kind of error.
FAILED_FOR = """/* queue:failed_for */
SELECT item.id FROM work_attempts attempt JOIN {table} item
    ON item.id = attempt.item_id AND item.attempt_count = attempt.number
WHERE attempt.kind = '{kind}' AND attempt.error_class = %(error_class)s
  AND attempt.ended_at > now() - make_interval(secs => %(seconds)s)
  AND item.status = 'failed'
ORDER BY item.id
"""

# Back to the queue as if revived by hand: REGISTER finds its owner and place. A worker that holds
# it loses its lease.
REQUEUE = """/* queue:requeue */
WITH taken AS (
    SELECT * FROM {table}
    WHERE id = ANY(%(ids)s)
      AND (status = ANY(%(statuses)s) OR %(held)s AND status = 'pending' AND held)
    ORDER BY id FOR UPDATE){taken}
UPDATE {table} SET
    status = 'pending', ready_at = NULL, held = FALSE, available_at = NULL,
    lease_id = NULL, lease_expires_at = NULL, started_at = NULL, {finished} = now(),
    retry_count = CASE WHEN status IN ({ended}) THEN 0 ELSE retry_count END,
    error_message = NULL, updated_at = now()
WHERE id = ANY(ARRAY(SELECT id FROM taken))
RETURNING id
"""

# Also of items that are processed: they keep it when they come back.
REPRIORITISE = """/* queue:reprioritise */
UPDATE {table} SET priority = %(priority)s, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE id = ANY(%(ids)s) AND status IN ('pending', 'processing') AND priority <> %(priority)s
    ORDER BY id FOR UPDATE))
RETURNING id, owner_id
"""

CHANGE_OWNER = """/* queue:change_owner */
WITH before AS (
    SELECT id, owner_id FROM {table} WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE)
UPDATE {table} item SET
    owner_id = %(owner)s::uuid, updated_at = now(),
    ready_at = CASE
        WHEN status = 'processing' THEN ready_at
        WHEN status = 'pending' AND NOT held AND %(owner)s::uuid IS NULL THEN created_at END
FROM before WHERE item.id = before.id AND item.id = ANY(%(ids)s)
RETURNING item.id, before.owner_id
"""

END = (
    """/* queue:end */
WITH taken AS (
    SELECT * FROM {table} WHERE id = ANY(%(ids)s) AND status IN ('pending', 'processing')
      AND """
    + _REGISTERED
    + """
    ORDER BY id FOR UPDATE){taken}
UPDATE {table} SET
    status = %(status)s::varchar, ready_at = NULL, held = FALSE, available_at = NULL, lease_id = NULL,
    lease_expires_at = NULL, {finished} = now(), updated_at = now(),
    error_message = CASE WHEN %(status)s::varchar <> 'completed'
        THEN coalesce(%(error)s::text, error_message, 'Marked as ' || %(status)s::varchar || ' by hand.') END
WHERE id = ANY(ARRAY(SELECT id FROM taken))
RETURNING id, status, {parent}, owner_id
"""
)

IDS_OF_PARENT = """/* queue:ids_of_parent */
SELECT id FROM {table}
WHERE {parent} = %(parent)s AND id > %(after)s AND status = ANY(%(statuses)s)
ORDER BY id LIMIT %(limit)s
"""

# Rows that were changed by hand

# Rows that were inserted by hand, which have no owner and were never admitted, or revived by hand,
# which still say when they ended. They are not admitted until their parent has counted them. Sorted
# like the index `waiting`: the planner does not see that one owner's part is sorted already.
UNREGISTERED = """/* queue:unregistered */
(SELECT id, {parent} FROM {table}
 WHERE owner_id IS NULL AND status = 'pending' AND ready_at IS NULL AND NOT held
   AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
 ORDER BY owner_id, priority DESC, created_at, id LIMIT %(limit)s)
UNION
(SELECT id, {parent} FROM {table}
 WHERE status = 'pending' AND {finished} IS NOT NULL
   AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
 ORDER BY id LIMIT %(limit)s)
"""

REGISTER = """/* queue:register */
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

# Items that were ended by hand or by an older system. They free their places in the windows, which
# the exact admission fills.
REGISTER_ENDS = """/* queue:register_ends */
UPDATE {table} SET
    ready_at = NULL, held = FALSE, available_at = NULL, lease_id = NULL,
    lease_expires_at = NULL, {finished} = updated_at
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE status IN ({ended}) AND {finished} IS NULL
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING id, status, {parent}
"""

# Admission

LOCK_OWNER = (
    "/* queue:lock_owner */ SELECT user_tier FROM profiles WHERE id = %(owner)s FOR NO KEY UPDATE"
)

# Exact admission, step 1: ready items that better waiting ones displace, or that a smaller window
# has no room for. Ready items that stay are never locked. A claim that comes between wins.
WITHDRAW = """/* queue:withdraw */
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
GRANT = """/* queue:grant */
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
OWNERS = """/* queue:owners */
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
        (SELECT CASE WHEN profiles.id = ANY(%(paused)s::uuid[]) THEN 0
                ELSE coalesce((%(windows)s::jsonb ->> user_tier)::int, 0) END
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
ANY_READY = """/* queue:any_ready */
SELECT (SELECT id FROM {table} WHERE status = 'pending' AND ready_at IS NOT NULL
        ORDER BY priority DESC, ready_at, id LIMIT 1) IS NOT NULL
"""

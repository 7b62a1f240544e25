"""Invariants of crawl jobs and their chunks, candidates and images.

Counters are checked for jobs that were planned here: those of older systems may count otherwise.
"""

from pixsim.core.invariants import Invariant

PLANNED = """(job.total_chunks > 0 OR job.status <> 'pending')
          AND EXISTS (SELECT 1 FROM crawl_sources source WHERE source.job_id = job.id)"""

CHUNK_INVARIANTS = tuple(
    Invariant(name, sentence, sql.replace("[planned]", PLANNED))
    for name, sentence, sql in (
        (
            "chunk-ranges",
            "The chunks of a job cover its indices from 0 to max_images, without gap or overlap.",
            """
            WITH ranges AS (
                SELECT chunk.id, chunk.job_id, chunk.chunk_index, chunk.image_range,
                    CASE jsonb_typeof(image_range -> 'start') WHEN 'number'
                        THEN (image_range ->> 'start')::numeric END AS first,
                    CASE jsonb_typeof(image_range -> 'end') WHEN 'number'
                        THEN (image_range ->> 'end')::numeric END AS behind
                FROM job_chunks chunk
            ), placed AS (
                SELECT ranges.*, job.max_images,
                    lag(behind, 1, 0) OVER in_job AS expected_start,
                    coalesce(lead(first) OVER in_job, job.max_images) AS expected_end
                FROM ranges JOIN crawl_jobs job ON job.id = ranges.job_id
                WHERE [planned]
                WINDOW in_job AS (PARTITION BY job.id ORDER BY chunk_index)
            )
            SELECT job_id, id AS chunk_id, chunk_index, image_range::json, expected_start, expected_end,
                max_images
            FROM placed
            WHERE first IS DISTINCT FROM expected_start OR behind IS DISTINCT FROM expected_end
               OR NOT first < behind
            """,
        ),
        (
            "chunk-counters",
            "A job's chunk counters equal its rows.",
            """
            SELECT job.id AS job_id, job.total_chunks, job.active_chunks, job.completed_chunks,
                job.failed_chunks, coalesce(total, 0) AS total, coalesce(active, 0) AS active,
                coalesce(completed, 0) AS completed, coalesce(failed, 0) AS failed
            FROM crawl_jobs job LEFT JOIN (
                SELECT job_id, count(*) AS total,
                    count(*) FILTER (WHERE status IN ('pending', 'processing')) AS active,
                    count(*) FILTER (WHERE status = 'completed') AS completed,
                    count(*) FILTER (WHERE status = 'failed') AS failed
                FROM job_chunks GROUP BY job_id) AS counted ON counted.job_id = job.id
            WHERE [planned]
              AND (job.total_chunks, job.active_chunks, job.completed_chunks, job.failed_chunks)
                  IS DISTINCT FROM (coalesce(total, 0), coalesce(active, 0),
                                    coalesce(completed, 0), coalesce(failed, 0))
            """,
        ),
        (
            "image-counters",
            "A job's valid_images equals its images with an index, its downloaded_images and "
            "total_images equal its candidates.",
            """
            SELECT job.id AS job_id, job.valid_images, coalesce(valid, 0) AS valid,
                job.downloaded_images, coalesce(downloaded, 0) AS downloaded,
                job.total_images, coalesce(found, 0) AS found
            FROM crawl_jobs job LEFT JOIN (
                SELECT crawl_job_id, count(image_index) AS valid
                FROM images GROUP BY crawl_job_id) AS stored ON stored.crawl_job_id = job.id
            LEFT JOIN (
                SELECT job_id, count(*) AS found, count(*) FILTER (
                    WHERE outcome IN ('stored', 'duplicate', 'near_duplicate')) AS downloaded
                FROM candidates GROUP BY job_id) AS counted ON counted.job_id = job.id
            WHERE [planned]
              AND (job.valid_images, job.downloaded_images, job.total_images)
                  IS DISTINCT FROM (coalesce(valid, 0), coalesce(downloaded, 0),
                                    coalesce(found, 0))
            """,
        ),
        (
            "outcomes",
            "A job's histogram of outcomes equals its candidates (duplicate_url, which makes no "
            "candidate, apart).",
            """
            SELECT job.id AS job_id, job.outcomes::json, coalesce(actual, jsonb_build_object())::json AS rows
            FROM crawl_jobs job LEFT JOIN (
                SELECT job_id, jsonb_object_agg(outcome, items) AS actual FROM (
                    SELECT job_id, outcome, count(*) AS items FROM candidates
                    WHERE outcome IS NOT NULL GROUP BY job_id, outcome) AS counted
                GROUP BY job_id) AS histograms ON histograms.job_id = job.id
            CROSS JOIN LATERAL (
                SELECT coalesce(jsonb_object_agg(key, value), jsonb_build_object()) AS expected
                FROM jsonb_each(job.outcomes)
                WHERE key <> 'duplicate_url' AND value <> to_jsonb(0)) AS counted_outcomes
            WHERE [planned] AND expected <> coalesce(actual, jsonb_build_object())
            """,
        ),
        (
            "progress",
            "A job's progress is its valid images in per cent of max_images.",
            """
            SELECT job.id AS job_id, job.progress, job.valid_images, job.max_images
            FROM crawl_jobs job
            WHERE [planned] AND job.progress <> CASE WHEN job.max_images > 0
                THEN least(100, 100::bigint * job.valid_images / job.max_images) ELSE 100 END
            """,
        ),
        (
            "ended-job-closed",
            "A job that has completed or failed has no open chunk.",
            """
            SELECT job.id AS job_id, job.status, chunk.id AS chunk_id,
                chunk.status AS chunk_status
            FROM crawl_jobs job JOIN job_chunks chunk ON chunk.job_id = job.id
            WHERE job.status IN ('completed', 'failed')
              AND chunk.status IN ('pending', 'processing') AND [planned]
            """,
        ),
        (
            "open-job-open",
            "A job whose chunks have all ended has ended.",
            """
            SELECT job.id AS job_id, job.status, job.total_chunks
            FROM crawl_jobs job
            WHERE job.status IN ('pending', 'running', 'paused') AND [planned]
              AND NOT EXISTS (SELECT 1 FROM job_chunks chunk WHERE chunk.job_id = job.id
                              AND chunk.status IN ('pending', 'processing'))
            """,
        ),
        (
            "in-flight",
            "A candidate is in flight only for a chunk that is processed.",
            """
            SELECT candidate.id AS candidate_id, candidate.job_id, candidate.chunk_id,
                chunk.status AS chunk_status
            FROM candidates candidate JOIN job_chunks chunk ON chunk.id = candidate.chunk_id
            WHERE candidate.outcome IS NULL AND chunk.status <> 'processing'
            """,
        ),
        (
            "images-distinct",
            "No job has the same bytes twice.",
            """
            SELECT crawl_job_id AS job_id, sha256, count(*) AS images FROM images
            WHERE sha256 IS NOT NULL GROUP BY crawl_job_id, sha256 HAVING count(*) > 1
            """,
        ),
        (
            "indices-distinct",
            "No job has two images at one index.",
            """
            SELECT crawl_job_id AS job_id, image_index, count(*) AS images FROM images
            WHERE image_index IS NOT NULL GROUP BY crawl_job_id, image_index HAVING count(*) > 1
            """,
        ),
        (
            "index-in-chunk",
            "An image's index lies within the chunk that stored it.",
            """
            SELECT image.id AS image_id, image.crawl_job_id AS job_id, image.image_index,
                chunk.id AS chunk_id, chunk.job_id AS chunk_job_id, chunk.image_range::json
            FROM images image JOIN job_chunks chunk ON chunk.id = image.chunk_id
            WHERE chunk.job_id <> image.crawl_job_id
               OR image.image_index < (image_range ->> 'start')::numeric
               OR image.image_index >= (image_range ->> 'end')::numeric
            """,
        ),
    )
)

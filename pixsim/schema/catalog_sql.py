"""The queries of `catalog`. All look at the schema that is the search path; none takes parameters.

Columns that not every supported server has are read through `to_jsonb`.
"""

OF_EXTENSION = """
EXISTS (SELECT FROM pg_depend AS d
         WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid} AND d.deptype = 'e')
"""

TABLES = f"""
SELECT c.relname AS name, coalesce(c.reloptions, '{{}}') AS options,
       c.relpersistence = 'p' AS logged, c.relrowsecurity AS row_security
  FROM pg_class AS c
 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
   AND NOT {OF_EXTENSION.format(catalog="pg_class", oid="c.oid")}
 ORDER BY c.relname
"""

OURS = """
JOIN pg_class AS t ON t.oid = {oid} AND t.relkind IN ('r', 'p')
     AND t.relnamespace = current_schema()::regnamespace
     AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                     AND d.objid = t.oid AND d.deptype = 'e')
"""

# A default that takes the next number of a sequence is a counter, whoever owns the sequence.
COLUMNS = f"""
SELECT t.relname AS in_table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       NOT a.attnotnull OR EXISTS (
           SELECT FROM pg_constraint AS n
            WHERE n.conrelid = t.oid AND n.contype = 'n' AND NOT n.convalidated
              AND n.conkey = ARRAY[a.attnum]) AS nullable,
       CASE WHEN a.attgenerated = '' AND s.relname IS NULL
            THEN pg_get_expr(e.adbin, e.adrelid) END AS default,
       CASE WHEN a.attidentity = 'a' THEN 'always'
            WHEN a.attidentity = 'd' OR s.relname IS NOT NULL THEN 'by default'
            ELSE '' END AS counter,
       coalesce(s.relname, i.relname, '') AS sequence,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(e.adbin, e.adrelid) END AS generated,
       CASE WHEN a.attcollation <> y.typcollation THEN o.collname ELSE '' END AS collation
  FROM pg_attribute AS a
  {OURS.format(oid="a.attrelid")}
  JOIN pg_type AS y ON y.oid = a.atttypid
  LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
  LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
  LEFT JOIN pg_class AS s ON s.relkind = 'S' AND s.oid = (
            SELECT d.refobjid FROM pg_depend AS d
             WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
               AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> t.oid
               AND pg_get_expr(e.adbin, e.adrelid) ~ '^nextval\\(''[^'']*''::regclass\\)$' LIMIT 1)
  LEFT JOIN pg_class AS i ON i.relkind = 'S' AND i.oid = (
            SELECT d.objid FROM pg_depend AS d
             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
               AND d.refobjid = t.oid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
               AND a.attidentity <> '' LIMIT 1)
 WHERE a.attnum > 0 AND NOT a.attisdropped
 ORDER BY t.relname, a.attnum
"""

CONSTRAINTS = f"""
SELECT t.relname AS in_table, c.conname AS name,
       CASE c.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'c' THEN 'check'
                      WHEN 'f' THEN 'foreign key' ELSE 'exclusion' END AS kind,
       regexp_replace(pg_get_constraintdef(c.oid), '( NOT VALID| NOT ENFORCED)$', '') AS definition,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number
              ORDER BY k.place) AS columns,
       CASE WHEN c.contype = 'c' THEN pg_get_expr(c.conbin, c.conrelid) END AS expression,
       CASE WHEN c.contype = 'f' THEN c.confrelid::regclass::text ELSE '' END AS to_table,
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = k.number
              ORDER BY k.place) AS to_columns,
       c.convalidated AS validated,
       coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) AS enforced
  FROM pg_constraint AS c
  {OURS.format(oid="c.conrelid")}
 WHERE c.contype IN ('p', 'u', 'c', 'f', 'x')
 ORDER BY t.relname, c.conname
"""

INDEXES = f"""
SELECT t.relname AS in_table, c.relname AS name, m.amname AS method,
       i.indisunique AS unique,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_not_distinct,
       i.indisvalid AND i.indisready AS valid,
       pg_get_expr(i.indpred, i.indrelid) AS predicate,
       coalesce(array_to_string(c.reloptions, ', '), '') AS options,
       ARRAY(SELECT a.attname::text FROM generate_series(i.indnkeyatts, i.indnatts - 1) AS n
               JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[n]
              ORDER BY n) AS include,
       (SELECT json_agg(json_build_object(
                   'expression', pg_get_indexdef(i.indexrelid, n + 1, false),
                   'column', coalesce(a.attname, ''),
                   'options', concat_ws(' ',
                       CASE WHEN i.indcollation[n] <> 0
                             AND i.indcollation[n] <> coalesce(a.attcollation, x.attcollation)
                            THEN 'COLLATE ' || i.indcollation[n]::regcollation END,
                       CASE WHEN NOT p.opcdefault THEN p.opcname END,
                       CASE WHEN i.indoption[n] & 1 = 1 THEN 'DESC' END,
                       CASE WHEN i.indoption[n] = 1 THEN 'NULLS LAST'
                            WHEN i.indoption[n] = 2 THEN 'NULLS FIRST' END)) ORDER BY n)
          FROM generate_series(0, i.indnkeyatts - 1) AS n
          JOIN pg_opclass AS p ON p.oid = i.indclass[n]
          JOIN pg_attribute AS x ON x.attrelid = i.indexrelid AND x.attnum = n + 1
          LEFT JOIN pg_attribute AS a
                 ON a.attrelid = t.oid AND a.attnum = i.indkey[n] AND i.indkey[n] > 0) AS keys
  FROM pg_index AS i
  {OURS.format(oid="i.indrelid")}
  JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_am AS m ON m.oid = c.relam
 WHERE NOT EXISTS (SELECT FROM pg_constraint AS k
                    WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
 ORDER BY t.relname, c.relname
"""

TRIGGERS = f"""
SELECT t.relname AS in_table, g.tgname AS name, pg_get_triggerdef(g.oid, true) AS definition,
       g.tgenabled <> 'D' AS enabled
  FROM pg_trigger AS g
  {OURS.format(oid="g.tgrelid")}
 WHERE NOT g.tgisinternal
 ORDER BY t.relname, g.tgname
"""

SEQUENCES = f"""
SELECT c.relname AS name, format_type(s.seqtypid, NULL) AS type, s.seqstart AS start,
       s.seqincrement AS increment, s.seqmin AS minimum, s.seqmax AS maximum, s.seqcycle AS cycles,
       coalesce((SELECT t.relname || '.' || a.attname
                   FROM pg_depend AS d JOIN pg_class AS t ON t.oid = d.refobjid
                   JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                  LIMIT 1), '') AS owner,
       CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE')
            THEN pg_sequence_last_value(c.oid) END AS last
  FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid
 WHERE c.relnamespace = current_schema()::regnamespace
   AND NOT {OF_EXTENSION.format(catalog="pg_class", oid="c.oid")}
 ORDER BY c.relname
"""

TYPES = f"""
SELECT y.typname AS name, CASE y.typtype WHEN 'e' THEN 'enum' ELSE 'domain' END AS kind,
       CASE y.typtype
           WHEN 'e' THEN 'ENUM (' || (SELECT string_agg(quote_literal(e.enumlabel), ', '
                                                       ORDER BY e.enumsortorder)
                                        FROM pg_enum AS e WHERE e.enumtypid = y.oid) || ')'
           ELSE concat_ws(' ', format_type(y.typbasetype, y.typtypmod),
                          'DEFAULT ' || y.typdefault, CASE WHEN y.typnotnull THEN 'NOT NULL' END,
                          (SELECT string_agg(pg_get_constraintdef(c.oid), ' ' ORDER BY c.conname)
                             FROM pg_constraint AS c
                            WHERE c.contypid = y.oid AND c.contype = 'c')) END AS definition
  FROM pg_type AS y
 WHERE y.typnamespace = current_schema()::regnamespace AND y.typtype IN ('e', 'd')
   AND NOT {OF_EXTENSION.format(catalog="pg_type", oid="y.oid")}
 ORDER BY y.typname
"""

-- Makes builtin_functions.inc from a PostgreSQL 15 server without extensions:
--   psql -XAtq -f src/route/builtin_functions.sql -o src/route/builtin_functions.inc postgres
-- One line a name of pg_catalog, in byte order. Over all overloads of the name:
--   a  an aggregate          w  a window function
--   i  all immutable         s  all immutable or stable
--   r  volatile, but without any effect (listed here by hand)
--   v  some overload is volatile
SELECT format('{"%s", ''%s''},', proname, class)
  FROM (SELECT p.proname COLLATE "C" AS proname,
               CASE WHEN bool_or(p.prokind = 'a') THEN 'a'
                    WHEN bool_or(p.prokind = 'w') THEN 'w'
                    WHEN bool_and(p.provolatile = 'i') THEN 'i'
                    WHEN bool_and(p.provolatile IN ('i', 's')) THEN 's'
                    WHEN p.proname IN ('random', 'clock_timestamp', 'timeofday', 'gen_random_uuid', 'pg_sleep', 'pg_sleep_for',
                                       'pg_sleep_until', 'currval', 'lastval', 'pg_is_in_recovery', 'pg_database_size',
                                       'pg_relation_size', 'pg_table_size', 'pg_indexes_size', 'pg_total_relation_size',
                                       'pg_tablespace_size', 'pg_blocking_pids', 'pg_lock_status', 'pg_column_size') THEN 'r'
                    ELSE 'v' END AS class
          FROM pg_catalog.pg_proc p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind <> 'p'
           -- they run SQL given as text, or read tables given by name: their result depends on rows of other shards
           AND p.proname !~ '^(query|table|schema|database|cursor)_to_xml' AND p.proname NOT IN ('ts_stat', 'ts_rewrite')
         GROUP BY p.proname) AS f
 ORDER BY proname COLLATE "C";

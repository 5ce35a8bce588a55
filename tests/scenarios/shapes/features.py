# ruff: noqa: E501 - statements, which no formatter may break
"""What a production may hold: each feature's statements when it is made, while it works, and after the recovered point."""

from __future__ import annotations

from dataclasses import dataclass

ODD = 'odd "näme"\n$1 %s'
"""A name as somebody somewhere has one; with a newline, which PostgreSQL takes until version 18."""
_ODD = ODD.replace('"', '""')


@dataclass(frozen=True)
class Feature:
    """One thing that a production may have.

    :param make: statements before the first backup, each on its own.
    :param work: statements of every round of work; ``{n}`` is a number that no other round has.
    :param later: what production does after the last archived segment, or after a target: no restored copy can hold it.
    :param database: where all of them run.
    """

    make: tuple[str, ...] = ()
    work: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    database: str = "postgres"
    since: int = 15
    until: int = 99
    settings: tuple[tuple[str, str], ...] = ()


FEATURES: dict[str, Feature] = {
    "partitions": Feature(
        make=(
            "CREATE TABLE readings (at timestamptz NOT NULL, sensor int NOT NULL, value float8, PRIMARY KEY (at, sensor))"
            " PARTITION BY RANGE (at)",
            "CREATE TABLE readings_old PARTITION OF readings FOR VALUES FROM (MINVALUE) TO ('2026-01-01') PARTITION BY LIST (sensor)",
            "CREATE TABLE readings_old_1 PARTITION OF readings_old FOR VALUES IN (1, 2)",
            "CREATE TABLE readings_old_rest PARTITION OF readings_old DEFAULT",
            "CREATE TABLE readings_new PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO (MAXVALUE)",
            "CREATE INDEX readings_by_sensor ON readings (sensor) WHERE value > 0",
            "CREATE TABLE hashed (id int) PARTITION BY HASH (id)",
            "CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
            "CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
            "INSERT INTO readings SELECT '2025-12-30'::timestamptz + n * interval '1 hour', n % 4, n FROM generate_series(1, 300) n",
            "INSERT INTO hashed SELECT generate_series(1, 100)",
        ),
        work=(
            "INSERT INTO readings SELECT '2027-01-01'::timestamptz + {n} * interval '1 day' + n * interval '1 s', 7, n"
            " FROM generate_series(1, 20) n",
            "CREATE TABLE readings_x{n} PARTITION OF readings_old FOR VALUES IN (100 + {n})",
        ),
        later=("ALTER TABLE readings_old DETACH PARTITION readings_old_1", "DROP TABLE readings_new"),
    ),
    "large objects": Feature(
        make=(
            "SELECT lo_from_bytea(0, convert_to(repeat('large', 9000), 'SQL_ASCII')) FROM generate_series(1, 5)",
            "CREATE TABLE attachments (id int PRIMARY KEY, content oid)",
            "INSERT INTO attachments SELECT n, lo_from_bytea(0, convert_to(n::text, 'SQL_ASCII')) FROM generate_series(1, 20) n",
        ),
        work=("SELECT lo_from_bytea(0, convert_to(repeat('{n}', 5000), 'SQL_ASCII'))",),
        later=("SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "TRUNCATE attachments"),
    ),
    "many schemas": Feature(
        make=tuple(
            f"CREATE SCHEMA tenant_{n} CREATE TABLE items (id int PRIMARY KEY, note text)"
            f" CREATE VIEW shown AS SELECT id FROM items CREATE SEQUENCE numbers"
            for n in range(40)
        ),
        work=("INSERT INTO tenant_7.items VALUES ({n}, 'x')", "SELECT nextval('tenant_9.numbers')"),
        later=("DROP SCHEMA tenant_3 CASCADE", "ALTER SCHEMA tenant_7 RENAME TO tenant_seven"),
    ),
    "unlogged": Feature(
        make=(
            "CREATE UNLOGGED TABLE scratch (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x text)",
            "INSERT INTO scratch (x) SELECT 'x' FROM generate_series(1, 500)",
            "CREATE TABLE was_logged (x int)",
            "INSERT INTO was_logged SELECT generate_series(1, 100)",
            "ALTER TABLE was_logged SET UNLOGGED",
            "CREATE UNLOGGED TABLE was_unlogged (x int PRIMARY KEY)",
            "INSERT INTO was_unlogged SELECT generate_series(1, 100)",
            "ALTER TABLE was_unlogged SET LOGGED",
        ),
        work=("INSERT INTO scratch (x) VALUES ('{n}')",),
        later=("ALTER TABLE was_logged SET LOGGED", "ALTER TABLE was_unlogged SET UNLOGGED"),
    ),
    "views": Feature(
        make=(
            "CREATE VIEW big_orders WITH (security_barrier) AS SELECT * FROM orders WHERE amount > 100 WITH CHECK OPTION",
            "CREATE MATERIALIZED VIEW totals AS SELECT customer_id, count(*) FROM orders GROUP BY 1",
            "CREATE UNIQUE INDEX totals_key ON totals (customer_id)",
            "CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS one WITH NO DATA",
            "CREATE RECURSIVE VIEW counted (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counted WHERE n < 5",
        ),
        work=("REFRESH MATERIALIZED VIEW CONCURRENTLY totals", "CREATE OR REPLACE VIEW changing AS SELECT {n} AS n"),
        later=(
            "REFRESH MATERIALIZED VIEW never_filled",
            "REFRESH MATERIALIZED VIEW totals WITH NO DATA",
            "DROP VIEW big_orders",
            "CREATE OR REPLACE VIEW changing AS SELECT 0 AS n",
        ),
    ),
    "keys": Feature(
        make=(
            "CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes DEFERRABLE INITIALLY DEFERRED, tag text UNIQUE)",
            "INSERT INTO nodes SELECT n, nullif(n / 2, 0), 't' || n FROM generate_series(1, 200) n",
            "CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b))",
            "CREATE TABLE pair_users (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES pairs MATCH FULL)",
            "INSERT INTO pairs SELECT n, n FROM generate_series(1, 50) n",
            "INSERT INTO pair_users SELECT n, n, n FROM generate_series(1, 50) n",
            "INSERT INTO pair_users VALUES (99, NULL, NULL)",
            "CREATE TABLE late_key (id int, node int)",
            "INSERT INTO late_key VALUES (1, 4711)",
            "ALTER TABLE late_key ADD CONSTRAINT not_checked FOREIGN KEY (node) REFERENCES nodes NOT VALID",
            "ALTER TABLE late_key ADD CONSTRAINT not_checked_either CHECK (id > 5) NOT VALID",
            "CREATE TABLE booked (room int, during int4range, EXCLUDE USING gist (during WITH &&))",
            "INSERT INTO booked SELECT 1, int4range(n * 10, n * 10 + 5) FROM generate_series(1, 50) n",
        ),
        work=("INSERT INTO nodes VALUES (1000 + {n}, 1, 'later {n}')",),
        later=(
            "DELETE FROM late_key",
            "ALTER TABLE late_key VALIDATE CONSTRAINT not_checked_either",
            "ALTER TABLE pair_users DROP CONSTRAINT pair_users_a_b_fkey",
            "DROP TABLE nodes CASCADE",
        ),
    ),
    "triggers": Feature(
        make=(
            "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.placed_at := clock_timestamp(); RETURN NEW; END$$",
            "CREATE TRIGGER stamped BEFORE UPDATE ON orders FOR EACH ROW WHEN (OLD.amount IS DISTINCT FROM NEW.amount)"
            " EXECUTE FUNCTION stamp()",
            "CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON customers DEFERRABLE FOR EACH ROW EXECUTE FUNCTION stamp()",
            "ALTER TABLE customers DISABLE TRIGGER checked",
            "CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN NULL; END$$",
            "CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watched()",
            "CREATE RULE never AS ON DELETE TO customers WHERE OLD.id < 0 DO INSTEAD NOTHING",
            "CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1'",
            "CREATE AGGREGATE summed (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')",
        ),
        work=("UPDATE orders SET amount = amount + 1 WHERE id % 500 = {n} % 500",),
        later=(
            "ALTER TABLE orders DISABLE TRIGGER stamped",
            "DROP EVENT TRIGGER watching",
            "CREATE OR REPLACE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
            "DROP AGGREGATE summed (int)",
        ),
    ),
    "policies": Feature(
        make=(
            "CREATE TABLE secrets (id int PRIMARY KEY, owner_name name DEFAULT current_user, body text)",
            "INSERT INTO secrets (id, body) SELECT n, md5(n::text) FROM generate_series(1, 100) n",
            "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE secrets FORCE ROW LEVEL SECURITY",
            "CREATE POLICY own ON secrets USING (owner_name = current_user)",
            "CREATE POLICY limits ON secrets AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (id < 50) WITH CHECK (id < 60)",
        ),
        later=("DROP POLICY own ON secrets", "ALTER TABLE secrets NO FORCE ROW LEVEL SECURITY"),
    ),
    "roles": Feature(
        make=(
            "CREATE ROLE team NOLOGIN",
            "CREATE ROLE jo LOGIN PASSWORD 'jo' CONNECTION LIMIT 3 VALID UNTIL '2099-01-01' IN ROLE team",
            "CREATE ROLE boss LOGIN CREATEDB CREATEROLE ADMIN jo",
            "ALTER ROLE jo SET search_path = 'public', 'elsewhere'",
            "ALTER ROLE jo IN DATABASE postgres SET work_mem = '5MB'",
            "ALTER DATABASE postgres SET statement_timeout = '1h'",
            "GRANT SELECT (id, email), UPDATE (name) ON customers TO team WITH GRANT OPTION",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO boss",
            "ALTER DEFAULT PRIVILEGES FOR ROLE boss GRANT SELECT ON TABLES TO team",
            "CREATE TABLE owned (id int)",
            "ALTER TABLE owned OWNER TO team",
            "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        ),
        work=("CREATE ROLE temp_{n}", "GRANT team TO temp_{n}"),
        later=(
            "ALTER ROLE jo CONNECTION LIMIT 9",
            "REVOKE team FROM jo",
            "ALTER ROLE team RENAME TO crew",
            "ALTER DATABASE postgres RESET statement_timeout",
            "CREATE ROLE newcomer SUPERUSER",
            "DROP OWNED BY boss",
            "DROP ROLE boss",
        ),
    ),
    "publications": Feature(
        make=(
            "CREATE PUBLICATION all_of_it FOR ALL TABLES",
            "CREATE PUBLICATION some_of_it FOR TABLE orders (id, amount) WHERE (id > 5) WITH (publish = 'insert')",
            "CREATE SUBSCRIPTION sleeping CONNECTION 'host=192.0.2.1 dbname=x' PUBLICATION p"
            " WITH (connect = false, enabled = false, slot_name = NONE)",
            "SELECT pg_create_logical_replication_slot('reader', 'pgoutput')",
            "SELECT pg_create_physical_replication_slot('standby', true)",
        ),
        later=("ALTER PUBLICATION some_of_it SET (publish = 'insert, delete')", "DROP SUBSCRIPTION sleeping"),
        settings=(("wal_level", "logical"),),
    ),
    "sequences": Feature(
        make=(
            "CREATE SEQUENCE down INCREMENT -7 MAXVALUE -1",
            "CREATE SEQUENCE small AS smallint CYCLE CACHE 20",
            "SELECT setval('down', -700, false)",
            "CREATE TABLE numbered (id serial PRIMARY KEY, other smallint GENERATED BY DEFAULT AS IDENTITY (START 100))",
            "INSERT INTO numbered SELECT FROM generate_series(1, 40)",
            "CREATE TABLE by_hand (id serial PRIMARY KEY)",
            "INSERT INTO by_hand SELECT generate_series(1, 30)",  # its sequence is behind, in production already
            "CREATE UNLOGGED TABLE counted_unlogged (id bigserial PRIMARY KEY)",
            "INSERT INTO counted_unlogged SELECT FROM generate_series(1, 20)",
        ),
        work=("SELECT nextval('small') FROM generate_series(1, 9)", "INSERT INTO numbered DEFAULT VALUES"),
        later=("SELECT setval('by_hand_id_seq', 1000)", "SELECT setval('numbered_id_seq', 3)", "DROP SEQUENCE down"),
    ),
    "types": Feature(
        make=(
            "CREATE TYPE mood AS ENUM ('good', 'bad')",
            "CREATE DOMAIN cents AS int DEFAULT 0 CHECK (VALUE >= 0)",
            "CREATE TYPE pair AS (a int, b text)",
            "CREATE TYPE span AS RANGE (subtype = date)",
            "CREATE TABLE typed (id int PRIMARY KEY, m mood[] DEFAULT '{{good}}', c cents, p pair, s span, j jsonb,"
            " twice int GENERATED ALWAYS AS (id * 2) STORED, x xml, b bit varying(9), u uuid DEFAULT gen_random_uuid())",
            "INSERT INTO typed (id, c, p, s, j, b) SELECT n, n, (n, 'x'::text)::pair, span('2026-01-01', '2026-02-01'), '{{\"a\": 1}}', B'101'"
            " FROM generate_series(1, 200) n",
            "CREATE INDEX typed_j ON typed USING gin (j)",
            "CREATE INDEX typed_s ON typed USING gist (s)",
            "CREATE INDEX typed_brin ON typed USING brin (id)",
            "CREATE INDEX typed_hash ON typed USING hash (u)",
            "CREATE INDEX typed_expr ON typed ((j ->> 'a'), lower((p).b)) INCLUDE (c)",
            "CREATE STATISTICS typed_together ON id, c FROM typed",
            "CREATE CAST (pair AS text) WITH INOUT",
            "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
            "CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple)",
            "COMMENT ON TABLE typed IS 'of all types'",
        ),
        work=("INSERT INTO typed (id) VALUES (1000 + {n})", "ALTER TYPE mood ADD VALUE 'm{n}'"),
        later=(
            "ALTER TYPE mood RENAME VALUE 'bad' TO 'worse'",
            "ALTER TABLE typed ALTER COLUMN c DROP DEFAULT, DROP COLUMN b, ALTER COLUMN id TYPE bigint",
            "ALTER DOMAIN cents DROP DEFAULT",
            "DROP INDEX typed_expr",
            "ALTER INDEX typed_j RENAME TO typed_k",
        ),
    ),
    "odd names": Feature(
        make=(
            f'CREATE SCHEMA "{_ODD}"',
            f'CREATE TABLE "{_ODD}"."{_ODD}" ("select" int PRIMARY KEY, "Mixed Case" text, "{_ODD}" text UNIQUE)',
            f'INSERT INTO "{_ODD}"."{_ODD}" SELECT n, \'x\', n FROM generate_series(1, 100) n',
            f'CREATE VIEW "{_ODD}"."ünïcode 日本語 😀" AS SELECT "{_ODD}" FROM "{_ODD}"."{_ODD}"',
            f'CREATE TABLE "{"n" * 63}" ("{"c" * 63}" serial PRIMARY KEY)',
            f'CREATE ROLE "{_ODD}" LOGIN',
            f'GRANT ALL ON "{_ODD}"."{_ODD}" TO "{_ODD}"',
            f'CREATE FUNCTION "{_ODD}"."f;--"("a b" int DEFAULT 1, "日" text DEFAULT \'$$\') RETURNS int LANGUAGE sql AS $x$SELECT 1$x$',
            f'CREATE SEQUENCE "{_ODD}"."seq\'s"',
            f'CREATE TABLE "{_ODD}"."it\'s" (id int PRIMARY KEY DEFAULT nextval(\'"{_ODD}"."seq\'\'s"\'),'
            f' up int REFERENCES "{_ODD}"."{_ODD}")',
            f'INSERT INTO "{_ODD}"."it\'s" (up) SELECT n FROM generate_series(1, 50) n',
            f'CREATE DATABASE "{_ODD}"',
        ),
        work=(f'INSERT INTO "{_ODD}"."{_ODD}" VALUES (1000 + {{n}}, \'y\', \'z{{n}}\')',),
        later=(f'ALTER TABLE "{_ODD}"."{_ODD}" RENAME TO plain', f'ALTER DATABASE "{_ODD}" RENAME TO plain_name'),
    ),
    "toast": Feature(
        make=(
            "CREATE TABLE documents (id int PRIMARY KEY, body text, packed text COMPRESSION pglz)",
            "ALTER TABLE documents ALTER body SET STORAGE EXTERNAL",
            "INSERT INTO documents SELECT n, repeat(md5(n::text), 400), repeat('x', 90000) FROM generate_series(1, 60) n",
        ),
        work=("UPDATE documents SET body = repeat(md5('{n}'), 300) WHERE id = 1 + {n} % 60",),
        later=("ALTER TABLE documents ALTER body SET STORAGE MAIN", "VACUUM FULL documents"),
    ),
    "databases": Feature(
        make=(
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
            "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
            "CREATE DATABASE utf8 ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0",
            "CREATE DATABASE nothing_in_it",
            "CREATE DATABASE no_entry",
            "ALTER DATABASE no_entry ALLOW_CONNECTIONS false",
            "CREATE DATABASE a_template IS_TEMPLATE true",
            "CREATE DATABASE few CONNECTION LIMIT 0",
            "CREATE DATABASE copied STRATEGY file_copy",
        ),
        work=("CREATE DATABASE made_{n}",),
        later=("DROP DATABASE nothing_in_it", "ALTER DATABASE few CONNECTION LIMIT 5", "CREATE DATABASE afterwards",
               "ALTER DATABASE copied RENAME TO renamed"),
    ),
    "latin contents": Feature(
        make=("CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",),
        later=(),
    ),
    "collations": Feature(
        make=(
            "CREATE COLLATION plain (provider = libc, locale = 'C.UTF-8')",
            'CREATE TABLE sorted (id int PRIMARY KEY, a text COLLATE "C", b text COLLATE plain, c varchar(9) COLLATE "POSIX")',
            "INSERT INTO sorted SELECT n, md5(n::text), md5(n::text), n FROM generate_series(1, 300) n",
            "CREATE INDEX sorted_b ON sorted (b, a DESC)",
        ),
        later=('ALTER TABLE sorted ALTER a TYPE text COLLATE "POSIX"',),
    ),
    "prepared": Feature(
        make=(
            "CREATE TABLE promised (n int)",
            "INSERT INTO promised SELECT generate_series(1, 10)",
            "BEGIN; INSERT INTO promised VALUES (-1); PREPARE TRANSACTION 'left open'",
        ),
        work=("BEGIN; INSERT INTO promised VALUES ({n}); PREPARE TRANSACTION 'p{n}'", "COMMIT PREPARED 'p{n}'"),
        later=("COMMIT PREPARED 'left open'", "TRUNCATE promised"),
        settings=(("max_prepared_transactions", "5"),),
    ),
    "tuned": Feature(
        make=(
            "CREATE DATABASE tuned",
            *(f"ALTER DATABASE tuned SET {setting}" for setting in (
                "default_transaction_read_only = on", "default_transaction_isolation = 'serializable'", "search_path = ''",
                "default_transaction_deferrable = on", "role = 'reader'", "statement_timeout = '1ms'", "lock_timeout = '1ms'",
                "row_security = off", "datestyle = 'German'", "intervalstyle = 'sql_standard'", "bytea_output = 'escape'",
                "extra_float_digits = -9", "quote_all_identifiers = on", "client_encoding = 'LATIN1'", "enable_seqscan = off",
                "enable_indexscan = off", "timezone = 'Asia/Kathmandu'", "client_min_messages = 'error'",
                "idle_in_transaction_session_timeout = '1ms'", "work_mem = '64kB'", "max_parallel_workers_per_gather = 0",
                "xmlbinary = 'hex'", "default_tablespace = ''", "session_preload_libraries = 'no_such_library'",
            )),
            "ALTER DATABASE template1 SET default_transaction_isolation = 'serializable'",
            "ALTER DATABASE template1 SET default_transaction_read_only = on",
            "ALTER ROLE ALL SET lock_timeout = '1s'",
            "ALTER ROLE ALL SET datestyle = 'SQL, DMY'",
        ),
    ),
    "foreign": Feature(
        make=(
            "CREATE FOREIGN DATA WRAPPER nowhere",
            "CREATE SERVER away FOREIGN DATA WRAPPER nowhere OPTIONS (host 'away.example')",
            "CREATE FOREIGN TABLE remote (id int) SERVER away",
            "CREATE USER MAPPING FOR PUBLIC SERVER away OPTIONS (password 'of-no-production')",
        ),
        later=("ALTER SERVER away OPTIONS (SET host 'further.example')", "DROP FOREIGN TABLE remote"),
    ),
    "empty tables": Feature(
        make=("CREATE TABLE nothing_yet (id int PRIMARY KEY)", "CREATE TABLE no_columns ()", "INSERT INTO no_columns DEFAULT VALUES",
              "CREATE TABLE emptied (id int PRIMARY KEY)", "INSERT INTO emptied SELECT generate_series(1, 99)", "DELETE FROM emptied"),
        work=("INSERT INTO emptied VALUES ({n})", "DELETE FROM emptied"),
        later=("INSERT INTO nothing_yet SELECT generate_series(1, 500)",),
    ),
    "queue": Feature(
        make=("CREATE TABLE queue (id bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())",
              "INSERT INTO queue SELECT FROM generate_series(1, 300)"),
        work=("INSERT INTO queue SELECT FROM generate_series(1, 100)", "DELETE FROM queue WHERE id % 3 = 0"),
        later=("TRUNCATE queue", "INSERT INTO queue SELECT FROM generate_series(1, 5)"),
    ),
    "inheritance": Feature(
        make=("CREATE TABLE base_of (id int, note text DEFAULT 'x')", "CREATE TABLE child_of (extra int CHECK (extra > 0)) INHERITS (base_of)",
              "INSERT INTO child_of SELECT n, 'y', n FROM generate_series(1, 50) n"),
        later=("ALTER TABLE base_of RENAME note TO remark", "ALTER TABLE child_of NO INHERIT base_of"),
    ),
    "bad index": Feature(
        make=("CREATE TABLE twice (n int)", "INSERT INTO twice SELECT n / 2 FROM generate_series(1, 100) n",
              "-- expected to fail\nCREATE UNIQUE INDEX CONCURRENTLY twice_n ON twice (n)"),
        later=("DROP INDEX twice_n",),
    ),
    "icu": Feature(
        make=("CREATE COLLATION german (provider = icu, locale = 'de-DE')",
              "CREATE TABLE words (w text COLLATE german PRIMARY KEY)", "INSERT INTO words SELECT md5(n::text) FROM generate_series(1, 200) n",
              "CREATE DATABASE icu_kind LOCALE_PROVIDER icu ICU_LOCALE 'en-US' TEMPLATE template0 ENCODING 'UTF8'"),
        until=15,
    ),
    "builtin locale": Feature(
        make=("CREATE DATABASE inbuilt LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' TEMPLATE template0 ENCODING 'UTF8'",),
        since=17,
    ),
    "virtual columns": Feature(
        make=("CREATE TABLE virtual (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL)",
              "INSERT INTO virtual SELECT generate_series(1, 50)",
              "CREATE TABLE named_nulls (a int CONSTRAINT a_there NOT NULL NO INHERIT, b int)",
              "ALTER TABLE named_nulls ADD CONSTRAINT b_there NOT NULL b NOT VALID",
              "CREATE TABLE temporal (id int4range, valid_at daterange, PRIMARY KEY (id, valid_at WITHOUT OVERLAPS))",
              "CREATE TABLE soft (id int REFERENCES virtual NOT ENFORCED)", "INSERT INTO soft VALUES (4711)"),
        later=("ALTER TABLE named_nulls VALIDATE CONSTRAINT b_there", "DROP TABLE soft"),
        since=18,
    ),
}  # fmt: skip

BUSY: tuple[str, ...] = (
    "INSERT INTO orders (customer_id, amount) SELECT 1 + n % 500, 3 FROM generate_series(1, 40) n",
    "UPDATE orders SET amount = amount + 1 WHERE id % 97 = {n} % 97",
    "DELETE FROM orders WHERE id % 211 = {n} % 211",
    "VACUUM orders",
    "ANALYZE",
    "CHECKPOINT",
    "CREATE TABLE IF NOT EXISTS busy_{n} AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 50) n",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS busy_index ON orders (amount)",
    "DROP INDEX CONCURRENTLY IF EXISTS busy_index",
    "ALTER TABLE customers ADD COLUMN busy_{n} int DEFAULT 7",
    "DO $$ DECLARE c name; BEGIN SELECT attname INTO c FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attname LIKE"
    " 'busy%' AND NOT attisdropped LIMIT 1; IF c IS NOT NULL THEN EXECUTE format('ALTER TABLE customers DROP %I', c); END IF; END $$",
    "DO $$ DECLARE c name; BEGIN SELECT relname INTO c FROM pg_class WHERE relname ~ '^busy_\\d+$' LIMIT 1;"
    " IF c IS NOT NULL THEN EXECUTE format('DROP TABLE %I', c); END IF; END $$",
    "CREATE OR REPLACE VIEW busy_view AS SELECT {n} AS n",
    "CREATE OR REPLACE FUNCTION busy_function() RETURNS int LANGUAGE sql AS 'SELECT {n}'",
    "BEGIN; TRUNCATE busy_truncated; INSERT INTO busy_truncated SELECT generate_series(1, 60); COMMIT",
    "REINDEX TABLE customers",
    "CLUSTER customers USING customers_pkey",
    "BEGIN; CREATE TEMP TABLE busy_temp ON COMMIT DROP AS SELECT generate_series(1, 100); COMMIT",
    "BEGIN; CREATE TABLE busy_rolled_back (id serial PRIMARY KEY); INSERT INTO busy_rolled_back DEFAULT VALUES; ROLLBACK",
    "ALTER TABLE busy_truncated SET (fillfactor = 7{n:.1})",
    "GRANT SELECT ON customers TO PUBLIC",
    "REVOKE SELECT ON customers FROM PUBLIC",
    "VACUUM FULL busy_truncated",
    "COMMENT ON TABLE orders IS '{n}'",
)
"""What a busy production does in random order while backups are taken. One that fails for another's sake is passed over."""

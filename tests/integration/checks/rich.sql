CREATE SCHEMA sales;
CREATE SCHEMA "Odd Names";
CREATE TYPE sales.mood AS ENUM ('good', 'bad');
CREATE DOMAIN sales.amount AS numeric(12, 2) DEFAULT 0 CONSTRAINT positive CHECK (VALUE >= 0);
CREATE TYPE sales.pair AS (a int, b sales.amount);
CREATE TYPE sales.span AS RANGE (subtype = date);
CREATE TABLE sales.customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text COLLATE "C" NOT NULL UNIQUE,
  mood sales.mood NOT NULL DEFAULT 'good',
  shout text GENERATED ALWAYS AS (upper(email)) STORED,
  born timestamptz DEFAULT '2020-01-02 03:04:05+00'
);
CREATE TABLE sales.orders (
  id serial PRIMARY KEY,
  customer_id bigint REFERENCES sales.customers (id) ON DELETE CASCADE,
  amount sales.amount,
  placed date NOT NULL DEFAULT CURRENT_DATE,
  CONSTRAINT sane CHECK (amount < 1000000)
);
ALTER TABLE sales.orders ADD CONSTRAINT later CHECK (id > 0) NOT VALID;
CREATE INDEX orders_by_customer ON sales.orders (customer_id, placed DESC) WHERE amount > 0;
CREATE INDEX customers_lower ON sales.customers (lower(email));
CREATE TABLE sales.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE sales.events_2024 PARTITION OF sales.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE sales.events_rest PARTITION OF sales.events DEFAULT;
CREATE INDEX events_at ON sales.events (at);
CREATE UNLOGGED TABLE sales.scratch (x int);
CREATE TABLE "Odd Names"."user ""table""" ("select" int PRIMARY KEY, "Mixed Case" text);
CREATE VIEW sales.revenue AS SELECT c.email, sum(o.amount) AS total FROM sales.customers c JOIN sales.orders o ON o.customer_id = c.id GROUP BY c.email;
CREATE MATERIALIZED VIEW sales.totals AS SELECT count(*) AS n FROM sales.orders;
CREATE UNIQUE INDEX totals_n ON sales.totals (n);
CREATE SEQUENCE sales.numbers START 7 INCREMENT 3 CYCLE;
CREATE FUNCTION sales.twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * 2';
CREATE FUNCTION sales.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.placed := CURRENT_DATE; RETURN NEW; END $$;
CREATE PROCEDURE sales.nothing(m sales.mood) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE sales.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE TRIGGER stamp BEFORE INSERT ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.stamp();
ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON sales.orders FOR SELECT TO public USING (amount > 0);
INSERT INTO sales.customers (email) SELECT 'c' || n || '@example.com' FROM generate_series(1, 3000) n;
INSERT INTO sales.orders (customer_id, amount) SELECT 1 + n % 3000, n FROM generate_series(1, 9000) n;
INSERT INTO sales.events SELECT DATE '2024-06-01' + n, repeat('event ' || n, 10) FROM generate_series(1, 300) n;
INSERT INTO sales.scratch SELECT generate_series(1, 10);
REFRESH MATERIALIZED VIEW sales.totals;
CREATE TABLE heartbeat (id int PRIMARY KEY, beat_at timestamptz NOT NULL);
INSERT INTO heartbeat VALUES (1, '2026-01-01 00:00:00+00');
CREATE RULE quiet AS ON DELETE TO sales.scratch WHERE OLD.x < 0 DO INSTEAD NOTHING;
CREATE FUNCTION sales.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'seen'; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION sales.watch();
ALTER EVENT TRIGGER watch DISABLE;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER away FOREIGN DATA WRAPPER nowhere OPTIONS (host 'away.example');
CREATE PUBLICATION feed FOR TABLE sales.orders, sales.customers;
CREATE STATISTICS sales.together ON customer_id, placed FROM sales.orders;
CREATE COLLATION sales.plain (provider = libc, locale = 'C');

-- The demo production: something to sell, something to index, and a heart whose beat tells how much was lost.
CREATE ROLE backup LOGIN REPLICATION PASSWORD :'backup_password';
CREATE ROLE orders_ro LOGIN PASSWORD :'reader_password';
GRANT pg_read_all_data, pg_monitor TO orders_ro;
ALTER ROLE orders_ro SET default_transaction_read_only = on;

CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL);
CREATE SEQUENCE order_numbers START 1000;
CREATE TABLE orders (
  id bigint PRIMARY KEY DEFAULT nextval('order_numbers'),
  customer_id bigint NOT NULL REFERENCES customers (id),
  placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  amount numeric(12, 2) NOT NULL CHECK (amount >= 0)
);
CREATE INDEX orders_by_customer ON orders (customer_id, placed_at);
CREATE VIEW revenue AS SELECT customer_id, sum(amount) AS amount FROM orders GROUP BY customer_id;
CREATE TABLE dr_heartbeat (id int PRIMARY KEY CHECK (id = 1), beat_at timestamptz NOT NULL);

INSERT INTO dr_heartbeat VALUES (1, clock_timestamp());
INSERT INTO customers (email, name) SELECT 'customer' || n || '@example.com', 'Customer ' || n FROM generate_series(1, 2000) n;
INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, (n % 500) + 0.5 FROM generate_series(1, 20000) n;

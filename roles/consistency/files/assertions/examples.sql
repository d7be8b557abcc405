-- Tables for trying examples.yml, and rows of which every assertion holds. For a scratch server.
CREATE DATABASE shop;

CREATE TABLE shop.account (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  balance DECIMAL(18,2) NOT NULL,
  credit_line DECIMAL(18,2) NOT NULL DEFAULT 0
);

CREATE TABLE shop.ledger (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  account_id BIGINT UNSIGNED NOT NULL,
  side ENUM('debit', 'credit') NOT NULL,
  amount DECIMAL(18,2) NOT NULL,
  booked_at DATETIME(6) NOT NULL,
  KEY booked (booked_at)
);

CREATE TABLE shop.orders (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  state VARCHAR(20) NOT NULL,
  total DECIMAL(18,2) NOT NULL
);

CREATE TABLE shop.order_line (
  order_id BIGINT UNSIGNED NOT NULL,
  line SMALLINT UNSIGNED NOT NULL,
  quantity INT NOT NULL,
  price DECIMAL(18,2) NOT NULL,
  PRIMARY KEY (order_id, line)
);

INSERT INTO shop.account VALUES (1, 100.00, 0), (2, -50.00, 200.00), (3, 0.00, 0);

INSERT INTO shop.ledger VALUES
  (1, 1, 'debit', 10.10, '2026-01-05 09:00:00'),
  (2, 2, 'credit', 10.10, '2026-01-05 09:00:00'),
  (3, 1, 'debit', 0.20, '2026-01-06 10:30:00'),
  (4, 2, 'credit', 0.10, '2026-01-06 10:30:00'),
  (5, 3, 'credit', 0.10, '2026-01-06 10:30:00');

INSERT INTO shop.orders VALUES (1, 'paid', 30.30), (2, 'sent', 5.00), (3, 'new', 0.00);

INSERT INTO shop.order_line VALUES (1, 1, 3, 10.10), (2, 1, 1, 2.00), (2, 2, 2, 1.50);

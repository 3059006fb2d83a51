-- Portable between SQLite and PostgreSQL: times are BIGINT milliseconds since the Unix epoch, money is BIGINT
-- nanodollars, yes and no are 1 and 0, lists are JSON in TEXT, hashes are hex in TEXT.

-- Numbers that only rise: `keys` moves with every change of a key, `audit` numbers the rows of the table audit.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('keys', 0), ('audit', 0);

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    monthly_budget_nanodollars BIGINT,
    monthly_budget_tokens BIGINT,
    rpm BIGINT,
    tpm BIGINT,
    max_concurrent BIGINT,
    allowed_models TEXT NOT NULL,
    tags TEXT NOT NULL,
    expires_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT
);

-- One row an attempt at a provider. Holds are numbered within one instance's journal.
CREATE TABLE ledger (
    instance TEXT NOT NULL,
    hold BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    period BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost BIGINT,
    is_estimated BIGINT NOT NULL,
    PRIMARY KEY (instance, hold, attempt)
);
CREATE INDEX ledger_request_id ON ledger (request_id);

-- The sums of the ledger. Each instance adds to its own rows, so that instances never wait for one another.
CREATE TABLE totals (
    period BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    instance TEXT NOT NULL,
    cost BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    PRIMARY KEY (period, key_id, instance)
);

-- How far into each instance's journal the ledger goes.
CREATE TABLE positions (
    instance TEXT NOT NULL PRIMARY KEY,
    segment BIGINT NOT NULL,
    byte BIGINT NOT NULL
);

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Who changed what; rows are only ever added.
CREATE TABLE audit (
    number BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    was TEXT,
    became TEXT
);

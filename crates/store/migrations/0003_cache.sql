-- Answers that are given again; `entry` is their JSON. Rows past their time are of no use and removed by the way.
CREATE TABLE cache_entries (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    made_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    entry TEXT NOT NULL
);
CREATE INDEX cache_entries_expires ON cache_entries (expires_at_ms);

-- Pairs of a question and an entry of which somebody said that the one's answer does not serve the other.
CREATE TABLE cache_rejections (
    pair TEXT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);

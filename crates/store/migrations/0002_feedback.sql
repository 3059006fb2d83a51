-- What people thought of answers, in the order in which it came in. What it teaches is in numbers, never in words.
CREATE TABLE feedback (
    number BIGINT NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    at_ms BIGINT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    score_thousandths BIGINT NOT NULL,
    evidence TEXT
);
INSERT INTO counters (name, value) VALUES ('feedback', 0);

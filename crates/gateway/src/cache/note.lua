-- Notes in the log what everybody has to do.
-- KEYS: log. ARGV: origin, length of the log, kind, what.
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'origin', ARGV[1], 'kind', ARGV[3], 'what', ARGV[4])

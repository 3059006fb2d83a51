-- Keeps an entry until its time is over and notes it in the log.
-- KEYS: log, entry. ARGV: origin, length of the log, id, entry, milliseconds to keep it.
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'origin', ARGV[1], 'kind', 'put', 'what', ARGV[3])

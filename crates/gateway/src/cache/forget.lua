-- Removes entries.
-- KEYS: entries.
redis.call('DEL', unpack(KEYS))

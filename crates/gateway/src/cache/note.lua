-- Notes in the log what everybody has to do, and removes the entries that are known to go.
-- KEYS: log, entries. ARGV: origin, length of the log, kind, what.
for place = 2, #KEYS do
  redis.call('DEL', KEYS[place])
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'origin', ARGV[1], 'kind', ARGV[3], 'what', ARGV[4])

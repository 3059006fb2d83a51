-- One step of an idempotency key, for all replicas.
-- KEYS: the key. ARGV: step (claim, keep, release), hash of what was asked, lifetime in ms, answer.
-- A claim returns what holds the key already: hash of what was asked and the answer, empty while it runs.
local step, asked = ARGV[1], ARGV[2]
local held = redis.call('HMGET', KEYS[1], 'asked', 'answer')
if step == 'claim' then
    if held[1] then return { held[1], held[2] or '' } end
    redis.call('HSET', KEYS[1], 'asked', asked)
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
elseif step == 'keep' then
    redis.call('HSET', KEYS[1], 'asked', asked, 'answer', ARGV[4])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
elseif held[1] == asked and not held[2] then
    redis.call('DEL', KEYS[1])
end
return {}

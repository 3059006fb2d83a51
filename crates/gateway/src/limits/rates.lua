-- One step of a key's limits a minute and at one time, for all replicas. The sums are those of bucket.rs.
-- KEYS: hash of the two buckets, sorted set of the running requests by when they are given up.
-- ARGV: step (admit, take, settle, release), now in ms or '', requests and tokens a minute and requests at one time
--       (0: no limit), the request, how long it may run in ms, tokens.
-- Returns: code (0 done, 1 requests, 2 at one time, 3 tokens), wait in ms, requests left, until all are back in ms,
--          tokens left, until all are back in ms.
local UNIT, MOST, MOST_DEBT = 60000, 1000000000, 2 ^ 50
local step, rpm, tpm, places = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local request, lifetime, tokens = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local now = tonumber(ARGV[2])
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local held = redis.call('HMGET', KEYS[1], 'requests', 'requests_at', 'tokens', 'tokens_at')
local function bucket(debt, at, limit)
    debt, at = tonumber(debt) or 0, tonumber(at) or 0
    return { debt = math.max(0, debt - math.max(0, now - at) * limit), at = math.max(at, now), limit = limit }
end
local requests, used = bucket(held[1], held[2], rpm), bucket(held[3], held[4], tpm)

local function units(cost) return math.min(cost, MOST) * UNIT end
local function wait(of, cost)
    if of.limit == 0 then return 0 end
    local over = of.debt + units(math.min(cost, of.limit)) - units(of.limit)
    return math.ceil(math.max(0, over) / of.limit)
end
local function take(of, cost) of.debt = of.debt + units(math.min(cost, of.limit)) end

local code, pause = 0, 0
if step == 'admit' then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
    if places > 0 and redis.call('ZCARD', KEYS[2]) >= places then
        code, pause = 2, 1000
    elseif wait(requests, 1) > 0 and wait(requests, 1) >= wait(used, 1) then
        code, pause = 1, wait(requests, 1)
    elseif wait(used, 1) > 0 then
        code, pause = 3, wait(used, 1)
    else
        take(requests, 1)
        if places > 0 then
            redis.call('ZADD', KEYS[2], now + lifetime, request)
            redis.call('PEXPIRE', KEYS[2], lifetime)
        end
    end
elseif step == 'take' then
    pause = wait(used, tokens)
    if pause > 0 then code = 3 else take(used, tokens) end
elseif step == 'settle' then
    local change = units(math.abs(tokens))
    used.debt = math.min(MOST_DEBT, tokens < 0 and math.max(0, used.debt - change) or used.debt + change)
elseif step == 'release' then
    redis.call('ZREM', KEYS[2], request)
end

if step ~= 'release' then
    local function text(number) return string.format('%.0f', number) end
    redis.call('HSET', KEYS[1], 'requests', text(requests.debt), 'requests_at', text(requests.at),
        'tokens', text(used.debt), 'tokens_at', text(used.at))
    local longest = 0
    for _, of in ipairs({ requests, used }) do
        if of.limit > 0 then longest = math.max(longest, of.debt / of.limit) end
    end
    redis.call('PEXPIRE', KEYS[1], math.min(math.ceil(longest) + 60000, 86400000))
end

local function left(of) return math.floor(math.max(0, units(of.limit) - of.debt) / UNIT) end
local function reset(of) return of.limit == 0 and 0 or math.ceil(of.debt / of.limit) end
return { code, pause, left(requests), reset(requests), left(used), reset(used) }

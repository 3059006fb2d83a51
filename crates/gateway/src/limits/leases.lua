-- Shares the budgets of accounts between replicas. One hash holds one account in one month:
--   spent_usd:<replica> spent_tokens:<replica>  what it spent, never falling
--   lease_usd:<replica> lease_tokens:<replica>  what it may use on top without asking
--   seen:<replica> (ms) turn:<replica>          its last report, and the number of that
--   told_usd told_tokens                        the highest threshold (percent) told to someone
--   wanted (ms)                                 a replica was refused because others hold leases
-- The sum of all that was spent and all leases stays within the limit. Every report is absolute, so the same one
-- twice does no harm; an older one that comes late is ignored by its turn.
--
-- KEYS: the epoch, then one hash for each account. ARGV: a head, then one block for each account:
--   replica, epoch that it knows, grace_ms, dropped_ms, ttl_s
--   turn, spent_usd, spent_tokens, lease_usd, lease_tokens, asks (0 or 1), limit_usd, limit_tokens (-1: none),
--   need_usd, need_tokens, passed_usd, passed_tokens, n, then n times: replica, spent_usd, spent_tokens
-- Returns integers: epoch, ms until leases are granted, then for each account twelve more, as `account` ends.
-- Numbers are doubles, exact to 2^53: nine million dollars, which the caller sees to.

local SHARE, LIVE_MS, WANTED_MS, MOST_GRACE_MS = 16, 30000, 3000, 60000
local OK, SHORT, WAIT, STALE = 0, 1, 2, 3

local next_arg = 0
local function text() next_arg = next_arg + 1; return ARGV[next_arg] end
local function number() return tonumber(text()) end

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local replica, known, grace, dropped, ttl = text(), number(), number(), number(), number()

-- The epoch ends when Redis loses its data or becomes another process, which may know less: until every replica had
-- the time to report again what it holds, nobody gets more than it has.
local info = redis.pcall('INFO', 'server')
local process = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local marker = redis.call('HMGET', KEYS[1], 'id', 'process', 'grants_from')
local epoch, grants_from = tonumber(marker[1]), tonumber(marker[3])
if not epoch or marker[2] ~= process then
  epoch, grants_from = micros, now
  redis.call('HSET', KEYS[1], 'id', string.format('%.0f', epoch), 'process', process, 'grants_from', now)
end
-- Redis' clock went back: what was granted before may be granted again.
if grants_from - now > MOST_GRACE_MS then grants_from = now end
if epoch ~= known then
  -- Whoever knew an earlier epoch may hold leases from it; a newcomer only waits for the others' next report.
  grants_from = math.max(grants_from, math.min(math.floor(epoch / 1000), now) + grace)
  redis.call('HSET', KEYS[1], 'grants_from', string.format('%.0f', grants_from))
end
local wait = math.max(0, grants_from - now)

local function account(key)
  local turn = number()
  local spent = { usd = number(), tokens = number() }
  local lease = { usd = number(), tokens = number() }
  local asks = number() == 1
  local limit = { usd = number(), tokens = number() }
  local need = { usd = number(), tokens = number() }
  local passed = { usd = number(), tokens = number() }
  local hash, write = {}, {}
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do hash[flat[i]] = flat[i + 1] end
  local function have(field) return tonumber(hash[field]) or 0 end
  local function set(field, value)
    hash[field] = value
    write[#write + 1] = field
    write[#write + 1] = string.format('%.0f', value)
  end

  local is_stale = turn <= have('turn:' .. replica)
  for _ = 1, number() do
    local other, usd, tokens = text(), number(), number()
    if usd > have('spent_usd:' .. other) then set('spent_usd:' .. other, usd) end
    if tokens > have('spent_tokens:' .. other) then set('spent_tokens:' .. other, tokens) end
  end
  if is_stale then return { STALE, have('turn:' .. replica), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } end

  local live = 1
  local others_spent, others_lease = { usd = 0, tokens = 0 }, { usd = 0, tokens = 0 }
  for field in pairs(hash) do
    local what, unit, other = string.match(field, '^(%l+)_?(%l*):(.*)$')
    if other and other ~= replica then
      if what == 'spent' then
        others_spent[unit] = others_spent[unit] + have(field)
      elseif what == 'lease' and now - have('seen:' .. other) <= dropped then
        others_lease[unit] = others_lease[unit] + have(field)
      elseif what == 'seen' and now - have(field) <= LIVE_MS then
        live = live + 1
      end
    end
  end

  local verdict = OK
  local is_wanted = now - have('wanted') <= WANTED_MS
  if asks and wait > 0 then
    verdict = WAIT
  elseif asks then
    local granted = {}
    for _, unit in ipairs({ 'usd', 'tokens' }) do
      local mine = math.max(spent[unit], have('spent_' .. unit .. ':' .. replica))
      local free = limit[unit] - mine - others_spent[unit] - others_lease[unit]
      if limit[unit] < 0 then
        granted[unit] = math.max(lease[unit], need[unit])
      elseif need[unit] <= lease[unit] then
        granted[unit] = lease[unit]
      elseif need[unit] <= free then
        -- What is needed, and while nobody waits a share of the rest, so that Redis is asked rarely.
        local more = is_wanted and 0 or math.floor((free - need[unit]) / (SHARE * live))
        granted[unit] = math.max(lease[unit], need[unit] + more)
      else
        verdict = SHORT
        if need[unit] <= free + others_lease[unit] then set('wanted', now) end
      end
    end
    if verdict == OK then lease = granted end
  end

  local told = { usd = have('told_usd'), tokens = have('told_tokens') }
  for _, unit in ipairs({ 'usd', 'tokens' }) do
    local mine = 'spent_' .. unit .. ':' .. replica
    spent[unit] = math.max(spent[unit], have(mine))
    set(mine, spent[unit])
    set('lease_' .. unit .. ':' .. replica, lease[unit])
    if passed[unit] > told[unit] then set('told_' .. unit, passed[unit]) end
  end
  set('seen:' .. replica, now)
  set('turn:' .. replica, turn)
  redis.call('HSET', key, unpack(write))
  redis.call('EXPIRE', key, ttl)
  return {
    verdict, spent.usd, spent.tokens, lease.usd, lease.tokens, others_spent.usd, others_spent.tokens,
    others_lease.usd, others_lease.tokens, told.usd, told.tokens, is_wanted and 1 or 0,
  }
end

local result = { epoch, wait }
for i = 2, #KEYS do
  for _, value in ipairs(account(KEYS[i])) do result[#result + 1] = value end
end
return result

-- The items of the log after a place, each as its place, origin, kind and what.
-- KEYS: log. ARGV: how many, place.
local found = {}
local read = redis.call('XREAD', 'COUNT', ARGV[1], 'STREAMS', KEYS[1], ARGV[2])
if read then
  for _, item in ipairs(read[1][2]) do
    local fields = item[2]
    found[#found + 1] = item[1]
    found[#found + 1] = fields[2]
    found[#found + 1] = fields[4]
    found[#found + 1] = fields[6]
  end
end
return found

-- Entries by their keys; an empty text for one that is not there any more.
local found = redis.call('MGET', unpack(KEYS))
for place = 1, #KEYS do
  if not found[place] then found[place] = '' end
end
return found

-- Keeps the key of the fleet's names, sealed, unless one is kept.
-- KEYS[1] the place for what the sealing key seals
-- ARGV    the key of names, sealed
-- returns what is kept
local there = redis.pcall('GET', KEYS[1]) -- an error if it is no string
if type(there) == 'string' then
  return there
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]

-- Gives a lease back if it is still the owner's, and wakes those who wait for it.
-- KEYS[1] the lease, KEYS[2] whose mint may be carried out yet
-- ARGV    owner, channel, client as a message names it, how long the owner's mint may be carried out yet in ms (0 = it is over)
-- returns 1 if it was the owner's, whose mint is over, and that of another may be carried out yet, else 0
local open = redis.call('GET', KEYS[2])
if ARGV[4] ~= '0' then
  redis.call('SET', KEYS[2], '?', 'PX', ARGV[4])
elseif open == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', ARGV[2], ARGV[3])
  return ARGV[4] == '0' and open and open ~= ARGV[1] and 1 or 0
end
return 0

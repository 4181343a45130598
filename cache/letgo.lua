-- Gives a lease back if it is still the owner's, and wakes those who wait for it.
-- KEYS[1] the lease
-- ARGV    owner, channel, client
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', ARGV[2], ARGV[3])
end
return 0

-- Gives a registration key back if the claim is still ours.
-- KEYS[1] the registration
-- ARGV    the claim's own pending record
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0

-- Makes a lease last as long again, if it is still the owner's.
-- KEYS[1] the lease
-- ARGV    owner, hold in ms
-- returns 1 done, 0 lost
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0

-- Makes a lease last as long again, if it is still the owner's.
-- KEYS[1] the lease, KEYS[2] whose mint may be carried out yet
-- ARGV    owner, hold in ms, how long after its lease a mint may be carried out in ms
-- returns 1 done, 0 lost
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[2] + ARGV[3])
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0

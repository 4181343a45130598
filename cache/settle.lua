-- Records the client that a claim made, unless the key is somebody else's by now.
-- KEYS[1] the registration
-- ARGV    the claim's own pending record, the record when done, how long to keep it in ms
-- returns 1 done, 0 not ours
local record = redis.call('GET', KEYS[1])
if record and record ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1

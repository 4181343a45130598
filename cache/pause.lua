-- Stops the fleet's requests for a while, longer each time unless told how long.
-- KEYS[1] the pause: a key that lasts as long, and says how long that was to be and what for, KEYS[2] how often in a row
-- ARGV    ms asked for (0 = not told), first pause in ms, longest pause in ms, what it is for ('' = too many requests)
local wait, longest, left = tonumber(ARGV[1]), tonumber(ARGV[3]), redis.call('PTTL', KEYS[1])
if left > tonumber((redis.call('GET', KEYS[1]) or '0'):match('%d+')) then
  left = 0 -- this clock was set back
end
if wait == 0 then
  if left > 0 then
    return 0 -- the answer to a request that left before the pause
  end
  local strikes = redis.call('INCR', KEYS[2])
  wait = math.min(tonumber(ARGV[2]) * 2 ^ math.min(strikes - 1, 20), longest)
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', wait * 2 + 1000))
end
if wait > left then
  redis.call('SET', KEYS[1], string.format('%.0f', wait) .. ARGV[4], 'PX', string.format('%.0f', wait))
end
return wait

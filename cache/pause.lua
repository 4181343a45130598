-- Stops the fleet's requests for a while, longer each time unless told how long.
-- KEYS[1] the pause, KEYS[2] how often in a row
-- ARGV    ms asked for (0 = not told), first pause in ms, longest pause in ms
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ends = tonumber(redis.call('GET', KEYS[1]) or '0')
local wait, longest = tonumber(ARGV[1]), tonumber(ARGV[3])
if wait == 0 then
  if ends > now then
    return 0 -- the answer to a request that left before the pause
  end
  local strikes = redis.call('INCR', KEYS[2])
  wait = math.min(tonumber(ARGV[2]) * 2 ^ math.min(strikes - 1, 20), longest)
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', wait * 2 + 1000))
end
if now + wait > ends then
  redis.call('SET', KEYS[1], string.format('%.0f', now + wait), 'PX', string.format('%.0f', wait))
end
return wait

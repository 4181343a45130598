-- Tells the budget of turns that a replica took or heard of, which it may not know: it was not there, or lost them. If it did
-- not know one, others may have more to tell, so nobody leaves until they had the time to.
-- KEYS[1] the turns given, KEYS[2] the pause, KEYS[3] what time it was at the latest turn
-- ARGV    window in ms, that pause in ms, then for each turn how long ago it was in ms, and its name
-- returns how many turns the window holds, how many of those told it did not know, the name of the latest that
--         has come ('' = none), how long ago that was in ms, and how many ms are left of a pause
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local window, pause, missing = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
for i = 3, #ARGV, 2 do
  missing = missing + redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', now - ARGV[i]), ARGV[i + 1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if missing > 0 then
  redis.call('PEXPIRE', KEYS[1], 2 * window)
  redis.call('SET', KEYS[3], string.format('%.0f', now), 'PX', 2 * window + 1000)
  if redis.call('PTTL', KEYS[2]) < pause then
    local reason = (redis.call('GET', KEYS[2]) or ''):match('%a*$')
    redis.call('SET', KEYS[2], pause .. reason, 'PX', pause)
  end
end
local latest = redis.call('ZREVRANGEBYSCORE', KEYS[1], now, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {redis.call('ZCARD', KEYS[1]), missing, latest[1] or '', latest[2] and now - latest[2] or 0,
  math.max(redis.call('PTTL', KEYS[2]), 0)}

-- Reserves the next moment at which a request may leave. Each is at least a window after the one that came so many
-- requests before it, which bounds every stretch of time as long as the window.
-- KEYS[1] the turns given, KEYS[2] the pause
-- ARGV    requests, window in ms, patience in ms, name of this turn
-- returns how many ms it is until the turn (if that is more than the patience, nothing was reserved), and how many turns
-- the window holds
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local requests, window, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREM', KEYS[1], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local turn = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0'))
if requests > 0 and redis.call('ZCARD', KEYS[1]) >= requests then
  local before = redis.call('ZRANGE', KEYS[1], -requests, -requests, 'WITHSCORES')
  turn = math.max(turn, tonumber(before[2]) + window)
end
if turn - now <= patience and requests > 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', turn), ARGV[4])
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', turn - now + window))
end
return {turn - now, redis.call('ZCARD', KEYS[1])}

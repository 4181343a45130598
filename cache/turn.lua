-- Reserves the next moment at which a request may leave. Each is at least a window after the one that came so many
-- requests before it, which bounds every stretch of time as long as the window.
-- KEYS[1] the turns given, KEYS[2] the pause, KEYS[3] what time it was at the latest turn
-- ARGV    requests, window in ms, patience in ms, name of this turn, name of one that the caller had before ('' = none)
-- returns nothing if that one is not known any more, else how many ms it is until the turn (if that is more than the
--         patience, nothing was reserved), how many turns the window holds, 1 if there is a pause for the key's sake, and how
--         many ms are left of any
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local requests, window, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if ARGV[5] ~= '' and not redis.call('ZSCORE', KEYS[1], ARGV[5]) then
  return {}
end
-- This clock may have been set back: what was given lies as far behind as before.
local back = tonumber(redis.call('GET', KEYS[3]) or '0') - now
if back > 0 then
  local given = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  for i = 1, #given, 2 do
    redis.call('ZADD', KEYS[1], string.format('%.0f', tonumber(given[i + 1]) - back), given[i])
  end
end
redis.call('SET', KEYS[3], string.format('%.0f', now), 'PX', 2 * window + 1000)
redis.call('ZREM', KEYS[1], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local turn, pause, reason = now, redis.call('PTTL', KEYS[2]), ''
if pause > 0 then
  local length
  length, reason = redis.call('GET', KEYS[2]):match('(%d+)(%a*)')
  if pause > tonumber(length) then
    pause = 0
    redis.call('DEL', KEYS[2]) -- no pause lasts longer than it was made for, but by a clock that was set back
  else
    turn = now + pause
  end
end
if requests > 0 and redis.call('ZCARD', KEYS[1]) >= requests then
  local before = redis.call('ZRANGE', KEYS[1], -requests, -requests, 'WITHSCORES')
  turn = math.max(turn, tonumber(before[2]) + window)
end
if turn - now <= patience and requests > 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', turn), ARGV[4])
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', turn - now + window))
end
return {turn - now, redis.call('ZCARD', KEYS[1]), reason == '' and 0 or 1, math.max(pause, 0)}

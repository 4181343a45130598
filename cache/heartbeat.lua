-- Says that a replica is there, and what time it is.
-- KEYS[1] the replicas
-- ARGV    the replica's name, after how many µs without a word one is gone
-- returns the time in Unix µs, how many replicas there are, and 1 if this one was not among them
local now = redis.call('TIME')
local micros = tonumber(now[1]) * 1000000 + tonumber(now[2])
local new = redis.call('ZADD', KEYS[1], micros, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', micros - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], 60000)
return {micros, redis.call('ZCARD', KEYS[1]), new}

-- Takes the lease on a client's mint, with a fence: a number higher than any commit or lease before it. The first is the
-- time, so that this holds too where Redis lost its data.
-- KEYS[1] the lease, KEYS[2] the fence, KEYS[3] the record, KEYS[4] whose mint may be carried out yet ('?' = that of more than one)
-- ARGV    owner, hold in ms, how long to remember the fence in ms, how long after its lease a mint may be carried out in ms
-- returns nothing if it is busy, else the fence, that of the record there (0 = none), 1 if a mint under an earlier
--         lease may be carried out yet, and KEYS[1]: a reply may be another question's
local owner = redis.call('GET', KEYS[1])
local left = owner and redis.call('PTTL', KEYS[1])
if owner and (left < 0 or left > tonumber(ARGV[2])) then
  owner = false -- it is no lease, or one that lasts longer than any since the clock was set back
end
local record = redis.pcall('GET', KEYS[3]) -- an error if it is no string
local seen = 0
if type(record) == 'string' and #record > 58 and record:byte(1) == 3 then
  seen = struct.unpack('>I8', record, 42)
end
if seen > 2 ^ 50 then
  seen = 0 -- it is torn
end
if owner and owner ~= ARGV[1] then
  return {}
end
local fence = tonumber(redis.call('GET', KEYS[2]) or '0')
if not owner or fence == 0 then
  if fence == 0 then
    local time = redis.call('TIME')
    fence = tonumber(time[1]) * 100000 + math.floor(tonumber(time[2]) / 10)
  end
  fence = math.max(fence, seen) + 1
  redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local open = redis.call('GET', KEYS[4])
local doubt = open and open ~= ARGV[1]
redis.call('SET', KEYS[4], doubt and '?' or ARGV[1], 'PX', ARGV[2] + ARGV[4])
return {string.format('%.0f', fence), string.format('%.0f', seen), doubt and '1' or '0', KEYS[1]}

-- Which gateways there are, and whether what Redis has of money is of this very life of it (docs/decisions/0017).
--
-- KEYS  1 the generation, 2 when each gateway is over, 3 for which generation each has said its part.
-- ARGV  1 who tells this, 2 Redis's run id as this gateway knows it, 3 a generation to begin where there is none of
--       that run, 4 the generation that the gateway has said its part for, 5 the seconds that its presence lasts.

local call = redis.call
local t = call('TIME')
local now = t[1] + t[2] / 1000000
local run = ARGV[2] .. '.'
local found = call('HMGET', KEYS[1], 'id', 'born')
if not found[1] or string.sub(found[1], 1, #run) ~= run then
  found = { ARGV[3], string.format('%.6f', now) }
  call('HSET', KEYS[1], 'id', found[1], 'born', found[2])
  call('DEL', KEYS[2], KEYS[3])
end
-- Redis's clock was set back: nobody waits until it is then again.
if tonumber(found[2]) > now then
  found[2] = string.format('%.6f', now)
  call('HSET', KEYS[1], 'born', found[2])
end
local latest = string.format('%.6f', now + ARGV[5])
for _, gateway in ipairs(call('ZRANGEBYSCORE', KEYS[2], '(' .. latest, '+inf')) do
  call('ZADD', KEYS[2], latest, gateway)
end
call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
call('ZADD', KEYS[2], now + ARGV[5], ARGV[1])
call('HSET', KEYS[3], ARGV[1], ARGV[4])
local reply = { found[1], string.format('%.6f', now - found[2]) }
for _, gateway in ipairs(call('ZRANGE', KEYS[2], 0, -1)) do
  reply[#reply + 1] = gateway
  reply[#reply + 1] = call('HGET', KEYS[3], gateway) or ''
end
return reply

-- What `techstone.core.limits` decides, decided in Redis: on one clock, for any number of gateways, all or nothing.
--
-- The same rule by the same arithmetic: every number is an IEEE double in both, and kept with all its digits, so that
-- a test can hold the two equal to the last bit (tests/contract/test_limit_rules.py). Amounts are whole nano-dollars;
-- what an account was ever granted and spent is told in dollars and nano-dollars, since a double counts to 2^53.
--
-- KEYS  1 books, 2 log and 3 leases of the account's window; 4 its money, 5 what is held for whom, 6 charges that wait
--       for the money; 7 8 9 as 1 2 3 of the key, where the key has limits of its own. All have the account's hash tag.
-- ARGV  1 operation, 2 the time ('': Redis's own; tests move it), 3 what limits who asks (`WHO`), 4 the generation,
--       5 the key's id, from 6 on what the operation needs (adapters/limits/script.py).
--
-- What every request asks is short: each command that a script calls costs 1 to 2 µs, each word of a call or a reply,
-- and each function that is defined on the way, a tenth of that (docs/decisions/0017). So numbers travel packed as
-- doubles, a window's books are one value with the newest entry in it, and what is rare stands behind what is not.

local SECONDS, LEASE = 60, 30
local MERGED_ABOVE, MERGED_SECONDS = 5000, 0.01
local RUNNING_WAIT = 1
-- A clock that is corrected by less is as good as one that goes on; a test's calls of one moment may change places.
local SET_BACK = 1
-- A window is over in a minute, a lease in half of one. Money is kept for two days after the last touch: by then the
-- ledger has booked all of it, and tells it anew. An account's leases are kept as long as its money, since they are how
-- holds of who vanished are found; whose requests all end has none. What lives for long enough is told so again only
-- after a while.
local WINDOW_TTL, WINDOW_TOUCH, MONEY_TTL, MONEY_TOUCH = 120, 30, 172800, 3600
local ENTRY = '<dddd' -- at, first, requests, tokens
local BOOKS = '<dddddddddddd' -- the fields of a window, in the order in which `open` has them
local STANDING = 'dddddd'
-- The limits of the plan; those of the key; what was granted, in dollars and nano-dollars; the caps of the account's
-- month, the key's day and the key's month; whether any of these bound the money. What is not limited is NaN, which
-- nothing is above: only where less is asked of it must it be looked for.
local WHO = '<dddddddddddd'
-- What waits for the money is worked off in parts of so many: a script holds up everybody (0.01 ms for each). Who begins
-- an account's money and does not go on for so long is gone.
local PART, BEGIN_SECONDS = 200, 5

local call, pack, unpack, spread = redis.call, struct.pack, struct.unpack, unpack
local op, now, gen, key, request = ARGV[1], ARGV[2], ARGV[4], ARGV[5], ARGV[6]
if now == '' then
  local t = call('TIME')
  now = t[1] + t[2] / 1000000
else
  now = tonumber(now)
end
local rpm, tpm, concurrent, key_rpm, key_tpm, key_concurrent, granted, granted_nano, cap, key_day_cap, key_month_cap,
  bounded = unpack(WHO, ARGV[3])
bounded = bounded == 1

-- Windows: entries f to n - 1, numbered; the newest is kept in the books, all before it in the log.

local function open(first)
  local w = { books = KEYS[first], log = KEYS[first + 1], leases = KEYS[first + 2] }
  local kept = call('GET', w.books)
  if kept then
    -- requests and tokens of all; numbers; the newest entry; when the oldest was; when log and leases were touched;
    -- whether the account's money may be here: what nobody bounds need not look for it each time
    w.r, w.t, w.f, w.n, w.at, w.first, w.requests, w.tokens, w.oldest, w.logged, w.leased, w.money = unpack(BOOKS, kept)
  else
    -- One that begins anew begins above all numbers that were ever given.
    w.n = math.floor(now * 1000000)
    w.r, w.t, w.f, w.at, w.first, w.requests, w.tokens, w.oldest, w.logged, w.leased = 0, 0, w.n, 0, 0, 0, 0, 0, 0, 0
    w.anew, w.money = true, first == 1 and call('HEXISTS', KEYS[4], 'g') or 0
  end
  return w
end

local function save(w)
  call('SET', w.books, pack(BOOKS, w.r, w.t, w.f, w.n, w.at, w.first, w.requests, w.tokens, w.oldest, w.logged,
    w.leased, w.money), 'EX', WINDOW_TTL)
end

local function is_stale(touched)
  return now - touched > WINDOW_TOUCH or touched > now
end

-- Redis's clock was set back: what it says was admitted later than now counts from now on, as long as ever, and not until
-- then and a minute more (row L-6).
local function set_back(w)
  w.at, w.first, w.oldest, w.changed = now, math.min(w.first, now), math.min(w.oldest, now), true
  for place = -1, w.f - w.n + 1, -1 do
    local at, first, requests, tokens = unpack(ENTRY, call('LINDEX', w.log, place))
    if at <= now then return end
    call('LSET', w.log, place, pack(ENTRY, now, math.min(first, now), requests, tokens))
  end
end

local function expire(w)
  if w.f >= w.n then return end
  if w.at > now + SET_BACK then set_back(w) end
  if w.oldest + SECONDS > now then return end
  w.changed = true
  local size = 2 -- mostly one is over, and the next is the oldest
  while w.f < w.n - 1 do
    local part = call('LRANGE', w.log, 0, size - 1)
    local gone = 0
    for _, entry in ipairs(part) do
      local at, _, requests, tokens = unpack(ENTRY, entry)
      w.oldest = at
      if at + SECONDS > now then break end
      gone = gone + 1
      w.r, w.t = w.r - requests, w.t - tokens
    end
    if gone > 0 then
      call('LTRIM', w.log, gone, -1)
      w.f = w.f + gone
    end
    if gone < #part then return end
    if #part == 0 then w.f = w.n - 1 end
    size = 64
  end
  w.oldest = w.at
  if w.at + SECONDS > now then
    w.r, w.t = w.requests, w.tokens
  else
    w.f, w.r, w.t = w.n, 0, 0
  end
end

local function add(w, requests, tokens, limit)
  w.r, w.t = w.r + requests, w.t + tokens
  w.changed = true
  if w.f < w.n then
    if limit > MERGED_ABOVE and now - w.first < MERGED_SECONDS then
      w.at, w.requests, w.tokens = now, w.requests + requests, w.tokens + tokens
      if w.f == w.n - 1 then w.oldest = now end
      return w.n - 1
    end
    call('RPUSH', w.log, pack(ENTRY, w.at, w.first, w.requests, w.tokens))
    if w.f == w.n - 1 or is_stale(w.logged) then
      call('EXPIRE', w.log, WINDOW_TTL)
      w.logged = now
    end
  else
    if w.anew then call('DEL', w.log) end
    w.oldest = now
  end
  w.at, w.first, w.requests, w.tokens = now, now, requests, tokens
  w.n = w.n + 1
  return w.n - 1
end

-- Where account and key are after all of it: the end of every answer about them.
local account = open(1)
local own = KEYS[7] and open(7)

local function reset(w)
  if w.f >= w.n then return 0 end
  return math.max(0, w.at + SECONDS - now)
end

local function standing(verdict)
  if account.changed then save(account) end
  if not own then return pack('<d' .. STANDING, verdict, account.r, account.t, reset(account), 0, 0, 0) end
  if own.changed then save(own) end
  return pack('<d' .. STANDING, verdict, account.r, account.t, reset(account), own.r, own.t, reset(own))
end

local day = math.floor(now / 86400)

-- Howard Hinnant's civil_from_days, as core/credit.py has it.
local function month_of(days)
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted % 146097
  local year_of_era = math.floor(
    (of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365
  )
  local of_year = of_era - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
  local march = math.floor((5 * of_year + 2) / 153)
  local month = march < 10 and march + 3 or march - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return year * 12 + month - 1
end

local month = month_of(day)

-- Of which generation the money is that counts; while it is being begun it is marked so, and nobody else's.
local wanted = gen

-- Return the money; or nil, and whether it is being begun.
local function load(of, journal)
  local v = call('HMGET', KEYS[4], 'g', 'bd', 'bn', 's', 'h', 'M', 'm',
    'D:' .. of, 'd:' .. of, 'M:' .. of, 'm:' .. of, 'h:' .. of, 'x', 'n:' .. (journal or ''))
  if v[1] ~= wanted then return nil, v[1] == '~' .. gen end
  local m = { bd = tonumber(v[2]), bn = tonumber(v[3]), s = tonumber(v[4] or 0), h = tonumber(v[5] or 0) }
  m.month, m.in_month = tonumber(v[6] or month), tonumber(v[7] or 0)
  m.key_day, m.in_key_day = tonumber(v[8] or day), tonumber(v[9] or 0)
  m.key_month, m.in_key_month = tonumber(v[10] or month), tonumber(v[11] or 0)
  m.key_h, m.touched, m.counted = tonumber(v[12] or 0), tonumber(v[13] or 0), tonumber(v[14] or 0)
  if month > m.month then m.month, m.in_month = month, 0 end
  if day > m.key_day then m.key_day, m.in_key_day = day, 0 end
  if month > m.key_month then m.key_month, m.in_key_month = month, 0 end
  return m
end

local function touch()
  for place = 3, 6 do call('EXPIRE', KEYS[place], MONEY_TTL) end
  if call('HEXISTS', KEYS[4], 'g') == 1 then call('HSET', KEYS[4], 'x', now) end
end

local function touch_if_stale(m)
  if now - m.touched > MONEY_TOUCH or m.touched > now then touch() end
end

-- Return which bound of the money refuses, or nil: the first that waiting does not help, else the first whose rest other
-- requests hold. `had` is what is held for the asking request itself.
local function refuse_money(m, nano, had)
  local left = (granted - m.bd) * 1000000000 + (granted_nano - m.bn) - m.s - m.h
  local month_left, day_left, key_left = cap - m.in_month - m.h, key_day_cap - m.in_key_day - m.key_h,
    key_month_cap - m.in_key_month - m.key_h
  if left < nano or month_left < nano or day_left < nano or key_left < nano then
    local passing = nil
    for _, bound in ipairs({ { left, m.h, 'credit', 'account', math.max(0, left) },
      { month_left, m.h, 'monthly_cap', 'account', cap }, { day_left, m.key_h, 'daily_cap', 'key', key_day_cap },
      { key_left, m.key_h, 'monthly_cap', 'key', key_month_cap } }) do
      if bound[1] + bound[2] - had < nano then return { bound[3], bound[4], bound[5], nano, nil } end
      if bound[1] < nano and not passing then passing = { bound[3], bound[4], bound[5], nano, RUNNING_WAIT } end
    end
    return passing
  end
  return nil
end

-- What is held is written as 'nano key'; `had` is what was held for the same request before.
local function hold(m, nano, had)
  call('HSET', KEYS[5], request, string.format('%.0f %s', had + nano, key))
  call('HSET', KEYS[4], 'h', m.h + nano, 'h:' .. key, m.key_h + nano)
  if m.h == 0 then call('EXPIRE', KEYS[5], MONEY_TTL) end
  touch_if_stale(m)
end

local function release(of)
  local held = call('HGET', KEYS[5], of)
  if not held then return end
  call('HDEL', KEYS[5], of)
  local nano, whose = string.match(held, '^(%d+) (.*)$')
  if call('HGET', KEYS[4], 'g') == gen then
    call('HINCRBY', KEYS[4], 'h', '-' .. nano)
    call('HINCRBY', KEYS[4], 'h:' .. whose, '-' .. nano)
  end
end

-- Leases

-- Forget the leases that are over, and what was held by them or by nobody; say whether there was any.
local function purge(w)
  -- Of before the clock was set back: nobody has a slot for longer than a lease from now on.
  local latest = string.format('%.17g', now + LEASE)
  for _, of in ipairs(call('ZRANGEBYSCORE', w.leases, '(' .. latest, '+inf')) do
    call('ZADD', w.leases, latest, of)
  end
  if w == account then
    for _, of in ipairs(call('ZRANGEBYSCORE', w.leases, '-inf', now)) do release(of) end
  end
  local freed = call('ZREMRANGEBYSCORE', w.leases, '-inf', now) > 0
  -- Held for more than have leases: by who was paused, lost his lease, asked for more and was gone.
  if w == account and call('HLEN', KEYS[5]) > call('ZCARD', w.leases) then
    local all = call('HGETALL', KEYS[5])
    for at = 1, #all, 2 do
      if not call('ZSCORE', w.leases, all[at]) then
        release(all[at])
        freed = true
      end
    end
  end
  return freed
end

local function has_slot(w, limit)
  w.running = call('ZCARD', w.leases)
  if w.running < limit then return true end
  if purge(w) then w.running = call('ZCARD', w.leases) end
  return w.running < limit
end

local function lease(w)
  call('ZADD', w.leases, now + LEASE, request)
  if w.running == 0 or not w.running or is_stale(w.leased) then
    call('EXPIRE', w.leases, w == account and MONEY_TTL or WINDOW_TTL)
    w.leased = now
  end
end

-- Verdicts

local UNKNOWN = pack('<d', 2)

local function refused(refusal)
  return standing(0) .. pack('<ddd', refusal[3], refusal[4], refusal[5] or 0 / 0) .. refusal[1] .. ' ' .. refusal[2]
end

local function granted_at(entry, own_entry)
  return standing(1) .. pack('<dddd', entry, own_entry, day, month)
end

-- Return the wait until so much of `what` (3: requests, 4: tokens) has left the window; nil: it never will.
local function wait_for(w, excess, what)
  local newest = { w.at, w.first, w.requests, w.tokens }
  local start = 0
  repeat
    local part = call('LRANGE', w.log, start, start + 63)
    for _, entry in ipairs(part) do
      local fields = { unpack(ENTRY, entry) }
      excess = excess - fields[what]
      if excess <= 0 then return math.min(SECONDS, fields[1] + SECONDS - now) end
    end
    start = start + 64
  until #part < 64
  if w.f < w.n and excess <= newest[what] then return math.min(SECONDS, w.at + SECONDS - now) end
  return nil
end

local function wait_for_tokens(w, limit, tokens)
  local excess = w.t + tokens - limit
  if excess <= 0 then return 0 end
  if tokens > limit then return nil end
  return wait_for(w, excess, 4)
end

-- Return why the limits of an account or a key refuse, the reason that lasts longest, or nil.
local function refuse_within(scope, w, limits, tokens, worst)
  local function take(refusal)
    if not worst or (refusal[5] or math.huge) > (worst[5] or math.huge) then worst = refusal end
  end
  local most, most_tokens, slots = limits[1], limits[2], limits[3]
  if w.r >= most then take({ 'requests', scope, most, 1, wait_for(w, w.r + 1 - most, 3) or SECONDS }) end
  if w.t + tokens > most_tokens then
    take({ 'tokens', scope, most_tokens, tokens, wait_for_tokens(w, most_tokens, tokens) })
  end
  if slots == slots and not has_slot(w, slots) then
    take({ 'concurrency', scope, slots, 1, RUNNING_WAIT })
  end
  return worst
end

-- 7 tokens and nano-dollars
local function admit()
  local tokens, nano = unpack('<dd', ARGV[7])
  expire(account)
  if own then expire(own) end
  local m = nil
  if nano > 0 and bounded then
    m = load(key)
    if not m then return UNKNOWN end
  end
  local worst = refuse_within('account', account, { rpm, tpm, concurrent }, tokens, nil)
  if own then worst = refuse_within('key', own, { key_rpm, key_tpm, key_concurrent }, tokens, worst) end
  if m then
    local bound = refuse_money(m, nano, 0)
    if bound and purge(account) then -- who vanished holds it no more
      m = load(key)
      bound = refuse_money(m, nano, 0)
      account.running = nil
    end
    if bound and (not worst or (bound[5] or math.huge) > (worst[5] or math.huge)) then worst = bound end
  end
  if worst then return refused(worst) end
  if op == 'consider' then return granted_at(0, 0) end
  local entry, own_entry = add(account, 1, tokens, rpm), 0
  lease(account)
  if own then
    own_entry = add(own, 1, tokens, key_rpm)
    lease(own)
  end
  if m then hold(m, nano, 0) end
  return granted_at(entry, own_entry)
end

if op == 'admit' or op == 'consider' then return admit() end

-- The end of a request

local function change(w, entry, by)
  if entry < w.f or entry >= w.n then return end
  if entry == w.n - 1 then
    w.tokens = w.tokens + by
  else
    local place = entry - w.f
    local found = call('LINDEX', w.log, place)
    if not found then return end
    local at, first, requests, tokens = unpack(ENTRY, found)
    call('LSET', w.log, place, pack(ENTRY, at, first, requests, tokens + by))
  end
  w.t = w.t + by
  w.changed = true
end

-- Lower the reservation to the true figure, the newest first; where more came than was reserved, count that too. Entries
-- and what each took of it are packed in `taken`.
local function correct(w, by, taken)
  if by > 0 then
    add(w, 0, by, 0)
    return
  end
  for place = #taken - 15, 1, -16 do
    if by == 0 then return end
    local entry, tokens = unpack('<dd', taken, place)
    local lowered = math.max(by, -tokens)
    change(w, entry, lowered)
    by = by - lowered
  end
end

-- Count a cost that began in a period, once: a journal's numbers only rise. `m` was loaded for the key and the journal;
-- of what was held `back` is given back.
local function charge(m, journal, at, cost, of, began_day, began_month, back)
  local words = { 'h', m.h - back, 'h:' .. of, m.key_h - back }
  if cost > 0 and at > m.counted then
    local spent = m.s + cost
    if spent > 1e15 then -- doubles count to 9e15
      local dollars = math.floor(spent / 1000000000)
      call('HINCRBY', KEYS[4], 'bd', dollars)
      spent = spent - dollars * 1000000000
    end
    words = { 'h', m.h - back, 'h:' .. of, m.key_h - back, 's', spent, 'n:' .. journal, at,
      'M', m.month, 'm', m.in_month + (began_month == m.month and cost or 0),
      'D:' .. of, m.key_day, 'd:' .. of, m.in_key_day + (began_day == m.key_day and cost or 0),
      'M:' .. of, m.key_month, 'm:' .. of, m.in_key_month + (began_month == m.key_month and cost or 0) }
  elseif back == 0 then
    return
  end
  call('HSET', KEYS[4], spread(words))
  touch_if_stale(m)
end

-- Have a cost wait for the money to begin, in the order of numbers.
local function defer(journal, at, cost, of, began_day, began_month)
  local charged = string.format('%s %.0f %.0f %d %d %s', journal, at, cost, began_day, began_month, of)
  call('ZADD', KEYS[6], string.format('%.0f', at), charged)
  touch()
end

-- 7 change of tokens, cost, day and month it began in, number in the journal, 8 the journal, 9 the account's entries, 10
-- the key's. A second time it finds no lease, and a number that is counted. What nobody bounds counts where the money has
-- begun, so that a bound that comes later finds it; where it has not, the ledger tells it as it begins.
local function settle()
  local by, cost, began_day, began_month, at = unpack('<ddddd', ARGV[7])
  if call('ZREM', account.leases, request) == 1 then
    expire(account)
    correct(account, by, ARGV[9])
    if own then
      call('ZREM', own.leases, request)
      expire(own)
      correct(own, by, ARGV[10])
    end
  end
  if bounded or account.money == 1 then
    local held = call('HGET', KEYS[5], request)
    if held then call('HDEL', KEYS[5], request) end
    local m, begun = load(key, ARGV[8])
    if m then
      local back = held and tonumber(string.match(held, '^%d+')) or 0
      charge(m, ARGV[8], at, cost, key, began_day, began_month, back)
    elseif cost > 0 and (bounded or begun) then
      defer(ARGV[8], at, cost, key, began_day, began_month)
    end
  end
  return standing(1)
end

if op == 'settle' then return settle() end

-- 7 tokens and nano-dollars
local function top_up()
  local tokens, nano = unpack('<dd', ARGV[7])
  if tokens > 0 then
    expire(account)
    if own then expire(own) end
    if account.t + tokens > tpm then
      return refused({ 'tokens', 'account', tpm, tokens, wait_for_tokens(account, tpm, tokens) })
    end
    if own and own.t + tokens > key_tpm then
      return refused({ 'tokens', 'key', key_tpm, tokens, wait_for_tokens(own, key_tpm, tokens) })
    end
  end
  if nano > 0 and bounded then
    local m = load(key)
    if not m then return UNKNOWN end
    local held = call('HGET', KEYS[5], request)
    local had = held and tonumber(string.match(held, '^%d+')) or 0
    local bound = refuse_money(m, nano, had)
    if bound and purge(account) then
      m = load(key)
      held = call('HGET', KEYS[5], request)
      had = held and tonumber(string.match(held, '^%d+')) or 0
      bound = refuse_money(m, nano, had)
    end
    if bound then return refused(bound) end
    hold(m, nano, had)
  end
  local entry, own_entry = 0, 0
  if tokens > 0 then
    entry = add(account, 0, tokens, rpm)
    if own then own_entry = add(own, 0, tokens, key_rpm) end
  end
  return granted_at(entry, own_entry)
end

-- 7 what is held and the cost
local function cover()
  local had, cost = unpack('<dd', ARGV[7])
  if not bounded then return pack('<d', cost) end
  local m = load(key)
  if not m then return pack('<d', had) end
  local excess = cost - had
  for _, left in ipairs({ (granted - m.bd) * 1000000000 + (granted_nano - m.bn) - m.s - m.h, cap - m.in_month - m.h,
    key_day_cap - m.in_key_day - m.key_h, key_month_cap - m.in_key_month - m.key_h }) do
    if left < excess then excess = left end
  end
  excess = math.max(0, excess)
  if excess > 0 then
    local held = call('HGET', KEYS[5], request)
    hold(m, excess, held and tonumber(string.match(held, '^%d+')) or 0)
  end
  return pack('<d', had + excess)
end

-- Pairs of a request and the nano-dollars held for it, from 6 on: its slot goes on, and its hold if it was lost.
local function renew()
  local known = bounded and call('HGET', KEYS[4], 'g') == gen
  for place = 6, #ARGV, 2 do
    local of, nano = ARGV[place], tonumber(ARGV[place + 1])
    call('ZADD', account.leases, now + LEASE, of)
    if own then call('ZADD', own.leases, now + LEASE, of) end
    if bounded and nano > 0 and call('HEXISTS', KEYS[5], of) == 0 then
      call('HSET', KEYS[5], of, string.format('%.0f %s', nano, key))
      if known then
        call('HINCRBY', KEYS[4], 'h', nano)
        call('HINCRBY', KEYS[4], 'h:' .. key, nano)
      end
    end
  end
  call('EXPIRE', account.leases, MONEY_TTL)
  if own then call('EXPIRE', own.leases, WINDOW_TTL) end
  if bounded then touch() end
  return 1
end

-- What is held by those who run, which the ledger does not know, and from then on the money counts.
local function open_money()
  local held, of_keys = 0, {}
  local all = call('HGETALL', KEYS[5])
  for at = 2, #all, 2 do
    if call('ZSCORE', account.leases, all[at - 1]) then
      local nano, whose = string.match(all[at], '^(%d+) (.*)$')
      held = held + nano
      of_keys[whose] = (of_keys[whose] or 0) + nano
    else
      call('HDEL', KEYS[5], all[at - 1]) -- of a Redis that came back older than it was
    end
  end
  for whose, nano in pairs(of_keys) do call('HSET', KEYS[4], 'h:' .. whose, nano) end
  call('HDEL', KEYS[4], 'b', 'bt')
  call('HSET', KEYS[4], 'h', held, 'g', gen)
  touch()
  return 1
end

-- 6 who begins, 7 the UTC day of the ledger's figure, 8 whether more keys will come, 9 how many follow with what each spent
-- in the day and the month; behind them in the first part what the account spent in dollars and nano-dollars, and in the
-- month, and how far the ledger has followed each journal. Answers 1: the money is here, 0: the next part, 2: another
-- begins it. What is settled meanwhile waits with the rest.
local function begin()
  local state, whose, began = spread(call('HMGET', KEYS[4], 'g', 'b', 'bt'))
  if state == gen then return 1 end
  local token, as_of, place = ARGV[6], tonumber(ARGV[7]), 10 + 3 * ARGV[9]
  local that_month = month_of(as_of)
  wanted = '~' .. gen
  local others = state == wanted and whose ~= token
  if ARGV[place] then
    if others and math.abs(now - began) < BEGIN_SECONDS then return 2 end
    call('DEL', KEYS[4])
    local words = { 'g', wanted, 'b', token, 'bt', now, 'bd', ARGV[place], 'bn', ARGV[place + 1], 's', 0, 'M', that_month,
      'm', ARGV[place + 2] }
    for at = place + 3, #ARGV, 2 do
      words[#words + 1] = 'n:' .. ARGV[at]
      words[#words + 1] = ARGV[at + 1]
    end
    call('HSET', KEYS[4], spread(words))
    account.money = 1
    save(account)
  elseif others or state ~= wanted then
    return 2
  end
  local words = { 'bt', now }
  for at = 10, place - 1, 3 do
    for _, word in ipairs({ 'D:' .. ARGV[at], as_of, 'd:' .. ARGV[at], ARGV[at + 1], 'M:' .. ARGV[at], that_month,
      'm:' .. ARGV[at], ARGV[at + 2] }) do
      words[#words + 1] = word
    end
  end
  call('HSET', KEYS[4], spread(words))
  touch()
  if ARGV[8] == '1' then return 0 end
  local waiting, counted = call('ZRANGEBYSCORE', KEYS[6], '-inf', '+inf', 'LIMIT', 0, PART), {}
  for _, charged in ipairs(waiting) do
    local journal, at, cost, began_day, began_month, owes = string.match(charged, '^(%S+) (%d+) (%d+) (%d+) (%d+) (.*)$')
    at = tonumber(at)
    counted[journal] = counted[journal] or tonumber(call('HGET', KEYS[4], 'n:' .. journal) or 0)
    if at > counted[journal] then
      counted[journal] = at
      charge(load(owes, journal), journal, at, tonumber(cost), owes, tonumber(began_day), tonumber(began_month), 0)
    end
  end
  if #waiting > 0 then call('ZREM', KEYS[6], spread(waiting)) end
  if #waiting == PART then return 0 end
  return open_money()
end

-- 6 the journal, 7 cost, day and month it began in, number: of a request that is over
local function charge_later()
  local cost, began_day, began_month, at = unpack('<dddd', ARGV[7])
  local journal = ARGV[6]
  local m, begun = load(key, journal)
  if m then
    charge(m, journal, at, cost, key, began_day, began_month, 0)
  elseif bounded or begun then
    defer(journal, at, cost, key, began_day, began_month)
  end
  return 1
end

-- 7 requests and tokens that were granted while Redis was away
local function adopt()
  local requests, tokens = unpack('<dd', ARGV[7])
  for _, w in ipairs({ account, own or nil }) do
    expire(w)
    add(w, requests, tokens, 0)
  end
  return standing(1)
end

local function look()
  expire(account)
  if own then expire(own) end
  if bounded then purge(account) end
  local since = '(' .. string.format('%.17g', now)
  local seen = standing(1) .. pack('<dd', call('ZCOUNT', account.leases, since, '+inf'),
    own and call('ZCOUNT', own.leases, since, '+inf') or 0)
  local m = load(key)
  if not m then return seen end
  return seen .. pack('<ddddddddddd', m.bd, m.bn, m.s, m.h, m.month, m.in_month,
    m.key_day, m.in_key_day, m.key_month, m.in_key_month, m.key_h)
end

local rare = { top_up = top_up, cover = cover, renew = renew, begin = begin, charge = charge_later, adopt = adopt,
  look = look }
if not rare[op] then return redis.error_reply('techstone: no such operation') end
return rare[op]()

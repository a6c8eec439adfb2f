-- What `techstone.core.limits` decides, decided in Redis: on one clock, for any number of gateways, all or nothing.
--
-- The same rule by the same arithmetic: every number is an IEEE double in both, and kept with all its digits, so that
-- a test can hold the two equal to the last bit (tests/contract/test_limit_rules.py). Amounts are whole nano-dollars;
-- what an account was ever granted and spent is told in dollars and nano-dollars, since a double counts to 2^53.
--
-- KEYS  1 sums, 2 log and 3 leases of the account's window; 4 its money, 5 what is held for whom, 6 charges that wait
--       for the money; 7 8 9 as 1 2 3 of the key, where the key has limits of its own. All have the account's hash tag.
-- ARGV  1 operation, 2 the time ('': Redis's own; tests move it), 3 to 16 who asks (adapters/limits/script.py),
--       from 17 on what the operation needs. '' is None.

local SECONDS, LEASE = 60, 30
local MERGED_ABOVE, MERGED_SECONDS = 5000, 0.01
local CONCURRENCY_WAIT = 1
-- A clock that is corrected by less is as good as one that goes on; a test's calls of one moment may change places.
local SET_BACK = 1
-- A window is over in a minute, a lease in half of one. Money is kept for two days after the last touch: by then the
-- ledger has booked all of it, and tells it anew.
local WINDOW_TTL, MONEY_TTL = 120, 172800
local ENTRY = '<dddd' -- at, first, requests, tokens

local call = redis.call
local op, now = ARGV[1], ARGV[2]
if now == '' then
  local t = call('TIME')
  now = t[1] + t[2] / 1000000
else
  now = tonumber(now)
end

local function number(text)
  if text == '' or not text then return nil end
  return tonumber(text)
end

local function exact(value)
  return string.format('%.17g', value)
end

-- Windows

local function open(first)
  local w = { sums = KEYS[first], log = KEYS[first + 1], leases = KEYS[first + 2] }
  local v = call('HMGET', w.sums, 'r', 't', 'f', 'n', 'l')
  w.r, w.t = tonumber(v[1] or 0), tonumber(v[2] or 0)
  -- Entries are numbered; one that begins anew begins above all numbers that were ever given.
  w.f = tonumber(v[3] or math.floor(now * 1000000))
  w.n = tonumber(v[4] or w.f)
  w.last = tonumber(v[5] or 0) -- when the newest entry was made
  return w
end

local function save(w)
  call('HSET', w.sums, 'r', w.r, 't', w.t, 'f', w.f, 'n', w.n, 'l', exact(w.last))
  call('EXPIRE', w.sums, WINDOW_TTL)
  call('EXPIRE', w.log, WINDOW_TTL)
end

-- Redis's clock was set back: what it says was admitted later than now counts from now on, as long as ever, and not until
-- then and a minute more (row L-6).
local function set_back(w)
  for place = -1, w.f - w.n, -1 do
    local at, first, requests, tokens = struct.unpack(ENTRY, call('LINDEX', w.log, place))
    if at <= now then return end
    call('LSET', w.log, place, struct.pack(ENTRY, now, math.min(first, now), requests, tokens))
  end
end

local function expire(w)
  local size = 1
  if w.last > now + SET_BACK then
    set_back(w)
    w.last, w.changed = now, true
  end
  while w.f < w.n do
    local part = call('LRANGE', w.log, 0, size - 1)
    local gone = 0
    for _, entry in ipairs(part) do
      local at, _, requests, tokens = struct.unpack(ENTRY, entry)
      if at + SECONDS > now then break end
      gone = gone + 1
      w.r, w.t = w.r - requests, w.t - tokens
    end
    if gone > 0 then
      call('LTRIM', w.log, gone, -1)
      w.f = w.f + gone
      w.changed = true
    end
    if #part == 0 then w.f, w.r, w.t = w.n, 0, 0 end
    if gone < size then break end
    size = 64
  end
end

local function add(w, requests, tokens, limit)
  w.r, w.t = w.r + requests, w.t + tokens
  w.last, w.changed = now, true
  if limit > MERGED_ABOVE and w.f < w.n then
    local _, first, had, sum = struct.unpack(ENTRY, call('LINDEX', w.log, -1))
    if now - first < MERGED_SECONDS then
      call('LSET', w.log, -1, struct.pack(ENTRY, now, first, had + requests, sum + tokens))
      return w.n - 1
    end
  end
  call('RPUSH', w.log, struct.pack(ENTRY, now, now, requests, tokens))
  w.n = w.n + 1
  return w.n - 1
end

local function change(w, entry, by)
  if entry < w.f or entry >= w.n then return end
  local place = entry - w.f
  local at, first, requests, tokens = struct.unpack(ENTRY, call('LINDEX', w.log, place))
  call('LSET', w.log, place, struct.pack(ENTRY, at, first, requests, tokens + by))
  w.t = w.t + by
  w.changed = true
end

-- Return the wait until so much of `what` (3: requests, 4: tokens) has left the window; nil: it never will.
local function wait_for(w, excess, what)
  local start, part = 0, nil
  repeat
    part = call('LRANGE', w.log, start, start + 63)
    for _, entry in ipairs(part) do
      local fields = { struct.unpack(ENTRY, entry) }
      excess = excess - fields[what]
      if excess <= 0 then return math.min(SECONDS, fields[1] + SECONDS - now) end
    end
    start = start + 64
  until #part == 0
  return nil
end

local function wait_for_request(w, limit)
  local excess = w.r + 1 - limit
  if excess <= 0 then return 0 end
  return wait_for(w, excess, 3) or SECONDS
end

local function wait_for_tokens(w, limit, tokens)
  local excess = w.t + tokens - limit
  if excess <= 0 then return 0 end
  if tokens > limit then return nil end
  return wait_for(w, excess, 4)
end

local function reset(w)
  if w.f >= w.n then return 0 end
  local at = struct.unpack(ENTRY, call('LINDEX', w.log, -1))
  return math.max(0, at + SECONDS - now)
end

-- Money: `key` is the id of the key that asks

local gen, key, bounded = ARGV[9], ARGV[10], ARGV[16] == '1'
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

local function load(of)
  local v = call('HMGET', KEYS[4], 'g', 'bd', 'bn', 's', 'h', 'M', 'm',
    'D:' .. of, 'd:' .. of, 'M:' .. of, 'm:' .. of, 'h:' .. of)
  if v[1] ~= gen then return nil end
  local m = { bd = tonumber(v[2]), bn = tonumber(v[3]), s = tonumber(v[4] or 0), h = tonumber(v[5] or 0) }
  m.month, m.in_month = tonumber(v[6] or month), tonumber(v[7] or 0)
  m.key_day, m.in_key_day = tonumber(v[8] or day), tonumber(v[9] or 0)
  m.key_month, m.in_key_month = tonumber(v[10] or month), tonumber(v[11] or 0)
  m.key_h = tonumber(v[12] or 0)
  if month > m.month then m.month, m.in_month = month, 0 end
  if day > m.key_day then m.key_day, m.in_key_day = day, 0 end
  if month > m.key_month then m.key_month, m.in_key_month = month, 0 end
  return m
end

-- Return what each bound leaves: {left, axis, scope, what is told as the limit}.
local function room(m)
  local found = {}
  local dollars, nano = number(ARGV[11]), number(ARGV[12])
  if dollars then
    local left = (dollars - m.bd) * 1000000000 + (nano - m.bn) - m.s - m.h
    found[#found + 1] = { left, 'credit', 'account', math.max(0, left) }
  end
  local cap = number(ARGV[13])
  if cap then found[#found + 1] = { cap - m.in_month - m.h, 'monthly_cap', 'account', cap } end
  cap = number(ARGV[14])
  if cap then found[#found + 1] = { cap - m.in_key_day - m.key_h, 'daily_cap', 'key', cap } end
  cap = number(ARGV[15])
  if cap then found[#found + 1] = { cap - m.in_key_month - m.key_h, 'monthly_cap', 'key', cap } end
  return found
end

local function refuse_money(m, nano)
  for _, bound in ipairs(room(m)) do
    if bound[1] < nano then return { bound[2], bound[3], bound[4], nano, nil } end
  end
  return nil
end

local function touch()
  for place = 4, 6 do call('EXPIRE', KEYS[place], MONEY_TTL) end
end

-- What is held is written as 'nano key'.
local function hold(request, nano, known)
  local held = call('HGET', KEYS[5], request)
  held = held and tonumber(string.match(held, '^%d+')) or 0
  call('HSET', KEYS[5], request, string.format('%.0f %s', held + nano, key))
  if known then
    call('HINCRBY', KEYS[4], 'h', nano)
    call('HINCRBY', KEYS[4], 'h:' .. key, nano)
  end
  touch()
end

local function release(request)
  local held = call('HGET', KEYS[5], request)
  if not held then return end
  call('HDEL', KEYS[5], request)
  local nano, whose = string.match(held, '^(%d+) (.*)$')
  if call('HEXISTS', KEYS[4], 'h') == 1 then
    call('HINCRBY', KEYS[4], 'h', '-' .. nano)
    call('HINCRBY', KEYS[4], 'h:' .. whose, '-' .. nano)
  end
end

-- Count a cost that began in a period, once: a journal's numbers only rise.
local function charge(journal, at, cost, of, began_day, began_month)
  if at <= tonumber(call('HGET', KEYS[4], 'n:' .. journal) or 0) then return end
  local m = load(of)
  call('HSET', KEYS[4], 'n:' .. journal, at,
    'M', m.month, 'm', m.in_month + (began_month == m.month and cost or 0),
    'D:' .. of, m.key_day, 'd:' .. of, m.in_key_day + (began_day == m.key_day and cost or 0),
    'M:' .. of, m.key_month, 'm:' .. of, m.in_key_month + (began_month == m.key_month and cost or 0))
  call('HINCRBY', KEYS[4], 's', cost)
end

local function book(journal, at, cost, of, began_day, began_month)
  if call('HGET', KEYS[4], 'g') == gen then
    charge(journal, at, cost, of, began_day, began_month)
  elseif bounded then
    call('HSET', KEYS[6], journal .. ':' .. exact(at), string.format('%.0f %d %d %s', cost, began_day, began_month, of))
  end
  touch()
end

-- Leases

local function purge(w)
  -- Of before the clock was set back: nobody has a slot for longer than a lease from now on.
  for _, request in ipairs(call('ZRANGEBYSCORE', w.leases, '(' .. exact(now + LEASE), '+inf')) do
    call('ZADD', w.leases, now + LEASE, request)
  end
  if w.leases == KEYS[3] then
    for _, request in ipairs(call('ZRANGEBYSCORE', w.leases, '-inf', now)) do release(request) end
  end
  call('ZREMRANGEBYSCORE', w.leases, '-inf', now)
end

local function has_slot(w, limit)
  if call('ZCARD', w.leases) < limit then return true end
  purge(w)
  return call('ZCARD', w.leases) < limit
end

local function lease(w, request)
  call('ZADD', w.leases, now + LEASE, request)
  call('EXPIRE', w.leases, WINDOW_TTL)
end

-- Verdicts

local account = open(1)
local own = KEYS[7] and open(7)

local function standing(reply)
  if account.changed then save(account) end
  if own and own.changed then save(own) end
  reply[#reply + 1] = account.r
  reply[#reply + 1] = account.t
  reply[#reply + 1] = exact(reset(account))
  reply[#reply + 1] = own and own.r or 0
  reply[#reply + 1] = own and own.t or 0
  reply[#reply + 1] = own and exact(reset(own)) or '0'
  return reply
end

local function refused(refusal)
  local wait = refusal[5]
  return standing({ 0, refusal[1], refusal[2], exact(refusal[3]), exact(refusal[4]), wait and exact(wait) or '' })
end

local UNKNOWN = { 2 }

-- Return why the limits of an account or a key refuse, the reason that lasts longest, or nil.
local function refuse_within(scope, w, place, tokens, worst)
  local function take(refusal)
    if not worst or (refusal[5] or math.huge) > (worst[5] or math.huge) then worst = refusal end
  end
  local rpm, tpm, concurrent = number(ARGV[place]), number(ARGV[place + 1]), number(ARGV[place + 2])
  if rpm and w.r >= rpm then take({ 'requests', scope, rpm, 1, wait_for_request(w, rpm) }) end
  if tpm and w.t + tokens > tpm then take({ 'tokens', scope, tpm, tokens, wait_for_tokens(w, tpm, tokens) }) end
  if concurrent and not has_slot(w, concurrent) then
    take({ 'concurrency', scope, concurrent, 1, CONCURRENCY_WAIT })
  end
  return worst
end

local function admit(request, tokens, nano, takes)
  expire(account)
  if own then expire(own) end
  local m = nil
  if nano > 0 and bounded then
    purge(account)
    m = load(key)
    if not m then return UNKNOWN end
  end
  local worst = refuse_within('account', account, 3, tokens, nil)
  if own then worst = refuse_within('key', own, 6, tokens, worst) end
  if m then
    local bound = refuse_money(m, nano)
    if bound and (not worst or worst[5]) then worst = bound end
  end
  if worst then return refused(worst) end
  if not takes then return standing({ 1 }) end
  local entry = add(account, 1, tokens, tonumber(ARGV[3]))
  lease(account, request)
  local own_entry = 0
  if own then
    own_entry = add(own, 1, tokens, number(ARGV[6]) or 0)
    lease(own, request)
  end
  if m then hold(request, nano, true) end
  return standing({ 1, entry, own_entry, day, month })
end

local function top_up(request, tokens, nano)
  if tokens > 0 then
    expire(account)
    if own then expire(own) end
    local tpm = tonumber(ARGV[4])
    if account.t + tokens > tpm then
      return refused({ 'tokens', 'account', tpm, tokens, wait_for_tokens(account, tpm, tokens) })
    end
    tpm = own and number(ARGV[7])
    if tpm and own.t + tokens > tpm then
      return refused({ 'tokens', 'key', tpm, tokens, wait_for_tokens(own, tpm, tokens) })
    end
  end
  if nano > 0 and bounded then
    purge(account)
    local m = load(key)
    if not m then return UNKNOWN end
    local bound = refuse_money(m, nano)
    if bound then return refused(bound) end
    hold(request, nano, true)
  end
  local entry, own_entry = 0, 0
  if tokens > 0 then
    entry = add(account, 0, tokens, tonumber(ARGV[3]))
    if own then own_entry = add(own, 0, tokens, number(ARGV[6]) or 0) end
  end
  return standing({ 1, entry, own_entry, day, month })
end

local function cover(request, held, cost)
  if not bounded then return { 1, exact(cost) } end
  local m = load(key)
  if not m then return { 1, exact(held) } end
  local excess = cost - held
  for _, bound in ipairs(room(m)) do excess = math.min(excess, bound[1]) end
  excess = math.max(0, excess)
  if excess > 0 then hold(request, excess, true) end
  return { 1, exact(held + excess) }
end

-- Lower the reservation to the true figure, the newest first; where more came than was reserved, count that too.
local function correct(w, by, first, count)
  if by > 0 then
    add(w, 0, by, 0)
    return
  end
  for place = first + 2 * (count - 1), first, -2 do
    if by == 0 then return end
    local lowered = math.max(by, -tonumber(ARGV[place + 1]))
    change(w, tonumber(ARGV[place]), lowered)
    by = by - lowered
  end
end

-- 17 request, 18 change of tokens, 19 cost, 20 21 the period it began in, 22 23 journal and number, 24 how many entries
-- follow of the account; the same of the key behind them. A second time it finds no lease, and a number that is counted.
local function settle()
  local request, by, cost = ARGV[17], tonumber(ARGV[18]), tonumber(ARGV[19])
  if call('ZREM', KEYS[3], request) == 1 then
    expire(account)
    local count = tonumber(ARGV[24])
    correct(account, by, 25, count)
    if own then
      call('ZREM', own.leases, request)
      expire(own)
      local first = 25 + 2 * count
      correct(own, by, first + 1, tonumber(ARGV[first]))
    end
  end
  release(request)
  if cost > 0 then
    book(ARGV[22], tonumber(ARGV[23]), cost, key, tonumber(ARGV[20]), tonumber(ARGV[21]))
  end
  return standing({ 1 })
end

-- Pairs of a request and the nano-dollars held for it, from 17 on: its slot goes on, and its hold if it was lost.
local function renew()
  for place = 17, #ARGV, 2 do
    local request, nano = ARGV[place], tonumber(ARGV[place + 1])
    lease(account, request)
    if own then lease(own, request) end
    if bounded and nano > 0 and call('HEXISTS', KEYS[5], request) == 0 then
      hold(request, nano, call('HGET', KEYS[4], 'g') == gen)
    end
  end
  if bounded then touch() end
  return { 1 }
end

-- 17 18 the ledger's figure in dollars and nano-dollars, 19 its day, 20 spent in its month, 21 how many keys follow
-- with what each spent in the day and the month; behind them how far the ledger has followed each journal.
local function begin()
  if call('HGET', KEYS[4], 'g') == gen then return { 1 } end
  call('DEL', KEYS[4])
  local as_of = tonumber(ARGV[19])
  local that_month = month_of(as_of)
  call('HSET', KEYS[4], 'g', gen, 'bd', ARGV[17], 'bn', ARGV[18], 's', 0, 'M', that_month, 'm', ARGV[20])
  local place = 22
  for _ = 1, tonumber(ARGV[21]) do
    local whose = ARGV[place]
    call('HSET', KEYS[4], 'D:' .. whose, as_of, 'd:' .. whose, ARGV[place + 1],
      'M:' .. whose, that_month, 'm:' .. whose, ARGV[place + 2])
    place = place + 3
  end
  for at = place, #ARGV, 2 do call('HSET', KEYS[4], 'n:' .. ARGV[at], ARGV[at + 1]) end
  local held = 0
  local all = call('HGETALL', KEYS[5])
  for at = 2, #all, 2 do
    if call('ZSCORE', KEYS[3], all[at - 1]) then
      local nano, whose = string.match(all[at], '^(%d+) (.*)$')
      held = held + tonumber(nano)
      call('HINCRBY', KEYS[4], 'h:' .. whose, nano)
    else
      call('HDEL', KEYS[5], all[at - 1]) -- of a Redis that came back older than it was
    end
  end
  call('HSET', KEYS[4], 'h', held)
  local waiting = {}
  all = call('HGETALL', KEYS[6])
  for at = 1, #all, 2 do
    local journal, numbered = string.match(all[at], '^(.*):(.-)$')
    waiting[#waiting + 1] = { journal, tonumber(numbered), all[at + 1] }
  end
  table.sort(waiting, function(one, other) return one[2] < other[2] end)
  for _, found in ipairs(waiting) do
    local cost, began_day, began_month, whose = string.match(found[3], '^(%d+) (%d+) (%d+) (.*)$')
    charge(found[1], found[2], tonumber(cost), whose, tonumber(began_day), tonumber(began_month))
  end
  call('DEL', KEYS[6])
  touch()
  return { 1 }
end

local function look()
  expire(account)
  if own then expire(own) end
  local reply = standing({ 1 })
  local since = '(' .. exact(now)
  reply[#reply + 1] = call('ZCOUNT', KEYS[3], since, '+inf')
  reply[#reply + 1] = own and call('ZCOUNT', own.leases, since, '+inf') or 0
  local m = load(key)
  if m then
    for _, value in ipairs({ m.bd, m.bn, m.s, m.h, m.month, m.in_month,
      m.key_day, m.in_key_day, m.key_month, m.in_key_month, m.key_h }) do
      reply[#reply + 1] = exact(value)
    end
  end
  return reply
end

if op == 'admit' or op == 'consider' then
  return admit(ARGV[17], tonumber(ARGV[18]), tonumber(ARGV[19]), op == 'admit')
elseif op == 'top_up' then
  return top_up(ARGV[17], tonumber(ARGV[18]), tonumber(ARGV[19]))
elseif op == 'cover' then
  return cover(ARGV[17], tonumber(ARGV[18]), tonumber(ARGV[19]))
elseif op == 'settle' then
  return settle()
elseif op == 'renew' then
  return renew()
elseif op == 'begin' then
  return begin()
elseif op == 'charge' then -- 17 18 the period it began in, 19 20 journal and number, 21 cost: of a request that is over
  book(ARGV[19], tonumber(ARGV[20]), tonumber(ARGV[21]), key, tonumber(ARGV[17]), tonumber(ARGV[18]))
  return { 1 }
elseif op == 'adopt' then -- 17 18 requests and tokens that were granted while Redis was away
  expire(account)
  add(account, tonumber(ARGV[17]), tonumber(ARGV[18]), 0)
  if own then
    expire(own)
    add(own, tonumber(ARGV[17]), tonumber(ARGV[18]), 0)
  end
  return standing({ 1 })
elseif op == 'look' then
  return look()
end
return redis.error_reply('techstone: no such operation')

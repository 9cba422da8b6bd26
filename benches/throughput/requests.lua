-- Requests for wrk, and its result as one line of JSON.
--
--   wrk … -s requests.lua URL -- (events|alerts) (repeating|fresh) KEYS RUN [ROUTING_KEY] [count]
--
-- `events` are Events API V2 triggers, `alerts` is Alertmanager's API v2, one alert a request.
-- `repeating` goes round KEYS keys, `fresh` never sends a key twice; RUN makes keys of one run differ
-- from those of another. With `count` every answer's status is counted: that makes wrk slower, so it
-- is for the warm-up and not for what is measured.

local threads = {}

function setup(thread)
   thread:set("number", #threads)
   table.insert(threads, thread)
end

local what, mode, keys, run, routing_key
local prepared, sent = {}, 0
statuses = ""

local function event(key)
   return string.format(
      '{"routing_key":"%s","event_action":"trigger","dedup_key":"%s","client":"bench","client_url":"https://monitor.example.com/checks/%s",'
         .. '"payload":{"summary":"DISK at 99%% on %s, 1%% free on /var/lib/mysql","source":"%s.example.com","severity":"error",'
         .. '"component":"mysql","group":"prod-datapipe","class":"disk","timestamp":"2026-01-02T03:04:05.678Z",'
         .. '"custom_details":{"free space":"1%%","ping time":"1500ms","load avg":0.75,"mount":"/var/lib/mysql","runbook":"https://wiki.example.com/disk"}}}',
      routing_key, key, key, key, key)
end

local function alert(key)
   return string.format(
      '[{"labels":{"alertname":"DiskFull","severity":"error","instance":"%s.example.com","job":"mysql","group":"prod-datapipe"},'
         .. '"annotations":{"summary":"DISK at 99%% on %s, 1%% free on /var/lib/mysql","free_space":"1%%","ping_time":"1500ms","load_avg":"0.75",'
         .. '"mount":"/var/lib/mysql","runbook":"https://wiki.example.com/disk"},"generatorURL":"https://monitor.example.com/checks/%s"}]',
      key, key, key)
end

local function body(key)
   if what == "alerts" then
      return alert(key)
   end
   return event(key)
end

function init(arguments)
   what, mode, keys, run, routing_key = arguments[1], arguments[2], tonumber(arguments[3]), arguments[4], arguments[5]
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
   if mode == "repeating" then
      for index = 1, keys do
         prepared[index] = wrk.format(nil, nil, nil, body(string.format("host-%05d", index)))
      end
      -- Threads begin at different keys, so that they do not send the same one at the same time.
      sent = number * 37
   end
   if arguments[6] == "count" then
      local counts = {}
      function response(status)
         counts[status] = (counts[status] or 0) + 1
         local lines = {}
         for code, count in pairs(counts) do
            lines[#lines + 1] = string.format("%d=%d", code, count)
         end
         statuses = table.concat(lines, " ")
      end
   end
end

function request()
   sent = sent + 1
   if mode == "repeating" then
      return prepared[sent % keys + 1]
   end
   return wrk.format(nil, nil, nil, body(string.format("%s-%d-%08d", run, number, sent)))
end

function done(summary, latency)
   local by_status = {}
   for _, thread in ipairs(threads) do
      for code, count in string.gmatch(thread:get("statuses"), "(%d+)=(%d+)") do
         by_status[code] = (by_status[code] or 0) + tonumber(count)
      end
   end
   local counted = {}
   for code, count in pairs(by_status) do
      counted[#counted + 1] = string.format('"%s":%d', code, count)
   end
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"refused":%d,"failed":%d,"statuses":{%s}}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout, table.concat(counted, ",")))
end

-- wrk: 400-byte callbacks of Tencent, each to one of 1000 groups. Each has a different time; equal bodies would be copies.
local target = "/tencent?SdkAppid=1400000000&CallbackCommand=Group.CallbackAfterCreateGroup&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI"
local headers = { ["Content-Type"] = "application/json" }
local heads, tails = {}, {}
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init()
  for group = 1, 1000 do
    local body = string.format('{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"@TGS#%08d","Operator_Account":"group_root","Owner_Account":"leckie","Type":"Public","Name":"MyFirstGroup","MemberList":[{"Member_Account":"bob"},{"Member_Account":"peter"}],"UserDefinedDataList":[{"Key":"UserDefined1","Value":"hello"},{"Key":"UserDefined2","Value":"world"}],"EventTime":"1670574414123","Pad":"%09d"}', group, os.time() % 1000000000)
    heads[group], tails[group] = wrk.format("POST", target, headers, body):match("^(.*)1670574414123(.*)$")
  end
end

local n = 0
function request()
  n = n + 1
  local group = n % 1000 + 1
  return heads[group] .. string.format("1%02d%010d", number, n) .. tails[group]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end

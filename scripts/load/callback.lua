-- wrk: one 400-byte callback of Tencent, each request to one of 1000 groups.
local target = "/tencent?SdkAppid=1400000000&CallbackCommand=Group.CallbackAfterCreateGroup&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI"
local headers = { ["Content-Type"] = "application/json" }
local requests = {}

function init()
  for group = 1, 1000 do
    local body = string.format('{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"@TGS#%08d","Operator_Account":"group_root","Owner_Account":"leckie","Type":"Public","Name":"MyFirstGroup","MemberList":[{"Member_Account":"bob"},{"Member_Account":"peter"}],"UserDefinedDataList":[{"Key":"UserDefined1","Value":"hello"},{"Key":"UserDefined2","Value":"world"}],"EventTime":"1670574414123","Pad":"%s"}', group, string.rep("x", 9))
    requests[group] = wrk.format("POST", target, headers, body)
  end
end

local n = 0
function request()
  n = n % 1000 + 1
  return requests[n]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end

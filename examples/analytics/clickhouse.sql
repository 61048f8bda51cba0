-- Questions to the timeline's table in ClickHouse, as `imbridge schemas ddl --for clickhouse timeline` makes it. FINAL leaves out
-- what Kafka has twice. Hours and days are in UTC, by the time at which it happened; of arrival, where the IM server does not say that.

-- How many messages does each group get, hour by hour?
SELECT toStartOfHour(coalesce(event_time, received_at)) AS hour, app, group_id, count() AS messages
FROM timeline FINAL
WHERE kind = 'message.sent' AND group_id IS NOT NULL
GROUP BY hour, app, group_id
ORDER BY hour, messages DESC, app, group_id;

-- How many groups talk, and how many people in them, day by day?
SELECT toDate(coalesce(event_time, received_at)) AS day, app, uniqExact(group_id) AS groups, uniqExact(actor) AS people
FROM timeline FINAL
WHERE kind = 'message.sent' AND group_id IS NOT NULL
GROUP BY day, app
ORDER BY day, app;

-- Do groups grow? Those that joined against those that left, the largest loss first.
SELECT app, group_id,
  sumIf(length(targets), kind = 'members.joined') AS joined,
  sumIf(length(targets), kind = 'members.left') AS gone
FROM timeline FINAL
WHERE kind IN ('members.joined', 'members.left')
GROUP BY app, group_id
ORDER BY joined - gone, app, group_id;

-- Queries over the timeline's table in ClickHouse, which `imbridge schemas ddl --for clickhouse timeline` creates. FINAL removes
-- what Kafka has twice. Hours and days are in UTC. They use the time at which the event happened, or the time of arrival if
-- the IM server does not report it.

-- How many messages does each group get in each hour?
SELECT toStartOfHour(coalesce(event_time, received_at)) AS hour, app, group_id, count() AS messages
FROM timeline FINAL
WHERE kind = 'message.sent' AND group_id IS NOT NULL
GROUP BY hour, app, group_id
ORDER BY hour, messages DESC, app, group_id;

-- How many groups have messages each day, and how many people write them?
SELECT toDate(coalesce(event_time, received_at)) AS day, app, uniqExact(group_id) AS groups, uniqExact(actor) AS people
FROM timeline FINAL
WHERE kind = 'message.sent' AND group_id IS NOT NULL
GROUP BY day, app
ORDER BY day, app;

-- Do groups grow? Members that joined and that left, the largest loss first.
SELECT app, group_id,
  sumIf(length(targets), kind = 'members.joined') AS joined,
  sumIf(length(targets), kind = 'members.left') AS gone
FROM timeline FINAL
WHERE kind IN ('members.joined', 'members.left')
GROUP BY app, group_id
ORDER BY joined - gone, app, group_id;

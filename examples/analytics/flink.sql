-- Queries over the timeline's table in Flink SQL, which `imbridge schemas ddl --for flink timeline` creates. A query does not end.
-- It gives a row when a window has ended. Windows use the time of arrival, in UTC.

-- How many messages does each group get in each hour?
SELECT window_start, app, group_id, COUNT(DISTINCT event_id) AS messages
FROM TABLE(TUMBLE(TABLE timeline, DESCRIPTOR(received_at), INTERVAL '1' HOUR))
WHERE kind = 'message.sent' AND group_id IS NOT NULL
GROUP BY window_start, window_end, app, group_id;

-- How many groups have messages each day, and how many people write them?
SELECT window_start, app, COUNT(DISTINCT group_id) AS talking, COUNT(DISTINCT actor) AS people
FROM TABLE(TUMBLE(TABLE timeline, DESCRIPTOR(received_at), INTERVAL '1' DAY))
WHERE kind = 'message.sent' AND group_id IS NOT NULL
GROUP BY window_start, window_end, app;

-- Do groups grow? Members that joined and that left, each day.
SELECT window_start, app, group_id,
  SUM(CASE WHEN kind = 'members.joined' THEN CARDINALITY(targets) ELSE 0 END) AS joined,
  SUM(CASE WHEN kind = 'members.left' THEN CARDINALITY(targets) ELSE 0 END) AS gone
FROM TABLE(TUMBLE(TABLE timeline, DESCRIPTOR(received_at), INTERVAL '1' DAY))
WHERE kind IN ('members.joined', 'members.left')
GROUP BY window_start, window_end, app, group_id;

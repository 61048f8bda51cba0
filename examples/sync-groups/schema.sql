-- A copy of the groups of all apps, and the offsets up to which the timeline was read.

CREATE TABLE groups (
    app text NOT NULL,          -- ids are unique within an app only
    id text NOT NULL,
    owner text,                 -- null if the group has none
    attributes jsonb NOT NULL,  -- name, introduction, notification, picture; custom: what the app stores with the group
    members text[] NOT NULL,
    position text NOT NULL,     -- spool/seq.part of the last event that changed the row
    PRIMARY KEY (app, id)
);

CREATE TABLE positions (
    partition int PRIMARY KEY,               -- of the timeline
    next_offset bigint NOT NULL DEFAULT -2,  -- where reading continues; -2 is the topic's beginning
    seen jsonb NOT NULL DEFAULT '{}'         -- for each spool, seq and part of the last applied event
);

-- Moments are UTC without a zone. {partitioned} is where PostgreSQL's events are parted by day.
CREATE TABLE events (
    id UUID NOT NULL, time TIMESTAMP NOT NULL, time_synced BOOLEAN NOT NULL, device TEXT NOT NULL,
    boot_id TEXT NOT NULL, seq BIGINT NOT NULL, track TEXT NOT NULL, phase TEXT NOT NULL,
    changed BOOLEAN NOT NULL, emotion TEXT NOT NULL, confidence REAL NOT NULL, model TEXT NOT NULL,
    degraded BOOLEAN NOT NULL, latency_ms REAL NOT NULL, seen_ms BIGINT, read_ms BIGINT, dominant TEXT,
    delayed BOOLEAN NOT NULL, PRIMARY KEY (id, time)
) {partitioned};
CREATE TABLE summaries (
    id UUID PRIMARY KEY, start TIMESTAMP NOT NULL, time TIMESTAMP NOT NULL, time_synced BOOLEAN NOT NULL,
    device TEXT NOT NULL, boot_id TEXT NOT NULL, seq BIGINT NOT NULL, visits BIGINT NOT NULL,
    dominant TEXT NOT NULL, lengths TEXT NOT NULL, seen_ms BIGINT NOT NULL, read_ms BIGINT NOT NULL,
    shares TEXT NOT NULL, people BIGINT NOT NULL, shown TEXT NOT NULL, delayed BOOLEAN NOT NULL
);
CREATE TABLE misfits (
    received TIMESTAMP NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL, payload {bytes} NOT NULL
);
CREATE TABLE availability (
    device TEXT NOT NULL, time TIMESTAMP NOT NULL, online BOOLEAN NOT NULL, PRIMARY KEY (device, time)
);
CREATE TABLE devices (
    device TEXT PRIMARY KEY, site TEXT, last_seen TIMESTAMP, release TEXT, fps REAL, degraded BOOLEAN,
    dropped BIGINT, online BOOLEAN
);
CREATE TABLE boots (
    device TEXT NOT NULL, boot_id TEXT NOT NULL, kind TEXT NOT NULL, since TIMESTAMP NOT NULL,
    lowest BIGINT NOT NULL, highest BIGINT NOT NULL, arrived BIGINT NOT NULL,
    PRIMARY KEY (device, boot_id, kind)
);
CREATE TABLE event_hours (
    device TEXT NOT NULL, hour TIMESTAMP NOT NULL, emotion TEXT NOT NULL, events BIGINT NOT NULL,
    delayed BIGINT NOT NULL, degraded BIGINT NOT NULL, PRIMARY KEY (device, hour, emotion)
);
CREATE TABLE visit_hours (
    device TEXT NOT NULL, hour TIMESTAMP NOT NULL, content TEXT NOT NULL, visits BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL, people BIGINT NOT NULL, PRIMARY KEY (device, hour, content)
);
CREATE TABLE dominant_hours (
    device TEXT NOT NULL, hour TIMESTAMP NOT NULL, content TEXT NOT NULL, emotion TEXT NOT NULL,
    visits BIGINT NOT NULL, PRIMARY KEY (device, hour, content, emotion)
);
CREATE TABLE expression_hours (
    device TEXT NOT NULL, hour TIMESTAMP NOT NULL, emotion TEXT NOT NULL, read_ms BIGINT NOT NULL,
    PRIMARY KEY (device, hour, emotion)
);
CREATE TABLE length_hours (
    device TEXT NOT NULL, hour TIMESTAMP NOT NULL, from_s BIGINT NOT NULL, visits BIGINT NOT NULL,
    PRIMARY KEY (device, hour, from_s)
);
CREATE TABLE device_minutes (
    device TEXT NOT NULL, minute TIMESTAMP NOT NULL, degraded BOOLEAN NOT NULL, PRIMARY KEY (device, minute)
);
CREATE TABLE device_hours (
    device TEXT NOT NULL, hour TIMESTAMP NOT NULL, minutes BIGINT NOT NULL, degraded BIGINT NOT NULL,
    PRIMARY KEY (device, hour)
);
CREATE TABLE rules (least_visits BIGINT NOT NULL, smile TEXT NOT NULL);
INSERT INTO rules VALUES (30, 'happy');

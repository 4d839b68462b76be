-- Days (UTC) of a device, for views over all time: an hour's row each would be read 24 times as often.
CREATE TABLE visit_days (
    device TEXT NOT NULL, day TIMESTAMP NOT NULL, content TEXT NOT NULL, visits BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL, people BIGINT NOT NULL, PRIMARY KEY (device, day, content)
);
CREATE TABLE dominant_days (
    device TEXT NOT NULL, day TIMESTAMP NOT NULL, content TEXT NOT NULL, emotion TEXT NOT NULL,
    visits BIGINT NOT NULL, PRIMARY KEY (device, day, content, emotion)
);
CREATE TABLE expression_days (
    device TEXT NOT NULL, day TIMESTAMP NOT NULL, emotion TEXT NOT NULL, read_ms BIGINT NOT NULL,
    PRIMARY KEY (device, day, emotion)
);
CREATE TABLE length_days (
    device TEXT NOT NULL, day TIMESTAMP NOT NULL, from_s BIGINT NOT NULL, visits BIGINT NOT NULL,
    PRIMARY KEY (device, day, from_s)
);
INSERT INTO visit_days
SELECT device, date_trunc('day', hour), content, sum(visits), sum(seen_ms), max(people)
FROM visit_hours GROUP BY 1, 2, 3;
INSERT INTO dominant_days
SELECT device, date_trunc('day', hour), content, emotion, sum(visits) FROM dominant_hours GROUP BY 1, 2, 3, 4;
INSERT INTO expression_days
SELECT device, date_trunc('day', hour), emotion, sum(read_ms) FROM expression_hours GROUP BY 1, 2, 3;
INSERT INTO length_days
SELECT device, date_trunc('day', hour), from_s, sum(visits) FROM length_hours GROUP BY 1, 2, 3;

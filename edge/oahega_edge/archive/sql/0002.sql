-- The views of docs/insight.md. 3.8414588206941254 is the square of 1.959963984540054: two-sided 95 %.
CREATE VIEW places AS
SELECT device, coalesce(site, device) AS site FROM devices;

CREATE VIEW visits_per_hour AS
SELECT p.site, v.hour, sum(v.visits) AS visits, sum(v.seen_ms) / 1000.0 AS seen_s, max(v.people) AS people
FROM visit_hours v JOIN places p ON p.device = v.device
WHERE v.content = ''
GROUP BY p.site, v.hour;

CREATE VIEW dwell AS
SELECT p.site, l.from_s, sum(l.visits) AS visits
FROM length_hours l JOIN places p ON p.device = l.device
GROUP BY p.site, l.from_s;

CREATE VIEW mean_dwell AS
SELECT site, sum(visits) AS visits,
    CASE WHEN sum(visits) >= (SELECT least_visits FROM rules) THEN sum(seen_s) / sum(visits) END AS mean_s
FROM visits_per_hour
GROUP BY site;

CREATE VIEW expression_shares AS
SELECT site, emotion, read_s, read_s / sum(read_s) OVER (PARTITION BY site) AS share
FROM (
    SELECT p.site, e.emotion, sum(e.read_ms) / 1000.0 AS read_s
    FROM expression_hours e JOIN places p ON p.device = e.device
    GROUP BY p.site, e.emotion
) AS summed
WHERE read_s > 0;

CREATE VIEW read_visits AS
SELECT p.site, d.content, sum(d.visits) AS visits,
    sum(CASE WHEN d.emotion = r.smile THEN d.visits ELSE 0 END) AS smiles
FROM dominant_hours d JOIN places p ON p.device = d.device CROSS JOIN rules r
GROUP BY p.site, d.content;

CREATE VIEW smile_rates AS
SELECT site, content, visits, smiles, rate,
    (rate + z2 / (2 * visits) - half) / (1 + z2 / visits) AS lowest,
    (rate + z2 / (2 * visits) + half) / (1 + z2 / visits) AS highest
FROM (
    SELECT site, content, visits, smiles, rate, z2,
        sqrt(z2 * rate * (1 - rate) / visits + z2 * z2 / (4.0 * visits * visits)) AS half
    FROM (
        SELECT v.site, v.content, v.visits, v.smiles, CAST(3.8414588206941254 AS DOUBLE PRECISION) AS z2,
            CASE WHEN v.visits >= r.least_visits THEN CAST(v.smiles AS DOUBLE PRECISION) / v.visits END AS rate
        FROM read_visits v CROSS JOIN rules r
        WHERE v.visits > 0
    ) AS rated
) AS spread;

CREATE VIEW smile_rate AS
SELECT site, visits, smiles, rate, lowest, highest FROM smile_rates WHERE content = '';

CREATE VIEW smile_rate_by_content AS
SELECT site, content, visits, smiles, rate, lowest, highest FROM smile_rates WHERE content <> '';

CREATE VIEW uptime AS
SELECT p.site, h.device, h.hour, h.minutes, h.minutes / 60.0 AS share, h.degraded AS degraded_minutes
FROM device_hours h JOIN places p ON p.device = h.device;

CREATE VIEW device_care AS
SELECT p.site, d.device, d.online, d.last_seen, d.release, d.degraded, d.dropped,
    coalesce(h.degraded_hours, 0) AS degraded_hours, coalesce(g.missing, 0) AS missing
FROM devices d JOIN places p ON p.device = d.device
LEFT JOIN (
    SELECT device, count(*) AS degraded_hours FROM device_hours WHERE degraded > 0 GROUP BY device
) AS h ON h.device = d.device
LEFT JOIN (
    SELECT device, sum(highest - lowest + 1 - arrived) AS missing FROM boots GROUP BY device
) AS g ON g.device = d.device;

CREATE VIEW gaps AS
SELECT device, boot_id, kind, since, highest - lowest + 1 - arrived AS missing
FROM boots
WHERE highest - lowest + 1 > arrived;

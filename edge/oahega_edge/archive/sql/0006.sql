-- place: 0 for the first start of a device that the store knows, whose beginning nobody may have listened to.
-- What was made counts once messages of a later start have come: a device sends in order.
CREATE VIEW boot_losses AS
SELECT device, boot_id, kind, since,
    CASE WHEN place < latest THEN greatest(highest, made - 1) ELSE highest END - arrived + 1
    - CASE WHEN place > 0 THEN 0 ELSE lowest END AS missing
FROM (
    SELECT b.device, b.boot_id, b.kind, b.since, b.lowest, b.highest, b.arrived, b.made, s.place, l.latest
    FROM boots b
    JOIN (SELECT device, boot_id, max(place) AS place FROM boots GROUP BY device, boot_id) AS s
    ON s.device = b.device AND s.boot_id = b.boot_id
    LEFT JOIN (SELECT device, max(place) AS latest FROM boots WHERE arrived > 0 GROUP BY device) AS l
    ON l.device = b.device
    WHERE b.highest >= b.arrived OR b.made - 1 > b.highest
) AS placed;

DROP VIEW IF EXISTS device_care;
CREATE VIEW device_care AS
SELECT p.site, d.device, d.online, d.last_seen, d.release, d.degraded, d.dropped,
    coalesce(h.degraded_hours, 0) AS degraded_hours, coalesce(g.missing, 0) AS missing
FROM devices d JOIN places p ON p.device = d.device
LEFT JOIN (
    SELECT device, count(*) AS degraded_hours FROM device_hours WHERE degraded > 0 GROUP BY device
) AS h ON h.device = d.device
LEFT JOIN (
    SELECT device, sum(missing) AS missing FROM boot_losses GROUP BY device
) AS g ON g.device = d.device;

CREATE OR REPLACE VIEW gaps AS
SELECT device, boot_id, kind, since, missing
FROM boot_losses
WHERE missing > 0;

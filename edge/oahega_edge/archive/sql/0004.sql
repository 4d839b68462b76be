-- Views over all time read days.
DROP VIEW IF EXISTS mean_dwell;
CREATE VIEW mean_dwell AS
SELECT site, visits, CASE WHEN visits >= (SELECT least_visits FROM rules) THEN seen_ms / 1000.0 / visits END AS mean_s
FROM (
    SELECT p.site, sum(v.visits) AS visits, sum(v.seen_ms) AS seen_ms
    FROM visit_days v JOIN places p ON p.device = v.device
    WHERE v.content = ''
    GROUP BY p.site
) AS summed;

CREATE OR REPLACE VIEW dwell AS
SELECT p.site, l.from_s, sum(l.visits) AS visits
FROM length_days l JOIN places p ON p.device = l.device
GROUP BY p.site, l.from_s;

CREATE OR REPLACE VIEW expression_shares AS
SELECT site, emotion, read_s, read_s / sum(read_s) OVER (PARTITION BY site) AS share
FROM (
    SELECT p.site, e.emotion, sum(e.read_ms) / 1000.0 AS read_s
    FROM expression_days e JOIN places p ON p.device = e.device
    GROUP BY p.site, e.emotion
) AS summed
WHERE read_s > 0;

CREATE OR REPLACE VIEW read_visits AS
SELECT p.site, d.content, sum(d.visits) AS visits,
    sum(CASE WHEN d.emotion = r.smile THEN d.visits ELSE 0 END) AS smiles
FROM dominant_days d JOIN places p ON p.device = d.device CROSS JOIN rules r
GROUP BY p.site, d.content;

-- Each hold was placed once, and the last line of its history says its state and amount.
-- fr: Chaque blocage a été posé une fois, et la dernière ligne de son historique dit son état et son montant.
SELECT h.hold_id, h.state, h.amount_minor, l.what, l.amount_minor AS last_amount_minor
FROM holds AS h
LEFT JOIN LATERAL (
    SELECT what, amount_minor FROM hold_changes AS c WHERE c.hold_id = h.hold_id ORDER BY sequence DESC LIMIT 1
) AS l ON true
WHERE CASE h.state
        WHEN 'ACTIVE' THEN coalesce(l.what NOT IN ('PLACED', 'SHRUNK', 'CHANGED') OR l.amount_minor <> h.amount_minor, true)
        WHEN 'EXPIRED' THEN l.what IS DISTINCT FROM 'EXPIRED'
        ELSE coalesce(l.what NOT IN ('RELEASED', 'REPLACED'), true) END
    OR (SELECT count(*) FROM hold_changes AS c WHERE c.hold_id = h.hold_id AND c.what = 'PLACED') <> 1

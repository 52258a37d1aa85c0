-- The holds not ended on an item never sum to more than is open on it.
-- fr: Les blocages actifs d'une pièce ne dépassent jamais ce qui en est ouvert.
SELECT h.item_id, i.open_minor, h.held_minor
FROM (SELECT item_id, sum(amount_minor) AS held_minor FROM holds WHERE state = 'ACTIVE' GROUP BY item_id) AS h
LEFT JOIN items AS i ON i.item_id = h.item_id
WHERE h.held_minor > greatest(coalesce(i.open_minor, 0), 0)

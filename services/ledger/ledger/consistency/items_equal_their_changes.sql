-- What is open on an item is what it was issued with and all its changes, and these are numbered from 2 without gaps.
-- fr: Ce qui est ouvert d'une pièce est son montant d'émission et toutes ses variations, numérotées à partir de 2 sans trou.
SELECT i.item_id, i.open_minor, i.issued_minor, c.sum_minor, i.change_count, c.change_count AS changes_found,
    c.last_sequence
FROM items AS i
LEFT JOIN (
    SELECT item_id, sum(delta_minor) AS sum_minor, count(*) AS change_count, max(sequence) AS last_sequence
    FROM item_changes GROUP BY item_id
) AS c ON c.item_id = i.item_id
WHERE i.issued_minor + coalesce(c.sum_minor, 0) <> i.open_minor
    OR coalesce(c.change_count, 0) + 1 <> i.change_count
    OR coalesce(c.last_sequence, 1) <> i.change_count

-- What is open on an item is the sum of all its changes, and these are numbered from 1 without gaps.
SELECT i.item_id, i.open_minor, c.sum_minor, i.change_count, c.change_count AS changes_found, c.last_sequence
FROM items AS i
LEFT JOIN (
    SELECT item_id, sum(delta_minor) AS sum_minor, count(*) AS change_count, max(sequence) AS last_sequence
    FROM item_changes GROUP BY item_id
) AS c ON c.item_id = i.item_id
WHERE c.sum_minor IS DISTINCT FROM i.open_minor
    OR c.change_count IS DISTINCT FROM i.change_count
    OR c.last_sequence IS DISTINCT FROM i.change_count

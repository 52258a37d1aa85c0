-- From the day an item was settled (or issued, if that came later) nothing is open on it as of any date.
SELECT i.item_id, i.settled_on, c.value_on, c.open_as_of
FROM items AS i
JOIN (
    SELECT item_id, value_on, sum(sum(delta_minor)) OVER (PARTITION BY item_id ORDER BY value_on) AS open_as_of
    FROM item_changes GROUP BY item_id, value_on
) AS c ON c.item_id = i.item_id
WHERE i.open_minor = 0 AND c.value_on >= greatest(i.settled_on, i.issue_on) AND c.open_as_of <> 0

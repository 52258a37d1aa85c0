-- From the day an item was settled (or issued, if that came later) nothing is open on it as of any date.
-- fr: Dès le jour où une pièce est soldée (ou émise, si c'est plus tard), rien n'en est plus ouvert à aucune date.
SELECT item_id, settled_on, value_on, open_as_of
FROM (
    SELECT item_id, settled_on, clear_on, value_on,
        sum(sum(delta_minor)) OVER (PARTITION BY item_id ORDER BY value_on) AS open_as_of
    FROM (
        SELECT item_id, settled_on, greatest(settled_on, issue_on) AS clear_on, issued_on AS value_on,
            issued_minor AS delta_minor
        FROM items WHERE open_minor = 0
        UNION ALL
        -- The day itself is asked about, whether or not anything is booked on it.
        SELECT item_id, settled_on, greatest(settled_on, issue_on), greatest(settled_on, issue_on), 0
        FROM items WHERE open_minor = 0
        UNION ALL
        SELECT i.item_id, i.settled_on, greatest(i.settled_on, i.issue_on), c.value_on, c.delta_minor
        FROM items AS i JOIN item_changes AS c ON c.item_id = i.item_id WHERE i.open_minor = 0
    ) AS entries GROUP BY item_id, settled_on, clear_on, value_on
) AS days
WHERE value_on >= clear_on AND open_as_of <> 0

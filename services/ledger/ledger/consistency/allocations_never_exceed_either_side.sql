-- What an allocation left open on its two items is what their histories say, and it never took more than was there.
-- fr: Ce qu'un lettrage laisse ouvert sur ses deux pièces est ce que dit leur historique, et il n'a jamais pris plus qu'il n'y avait.
SELECT s.allocation_id, s.side, s.left_minor, s.sum_minor
FROM (
    SELECT a.allocation_id, a.amount_minor, v.side, v.left_minor, (SELECT i.issued_minor FROM items AS i
            WHERE i.item_id = v.item_id) + coalesce((SELECT sum(c.delta_minor) FROM item_changes AS c
            WHERE c.item_id = v.item_id AND c.sequence <= v.sequence), 0) AS sum_minor
    FROM allocations AS a
    CROSS JOIN LATERAL (VALUES ('credit', a.credit_item_id, a.credit_sequence, a.credit_left_minor),
        ('debit', a.debit_item_id, a.debit_sequence, a.debit_left_minor)) AS v(side, item_id, sequence, left_minor)
) AS s
WHERE s.sum_minor IS DISTINCT FROM s.left_minor
    OR (s.amount_minor > 0 AND CASE s.side WHEN 'credit' THEN s.left_minor > 0 ELSE s.left_minor < 0 END)

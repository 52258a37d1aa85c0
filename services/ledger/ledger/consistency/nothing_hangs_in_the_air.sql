-- Items and holds belong to accounts that exist and to the same entity as these; each legal unit has an account.
SELECT 'item' AS what, i.item_id AS id FROM items AS i
LEFT JOIN accounts AS a ON a.account_id = i.account_id
WHERE a.entity_id IS DISTINCT FROM i.entity_id
UNION ALL
SELECT 'hold', h.hold_id FROM holds AS h
LEFT JOIN items AS i ON i.item_id = h.item_id
WHERE i.account_id IS DISTINCT FROM h.account_id
UNION ALL
SELECT 'change', c.item_id FROM item_changes AS c
LEFT JOIN items AS i ON i.item_id = c.item_id
WHERE i.account_id IS DISTINCT FROM c.account_id
UNION ALL
SELECT 'legal unit', u.legal_unit_id FROM legal_units AS u
WHERE NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.legal_unit_id = u.legal_unit_id)

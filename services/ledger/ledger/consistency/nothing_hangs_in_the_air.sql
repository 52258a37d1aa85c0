-- Accounts have an entity and a legal unit, items, changes, holds and contacts their account; each legal unit has one.
-- fr: Les comptes ont une entité et une unité légale ; pièces, variations, blocages et contacts ont leur compte ; chaque unité légale en a un.
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
WHERE i.account_id IS DISTINCT FROM c.account_id AND NOT EXISTS (SELECT 1 FROM account_merges AS g
    WHERE c.account_id IN (g.survivor_id, g.merged_id))
UNION ALL
SELECT 'legal unit', u.legal_unit_id FROM legal_units AS u
WHERE NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.legal_unit_id = u.legal_unit_id)
UNION ALL
SELECT 'contact', c.contact_id FROM contacts AS c
WHERE NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.account_id = c.account_id)
UNION ALL
SELECT 'account', a.account_id FROM accounts AS a
WHERE NOT EXISTS (SELECT 1 FROM entities AS e WHERE e.entity_id = a.entity_id)
    OR NOT EXISTS (SELECT 1 FROM legal_units AS u WHERE u.legal_unit_id = a.legal_unit_id)

-- A hold is on an item of its own account, and while it is active on one of which a debit is open.
-- fr: Un blocage porte sur une pièce de son propre compte et, tant qu'il est actif, sur un débit ouvert.
SELECT h.hold_id, h.account_id AS hold_account_id, i.account_id, i.open_minor
FROM holds AS h
LEFT JOIN items AS i ON i.item_id = h.item_id
WHERE i.account_id IS DISTINCT FROM h.account_id OR (h.state = 'ACTIVE' AND i.open_minor <= 0)

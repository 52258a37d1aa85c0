-- The row that takes an allocation back has its items and its whole amount, and no day before it.
-- fr: La ligne qui annule un lettrage porte ses pièces et tout son montant, et aucun jour antérieur.
SELECT r.allocation_id, r.reverses_id, r.amount_minor, o.amount_minor AS reversed_minor
FROM allocations AS r
LEFT JOIN allocations AS o ON o.allocation_id = r.reverses_id
WHERE r.reverses_id IS NOT NULL AND coalesce(o.reverses_id IS NOT NULL OR o.amount_minor <> -r.amount_minor
    OR (o.credit_item_id, o.debit_item_id, o.currency) <> (r.credit_item_id, r.debit_item_id, r.currency)
    OR r.value_on < o.value_on, true)

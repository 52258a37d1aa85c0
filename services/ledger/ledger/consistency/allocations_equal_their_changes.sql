-- An allocation takes the same from a credit and from a debit of its currency, and is an entry in the histories of both.
-- fr: Un lettrage prend autant à un avoir qu'à un débit de sa devise et figure dans l'historique des deux pièces.
SELECT a.allocation_id, a.amount_minor, c.delta_minor AS credit_delta, d.delta_minor AS debit_delta
FROM allocations AS a
LEFT JOIN item_changes AS c ON c.item_id = a.credit_item_id AND c.sequence = a.credit_sequence
LEFT JOIN item_changes AS d ON d.item_id = a.debit_item_id AND d.sequence = a.debit_sequence
LEFT JOIN items AS ci ON ci.item_id = a.credit_item_id
LEFT JOIN items AS di ON di.item_id = a.debit_item_id
WHERE c.delta_minor IS DISTINCT FROM a.amount_minor OR d.delta_minor IS DISTINCT FROM -a.amount_minor
    OR c.value_on IS DISTINCT FROM a.value_on OR d.value_on IS DISTINCT FROM a.value_on
    OR ci.currency IS DISTINCT FROM a.currency OR di.currency IS DISTINCT FROM a.currency

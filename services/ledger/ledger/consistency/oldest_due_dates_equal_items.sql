-- The oldest due date of an account is that of its open debit items.
-- fr: L'échéance la plus ancienne d'un compte est celle de ses pièces débitrices ouvertes.
SELECT a.account_id, a.oldest_due_on, i.oldest_due_on AS oldest_due_on_of_items
FROM accounts AS a
LEFT JOIN (
    SELECT account_id, min(due_on) AS oldest_due_on FROM items WHERE open_minor > 0 GROUP BY account_id
) AS i ON i.account_id = a.account_id
WHERE a.oldest_due_on IS DISTINCT FROM i.oldest_due_on

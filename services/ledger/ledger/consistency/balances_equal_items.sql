-- The summaries of accounts are those of their open items.
-- fr: Les soldes des comptes sont ceux de leurs pièces ouvertes.
SELECT coalesce(i.account_id, b.account_id) AS account_id, coalesce(i.currency, b.currency) AS currency,
    i.open_minor, b.open_minor AS kept_open_minor, i.credits_minor, b.credits_minor AS kept_credits_minor,
    i.item_count, b.item_count AS kept_item_count
FROM (
    SELECT account_id, currency, sum(open_minor) AS open_minor, sum(least(open_minor, 0)) AS credits_minor,
        count(*) AS item_count
    FROM items WHERE open_minor <> 0 GROUP BY account_id, currency
) AS i
FULL JOIN account_balances AS b ON b.account_id = i.account_id AND b.currency = i.currency
WHERE (i.open_minor, i.credits_minor, i.item_count) IS DISTINCT FROM (b.open_minor, b.credits_minor, b.item_count)

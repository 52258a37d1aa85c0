-- Each spelling of an account's name is counted as often as items carry it, and the most frequent one is the name.
-- fr: Chaque graphie du nom d'un compte est comptée aussi souvent que des pièces la portent, et la plus fréquente est le nom.
SELECT coalesce(i.account_id, n.account_id) AS account_id, coalesce(i.name, n.name) AS name, i.item_count,
    n.item_count AS kept_item_count
FROM (
    SELECT account_id, account_name AS name, count(*) AS item_count FROM items WHERE account_name <> '' GROUP BY 1, 2
) AS i
FULL JOIN account_names AS n ON n.account_id = i.account_id AND n.name = i.name
WHERE coalesce(i.item_count, 0) <> coalesce(n.item_count, 0)
UNION ALL
SELECT a.account_id, a.name, n.item_count, NULL
FROM accounts AS a
JOIN account_names AS n ON n.account_id = a.account_id AND n.name = a.name
WHERE n.item_count < (SELECT max(o.item_count) FROM account_names AS o WHERE o.account_id = a.account_id)

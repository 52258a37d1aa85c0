-- The chunks of a load are numbered without gaps and count what they wrote: no more items carry a load's mark than it created.
-- fr: Les lots d'un chargement sont numérotés sans trou et comptent ce qu'ils ont écrit : les pièces marquées d'un chargement sont celles qu'il a créées.
SELECT c.load_id, c.chunks, c.last_number, c.created, CAST(NULL AS bigint) AS items
FROM (
    SELECT load_id, object, count(*) AS chunks, max(chunk_number) AS last_number, sum(created) AS created
    FROM load_chunks WHERE NOT planned GROUP BY load_id, object
) AS c
LEFT JOIN loads AS l ON l.load_id = c.load_id
WHERE c.chunks <> c.last_number + 1 OR l.load_id IS NULL
UNION ALL
SELECT coalesce(c.load_id, i.load_id), NULL, NULL, c.created, i.items
FROM (
    SELECT load_id, sum(created) AS created FROM load_chunks WHERE NOT planned AND object = 'ITEMS' GROUP BY load_id
) AS c
FULL JOIN (
    SELECT first_load_id AS load_id, count(*) AS items FROM items WHERE first_load_id IS NOT NULL GROUP BY 1
) AS i ON i.load_id = c.load_id
WHERE coalesce(c.created, 0) <> coalesce(i.items, 0)

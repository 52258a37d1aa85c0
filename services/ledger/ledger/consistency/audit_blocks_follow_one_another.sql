-- The blocks of the audit chain are numbered from 1, and each carries on where the one before it ends.
-- fr: Les blocs de la chaîne d'audit sont numérotés à partir de 1, et chacun reprend où le précédent s'arrête.
SELECT b.number, b.from_xid, b.previous_number, b.previous_to_xid
FROM (
    SELECT number, from_xid, to_xid, previous_hash,
        lag(number, 1, CAST(0 AS bigint)) OVER (ORDER BY number) AS previous_number,
        lag(to_xid, 1, CAST(0 AS bigint)) OVER (ORDER BY number) AS previous_to_xid,
        lag(block_hash) OVER (ORDER BY number) AS expected_hash
    FROM audit_blocks
) AS b
WHERE b.number <> b.previous_number + 1 OR b.from_xid <> b.previous_to_xid
    OR b.previous_hash <> coalesce(b.expected_hash, decode(repeat('00', 32), 'hex'))
UNION ALL
SELECT b.number, b.from_xid, b.row_count, coalesce(l.row_count, 0)
FROM audit_blocks AS b
LEFT JOIN (SELECT number, sum(row_count) AS row_count FROM audit_leaves GROUP BY number) AS l ON l.number = b.number
WHERE l.row_count IS DISTINCT FROM b.row_count

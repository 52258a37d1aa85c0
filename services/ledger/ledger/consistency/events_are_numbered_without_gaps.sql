-- The events of a tenant are numbered one after the other up to the last number given, and none twice.
-- fr: Les événements d'un groupe sont numérotés l'un après l'autre jusqu'au dernier numéro donné, aucun deux fois.
SELECT o.first_number, o.last_number, o.events, c.last_number AS last_number_given
FROM (
    SELECT min(number) AS first_number, max(number) AS last_number, count(number) AS events FROM outbox
    HAVING count(number) > 0
) AS o
FULL JOIN outbox_counter AS c ON true
WHERE coalesce(o.last_number - o.first_number + 1 <> o.events, false)
    -- Old events are removed once everybody has them, the last one given is not forgotten.
    OR coalesce(o.last_number <> c.last_number, o.last_number IS NOT NULL AND c.last_number IS NULL)

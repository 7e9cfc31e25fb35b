-- Red letters that stand in a list by somebody's word and not (yet) by their own: links.py.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE listed_red_letter (
    red text COLLATE "C" NOT NULL,
    blue text COLLATE "C" NOT NULL,

    CONSTRAINT listed_red_letter_pkey PRIMARY KEY (red, blue)
);

-- Lists so far may hold red letters that name another invoice.
UPDATE invoice AS i
SET red_letters = array(
    SELECT t.red
    FROM unnest(i.red_letters) AS t (red)
    WHERE NOT EXISTS (SELECT FROM invoice AS r WHERE r.key = t.red AND r.red_letter_of <> i.key)
    ORDER BY 1
)
WHERE
    i.red_letters <> '{}'
    AND EXISTS (
        SELECT FROM invoice AS r
        WHERE r.key = ANY(i.red_letters) AND r.red_letter_of <> i.key
    );

INSERT INTO listed_red_letter (red, blue)
SELECT t.red, i.key
FROM invoice AS i
CROSS JOIN LATERAL unnest(i.red_letters) AS t (red)
LEFT JOIN invoice AS r ON r.key = t.red
WHERE i.red_letters <> '{}' AND r.red_letter_of IS NULL;
